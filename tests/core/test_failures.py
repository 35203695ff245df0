"""A store that fails: work that needs no row goes on, clients get an error, and nothing is lost or done twice."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from schedappliance.core import turn as core
from schedappliance.core.state import State
from schedappliance.engine.effects import Effect, LogMessage, PublishResult, ReadFiles, Reply, StartProgram, Stop
from schedappliance.engine.events import AuditDue, DropClaimed, Event, ProgramNotStarted, ReloadRequested, StopRequested
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from schedappliance.store.failures import StoreFailed
from schedappliance.store.runs import QueuedRun, Runs
from tests.support.core import (
    DISK_FULL,
    MINUTE,
    SECOND,
    STANZAS,
    Appliance,
    FragileDatabase,
    agrees_with_its_store,
    dump,
    ended,
    failure,
    has_pid,
    some,
)

KEY = RunKey(1, 1)
SIGTERM = StopRequested("SIGTERM")
FAILED = f"the store cannot be written: {DISK_FULL}"
TOLD = f"{FAILED}; nothing was changed; make sure that its disk has free space and is writable"
DEGRADED = f"error: degraded: {FAILED}; trying again every second"
ANOTHER = "error: degraded: the store cannot be written: disk I/O error; trying again every second"
WELL = "info: the store can be written again"
ALL = 1_000_000
LONG = f"config set a '{'x' * 60_000}'"


class TooOften(Exception):
    """Raised when something is done again and again."""


@contextmanager
def without_room(appliance: Appliance) -> Iterator[None]:
    """A real limit of SQLite instead of a simulated failure: the store cannot grow."""
    pages = appliance.database.row("PRAGMA page_count")[0]
    appliance.database.execute(f"PRAGMA max_page_count = {pages}")
    yield
    appliance.database.execute("PRAGMA max_page_count = 1000000")


def stored_rows(appliance: Appliance) -> dict[str, list[tuple[object, ...]]]:
    """Every row except the times of the last decisions."""
    rows = dump(appliance.store)
    return rows | {"meta": [row for row in rows["meta"] if not str(row[0]).startswith("last_")]}


def audited(line: str) -> str:
    """The audit line of a command that could not be stored."""
    return f"info: user=operator uid=1000 origin=console command={line!r} rejected: {TOLD}"


LINES = [
    "sched in 60 pid",
    "sched delete example.com-000000001",
    "config set message_expiration 1",
    "run sleep 5",
    "run unset",
    "config reload",
]


@pytest.mark.parametrize("line", LINES)
def test_the_client_gets_an_error_and_nothing_is_done(either: Appliance, line: str) -> None:
    either.say("sched in 3600 pid")
    before = stored_rows(either)
    either.database.failing_commits = 2
    answer = either.ask(line)
    assert answer.error == TOLD
    assert [d.code for d in answer.diagnostics] == ["E504"]
    assert [type(effect) for effect in either.effects] == [LogMessage, LogMessage, Reply]
    assert either.logged() == f"{DEGRADED}\n{audited(line)}"
    assert (stored_rows(either), dict(either.state.parked), either.state.stopping) == (before, {}, False)
    either.after(SECOND)
    assert (either.logged(), len(either.effects), stored_rows(either)) == (WELL, 1, before)
    agrees_with_its_store(either)
    event = either.typed(line)
    either.turn(event)
    assert some(ReadFiles, either.effects) if line == "config reload" else either.reply_to(event).ok


def done(appliance: Appliance) -> tuple[object, ...]:
    """The outcomes of the lines so far, without their times."""
    past = appliance.past
    return (
        [(job.number, job.command) for job in appliance.store.jobs.page((-1, -1), 100)],
        appliance.states(),
        [(override.name, override.value) for override in appliance.store.settings.overrides()],
        [start.key for start in some(StartProgram, past)],
        (len(some(ReadFiles, past)), len(some(Reply, past)), bool(some(Stop, past))),
        appliance.state.statistics.commands,
    )


@pytest.mark.parametrize("line", [*LINES, "pid"])
def test_a_line_that_failed_with_others_is_tried_alone_and_done_once(either: Appliance, line: str) -> None:
    with closing(Appliance(None)) as calm:
        for one in (either, calm):
            one.say("sched in 3600 pid")
            one.database.failing_commits = 1 if one is either else 0
            one.turn(one.typed(line))
            one.after(SECOND)
            one.after(SECOND)
        assert done(either) == done(calm)
    agrees_with_its_store(either)


def test_every_line_of_the_turn_gets_the_error(either: Appliance) -> None:
    events = [either.typed(line) for line in LINES]
    either.database.failing_commits = 1 + len(LINES)
    either.turn(*events)
    assert [either.reply_to(event).error for event in events] == [TOLD] * len(LINES)


@pytest.mark.parametrize("last", range(3))
def test_a_line_that_does_not_fit_fails_alone(appliance: Appliance, last: int) -> None:
    lines = ["config set b 1", "config set c 2"]
    lines.insert(last, LONG)
    events = [appliance.typed(line) for line in lines]
    with without_room(appliance):
        appliance.turn(*events)
    assert [appliance.reply_to(event).error for event in events] == [TOLD if line == LONG else None for line in lines]
    appliance.after(SECOND)
    assert [appliance.say(f"config get {name}") for name in "bc"] == ["b = 1", "c = 2"]
    assert not appliance.ask("config get a").ok
    agrees_with_its_store(appliance)


@pytest.mark.parametrize("turns", [1, 3])
def test_the_log_says_once_degraded_and_once_recovered(either: Appliance, turns: int) -> None:
    either.say("sched in 60 pid")
    either.database.full = True
    logs = []
    for _ in range(turns):
        either.after(MINUTE)
        logs.append(either.logged())
    either.database.full = False
    for _ in range(2):
        either.after(SECOND)
        logs.append(either.logged())
    assert logs == [DEGRADED, *[""] * (turns - 1), WELL, ""]


def test_the_summary_says_degraded_and_why_until_the_recovery(either: Appliance) -> None:
    line = f"\tDegraded:  {FAILED}\n"
    either.say("sched in 60 pid")
    assert (either.data("summary")["degraded"], "Degraded" in either.say("summary")) == (None, False)
    either.database.full = True
    either.after(MINUTE)
    assert (either.data("summary")["degraded"], line in either.say("summary")) == (FAILED, True)
    either.database.full = False
    either.after(SECOND)
    assert (either.data("summary")["degraded"], "Degraded" in either.say("summary")) == (None, False)


def test_the_recovery_is_noticed_although_nothing_is_to_be_written(either: Appliance) -> None:
    either.database.full = True
    either.error("config set a 1")
    before = stored_rows(either)
    for _ in range(3):
        boot = either.clock.moment().boot
        assert either.core.wake() == (None, boot + 1000)
        either.after(SECOND)
        assert (WELL in either.logged(), either.data("summary")["degraded"]) == (False, FAILED)
    either.database.full = False
    either.after(SECOND)
    assert (either.logged(), either.data("summary")["degraded"]) == (WELL, None)
    assert either.core.wake() == (None, None)
    assert stored_rows(either) == before


def test_the_log_does_not_say_recovered_before_a_successful_write(either: Appliance) -> None:
    either.database.full = True
    either.error("config set a 1")
    either.after(SECOND)
    assert WELL not in either.logged()


def test_another_failure_is_logged_too(either: Appliance) -> None:
    either.say("sched in 60 pid")
    either.database.failing_commits = either.database.failing_reads = 1
    logs = []
    for _ in range(3):
        either.after(MINUTE)
        logs.append(either.logged())
    assert logs[:2] == [DEGRADED, ANOTHER]
    assert WELL in logs[2]


def test_each_of_two_alternating_reasons_is_logged_once(either: Appliance) -> None:
    """On a full disk a write fails, and a sync may fail with another error."""
    either.say("sched in 60 pid")
    logs = []
    for _ in range(3):
        either.database.failing_commits = either.database.failing_reads = 1
        for _ in range(2):
            either.after(MINUTE)
            logs.append(either.logged())
    assert logs == [DEGRADED, ANOTHER, "", "", "", ""]
    either.after(SECOND)
    assert WELL in either.logged()
    either.database.failing_commits = 2
    either.error("config set a 1")
    assert DEGRADED in either.logged()


NO_ROW = [
    "pid",
    "version",
    "summary",
    "help sched",
    "sched list",
    "json sched list",
    "sched history",
    "config get message_expiration",
    "nonsense",
]
ROWS = ["config set a 1", "sched in 5 pid", "sched delete example.com-000000001", "run hello", "json run sleep 5"]


@pytest.mark.parametrize("line", NO_ROW)
def test_a_reading_command_is_answered_while_a_due_job_cannot_be_recorded(either: Appliance, line: str) -> None:
    either.say("sched every 60 run sleep 5")
    either.clock.advance(MINUTE)
    either.database.full = True
    for _ in range(2):
        answer = either.ask(line)
        assert TOLD not in (answer.error or "")
        assert answer.ok is (line != "nonsense")
        assert (either.history(), either.started()) == ([], [])
        either.clock.advance(SECOND)
    assert either.say("sched list").count("\n") == 2


@pytest.mark.parametrize("cause", [FragileDatabase.cause, ("database disk image is malformed", sqlite3.SQLITE_CORRUPT)])
@pytest.mark.parametrize("line", ["pid", "version", "help sched", "config get message_expiration"])
def test_a_command_that_needs_no_row_is_answered_while_the_store_cannot_be_read(
    either: Appliance, line: str, cause: tuple[str, int]
) -> None:
    """SQLite takes a failed read of its log for a damaged file."""
    expected = either.say(line)
    either.say("sched in 60 run sleep 5")
    either.database.is_gone, either.database.cause = True, cause
    for _ in range(2):
        either.after(MINUTE)
        assert either.say(line) == expected
    either.database.is_gone = False
    either.after(SECOND)
    assert [start.key.run for start in either.started()] == [KEY]
    agrees_with_its_store(either)


@pytest.mark.parametrize("line", ["pid", "version", "help", "health", "summary", "config status", "authz id"])
def test_a_command_that_needs_no_row_is_answered_in_the_turn_that_finds_the_store_unreadable(
    either: Appliance, line: str
) -> None:
    """The due work of that turn shows first that the appliance is degraded."""
    either.say("sched every 60 run sleep 5")
    either.database.is_gone = True
    either.database.cause = ("database disk image is malformed", sqlite3.SQLITE_CORRUPT)
    for _ in range(3):
        either.clock.advance(MINUTE)
        assert either.ask(line).error is None
    assert either.data("summary")["degraded"] == "the store cannot be written: database disk image is malformed"
    either.database.is_gone = False
    either.after(SECOND)
    agrees_with_its_store(either)


def test_the_status_is_shown_while_the_store_cannot_be_read(either: Appliance) -> None:
    generation = either.data("config status")["generation"]
    either.say("sched in 3600 pid")
    either.database.is_gone = True
    either.after(SECOND)
    summary = either.data("summary")
    assert (summary["jobs"], summary["programs_running"]) == (None, 0)
    assert summary["degraded"] == "the store cannot be written: disk I/O error"
    assert "\tDegraded:  the store cannot be written: " in either.say("summary")
    status = either.data("config status")
    assert (status["generation"], status["degraded"]) == (None, summary["degraded"])
    assert "generation: unknown, since the store cannot be read\ndigest: " in either.say("config status")
    either.database.is_gone = False
    either.after(SECOND)
    assert (either.data("summary")["jobs"], either.data("config status")["generation"]) == (1, generation)


def test_a_log_that_nobody_finds_degrades_the_appliance(either: Appliance) -> None:
    either.say("sched in 3600 pid")
    either.turn(AuditDue("the log is lost; move it back"))
    assert either.say("health").splitlines() == ["the log is lost; move it back"]
    assert either.data("summary")["degraded"] == "the log is lost; move it back"
    assert "degraded reason=log: 1" in either.say("metrics")
    assert either.data("health")["ready"] and either.ask("sched in 3600 pid").ok
    either.turn(AuditDue())
    assert (either.ask("health").output, either.data("summary")["degraded"]) == ("ok\n", None)


@pytest.mark.parametrize("line", ["sched list", "sched history", "sched show example.com-000000001"])
def test_a_command_that_needs_rows_says_that_the_store_cannot_be_read(
    either: Appliance, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.say("sched in 3600 pid")
    either.database.is_gone = True
    monkeypatch.setattr(either.database, "snapshot", lambda: either.database)
    either.after(SECOND, AuditDue())
    commands = either.state.statistics.commands
    error = either.error(line)
    assert error.startswith("the store cannot be read: disk I/O error; ")
    assert either.state.statistics.commands == commands


@pytest.mark.parametrize("line", ["sched history", "json sched history"])
def test_no_piece_of_a_list_is_made_if_the_store_cannot_be_read(
    either: Appliance, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite still has the pages in memory that the turn needs, and the list is made later."""
    either.say("run hello")
    monkeypatch.setattr(either.database, "snapshot", lambda: either.database)
    pieces = either.ask(line).output
    assert not isinstance(pieces, str)
    either.database.is_gone = True
    with pytest.raises(StoreFailed):
        next(pieces)


