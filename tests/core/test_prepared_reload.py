"""A reload that a worker has prepared does the same as one that is computed in its turn, whatever has changed meanwhile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

import pytest

from schedappliance.engine.events import FilesRead
from schedappliance.engine.options import with_overrides
from schedappliance.engine.reloading import prepare
from schedappliance.model.configuration import Configuration
from tests.support.calls import calls
from tests.support.core import SECOND, Appliance, configuration, dump

BEFORE = """\
Message_Expiration = 86400
sched { history = 70 }
program "work" { argv = ( "/bin/work" ) timeout = 5 }
days "holidays" { dates = ( "*-12-25" ) }
job "tidy" { every = 60 command = "run work" }
job "daily" { calendar = "12:00 UTC" except = holidays command = "run work" }
job "own" { every = 30 argv = ( "/bin/own" ) }
job "goes" { every = 30 command = "run work" }
"""
FILES = {
    "a comment": BEFORE + "# nothing\n",
    "a job": BEFORE.replace('"goes" { every = 30', '"comes" { every = 90'),
    "days": BEFORE.replace("*-12-25", "*-12-24"),
    "an option with an override": BEFORE.replace("every = 60", "every = 120").replace("86400", "3600"),
    "another command": BEFORE.replace('every = 60 command = "run work"', 'every = 60 command = "pid"'),
    "a job that its overrides do not fit": BEFORE.replace(
        '"daily" { calendar = "12:00 UTC" except = holidays', '"daily" { at = 1900000000'
    ),
    "a zone": BEFORE.replace("history = 70", "history = 70 zone = UTC"),
    "fewer stanzas": BEFORE.partition("job")[0] + 'job "tidy" { at = 1900000000 command = "run work" }\n',
}
LINES = (
    *("config set message_expiration 1", "config set message_expiration 2", "config unset message_expiration"),
    *("config set speed 3", "config set job tidy every 70", "config set job tidy every 80", "config unset job tidy"),
    *("config set job own timeout 9", "config set job own enabled no", "config unset job own"),
    *("config set program work timeout 7", "config set sched max_running 3", "config set sched zone Europe/Berlin"),
    *("config unset sched", "config set days holidays dates ( *-05-01 )", "config unset days holidays"),
    *("config set job goes enabled no", "config set job daily within 08:00..18:00"),
    *("config set job daily move next", "config set job daily only holidays", "config unset job daily move"),
)


class Pair:
    """Two appliances that get the same lines and files. The first one gets prepared files."""

    def __init__(self) -> None:
        self.both = Appliance(None, BEFORE), Appliance(None, BEFORE)

    def ask(self, line: str) -> None:
        first, second = [appliance.ask(line) for appliance in self.both]
        assert (first.output, first.error) == (second.output, second.error)

    def read(self, text: str, typed: bool) -> list[FilesRead]:
        """The two events, of which the first one is prepared for the present options."""
        prepared, plain = self.both
        return [prepared.read_prepared(text, None, typed), plain.read(text, None, typed)]

    def turn(self, events: list[FilesRead]) -> None:
        for appliance, event in zip(self.both, events, strict=True):
            appliance.after(SECOND, event)

    def agree(self) -> None:
        prepared, plain = self.both
        assert dump(prepared.store) == dump(plain.store)
        assert prepared.logged() == plain.logged()
        options, wanted = prepared.state.options, plain.state.options
        assert list(options.overrides.items()) == list(wanted.overrides.items())
        assert set(options.unfit) == set(wanted.unfit)
        assert _meaning(options.configuration) == _meaning(wanted.configuration)


def _meaning(made: Configuration) -> tuple[object, ...]:
    """What the files and lines of this module can change. The places of values differ."""
    jobs = [(name, job.schedule, job.enabled, job.command) for name, job in made.jobs.items()]
    programs = {name: program.timeout_ms for name, program in made.programs.items()}
    return jobs, programs, made.days, made.zone, made.max_running, made.history


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("files", FILES.values(), ids=FILES.keys())
def test_it_does_the_same_if_nothing_changes_meanwhile(files: str, typed: bool) -> None:
    pair = Pair()
    for line in ("config set message_expiration 1", "config set job tidy every 70", "config set job own enabled no"):
        pair.ask(line)
    pair.turn(pair.read(files, typed))
    pair.agree()


@pytest.mark.parametrize("seed", range(100))
def test_it_does_the_same_whatever_changes_meanwhile(seed: int) -> None:
    random = Random(seed)
    pair = Pair()
    waiting: list[list[FilesRead]] = []
    for _ in range(30):
        if waiting and random.random() < 0.3:
            # Several may wait: then the files of the first one are active when the second one is taken.
            pair.turn(waiting.pop(0))
            pair.agree()
        elif random.random() < 0.3:
            waiting.append(pair.read(random.choice([BEFORE, *FILES.values()]), random.random() < 0.3))
        else:
            pair.ask(random.choice(LINES))


def test_its_turn_does_not_grow_with_the_jobs_and_the_overrides_that_stay() -> None:
    costs = []
    for number in (1, 2, 40):  # The first one fills the caches.
        jobs = "".join(f'job "other-{i}" {{ every = 600 command = "run work" }}\n' for i in range(number))
        appliance = Appliance(None, BEFORE + jobs)
        for i in range(number):
            appliance.say(f"config set job other-{i} enabled no")
        event = appliance.read_prepared(BEFORE.replace("every = 60", "every = 70") + jobs)
        costs.append(calls(partial(appliance.turn, event)))
        assert "1 changed" in appliance.logged()
    assert costs[1] == costs[2]


def test_it_does_not_keep_the_replaced_configuration_in_memory() -> None:
    """The worker frees that configuration piece by piece, so nobody else may refer to it."""
    files = configuration(BEFORE).configuration
    active = with_overrides(replace(files))
    prepared = prepare(files, active, active.overrides)
    assert prepared.files() is active.files
    del active
    assert prepared.files() is None
