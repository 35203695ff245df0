"""The look-ahead: what is due soon is decided before its due time, and committed at it or undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import copy, deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedappliance.clock import ManualClock, Moment
from schedappliance.core.state import State
from schedappliance.core.turn import (
    BATCH,
    HORIZON_MS,
    JOBS_PER_MS,
    LEAD_MS,
    MOST_LEAD_MS,
    MOST_OVERSLEPT_MS,
    SleepUntil,
)
from schedappliance.engine.effects import Effect, LookUpUser, StartProgram
from schedappliance.engine.metrics import LATENESS
from tests.support.core import MINUTE, OPERATOR, SECOND, STANZAS, START_MS, Appliance, dump, ended, failure, some

DUE = START_MS + 60 * SECOND
PROGRAMS = """\
program "once" { argv = ( "/bin/true" ) overlap = queue max_running = 1 }
program "newest" { argv = ( "/bin/true" ) overlap = replace on_failure = "config set speed 9" }
program "retried" { argv = ( "/bin/false" ) retries = 2 retry_delay = 30 timeout = 50 }
job "declared" { command = "run once" every = 7 }
"""


@pytest.fixture
def memory() -> Iterator[Appliance]:
    with closing(Appliance(None)) as appliance:
        yield appliance


def sleeping(
    clock: ManualClock, *, early_ms: int = 0, late_ms: int = 0, step_ms: int = 0, decides_ms: int = 0
) -> SleepUntil:
    """A sleep that something interrupts before its instant, or that takes longer; meanwhile somebody sets the clock.

    `decides_ms`: how long the decision has taken.
    """

    def sleep_until(wall_ms: int) -> tuple[Moment, Moment]:
        before = clock.advance(decides_ms)
        clock.advance(max(0, wall_ms - early_ms + late_ms - clock.moment().wall))
        return before, clock.step(step_ms)

    return sleep_until


def look(appliance: Appliance, **what: int) -> list[Effect]:
    """Wakes early, and looks ahead."""
    wall, _ = appliance.core.wake_early()
    assert wall is not None
    appliance.clock.advance(max(0, wall - appliance.clock.moment().wall))
    effects = appliance.core.look_ahead(appliance.clock.moment(), sleeping(appliance.clock, **what))
    appliance.effects = effects
    return effects


def approach(appliance: Appliance, **what: int) -> list[Effect]:
    """Wakes at the begin of the horizon, then looks ahead."""
    assert look(appliance) == []
    return look(appliance, **what)


def in_memory(state: State) -> dict[str, Any]:
    """Everything in memory that a turn may change, apart from its moment and from caches of rows."""
    lanes = {name: sorted(lane) for name, lane in state.queue.lanes.items()}
    users, metrics = state.users, state.metrics
    fields = {
        name: copy(value) if isinstance(value, list | set | dict) else value for name, value in vars(state).items()
    }
    del fields["moment"]
    return fields | {
        "queue": (lanes, state.queue.number, state.queue.changes.copy()),
        "live": (dict(state.live), state.live.total, state.live.changes.copy()),
        "running": (dict(state.running), state.running.jobs, state.running.changes.copy()),
        "parked": (dict(state.parked), state.parked.changes.copy()),
        "awaited": (dict(state.awaited), state.awaited.changes.copy()),
        "users": (users.events.copy(), deepcopy(users.jobs), users.wanted.copy(), deepcopy(users.asked)),
        "metrics": (metrics.counters.copy(), deepcopy(metrics.histograms)),
        "statistics": deepcopy(state.statistics),
        "pruning": deepcopy(state.pruning),
        "store": (state.store.node, state.store._database.counts.copy(), bool(state.store._database.batch)),
    }


@contextmanager
def nothing_changes(appliance: Appliance) -> Iterator[None]:
    rows, memory = dump(appliance.store), in_memory(appliance.state)
    yield
    assert dump(appliance.store) == rows
    after = in_memory(appliance.state)
    assert {name: (memory[name], value) for name, value in after.items() if value != memory[name]} == {}


def test_a_due_job_is_decided_early_and_committed_at_its_due_time(memory: Appliance) -> None:
    memory.say("sched in 60 run hello")
    assert look(memory) == []
    assert memory.clock.moment().wall == DUE - HORIZON_MS
    assert memory.core.wake_early()[0] == DUE - LEAD_MS
    (start,) = some(StartProgram, look(memory))
    assert (memory.clock.moment().wall, start.started_ms) == (DUE, DUE)
    (run,) = memory.history()
    assert (run.state, run.due_ms, run.claimed_ms) == ("started", DUE, DUE)
    assert memory.state.moment == memory.clock.moment()


def test_more_due_jobs_need_more_time(memory: Appliance) -> None:
    memory.turn(*(memory.typed("sched in 60 config set speed 1") for _ in range(10 * JOBS_PER_MS)))
    look(memory)
    assert memory.core.wake_early()[0] == DUE - LEAD_MS - 10
    assert HORIZON_MS >= LEAD_MS + BATCH / JOBS_PER_MS
    look(memory)
    assert len(memory.history()) == 10 * JOBS_PER_MS


def test_a_decision_that_comes_too_late_makes_the_next_ones_begin_earlier(memory: Appliance) -> None:
    """Code that has not run for a second takes 15 ms on some machines, so each job was that late."""
    memory.say("sched every 60 config set speed 1")
    leads = []
    for number, decides_ms in enumerate((20, 20, 0, 0, 1000, 0)):
        assert look(memory) == []
        begin = memory.core.wake_early()[0]
        assert begin is not None
        leads.append(DUE + number * MINUTE - begin)
        look(memory, decides_ms=decides_ms)
        assert len(memory.history()) == number + 1
    assert leads == [LEAD_MS, 24, 24, 23, 22, MOST_LEAD_MS]


INTERRUPTIONS = {
    "an event": {"early_ms": 1},
    "a clock that is set back": {"step_ms": -SECOND},
    "a clock that is set forward": {"early_ms": 3, "step_ms": 10},
    "a suspend": {"late_ms": MOST_OVERSLEPT_MS + 1},
    "a suspend while the clock is set back": {"late_ms": 3600 * SECOND, "step_ms": -3600 * SECOND},
}


@pytest.mark.parametrize("what", INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_anything_else_abandons_it_and_the_next_turn_decides(memory: Appliance, what: dict[str, int]) -> None:
    memory.say("sched in 60 run hello")
    look(memory)
    memory.clock.advance(DUE - LEAD_MS - memory.clock.moment().wall)
    memory.turn()
    with nothing_changes(memory):
        assert look(memory, **what) == []
    memory.clock.advance(60 * SECOND)
    assert len(some(StartProgram, memory.turn())) == 1


def test_there_is_one_for_each_due_time(memory: Appliance) -> None:
    """Otherwise many lines before a due time would let the same decision be made in vain again and again."""
    memory.say("sched every 60 run hello")
    approach(memory, early_ms=2)
    assert memory.core.wake_early()[0] == DUE
    assert look(memory) != []
    assert approach(memory) != []
    assert [run.claimed_ms for run in memory.history()] == [DUE, DUE + 60 * SECOND]


def test_the_time_after_the_due_time_counts_as_lateness(memory: Appliance) -> None:
    memory.turn(memory.typed("sched in 60 run hello"), memory.typed("sched in 60 pid"))
    approach(memory, late_ms=100)
    assert memory.state.metrics.histograms[LATENESS, ()][-1] == pytest.approx(0.2)
    (wait, *_), total = memory.state.metrics.histograms["run_wait_seconds", ()][:1], 0
    assert (wait, total) == (1, 0)


def test_a_decision_that_takes_too_long_is_committed_at_once(memory: Appliance) -> None:
    """The next turn would decide as slowly."""
    memory.say("sched in 60 run hello")
    assert len(some(StartProgram, approach(memory, decides_ms=3 * MOST_OVERSLEPT_MS))) == 1
    assert memory.state.metrics.histograms[LATENESS, ()][-1] == pytest.approx(3 - LEAD_MS / 1000)


NOTHING_TO_LOOK_AHEAD_AT = {
    "nothing is due": "pid",
    "a program gets a signal before": "run limited",
    "held": "sched hold",
    "stopping": "shutdown",
}


@pytest.mark.parametrize("line", NOTHING_TO_LOOK_AHEAD_AT.values(), ids=NOTHING_TO_LOOK_AHEAD_AT)
def test_the_next_turn_decides_when_it_is_not_certain_what_comes_first(memory: Appliance, line: str) -> None:
    if line != "pid":
        memory.say("sched in 10 run hello")
    memory.say(line)
    memory.clock.advance(10 * SECOND - HORIZON_MS)
    memory.turn()
    assert memory.core.wake_early() == memory.core.wake()


def test_a_store_that_is_degraded_is_not_written_early(memory: Appliance) -> None:
    memory.say("sched in 1 run hello")
    memory.database.failing_commits = 1
    memory.turn(ended((1, 1)))  # type: ignore[arg-type]
    assert memory.core.wake_early() == memory.core.wake() == (None, memory.clock.moment().boot + SECOND)


def test_a_count_that_fails_leaves_it_to_the_next_turn(memory: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.say("sched in 60 run hello")
    look(memory)

    def count_due(*_: object) -> int:
        raise failure("disk I/O error", 10)

    monkeypatch.setattr(memory.store.jobs, "count_due", count_due)
    assert memory.core.wake_early()[0] == DUE


def test_a_commit_that_fails_is_tried_again_by_the_next_turn(memory: Appliance) -> None:
    memory.say("sched in 60 run hello")
    look(memory)
    memory.database.failing_commits = 1
    with nothing_changes(memory):
        assert look(memory) == []
    assert memory.core.is_settled
    assert len(some(StartProgram, memory.turn())) == 1


def test_a_clock_that_was_set_is_followed_first(memory: Appliance) -> None:
    memory.say("sched in 60 run hello")
    look(memory)
    memory.core.wake_early()
    memory.clock.step(HORIZON_MS - LEAD_MS + 3600 * SECOND)
    look(memory)
    assert "the clock was set forward" in memory.logged()


def test_an_unknown_user_is_asked_for_before_the_due_time(memory: Appliance) -> None:
    roles = 'Authorization { Role "r" { allow = ( ".*" ) users = ( "1000" ) } }\n'
    memory.turn(memory.read(STANZAS + roles))
    memory.say("sched in 60 run hello")
    (asked,) = approach(memory)
    assert asked == LookUpUser(OPERATOR.uid)
    assert memory.clock.moment().wall == DUE - LEAD_MS
    memory.turn(memory.looked_up(asked))
    assert memory.core.wake_early()[0] == DUE
    memory.clock.advance(LEAD_MS)
    assert len(some(StartProgram, memory.turn())) == 1


# Random histories

LINES = st.sampled_from(
    [
        "sched in {n} run hello",
        "sched in {n} run once",
        "sched every {n} run newest",
        "sched in {n} run retried",
        "sched every {n} run sleep {n}",
        "sched in {n} run nowhere",
        "sched in {n} config set speed {n}",
        "sched in {n} config set program once max_running {n}",
        "sched in {n} sched every {n} run once",
        "sched in {n} sched pause declared",
        "sched in {n} sched run declared",
        "sched in {n} sched delete example.com-000000001",
        "sched in {n} sched hold for {n}",
        "sched in {n} config reload",
        "sched in {n} shutdown",
        "run once",
        "run retried",
        "sched hold for {n}",
        "sched pause declared",
        "sched resume declared",
        "config set history {n}",
        "sched run declared --wait",
    ]
)
STEPS = st.lists(st.tuples(LINES, st.integers(1, 9), st.integers(0, 3), st.booleans()), min_size=1, max_size=12)


def texts(effects: list[Effect]) -> list[str]:
    return [str(effect) for effect in effects]


def histories(steps: list[tuple[str, int, int, bool]], *appliances: Appliance) -> Iterator[None]:
    """Lives the same history in two appliances, and stops two milliseconds before due times."""
    first, second = appliances
    for line, number, waits, fails in steps:
        typed = [one.turn(one.typed(line.format(n=number))) for one in appliances]
        assert texts(typed[0]) == texts(typed[1])
        for _ in range(waits):
            for one in appliances:
                end_oldest(one, fails)
            due, _ = first.core.wake()
            if due is None:
                break
            for one in appliances:
                one.clock.advance(max(0, due - 2 - one.clock.moment().wall))
                one.turn()
            if (first.core.wake()[0], first.state.status.hold) == (due, None):
                yield
            for one in appliances:
                one.clock.advance(max(0, due - one.clock.moment().wall))
            assert texts(first.turn()) == texts(second.turn())
            assert dump(first.store) == dump(second.store)
            if not first.state.stopping:
                assert first.data("metrics")["job_ends"] == second.data("metrics")["job_ends"]


def end_oldest(appliance: Appliance, fails: bool) -> None:
    """Ends the program that has run for the longest time."""
    if key := min(appliance.state.running, default=None):
        appliance.turn(ended(key, status=int(fails), attempt=appliance.state.running[key].key.attempt))


@settings(max_examples=60)
@given(STEPS, st.integers(1, 3))
def test_an_abandoned_look_ahead_leaves_no_trace(steps: list[tuple[str, int, int, bool]], max_running: int) -> None:
    """It changes neither memory nor rows, and everything that follows is as without it."""
    looking, other = (Appliance(None, STANZAS + PROGRAMS, max_running) for _ in range(2))
    with closing(looking), closing(other):
        for _ in histories(steps, looking, other):
            abandon(looking)


def abandon(appliance: Appliance) -> None:
    with nothing_changes(appliance):
        assert appliance.core.look_ahead(appliance.clock.moment(), sleeping(appliance.clock, early_ms=2)) == []


@settings(max_examples=60)
@given(STEPS, st.integers(1, 3))
def test_a_committed_look_ahead_is_a_turn_at_its_due_time(
    steps: list[tuple[str, int, int, bool]], max_running: int
) -> None:
    looking, other = (Appliance(None, STANZAS + PROGRAMS, max_running) for _ in range(2))
    with closing(looking), closing(other):
        for _ in histories(steps, looking, other):
            before = looking.clock.moment()
            effects = looking.core.look_ahead(before, sleeping(looking.clock))
            if looking.state.moment != before:
                assert looking.state.moment.wall == before.wall + 2
                assert texts(effects) == texts(other.core.turn((), looking.state.moment))


def test_an_abandoned_look_ahead_leaves_nothing_in_what_metrics_keep_of_the_rows(memory: Appliance) -> None:
    """A due `json metrics` reads rows that are undone, such as the end of a run."""
    memory.turn(memory.read(STANZAS + 'job "setting" { command = "config set speed 1" every = 7 }'))
    memory.say("sched in 1 json metrics")
    assert memory.next_runs() == [(1, START_MS + SECOND), (2, START_MS + SECOND)]
    memory.clock.advance(SECOND - 2)
    memory.turn()
    memory.core.wake()
    abandon(memory)
    kept = memory.data("metrics")["job_ends"]
    memory.state.metrics.forget_jobs()
    assert memory.data("metrics")["job_ends"] == kept


def test_metrics_read_no_history_again_after_an_abandoned_look_ahead(memory: Appliance) -> None:
    """It took 10 ms of the next answer with 1,000 jobs, and more with a long history."""
    memory.turn(memory.read(STANZAS + 'job "setting" { command = "config set speed 1" every = 7 }'))
    memory.after(SECOND)
    memory.data("metrics")
    kept, (job, runs) = dict(memory.state.metrics.rows), next(iter(memory.state.metrics.jobs.items()))
    memory.clock.advance(7 * SECOND - 2)
    memory.turn()
    memory.core.wake()
    abandon(memory)
    assert memory.state.metrics.rows == kept == {job: runs.row(job)}
    memory.after(2)
    assert memory.state.metrics.jobs[job].number == {"succeeded": 2}