@pytest.mark.parametrize("line", ROWS)
def test_a_writing_command_fails_while_nothing_can_be_recorded(either: Appliance, line: str) -> None:
    either.say("sched every 60 run sleep 5")
    before = dump(either.store)
    either.database.full = True
    for _ in range(2):
        either.clock.advance(MINUTE)
        answer = either.ask(line)
        assert (answer.error, [d.code for d in answer.diagnostics]) == (TOLD, ["E504"])
        assert audited(line) in either.logged()
    assert dump(either.store) == before
    either.database.full = False
    either.after(SECOND)
    assert [(job.number, job.command) for job in either.store.jobs.page((-1, -1), 9)] == [(1, "run sleep 5")]
    agrees_with_its_store(either)


def test_an_invalid_line_gets_its_own_mistake_before_the_failure_of_the_store(either: Appliance) -> None:
    """Not every error comes from the disk."""
    either.database.full = True
    either.say("pid")
    assert either.error("run helo").startswith("program `helo` is not declared")


@pytest.mark.parametrize(
    "line",
    [
        "pid",
        "sched list",
        "shutdown",
    ],
)
def test_a_reading_command_is_answered_while_another_program_locks_the_store(appliance: Appliance, line: str) -> None:
    with closing(sqlite3.connect(str(appliance.path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert appliance.ask(line).ok


def test_nothing_is_lost_while_another_program_locks_the_store(appliance: Appliance) -> None:
    appliance.say("sched in 60 run sleep 5")
    with closing(sqlite3.connect(str(appliance.path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        appliance.after(MINUTE)
        assert (appliance.started(), "database is locked" in appliance.logged()) == ([], True)
    appliance.after(SECOND)
    assert ([start.key.run for start in appliance.started()], WELL in appliance.logged()) == ([KEY], True)


def test_no_program_starts_before_its_claim_is_recorded(either: Appliance) -> None:
    either.say("sched in 60 run sleep 5")
    either.database.full = True
    for _ in range(3):
        either.after(MINUTE)
        assert (either.started(), either.history(), dict(either.state.running)) == ([], [], {})
    either.database.full = False
    either.after(SECOND)
    assert ([start.key.run for start in either.started()], either.states()) == ([KEY], [(1, 1, "started")])
    agrees_with_its_store(either)


def test_no_queued_run_starts_before_its_start_is_recorded(either: Appliance) -> None:
    either.state.places = 1
    for seconds in (5, 6, 7):
        either.say(f"run sleep {seconds}")
    either.database.full = True
    for event in ([ended(KEY)], [], []):
        either.after(SECOND, *event)
        assert (either.started(), list(either.state.running)) == ([], [KEY])
    either.database.full = False
    either.after(SECOND)
    assert [start.key.run.job for start in either.started()] == [2]
    agrees_with_its_store(either)


def test_a_due_time_during_the_failure_is_caught_up_once(either: Appliance) -> None:
    either.say("sched every 60 config set a 1")
    either.say("sched in 90 config set b 2")
    either.database.full = True
    for _ in range(5):
        either.after(MINUTE)
    assert either.history() == []
    either.database.full = False
    either.after(SECOND)
    assert either.states() == [(1, 4, "missed"), (1, 5, "succeeded"), (2, 1, "succeeded")]
    assert [run.missed_count for run in either.history(1)] == [4, None]
    either.after(SECOND)
    assert len(either.history()) == 3
    agrees_with_its_store(either)


def test_the_next_try_comes_after_a_second_of_boot_time(either: Appliance) -> None:
    either.say("sched in 60 run sleep 5")
    either.database.failing_commits = 1
    either.after(MINUTE)
    boot = either.clock.moment().boot
    assert either.core.wake() == (None, boot + 1000)
    either.after(1000)
    assert len(either.started()) == 1
    assert either.core.wake() == (None, None)


Prepare = Callable[[Appliance], object]
Check = Callable[[Appliance], bool]
EVENTS: dict[str, tuple[Prepare, Check]] = {
    "a drop": (
        lambda a: a.turn(a.dropped("sched in 60 pid\nconfig set message_expiration 1\n")),
        lambda a: a.store.jobs.count() == 1 and len(some(PublishResult, a.effects)) == 1,
    ),
    "new files": (
        lambda a: a.turn(a.read(STANZAS.replace("86400", "5"))),
        lambda a: a.state.options.value("message_expiration") == "5",
    ),
    "a signal to reload": (
        lambda a: a.turn(ReloadRequested("SIGHUP")),
        lambda a: len(some(ReadFiles, a.effects)) == 1,
    ),
}


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("name", EVENTS)
def test_events_of_devices_are_kept_and_tried_again(either: Appliance, name: str, failures: int) -> None:
    """However often it fails."""
    send, is_done = EVENTS[name]
    before = dump(either.store)
    either.database.failing_commits = ALL
    send(either)
    logs = [DEGRADED]
    for number in range(failures):
        assert (dump(either.store), either.logged()) == (before, logs[-1])
        assert {type(effect) for effect in either.effects} <= {LogMessage}
        logs.append("")
        if number == failures - 1:
            either.database.failing_commits = 0
        either.after(SECOND)
    assert is_done(either)
    agrees_with_its_store(either)
    again: list[Effect] = either.after(SECOND)
    assert again == []


@pytest.mark.parametrize("status", [0, 3])
def test_the_end_of_a_program_is_kept_until_it_is_recorded(either: Appliance, status: int) -> None:
    either.state.places = 1
    either.say("run sleep 5")
    either.say("run sleep 6")
    either.database.failing_commits = ALL
    either.turn(ended(KEY, status, output=b"said"))
    assert (either.discarded(), either.started(), list(either.state.running)) == ([], [], [KEY])
    either.after(SECOND, either.typed("pid"))
    either.database.failing_commits = 0
    either.after(SECOND)
    assert (either.discarded(), [start.key.run.job for start in either.started()]) == ([KEY], [2])
    assert either.store.runs.output(KEY) == (b"said", 4)
    assert either.states() == [(1, 1, "failed" if status else "succeeded"), (2, 1, "started")]
    agrees_with_its_store(either)


def test_the_process_of_a_program_is_recorded_later(either: Appliance) -> None:
    either.say("run sleep 5")
    (start,) = either.started()
    either.database.full = True
    either.turn(has_pid(start, 300, 7))
    either.after(SECOND)
    either.database.full = False
    either.after(SECOND)
    assert [a.process for a in either.store.runs.live_attempts()] == [ProcessKey(300, 7)]


def test_a_reload_is_answered_when_it_is_recorded(either: Appliance) -> None:
    either.say("config set message_expiration 1")
    event = either.typed("config reload")
    either.turn(event)
    (request,) = some(ReadFiles, either.effects)
    either.database.full = True
    either.turn(either.read(STANZAS, request.reply_to, request.typed))
    assert some(Reply, either.effects) == []
    assert either.say("config get message_expiration") == "Message_Expiration = 1"
    either.database.full = False
    either.after(SECOND)
    assert either.reply_to(event).ok
    assert either.state.options.value("message_expiration") == "86400"
    agrees_with_its_store(either)


def test_a_timeout_sends_its_signal_even_if_it_cannot_be_recorded(either: Appliance) -> None:
    either.say("run limited")
    either.say("sched in 10 pid")
    either.database.full = True
    either.after(9_999)
    assert either.signalled() == []
    either.after(1)
    assert either.signalled() == [(KEY, signal.SIGTERM)]
    either.after(SECOND)
    assert either.signalled() == []
    assert either.core.wake() == (None, either.clock.moment().boot + 1000)
    either.after(3_999)
    assert either.signalled() == []
    either.after(1)
    assert either.signalled() == [(KEY, signal.SIGKILL)]
    either.after(SECOND, ended(KEY, signal=9))
    either.database.full = False
    either.after(SECOND)
    assert either.signalled() == []
    assert either.states() == [(2, 1, "succeeded"), (1, 1, "timed_out")][::-1]
    agrees_with_its_store(either)


def test_the_appliance_wakes_for_a_timeout_before_the_next_try(either: Appliance) -> None:
    either.say("run limited")
    began = either.clock.moment().boot
    either.say("sched in 9 pid")
    either.database.full = True
    either.after(9_500)
    assert either.core.wake() == (None, began + 10_000)


@pytest.mark.parametrize("why", ["its timeout", "a stop"])
def test_an_end_recorded_late_is_not_taken_for_a_timeout(either: Appliance, why: str) -> None:
    either.say("run limited")
    either.say("run sleep 100")
    either.database.full = True
    either.after(5_000, ended(KEY))
    either.after(6_000, *([SIGTERM] if why == "a stop" else []))
    either.database.full = False
    either.after(SECOND)
    assert [run.state for run in either.history(1)] == ["succeeded"]


def test_undone_work_is_not_counted(either: Appliance) -> None:
    either.say("sched in 60 pid")
    either.database.failing_commits = 2
    either.after(MINUTE)
    either.after(SECOND)
    either.after(SECOND)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.data("summary")["runs_succeeded"] == 1


def test_a_failed_reset_resets_nothing(either: Appliance) -> None:
    either.say("sched in 1 pid")
    either.after(SECOND)
    either.database.failing_commits = 2
    either.error("summary reset")
    assert either.data("summary").get("runs_succeeded") == 1


@pytest.mark.parametrize("line", ["sched every 60 run sleep 5", "sched every 60 config set a 1"])
def test_memory_agrees_with_the_store_even_if_it_was_not_readable_at_once(either: Appliance, line: str) -> None:
    either.say(line)
    either.database.failing_commits = either.database.failing_reads = 1
    either.after(MINUTE)
    either.after(SECOND)
    assert "disk I/O error" in either.logged()
    assert either.states() == []
    either.after(SECOND)
    assert [state for _, _, state in either.states()] in (["started"], ["succeeded"])
    agrees_with_its_store(either)


def test_a_queued_run_is_not_lost_if_the_store_was_not_readable_at_once(either: Appliance) -> None:
    either.state.places = 1
    either.say("run sleep 5")
    either.say("run sleep 6")
    either.database.failing_commits = either.database.failing_reads = 1
    either.turn(ended(KEY))
    for _ in range(5):
        either.after(SECOND)
    assert either.database.failing_reads == 0
    assert either.states() == [(1, 1, "succeeded"), (2, 1, "started")]


def test_a_queued_run_that_was_rolled_back_is_not_searched_for_ever(
    either: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.state.places = 1
    either.say("run sleep 5")
    either.database.failing_commits, either.database.failing_reads = 1, 1
    either.error("run sleep 6")
    looks = iter(range(10))

    def look() -> list[QueuedRun]:
        if next(looks, None) is None:
            raise TooOften
        return Runs.queued(either.store.runs)

    monkeypatch.setattr(either.store.runs, "queued", look)
    either.after(SECOND, ended(KEY))
    assert either.states() == [(1, 1, "succeeded")]


def test_a_failed_override_is_not_in_effect_if_the_store_was_not_readable_at_once(either: Appliance) -> None:
    either.database.failing_commits, either.database.failing_reads = 1, 1
    either.error("config set message_expiration 1")
    either.after(SECOND)
    assert either.say("config get message_expiration") == "Message_Expiration = 86400"


def test_a_store_that_cannot_be_read_between_two_turns_does_not_end_the_appliance(
    either: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(_sql: str, _parameters: Sequence[object] = ()) -> None:
        raise failure("disk I/O error", sqlite3.SQLITE_IOERR)

    either.say("sched in 60 pid")
    with monkeypatch.context() as patched:
        patched.setattr(either.database, "row", row)
        assert either.core.wake() == (None, either.clock.moment().boot + 1000)
    either.after(MINUTE)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.core.wake() == (None, None)


def test_a_line_at_a_full_disk_fails_and_the_appliance_goes_on(appliance: Appliance) -> None:
    long = f"sched in 60 {LONG}"
    with without_room(appliance):
        assert appliance.error(long) == TOLD
        assert appliance.say("pid") == "4711"
        assert appliance.say("sched list").count("\n") == 1
    assert appliance.say(long) == "example.com-000000001"
    agrees_with_its_store(appliance)


def test_a_due_job_that_does_not_fit_runs_when_there_is_space(appliance: Appliance) -> None:
    appliance.say(f"sched every 60 sched in 500 {LONG}")
    with without_room(appliance):
        appliance.after(MINUTE)
        assert (appliance.history(), appliance.logged()) == ([], DEGRADED)
        assert appliance.say("pid") == "4711"
        assert appliance.error(f"sched in 60 {LONG}") == TOLD
    appliance.after(SECOND)
    assert appliance.states() == [(1, 1, "succeeded")]
    agrees_with_its_store(appliance)


OUTPUT = b"x" * 65_536


@pytest.mark.parametrize("large", ["a drop", "the output of a program"])
def test_an_event_that_does_not_fit_does_not_delay_one_that_does(appliance: Appliance, large: str) -> None:
    appliance.say("run sleep 5")
    appliance.say("sched in 5 config set small 1")
    drop, end = appliance.dropped(f"sched in 60 {LONG}\n"), ended(KEY, output=OUTPUT)
    with without_room(appliance):
        appliance.turn(drop if large == "a drop" else end)
        for _ in range(10):
            line = appliance.typed(LONG)
            appliance.after(SECOND, line)
            assert (appliance.reply_to(line).error, appliance.state.status.degraded) == (TOLD, FAILED)
        assert (2, 1, "succeeded") in appliance.states()
        assert (appliance.store.jobs.count(), appliance.store.runs.output(KEY)) == (0, None)
    appliance.after(SECOND)
    assert appliance.logged().splitlines()[-1] == WELL
    assert appliance.store.jobs.count() == (large == "a drop")
    assert appliance.store.runs.output(KEY) == (None if large == "a drop" else (OUTPUT, len(OUTPUT)))
    assert len(some(PublishResult, appliance.past)) == (large == "a drop")
    assert appliance.after(SECOND) == []
    agrees_with_its_store(appliance)


def test_an_end_is_recorded_without_space_for_its_output_so_the_next_run_starts(
    appliance: Appliance,
) -> None:
    appliance.say("sched every 60 run sleep 5")
    appliance.after(MINUTE)
    with without_room(appliance):
        appliance.turn(ended(KEY, 3, output=OUTPUT))
        assert appliance.states() == [(1, 1, "started")]
        appliance.after(SECOND)
        assert (appliance.states(), appliance.discarded()) == ([(1, 1, "failed")], [KEY])
        appliance.after(MINUTE)
        assert appliance.states() == [(1, 1, "failed"), (1, 2, "started")]
    appliance.after(SECOND)
    assert appliance.store.runs.output(KEY) == (OUTPUT, len(OUTPUT))
    agrees_with_its_store(appliance)


def test_a_drop_that_does_not_fit_is_tried_once_a_second(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    handle = core._HANDLERS[DropClaimed]

    def counted(state: State, event: DropClaimed) -> None:
        tried.append(event.name)
        handle(state, event)

    monkeypatch.setitem(core._HANDLERS, DropClaimed, counted)
    drop = appliance.dropped(f"sched in 60 {LONG}\n")
    with without_room(appliance):
        appliance.turn(drop)
        for seconds in range(1, 6):
            _, wake = appliance.core.wake()
            assert wake == appliance.clock.moment().boot + SECOND
            appliance.after(SECOND)
            assert len(tried) == 1 + seconds
    appliance.after(SECOND)
    assert [published.accepted for published in some(PublishResult, appliance.past)] == [True]


def test_drops_are_done_in_order_even_if_one_does_not_fit(appliance: Appliance) -> None:
    drops = [appliance.dropped(f"{line}\n", f"{n}~{n}.cmd") for n, line in enumerate([LONG, "config set a 2"])]
    with without_room(appliance):
        appliance.turn(*drops)
        for _ in range(3):
            appliance.after(SECOND)
        assert some(PublishResult, appliance.past) == []
    appliance.after(SECOND)
    assert [result.name for result in some(PublishResult, appliance.past)] == ["0.cmd", "1.cmd"]
    assert appliance.say("config get a") == "a = 2"


def test_on_a_full_disk_not_every_waiting_event_is_tried(either: Appliance) -> None:
    either.turn(*[either.typed(f"run sleep {n}") for n in range(10)])
    either.database.failing_commits = ALL
    either.turn(*[ended(RunKey(n, 1), output=OUTPUT) for n in range(1, 11)])
    for _ in range(3):
        before = either.database.failing_commits
        either.after(SECOND)
        assert before - either.database.failing_commits == 2, "one end, with its output and without"
    either.database.failing_commits = 0
    either.after(SECOND)
    assert [state for _, _, state in either.states()] == ["succeeded"] * 10
    assert [either.store.runs.output(RunKey(n, 1)) for n in range(1, 11)] == [(OUTPUT, len(OUTPUT))] * 10


def test_a_signal_stops_an_idle_appliance_at_once(either: Appliance) -> None:
    either.say("sched in 60 pid")
    either.database.full = True
    either.after(MINUTE)
    either.after(SECOND, SIGTERM)
    assert some(Stop, either.effects) == [Stop()]
    assert "info: stopping: SIGTERM" in either.logged()


def test_a_signal_stops_the_appliance_after_its_programs_have_ended(appliance: Appliance) -> None:
    for seconds in (5, 6):
        appliance.say(f"run sleep {seconds}")
    appliance.database.full = True
    appliance.turn(ended(KEY, output=b"said"))
    appliance.after(SECOND, SIGTERM)
    assert RunKey(2, 1) in [key for key, number in appliance.signalled() if number == signal.SIGTERM]
    assert some(Stop, appliance.effects) == []
    appliance.after(SECOND, StopRequested("SIGINT"))
    assert (appliance.signalled(), some(Stop, appliance.effects)) == ([], [])
    appliance.after(9 * SECOND)
    assert RunKey(2, 1) in [key for key, number in appliance.signalled() if number == signal.SIGKILL]
    appliance.after(SECOND, ended(RunKey(2, 1), signal=9))
    assert appliance.effects[-1] == Stop()
    appliance.restart()
    assert appliance.states() == [(1, 1, "interrupted"), (2, 1, "interrupted")]
    agrees_with_its_store(appliance)


def test_a_typed_shutdown_stops_the_appliance_too(either: Appliance) -> None:
    either.say("run sleep 5")
    either.say("sched in 60 pid")
    either.database.full = True
    event = either.typed("shutdown")
    either.after(MINUTE, event)
    assert either.reply_to(event).ok
    assert either.signalled() == [(KEY, signal.SIGTERM)]
    assert either.error("pid") == "the appliance is stopping; try again when it has started"
    either.after(SECOND, ended(KEY, signal=15))
    assert either.effects[-1] == Stop()


def test_a_stop_continues_after_the_failure(either: Appliance) -> None:
    """The stop starts while nothing can be written, and ends when everything can be written."""
    either.say("run sleep 5")
    either.say("sched in 60 config set a 1")
    either.database.full = True
    either.after(MINUTE, SIGTERM)
    either.database.full = False
    either.after(SECOND)
    assert (either.started(), some(Stop, either.effects)) == ([], [])
    either.after(SECOND, ended(KEY, signal=15))
    assert either.effects[-1] == Stop()
    assert either.states() == [(1, 1, "interrupted")]
    agrees_with_its_store(either)


def test_a_drop_that_was_not_recorded_before_the_stop_is_done_after_the_next_start(appliance: Appliance) -> None:
    drop = appliance.dropped("sched in 60 pid\n")
    appliance.database.full = True
    appliance.turn(drop)
    appliance.after(SECOND, SIGTERM)
    assert appliance.effects[-1] == Stop()
    assert some(PublishResult, appliance.past) == []
    appliance.restart()
    appliance.turn(drop)
    assert (len(some(PublishResult, appliance.effects)), appliance.store.jobs.count()) == (1, 1)


HUGE = 2_000_000
"""A row above the limit of SQLite: an error that can never pass."""


def with_a_limit(appliance: Appliance) -> None:
    appliance.database._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, HUGE // 2)


@pytest.mark.parametrize("place", range(3))
def test_a_line_that_can_never_be_stored_fails_and_the_others_are_done(either: Appliance, place: int) -> None:
    with_a_limit(either)
    lines = ["config set b 1", "sched in 1 config set c 1"]
    lines.insert(place, f"config set a '{'x' * HUGE}'")
    events = [either.typed(line) for line in lines]
    either.turn(*events)
    assert [either.reply_to(event).ok for event in events] == [number != place for number in range(3)]
    assert "error: a command of user 1000 cannot be stored: string or blob too big; " in either.logged()
    assert "degraded" not in either.logged()
    either.after(SECOND)
    assert [either.say(f"config get {name}") for name in "bc"] == ["b = 1", "c = 1"]
    agrees_with_its_store(either)


def test_the_end_of_a_program_that_can_never_be_stored_fails_alone(either: Appliance) -> None:
    with_a_limit(either)
    either.say("run sleep 5")
    either.say("run sleep 6")
    either.turn(ended(KEY, output=b"x" * HUGE), ended(RunKey(2, 1)), either.typed("config set b 1"))
    assert (
        "error: the output of run example.com-000000001/1 cannot be stored: string or blob too big; " in either.logged()
    )
    assert either.states(2) == [(2, 1, "succeeded")]
    assert either.say("config get b") == "b = 1"
    agrees_with_its_store(either)


def never_stored(table: str, before: str) -> str:
    """A trigger that fails a statement, with an error that does not pass, as of a damaged page."""
    return f"CREATE TEMP TRIGGER never BEFORE {before} ON {table} BEGIN SELECT RAISE(ABORT, 'damaged'); END"


WELL_AGAIN = "DROP TRIGGER never"
ENDS: dict[str, tuple[str, tuple[Event, ...], str]] = {
    "an end": ("attempts", (ended(KEY, 3),), "failed"),
    "an end with output": ("attempts", (ended(KEY, 3, output=b"said"),), "failed"),
    "a start that failed": ("attempts", (ProgramNotStarted(AttemptKey(KEY, 1), "no such file"),), "failed"),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_is_never_discarded_and_nothing_else_waits_for_it(either: Appliance, name: str) -> None:
    table, events, state = ENDS[name]
    either.say("run limited")
    either.database.execute(never_stored(table, "UPDATE OF state"))
    either.say("sched in 60 pid")
    either.turn(*events, either.typed("config set b 1"))
    assert "error: degraded: the store cannot be written: damaged; trying again every second" in either.logged()
    assert "the store cannot be written: damaged" in either.say("summary")
    assert either.say("config get b") == "b = 1"
    either.after(MINUTE)
    assert either.states(2) == [(2, 1, "succeeded")]
    # The program has ended, so its timeout no longer applies.
    assert (either.signalled(), either.logged()) == ([], "")
    either.database.execute(WELL_AGAIN)
    either.after(SECOND)
    assert (either.states(1), WELL in either.logged()) == ([(1, 1, state)], True)
    agrees_with_its_store(either)


def test_a_stop_does_not_wait_for_an_end_that_can_never_be_stored(either: Appliance) -> None:
    either.say("run sleep 5")
    either.database.execute(never_stored("attempts", "UPDATE OF state"))
    either.turn(ended(KEY))
    either.turn(SIGTERM)
    assert len(some(Stop, either.effects)) == 1


def test_files_that_can_never_be_stored_are_rejected_and_the_client_gets_an_error(either: Appliance) -> None:
    event = either.typed("config reload")
    either.turn(event)
    (request,) = some(ReadFiles, either.effects)
    either.say("sched in 5 config reload")
    either.after(5 * SECOND)
    (of_a_job,) = some(ReadFiles, either.effects)
    either.database.execute(never_stored("generations", "INSERT"))
    files = STANZAS.replace("86400", "5")
    either.turn(*(either.read(files, one.reply_to, one.typed) for one in (request, of_a_job)))
    assert "E504 the store cannot be written: damaged" in (either.reply_to(event).error or "")
    assert either.states() == [(1, 1, "failed")]
    assert either.state.options.value("message_expiration") == "86400"
    agrees_with_its_store(either)


@pytest.mark.parametrize(
    ("code", "passing", "locked"),
    [
        (sqlite3.SQLITE_BUSY, True, True),
        (sqlite3.SQLITE_LOCKED, True, True),
        (sqlite3.SQLITE_FULL, True, False),
        (sqlite3.SQLITE_IOERR_WRITE, True, False),
        (sqlite3.SQLITE_READONLY, True, False),
        (sqlite3.SQLITE_TOOBIG, False, False),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False, False),
        (sqlite3.SQLITE_CORRUPT, False, False),
    ],
)
def test_only_errors_of_the_disk_or_a_lock_may_pass(code: int, passing: bool, locked: bool) -> None:
    exception = failure("said", code)
    assert (str(exception), exception.passing, exception.locked) == ("said", passing, locked)


def test_a_start_that_cannot_be_stored_is_tried_again_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance = Appliance(tmp_path / "sched.db")
    with closing(appliance):
        appliance.say("sched every 60 run limited")
        appliance.after(MINUTE)
        (start,) = appliance.started()
        appliance.turn(has_pid(start))
        monkeypatch.setattr(FragileDatabase, "full", True)
        appliance.restart(after_ms=2 * MINUTE, survivors={AttemptKey(KEY, 1): ProcessKey(300, 7)})
        assert appliance.logged() == DEGRADED
        assert dict(appliance.state.running) == {}
        before = dump(appliance.store)
        appliance.turn(ended(KEY, None, output=b"said"))
        assert TOLD in appliance.error("sched in 60 pid")
        assert appliance.say("pid") == "4711"
        appliance.after(SECOND)
        assert (dump(appliance.store), appliance.started()) == (before, [])
        monkeypatch.setattr(FragileDatabase, "full", False)
        appliance.after(SECOND)
        assert WELL in appliance.logged()
        assert appliance.states()[0] == (1, 1, "interrupted")
        assert appliance.store.runs.output(KEY) == (b"said", 4)
        agrees_with_its_store(appliance)


def test_a_clock_that_was_set_before_a_degraded_start_is_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance = Appliance(tmp_path / "sched.db")
    with closing(appliance):
        appliance.say("sched every 60 pid")
        (due,) = appliance.store._database.rows("SELECT next_run_ms FROM jobs")
        monkeypatch.setattr(FragileDatabase, "full", True)
        appliance.clock.step(-10 * MINUTE)
        appliance.restart(after_ms=SECOND)
        appliance.clock.step(-10 * MINUTE)
        appliance.after(2 * SECOND)
        monkeypatch.setattr(FragileDatabase, "full", False)
        appliance.after(2 * SECOND)
        assert appliance.store._database.rows("SELECT next_run_ms FROM jobs") == [(due[0] - 20 * MINUTE,)]
        agrees_with_its_store(appliance)


def test_the_status_of_a_degraded_start_has_no_attempt_and_the_stored_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance = Appliance(tmp_path / "sched.db")
    with closing(appliance):
        appliance.say("sched in 60 pid")
        digest = appliance.data("config status")["digest"]
        monkeypatch.setattr(FragileDatabase, "full", True)
        appliance.restart(after_ms=SECOND)
        status = appliance.data("config status")
        assert status["degraded"]
        assert (status["digest"], status["last_attempt"]) == (
            digest,
            {"time": None, "time_ms": None, "outcome": "never", "diagnostics": []},
        )
        assert "\nlast attempt: never\n" in appliance.say("config status")
        assert "configuration_last_reload_timestamp_seconds" not in str(appliance.data("metrics"))
        monkeypatch.setattr(FragileDatabase, "full", False)
        appliance.after(SECOND)
        assert appliance.data("config status")["last_attempt"]["outcome"] == "accepted"
        assert "configuration_last_reload_timestamp_seconds" in str(appliance.data("metrics"))


def test_a_repair_is_logged_when_its_transaction_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed commit undoes the log line."""
    appliance = Appliance(tmp_path / "sched.db")
    with closing(appliance):
        monkeypatch.setattr(FragileDatabase, "full", True)
        appliance.store.repairs.append("the log was saved")
        appliance.error("sched in 60 pid")
        assert "the log was saved" not in appliance.logged()
        monkeypatch.setattr(FragileDatabase, "full", False)
        appliance.after(SECOND)
        assert "warning: the log was saved" in appliance.logged()
        appliance.say("sched in 60 pid")
        assert "the log was saved" not in appliance.logged()
