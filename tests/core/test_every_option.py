"""Every option of every stanza, and every value of the policies, has an effect that differs from the others.

The tables of options decide what is tested: an option that is added there needs a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from schedappliance.diagnostics import InvalidValue
from schedappliance.engine.events import StopRequested
from schedappliance.model.option_paths import value_of
from schedappliance.model.options import OF_ALL_PROGRAMS, OF_ITS_PROGRAM, STANZAS
from tests.support.core import MINUTE, SECOND, START_MS, Appliance, ended

HOUR = 60 * MINUTE
HELLO = 'program "hello" { argv = ( "/bin/echo" ) }\n'
# A word that is not a value of any option: the option is not given.
NOT_GIVEN = ""


def files(stanza: str, option: str, value: str) -> str:
    """Stanzas in which one option has this value."""
    if stanza == "job" and option in OF_ITS_PROGRAM:
        # As in a program, and due so late that only the tests start it.
        return files("program", option, value).replace("program", "job").replace("args = any", f"at = {2**37}")
    line = f"{option} = {value}" if value else ""
    if stanza == "notify":
        jobs = "".join(f'job "{name}" {{ every = 1d argv = ( "/bin/work" ) }}\n' for name in "pq")
        command = "" if option == "command" else 'command = "run hello"'
        return f'{HELLO}program "bye" {{ argv = ( "/bin/bye" ) }}\n{jobs}notify "n" {{ {command} {line} }}\n'
    if stanza == "defaults":
        # `kill_after` shows only where there is a `timeout`.
        return f"defaults {{ {line} }}\n{files('program', 'kill_after' if option == 'kill_after' else '', '')}"
    if stanza == "days" or (stanza == "job" and option in CALENDAR):
        beside = {**CALENDAR, "dates": 'cron = "0 0 * * *" except = "p"'}[option]
        zone = "" if option == "zone" else "zone = Europe/Berlin"
        job = f'job "p" {{ command = version {beside} {zone} {"" if stanza == "days" else line} }}\n'
        return job + (f'days "p" {{ {line} }}\n' if stanza == "days" else 'days "weekend" { dates = ( "Sat..Sun" ) }\n')
    others = {
        "program": {"argv": 'argv = ( "/bin/work" )', "args": "args = any", "timeout": "timeout = 5"},
        "job": {"every": "every = 60", "command": "command = version"},
        "sched": {},
    }[stanza]
    if stanza != "program" or option not in ("kill_after", "timeout"):
        others.pop("timeout", None)
    if option == "at":
        others.pop("every")
    if option == "delay":
        others["every"] = "at = boot"
    others.pop(option, None)
    name = ' "p"' if stanza != "sched" else ""
    text = f"{stanza}{name} {{ {' '.join(others.values())} {line} }}\n"
    return text + (HELLO if stanza != "program" else "")


# What stands beside an option of calendars, so that it has an effect.
CALENDAR = {
    "cron": "",
    "calendar": "",
    "zone": 'cron = "0 12 * * *"',
    "dst_skipped": 'cron = "30 2 * * *" from = 2027-03-27T00:00:00Z',
    "dst_repeated": 'cron = "30 2 * * *" from = 2027-10-30T00:00:00Z',
    "move": 'cron = "0 0 5,6 12 *" except = weekend',
    **dict.fromkeys(
        ("within", "only", "except", "nth", "each", "from", "until", "spread", "jitter"), 'calendar = "*-*-* 08,20:00"'
    ),
}


def planned(appliance: Appliance) -> object:
    """The next due times of the job."""
    return [row["due_ms"] for row in appliance.data("sched next p 80")["next"]]


def states(appliance: Appliance) -> object:
    return [(run.key.occurrence, run.state, run.missed_count) for run in appliance.history()]


def after_a_downtime(appliance: Appliance) -> object:
    appliance.say("sched every 60 version")
    appliance.restart(3 * MINUTE + 5 * SECOND, appliance.stanzas)
    appliance.turn()
    return states(appliance)


def caught_up(appliance: Appliance) -> object:
    """What becomes of the due times of a declared job that passed while no appliance ran."""
    appliance.restart(3 * MINUTE + 5 * SECOND, appliance.stanzas)
    appliance.turn()
    return states(appliance)


def together(line: str) -> Callable[[Appliance], object]:
    """How many of three programs start at once."""

    def begin(appliance: Appliance) -> object:
        appliance.turn(*[appliance.typed(line) for _ in range(3)])
        return len(appliance.started())

    return begin


def accepted(appliance: Appliance) -> object:
    return [appliance.ask("sched in 60 version").ok for _ in range(3)]


def due_in_the_zone(appliance: Appliance) -> object:
    return appliance.ask('sched cron "30 2 * * *" pid').ok, appliance.next_runs()


def stored_runs(appliance: Appliance) -> object:
    appliance.say("sched every 1 version")
    for _ in range(300):
        appliance.after(SECOND)
    return appliance.store.runs.count() // 100


def start(appliance: Appliance) -> object:
    """Everything that the start of the program contains."""
    appliance.say("run p")
    return appliance.started()


def arguments(appliance: Appliance) -> object:
    return [appliance.ask(f"run p {words}").ok for words in ("", "1", "a", "1 2")]


def signals(appliance: Appliance) -> object:
    """The signals sent to a program that ignores them, and when."""
    appliance.say("run p")
    seen = []
    for second in range(30):
        seen += [(second, number) for _, number in appliance.signalled()]
        appliance.after(SECOND)
    return seen


def overlapping(appliance: Appliance) -> object:
    """The outcome of a second due time, and of the run that has not ended."""
    appliance.say("sched every 60 run p")
    appliance.after(MINUTE)
    appliance.after(MINUTE)
    return states(appliance), appliance.signalled(), len(appliance.started())


def failing(appliance: Appliance) -> object:
    """The start of each attempt of a program that always fails."""
    appliance.say("run p")
    starts = []
    for minute in range(60):
        starts += [(minute, begin.key.attempt) for begin in appliance.started()]
        appliance.after(MINUTE, *[ended(begin.key.run, 3, attempt=begin.key.attempt) for begin in appliance.started()])
    return starts


def interrupted(appliance: Appliance) -> object:
    appliance.say("run p")
    appliance.restart(SECOND, appliance.stanzas)
    appliance.turn()
    return states(appliance), [begin.key.attempt for begin in appliance.started()]


def answered(appliance: Appliance) -> object:
    """The answers to a failure."""
    appliance.say("run p")
    appliance.turn(*[ended(begin.key.run, 1) for begin in appliance.started()])
    appliance.after(SECOND)
    return [run.command for run in appliance.history()]


def stopped(appliance: Appliance) -> object:
    """The signals at a stop."""
    appliance.say("run hello")
    appliance.turn(StopRequested("SIGTERM", on_stop=True))
    return appliance.signalled()


def statuses(appliance: Appliance) -> object:
    appliance.turn(appliance.typed("run p"), appliance.typed("run p"))
    appliance.turn(*[ended(begin.key.run, status) for begin, status in zip(appliance.started(), (0, 3), strict=True)])
    return [run.state for run in appliance.history()]


def declared(appliance: Appliance) -> object:
    for _ in range(4):
        appliance.after(30 * SECOND)
    return [(run.due_ms, run.command) for run in appliance.history()]


def alerted(appliance: Appliance) -> object:
    """The alerts of two jobs that fail for three days and recover, with their times in hours."""
    alerts = []
    for hour in range(6 * 24):
        appliance.after(HOUR)
        while starts := appliance.started():
            alerts += [(hour, s.argv, dict(s.env).get("SCHED_NOTIFY_NAME")) for s in starts if s.argv[0] != "/bin/work"]
            fails = hour < 3 * 24
            appliance.turn(*[ended(s.key.run, int(fails and s.argv[0] == "/bin/work")) for s in starts])
    return alerts


class Row(NamedTuple):
    observe: Callable[[Appliance], object]
    values: tuple[str, ...]


TABLE: dict[tuple[str, str], Row] = {
    ("sched", "zone"): Row(due_in_the_zone, (NOT_GIVEN, "UTC", '"Europe/Berlin"')),
    ("sched", "catch_up"): Row(after_a_downtime, ("once", "none", "all")),
    ("sched", "catch_up_within"): Row(after_a_downtime, (NOT_GIVEN, "4")),
    ("sched", "on_stop"): Row(stopped, ("end", "keep")),
    ("sched", "max_running"): Row(together("run hello"), (NOT_GIVEN, "1", "2")),
    ("sched", "max_jobs"): Row(accepted, ("2000000", "1", "2")),
    ("sched", "history"): Row(stored_runs, ("100000", "0", "100")),
    ("program", "argv"): Row(start, ('( "/bin/work" )', '( "/bin/work" "now" )')),
    ("program", "args"): Row(arguments, ("none", "any", '( "[0-9]" )', '( "[0-9]" "[0-9]" )')),
    ("program", "timeout"): Row(signals, (NOT_GIVEN, "5", "7")),
    ("program", "kill_after"): Row(signals, ("10", "0", "3")),
    ("program", "tree"): Row(start, ("all", "group")),
    ("program", "user"): Row(start, (NOT_GIVEN, "backup", "1000")),
    ("program", "group"): Row(start, (NOT_GIVEN, "backup", "1000")),
    ("program", "env"): Row(start, ("[]", '[ A = "1" ]', '[ A = "2" ]')),
    ("program", "env_file"): Row(start, (NOT_GIVEN, "/etc/a.env", "/etc/b.env")),
    ("program", "pass_env"): Row(start, ("()", '( "A" )', '( "A" "B" )')),
    ("program", "stdin"): Row(start, (NOT_GIVEN, '""', '"a"', '"b"')),
    ("program", "cwd"): Row(start, ("/", "/srv")),
    ("program", "umask"): Row(start, ("022", "077", "000")),
    ("program", "nice"): Row(start, (NOT_GIVEN, "0", "5", "-5")),
    ("program", "ionice"): Row(start, (NOT_GIVEN, "idle", "0", "7")),
    ("program", "limits"): Row(start, ("[]", "[ nofile = 99 ]", "[ nofile = 98 ]", "[ cpu = 1 ]")),
    ("program", "memory_max"): Row(start, (NOT_GIVEN, "1g", "2g")),
    ("program", "cpu_weight"): Row(start, (NOT_GIVEN, "1", "100")),
    ("program", "overlap"): Row(overlapping, ("skip", "queue", "parallel", "replace")),
    ("program", "max_running"): Row(together("run p"), (NOT_GIVEN, "1", "2")),
    ("program", "retries"): Row(failing, ("0", "1", "2")),
    ("program", "on_interrupt"): Row(interrupted, ("report", "rerun")),
    ("program", "on_failure"): Row(answered, (NOT_GIVEN, "version", "pid")),
    ("program", "success"): Row(statuses, ("( 0 )", "( 3 )", "( 0 3 )")),
    ("program", "output_limit"): Row(start, ("65536", "0", "1k")),
    ("job", "every"): Row(declared, ("60", "120", "30")),
    ("job", "offset"): Row(declared, ("0", "10", "25")),
    ("job", "at"): Row(declared, (str(START_MS // SECOND + 30), str(START_MS // SECOND + 60), "boot")),
    ("job", "delay"): Row(declared, ("0", "510", "525")),
    ("job", "cron"): Row(planned, ('"0 8 * * *"', '( "0 8 * * *" "0 9 * * MON" )', "@daily")),
    ("job", "calendar"): Row(planned, ('"08:00"', '( "08:00" "Mon 09:00" )', "daily")),
    ("job", "zone"): Row(planned, ("UTC", "Europe/Berlin", "Asia/Tokyo")),
    ("job", "dst_skipped"): Row(planned, ("run", "shift", "omit")),
    ("job", "dst_repeated"): Row(planned, ("first", "last", "both")),
    ("job", "within"): Row(planned, (NOT_GIVEN, '"08:00..09:00"', '( "Mon" "Tue..Fri 20:00..21:00" )')),
    ("job", "only"): Row(planned, (NOT_GIVEN, "weekend")),
    ("job", "except"): Row(planned, (NOT_GIVEN, "weekend")),
    ("job", "move"): Row(planned, ("none", "next", "previous", "nearest")),
    ("job", "nth"): Row(planned, (NOT_GIVEN, "1", "-1", "( 3 -1 )")),
    ("job", "each"): Row(planned, (NOT_GIVEN, "3d", "2w", "6mo", "3y")),
    ("job", "from"): Row(planned, (NOT_GIVEN, "2027-01-01T00:00:00Z")),
    ("job", "until"): Row(planned, (NOT_GIVEN, "2023-12-10T00:00:00Z", "2023-12-01T00:00:00Z")),
    ("job", "spread"): Row(planned, ("0", "1h", "2h")),
    ("job", "jitter"): Row(planned, ("0", "1h", "2h")),
    ("job", "catch_up"): Row(caught_up, ("once", "none", "all")),
    ("job", "catch_up_within"): Row(caught_up, (NOT_GIVEN, "4")),
    ("days", "dates"): Row(planned, ('( "Sat..Sun" )', '"Mon"', '( "*-12-25..26" "2026-11-30" )')),
    ("notify", "jobs"): Row(alerted, (NOT_GIVEN, '"p"', '( "q" )')),
    ("notify", "after"): Row(alerted, ("1", "2", "5")),
    ("notify", "again"): Row(alerted, ("1d", "0", "36h")),
    ("notify", "incidents"): Row(alerted, ("true", "false")),
    ("notify", "collect"): Row(alerted, ("0", "5h", "2d")),
    ("notify", "at"): Row(alerted, (NOT_GIVEN, '"06:30"', '"Fri 06:30"', '( "06:30 Europe/Berlin" "18:00" )')),
    ("notify", "command"): Row(alerted, ('"run hello"', '"run bye"')),
    ("job", "command"): Row(declared, ("version", "pid")),
    ("job", "enabled"): Row(declared, ("true", "false")),
}

TABLE |= {("job", option): TABLE["program", option] for option in OF_ITS_PROGRAM if ("program", option) in TABLE}
TABLE |= {("defaults", option): TABLE["program", option] for option in OF_ALL_PROGRAMS if ("program", option) in TABLE}

# Options whose effect shows only together with another option, or only outside the core.
ELSEWHERE = {
    ("sched", "backing_store"): "tests/end_to_end/test_start.py::test_without_store_and_spool_it_starts_and_warns",
    (
        "authorization",
        "delegates",
    ): "tests/core/test_delegates.py::test_nobody_but_a_delegate_gives_commands_on_behalf_of_others",
    ("notify", "when"): "tests/core/test_alerts.py::test_only_the_events_of_when_are_told",
    ("notify", "longer_than"): "tests/core/test_late_runs.py::test_a_reload_decides_anew_when_a_run_is_late",
    ("program", "retry_delay"): "tests/core/test_every_option.py::test_every_delay_gives_a_different_wait",
    ("defaults", "retry_delay"): "tests/core/test_every_option.py::test_every_delay_gives_a_different_wait",
    ("job", "retry_delay"): "tests/core/test_every_option.py::test_every_delay_gives_a_different_wait",
}


@cache
def outcome(stanza: str, option: str, value: str) -> object:
    """What the row of an option observes with this value."""
    observe = TABLE[stanza, option].observe
    with (
        TemporaryDirectory() as name,
        closing(Appliance(Path(name, "sched.db"), files(stanza, option, value))) as appliance,
    ):
        # The text already declares the store, and the restart would add its own.
        appliance.stanzas = files(stanza, option, value)
        return observe(appliance)


def test_every_option_has_a_row() -> None:
    options = {(stanza, option) for stanza, spec in STANZAS.items() for option in spec.options}
    assert TABLE.keys() | ELSEWHERE.keys() == options
    assert not TABLE.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("place", ELSEWHERE.values())
def test_every_test_named_here_exists(place: str) -> None:
    file, _, name = place.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[2] / file).read_text()


@pytest.mark.parametrize(("stanza", "option"), TABLE)
def test_every_value_has_a_different_effect(stanza: str, option: str) -> None:
    results = [(value, outcome(stanza, option, value)) for value in TABLE[stanza, option].values]
    for (one, does), (other, does_too) in combinations(results, 2):
        assert does != does_too, f"`{option} = {one}` and `{option} = {other}` do the same: {does}"


DEFAULTS = [place for place in TABLE if STANZAS[place[0]].options[place[1]].default is not None]


@pytest.mark.parametrize(("stanza", "option"), DEFAULTS)
def test_an_option_that_is_not_given_acts_like_its_default(stanza: str, option: str) -> None:
    default = STANZAS[stanza].options[option].default
    assert default is not None and default in TABLE[stanza, option].values
    assert outcome(stanza, option, NOT_GIVEN) == outcome(stanza, option, default)


@pytest.mark.parametrize(("stanza", "option"), TABLE)
def test_every_choice_of_an_option_is_among_its_values(stanza: str, option: str) -> None:
    """The reader of an option lists its choices in the error for an invalid value."""
    try:
        STANZAS[stanza].options[option].read(value_of("no such word"))
    except InvalidValue as unfit:
        _, listed, choices = unfit.help.partition("write one of: ")
        assert not listed or set(choices.split(", ")) == set(TABLE[stanza, option].values)


@pytest.mark.parametrize("stanza", ["program", "job", "defaults"])
def test_every_delay_gives_a_different_wait(tmp_path: Path, stanza: str) -> None:
    waits = []
    for delay in ("0", "10", "30", NOT_GIVEN):
        text = files(stanza, "retries", f"1 {f'retry_delay = {delay}' if delay else ''}")
        with closing(Appliance(tmp_path / f"{delay}.db", text)) as appliance:
            appliance.say("run p")
            appliance.turn(*[ended(begin.key.run, 3) for begin in appliance.started()])
            wake = appliance.core.wake()[1]
            assert appliance.started() or wake is not None
            waits.append(0 if wake is None else (wake - appliance.clock.moment().boot) // (10 * SECOND))
    assert waits == [0, 1, 3, 1]
