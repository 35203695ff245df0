"""A thousand reloads while jobs are due every second: every occurrence is claimed once and on time."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from schedappliance.engine.effects import StartProgram
from schedappliance.engine.events import Event, ReloadRequested
from tests.support.core import SECOND, START_MS, Appliance, ended, some
from tests.support.random_seeds import random_seeds

RELOADS = 1000
# The periods of the jobs in seconds. All files declare these jobs; they differ in other things.
PERIODS = {"a": 1, "b": 2, "c": 3, "d": 7}
JOBS = "".join(
    f'job "{name}" {{ every = {every} command = "{command}" }}\n'
    for (name, every), command in zip(
        PERIODS.items(), ("run hello", "config set b 1", "run sleep 5", "run parallel"), strict=True
    )
)
PROGRAMS = """\
program "hello" { argv = ( "/bin/echo" ) overlap = parallel }
program "sleep" { argv = ( "/bin/sleep" ) args = any overlap = queue }
program "parallel" { argv = ( "/bin/echo" ) overlap = parallel }
"""


def _variants() -> list[str]:
    """Files that all declare the same jobs; every fourth is invalid."""
    good = [f"Pace = {number}\n{PROGRAMS}{JOBS}" for number in range(6)]
    more = 'job "more" { every = 5 command = "pid" }\n'
    others = [f"sched {{ max_running = {number} }}\n{PROGRAMS}{JOBS}{more * (number % 2)}" for number in (20, 21, 40)]
    return [*good, *others, PROGRAMS + JOBS + "program {\n", JOBS, "bad = ( 1\n"]


@pytest.mark.parametrize("seed", [1, *random_seeds(1)])
def test_no_occurrence_is_lost_or_doubled(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    variants = _variants()
    appliance = Appliance(None, variants[0])
    started: list[StartProgram] = []
    accepted = 0
    for _ in range(RELOADS):
        appliance.clock.advance(dice.choice((0, 1, 250, 999, 1000)))
        events: list[Event] = [appliance.read(dice.choice(variants))]
        events += [ended(start.key.run) for start in started]
        if dice.random() < 0.1:
            events.append(ReloadRequested("SIGHUP"))
        dice.shuffle(events)
        # At least one turn falls into each second, so that no due time is missed.
        appliance.turn(*events)
        started = appliance.started()
        accepted += "is active" in appliance.logged() or "are active" in appliance.logged()
    assert accepted > RELOADS // 4
    _assert_every_occurrence_once(appliance)
    starts = Counter(start.key for start in some(StartProgram, appliance.past))
    assert set(starts.values()) == {1}
    appliance.close()


def _assert_every_occurrence_once(appliance: Appliance) -> None:
    """The due times of a job are the multiples of its period since the start; its occurrences count from 1."""
    declared = dict(appliance.database.rows("SELECT number, declared FROM jobs"))
    runs: dict[str, list[tuple[int, int, str]]] = {name: [] for name in PERIODS}
    for run in appliance.history():
        if (name := declared.get(run.key.job)) in runs:
            runs[name].append((run.key.occurrence, run.due_ms, run.state))
    now = appliance.clock.moment().wall
    for name, period in PERIODS.items():
        rows = sorted(runs[name])
        first = (START_MS // (period * SECOND) + 1) * period * SECOND
        due = list(range(first, now + 1, period * SECOND))
        assert [occurrence for occurrence, _, _ in rows] == list(range(1, len(due) + 1)), name
        assert [at for _, at, _ in rows] == due, name
        assert not {state for _, _, state in rows} & {"missed", "failed"}, name


def test_a_lost_occurrence_would_be_found() -> None:
    """The check itself can fail."""
    appliance = Appliance(None, _variants()[0])
    for _ in range(10):
        appliance.after(SECOND)
    _assert_every_occurrence_once(appliance)
    appliance.database.execute("UPDATE runs SET due_ms = due_ms + 1 WHERE occurrence = 3")
    with pytest.raises(AssertionError):
        _assert_every_occurrence_once(appliance)
    appliance.close()
