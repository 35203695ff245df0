"""A store that fails: whoever typed is told, memory agrees with the store again, and what came is tried once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from schedappliance.engine.effects import Effect, Log, PublishResult, ReadFiles, Reply, Stop
from schedappliance.engine.events import StopRequested
from schedappliance.engine.options import Options
from schedappliance.engine.records import RunKey
from schedappliance.store.database import StoreFailed
from schedappliance.store.runs import QueuedRun, Runs
from tests.core.building import MINUTE, SECOND, STANZAS, Appliance, dump, ended, some

KEY = RunKey(1, 1)
FULL = "the store cannot be written: database or disk is full"


class TooOften(Exception):
    """Something was done again and again."""


def agrees_with_its_store(appliance: Appliance) -> None:
    """Everything that memory and store both hold is the same."""
    state, runs = appliance.state, appliance.store.runs.live()
    assert state.live == Counter(run.key.job for run in runs)
    assert state.status.queued == sum(run.state == "queued" for run in runs)
    assert set(state.running) == {attempt.key for attempt in appliance.store.runs.live_attempts()}
    wanted = Options(state.configuration, appliance.store.settings.overrides())
    assert state.options.overrides == wanted.overrides
    assert (state.removed, state.effects) == (set(), [])
    generation = appliance.store.settings.last_generation()
    assert generation is not None
    assert state.status.digest == generation.digest


LINES = [
    "sched in 60 pid",
    "sched delete example.com-000000001",
    "config set message_expiration 1",
    "run sleep 5",
    "run unset",
    "config reload",
    "shutdown",
    "pid",
]


@pytest.mark.parametrize("line", LINES)
def test_whoever_typed_is_told_and_nothing_was_done(either: Appliance, line: str) -> None:
    either.say("sched in 3600 pid")
    before = dump(either.store)
    either.database.failing_commits = 1
    answer = either.ask(line)
    assert answer.error == f"{FULL}; nothing was changed; see that its disk has room and is writable"
    assert [d["code"] for d in answer.diagnostics] == ["E504"]
    assert [type(effect) for effect in either.effects] == [Log, Reply]
    assert either.logged() == f"error: {FULL}; nothing was done"
    assert (dump(either.store), either.state.waiting, either.state.stopping) == (before, {}, False)
    agrees_with_its_store(either)
    either.after(SECOND)
    assert (either.effects, dump(either.store)) == ([], before)
    event = either.typed(line)
    either.turn(event)
    assert some(ReadFiles, either.effects) if line == "config reload" else either.reply_to(event).ok


def test_every_line_of_the_turn_is_told(either: Appliance) -> None:
    events = [either.typed(line) for line in LINES]
    either.database.failing_commits = 1
    either.turn(*events)
    assert [either.reply_to(event).ok for event in events] == [False] * len(LINES)


def test_nothing_starts_whose_claim_was_not_recorded(either: Appliance) -> None:
    either.say("sched in 60 run sleep 5")
    either.database.failing_commits = 3
    for _ in range(3):
        either.after(MINUTE)
        assert (either.started(), either.history(), either.state.running) == ([], [], {})
        agrees_with_its_store(either)
    either.after(SECOND)
    assert ([start.key for start in either.started()], either.states()) == ([KEY], [(1, 1, "started")])
    agrees_with_its_store(either)


def test_it_tries_again_after_a_second_of_boot_time(either: Appliance) -> None:
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
    "a stop": (
        lambda a: a.turn(StopRequested("SIGTERM")),
        lambda a: a.effects[-1] == Stop(),
    ),
}


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("name", EVENTS)
def test_what_comes_from_elsewhere_is_kept_and_tried_again(either: Appliance, name: str, failures: int) -> None:
    send, done = EVENTS[name]
    before = dump(either.store)
    either.database.failing_commits = failures
    send(either)
    for _ in range(failures):
        assert (dump(either.store), [type(effect) for effect in either.effects]) == (before, [Log])
        agrees_with_its_store(either)
        either.after(SECOND)
    assert done(either)
    agrees_with_its_store(either)
    again: list[Effect] = either.after(SECOND)
    assert again == []


@pytest.mark.parametrize("status", [0, 3])
def test_the_end_of_a_program_is_kept_until_it_is_recorded(either: Appliance, status: int) -> None:
    either.state.max_running = 1
    either.say("run sleep 5")
    either.say("run sleep 6")
    either.database.failing_commits = 2
    either.turn(ended(KEY, status, output=b"said"))
    assert (either.discarded(), either.started(), list(either.state.running)) == ([], [], [KEY])
    either.after(SECOND, either.typed("pid"))
    either.after(SECOND)
    assert (either.discarded(), [start.key.job for start in either.started()]) == ([KEY], [2])
    assert either.store.runs.output(KEY) == (b"said", 4)
    assert either.states() == [(1, 1, "failed" if status else "succeeded"), (2, 1, "started")]
    agrees_with_its_store(either)


def test_a_reload_is_answered_when_it_is_recorded(either: Appliance) -> None:
    event = either.typed("config reload")
    either.turn(event)
    (request,) = some(ReadFiles, either.effects)
    either.say("config set message_expiration 1")
    either.database.failing_commits = 1
    either.turn(either.read(STANZAS, request.requester, request.typed))
    assert some(Reply, either.effects) == []
    assert either.state.options.value("message_expiration") == "1"
    either.after(SECOND)
    assert either.reply_to(event).ok
    assert either.state.options.value("message_expiration") == "86400"
    agrees_with_its_store(either)


def test_a_timeout_that_could_not_be_recorded_is_signalled_later(either: Appliance) -> None:
    either.say("run limited")
    either.say("sched in 10 pid")
    either.database.failing_commits = 1
    either.after(10_000)
    assert either.signalled() == []
    either.after(SECOND)
    assert [key for key, _ in either.signalled()] == [KEY]


def test_it_waits_for_the_next_try_also_when_a_timeout_has_passed(either: Appliance) -> None:
    either.say("run limited")
    either.say("sched in 10 pid")
    either.database.failing_commits = 1
    either.after(10_000)
    assert either.core.wake() == (None, either.clock.moment().boot + 1000)


def test_what_was_undone_is_not_counted(either: Appliance) -> None:
    either.say("sched in 60 pid")
    either.database.failing_commits = 2
    either.after(MINUTE)
    either.after(SECOND)
    either.after(SECOND)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.data("summary")["runs_succeeded"] == 1


def test_a_reset_that_was_refused_resets_nothing(either: Appliance) -> None:
    either.say("sched in 1 pid")
    either.after(SECOND)
    either.database.failing_commits = 1
    either.error("summary reset")
    assert either.data("summary").get("runs_succeeded") == 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("sched every 60 run sleep 5"),
        "sched every 60 config set a 1",
    ],
)
def test_memory_agrees_with_the_store_also_when_it_could_not_be_read_at_once(either: Appliance, line: str) -> None:
    either.say(line)
    either.database.failing_commits = either.database.failing_reads = 1
    either.after(MINUTE)
    assert "the store cannot be read: disk I/O error" in either.logged()
    either.after(SECOND)
    assert [state for _, _, state in either.states()] in (["started"], ["succeeded"])


def test_a_waiting_run_is_not_forgotten_when_the_store_could_not_be_read_at_once(either: Appliance) -> None:
    either.state.max_running = 1
    either.say("run sleep 5")
    either.say("run sleep 6")
    either.database.failing_commits = either.database.failing_reads = 1
    either.turn(ended(KEY))
    for _ in range(5):
        either.after(SECOND)
    assert either.states() == [(1, 1, "succeeded"), (2, 1, "started")]


def test_it_does_not_look_for_ever_for_a_waiting_run_that_was_undone(
    either: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.state.max_running = 1
    either.say("run sleep 5")
    either.database.failing_commits = either.database.failing_reads = 1
    either.error("run sleep 6")
    looks = iter(range(10))

    def look(limit: int) -> list[QueuedRun]:
        if next(looks, None) is None:
            raise TooOften
        return Runs.queued(either.store.runs, limit)

    monkeypatch.setattr(either.store.runs, "queued", look)
    either.after(SECOND, ended(KEY))
    assert either.states() == [(1, 1, "succeeded")]


def test_an_override_is_not_in_effect_when_the_store_could_not_be_read_at_once(either: Appliance) -> None:
    either.database.failing_commits = either.database.failing_reads = 1
    either.error("config set message_expiration 1")
    either.after(SECOND)
    assert either.say("config get message_expiration") == "Message_Expiration = 86400"


def test_a_store_that_cannot_be_read_between_two_turns_does_not_end_the_appliance(
    either: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(_sql: str, _parameters: Sequence[object] = ()) -> None:
        raise StoreFailed("disk I/O error")

    either.say("sched in 60 pid")
    monkeypatch.setattr(either.database, "row", row)
    wall, boot = either.core.wake()
    assert (wall, boot) != (None, None)


def test_a_line_at_a_full_disk_fails_and_the_appliance_goes_on(appliance: Appliance) -> None:
    """A real limit of SQLite's instead of one that is played."""
    pages = appliance.database.row("PRAGMA page_count")[0]
    appliance.database.execute(f"PRAGMA max_page_count = {pages}")
    long = f"sched in 60 config set a '{'x' * 60_000}'"
    assert "the store cannot be written: database or disk is full" in appliance.error(long)
    assert appliance.say("pid") == "4711"
    assert appliance.say("sched list").count("\n") == 1
    appliance.database.execute("PRAGMA max_page_count = 1000000")
    assert appliance.say(long) == "example.com-000000001"
    agrees_with_its_store(appliance)


def test_a_command_that_writes_nothing_is_answered_while_a_due_job_cannot_be_recorded(appliance: Appliance) -> None:
    appliance.say(f"sched every 60 sched in 5 config set a '{'x' * 60_000}'")
    pages = appliance.database.row("PRAGMA page_count")[0]
    appliance.database.execute(f"PRAGMA max_page_count = {pages}")
    appliance.after(MINUTE)
    assert appliance.history() == []
    assert appliance.say("pid") == "4711"


def test_it_can_be_stopped_while_the_store_cannot_be_written(appliance: Appliance) -> None:
    appliance.say("run sleep 5")
    appliance.state.max_running = 1
    pages = appliance.database.row("PRAGMA page_count")[0]
    appliance.database.execute(f"PRAGMA max_page_count = {pages}")
    appliance.turn(ended(KEY, output=b"x" * 65_536))
    appliance.after(SECOND, StopRequested("SIGTERM"))
    appliance.after(SECOND)
    assert appliance.state.stopping
