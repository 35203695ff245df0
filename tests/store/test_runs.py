"""The rows of runs, attempts and outputs, in a file and in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schedappliance.engine.attempts import EndedRun, Exit, Policy
from schedappliance.engine.reasons import Reason
from schedappliance.engine.records import AttemptKey, Job, NewJob, ProcessKey, RunKey, User
from schedappliance.engine.schedule import Missed
from schedappliance.engine.states import BEGINNINGS, RunState
from schedappliance.model.commands import pack, read_command
from schedappliance.store.failures import StoreFailed
from schedappliance.store.runs import Attempt, NewRun, NextStart, Pruned
from schedappliance.store.tables import Store

COMMAND = read_command("run hello").command
assert COMMAND is not None
PACKED = pack(COMMAND)
KEY = RunKey(1, 1)


OPERATOR, OTHER, ROOT = User(1000, "operator"), User(1001, "other"), User(0, "root")


def job(number: int = 1, on_failure_of: RunKey | None = None, user: User = OPERATOR) -> Job:
    return Job(number, "in", 5000, None, 0, "run hello", COMMAND, user, "spool", on_failure_of=on_failure_of)


def claim(
    store: Store,
    key: RunKey = KEY,
    state: RunState = RunState.STARTED,
    missed: Missed | None = None,
    attempts: int = 0,
    user: User = OPERATOR,
) -> None:
    packed = PACKED if state is RunState.QUEUED else None
    store.runs.add(
        job(key.job, user=user), NewRun(key, 5000, state, missed=missed, packed=packed, attempts=attempts), 5001
    )


def test_an_occurrence_is_claimed_once(store: Store) -> None:
    claim(store)
    with pytest.raises(StoreFailed, match=r"UNIQUE constraint failed: runs\.job, runs\.occurrence"):
        claim(store, state=RunState.MISSED)
    claim(store, RunKey(1, 2))
    claim(store, RunKey(2, 1))
    assert [run.key for run in store.runs.history(None, 10)] == [(2, 1), (1, 2), (1, 1)]


@pytest.mark.parametrize("state", sorted(set(RunState) - BEGINNINGS))
def test_a_run_cannot_be_added_in_an_end_state(store: Store, state: RunState) -> None:
    with pytest.raises(AssertionError):
        claim(store, state=state)


@pytest.mark.parametrize("state", sorted(BEGINNINGS))
def test_every_first_state_can_be_stored(store: Store, state: RunState) -> None:
    claim(store, state=state, missed=Missed(3, 1000, 5000) if state is RunState.MISSED else None)
    (run,) = store.runs.history(1, 10)
    assert (run.key, run.due_ms, run.state, run.claimed_ms) == (KEY, 5000, state, 5001)
    assert (run.command, run.user, run.origin) == ("run hello", "operator", "spool")
    assert (run.missed_count, run.missed_since_ms) == ((3, 1000) if state is RunState.MISSED else (None, None))
    assert [run.state for run in store.runs.live()] == ([state] if state in ("queued", "started") else [])


def test_queued_runs_come_in_the_order_of_their_claims(store: Store) -> None:
    for number in (9, 3, 5):
        claim(store, RunKey(number, 1), RunState.QUEUED)
    assert [run.key.job for run in store.runs.queued()] == [9, 3, 5]
    assert {run.command for run in store.runs.queued()} == {COMMAND}
    store.runs.start(AttemptKey(RunKey(3, 1), 1))
    assert [run.key.job for run in store.runs.queued()] == [9, 5]
    assert [(run.key.job, run.state.value, run.attempts) for run in store.runs.live()] == [
        (9, "queued", 0),
        (3, "started", 1),
        (5, "queued", 0),
    ]


def test_a_run_ends_once(store: Store) -> None:
    claim(store)
    store.runs.end(KEY, RunState.FAILED, Reason("exit status 3"), 9000, "said")
    (run,) = store.runs.history(1, 10)
    assert (run.state, run.reason, run.ended_ms) == ("failed", "exit status 3", 9000)
    with pytest.raises(AssertionError, match="does not go from failed to succeeded"):
        store.runs.end(KEY, RunState.SUCCEEDED, None, 9001)
    with pytest.raises(StoreFailed, match="the store is damaged"):
        store.runs.end(RunKey(1, 2), RunState.SUCCEEDED, None, 9001)


def test_an_end_that_changes_no_row_means_damage(store: Store) -> None:
    claim(store)
    store._database.execute("CREATE TRIGGER foreign_one BEFORE UPDATE ON runs BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(StoreFailed, match=r"the store is damaged: .* cannot be ended, though it is started"):
        store.runs.end(KEY, RunState.FAILED, Reason("exit status 3"), 9000)


def test_an_attempt_has_a_process_and_an_end(store: Store) -> None:
    claim(store, attempts=1)
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 70)
    started = Attempt(
        AttemptKey(KEY, 1), "hello", "started", None, None, "boot", 5001, 70, None, Exit(), False, None, None, None
    )
    assert store.runs.live_attempts() == [started]
    store.runs.set_pid(AttemptKey(KEY, 1), ProcessKey(300, 7))
    assert store.runs.live_attempts() == [started._replace(process=ProcessKey(300, 7))]
    store.runs.mark_replaced(AttemptKey(KEY, 1))
    assert store.runs.live_attempts() == [started._replace(process=ProcessKey(300, 7), replaced=True)]
    store.runs.mark_stopped(AttemptKey(KEY, 1), "alice")
    assert [attempt.stopped_by for attempt in store.runs.live_attempts()] == ["alice"]
    store.runs.end_attempt(
        AttemptKey(KEY, 1), RunState.FAILED, Reason("exit status 3"), 9000, Exit(3, None, None, 20, 4096, 3999)
    )
    assert store.runs.live_attempts() == []
    (run,) = store.runs.history(None, 1)
    assert (run.attempts, run.exit_status, run.exit_signal, run.cpu_ms, run.memory_bytes) == (1, 3, None, 20, 4096)
    (attempt,) = store.runs.attempts(KEY, 1)
    assert (attempt.exit.cpu_ms, attempt.exit.memory_bytes, attempt.exit.took_ms) == (20, 4096, 3999)


@pytest.mark.parametrize(
    "policy",
    [
        None,
        Policy(None, 0, (), 0),
        Policy(None, 10_000, (0,), 65_536),
        Policy(3_153_600_000_000, 5, (0, 3, 255), 1 << 24),
    ],
)
def test_an_attempt_has_what_it_was_started_with(store: Store, policy: Policy | None) -> None:
    claim(store, attempts=1)
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 70, policy=policy)
    assert [attempt.policy for attempt in store.runs.live_attempts()] == [policy]
    assert [attempt.policy for attempt in store.runs.attempts(KEY, 1)] == [policy]


@pytest.mark.parametrize("wrong", ["success = NULL", "success = '0, 3'", "output_limit = NULL"])
def test_a_policy_that_is_not_complete_is_damage(store: Store, wrong: str) -> None:
    claim(store, attempts=1)
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 70, policy=Policy(None, 10_000, (0,), 0))
    with store.transaction():
        store._database.execute(f"UPDATE attempts SET {wrong}")
    with pytest.raises(StoreFailed, match="damaged: what an attempt was started with is not complete"):
        store.runs.live_attempts()


def test_the_history_shows_the_status_of_the_attempt_that_counts(store: Store) -> None:
    claim(store, attempts=2)
    for attempt in (1, 2):
        store.runs.add_attempt(AttemptKey(KEY, attempt), "hello", "boot", 5001, 70)
        store.runs.end_attempt(AttemptKey(KEY, attempt), RunState.FAILED, Reason(""), 9000, Exit(attempt))
    assert [(run.attempts, run.exit_status) for run in store.runs.history(1, 9)] == [(2, 2)]


def test_an_attempt_cannot_be_added_twice(store: Store) -> None:
    claim(store)
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 70)
    with pytest.raises(StoreFailed, match="UNIQUE"), store.transaction():
        store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 70)


def test_each_attempt_has_its_output_and_the_last_is_that_of_the_run(store: Store) -> None:
    assert store.runs.output(KEY) is None
    for attempt, output in ((1, b"first"), (2, b"\0\xffsec")):
        store.runs.add_attempt(AttemptKey(KEY, attempt), "hello", "boot", 5001, 70)
        assert store.runs.output(KEY) is None
        store.runs.add_output(AttemptKey(KEY, attempt), output, 70_000)
        assert store.runs.output(KEY) == (output, 70_000)
    assert [(made.key.attempt, made.output) for made in store.runs.attempts(KEY, 9)] == [
        (1, b"first"),
        (2, b"\0\xffsec"),
    ]
    assert [made.key.attempt for made in store.runs.attempts(KEY, 1)] == [2]


def test_the_history_is_newest_first_and_survives_the_job(store: Store) -> None:
    for occurrence in range(1, 6):
        claim(store, RunKey(1, occurrence), RunState.SUCCEEDED)
    assert [run.key.occurrence for run in store.runs.history(1, 3)] == [5, 4, 3]
    assert (store.runs.history(2, 3), store.jobs.get(1)) == ([], None)


def test_only_known_states_can_be_stored(store: Store) -> None:
    claim(store)
    with pytest.raises(StoreFailed, match="CHECK"):
        store._database.execute("UPDATE runs SET state = 'lost'")
    for state in RunState:
        store._database.execute("UPDATE runs SET state = ?", (state.value,))


def test_a_run_waits_again_for_its_next_attempt(store: Store) -> None:
    claim(store, RunKey(9, 1), RunState.QUEUED)
    claim(store, attempts=1)
    assert store.runs.queue_again(KEY, Reason("attempt 1 failed"), 7000) == 2
    assert [(run.sequence, run.key, run.command, run.retry_at_ms) for run in store.runs.queued()] == [
        (1, (9, 1), COMMAND, None),
        (2, KEY, COMMAND, 7000),
    ]
    assert store.runs.next_start(KEY) == NextStart(5000, COMMAND, 1, job().user, "spool", None, 5001, False)
    with pytest.raises(AssertionError, match="was not started"):
        store.runs.queue_again(KEY, Reason("again"), 7000)
    store.runs.start(AttemptKey(KEY, 2))
    (run,) = store.runs.history(1, 10)
    assert (run.state, run.reason, run.attempts) == ("started", None, 2)
    with pytest.raises(AssertionError, match="was not queued"):
        store.runs.start(AttemptKey(KEY, 3))


@pytest.mark.parametrize("user", [OPERATOR, ROOT])
def test_the_oldest_ended_runs_are_removed_with_attempts_and_outputs(store: Store, user: User) -> None:
    for number, state in enumerate(("succeeded", "started", "failed", "queued", "succeeded"), 1):
        key = RunKey(number, 1)
        claim(store, key, RunState(state), user=user)
        store.runs.add_attempt(AttemptKey(key, 1), "hello", "boot", 5001, 70)
        store.runs.add_output(AttemptKey(key, 1), b"said", 4)
    assert store.runs.prune(OTHER.uid, 0, 2) == Pruned(0, 0, 0, True)
    assert store.runs.count_by_user() == ({user.uid: 5} if user.uid else {})
    done = store.runs.prune(user.uid, 0, 2)
    assert (done, store.runs.count()) == (Pruned(2, 8, 3, False), 3)
    assert store.runs.count_by_user() == ({user.uid: 3} if user.uid else {})
    left = [2, 4, 5]
    assert [run.key.job for run in store.runs.history(None, 10)] == left[::-1]
    for table in ("attempts", "outputs"):
        assert [row[0] for row in store._database.rows(f"SELECT job FROM {table} ORDER BY job")] == left
    assert [store.runs.prune(user.uid, done.swept, 5) for _ in range(2)] == [
        Pruned(1, 4, 0, True),
        Pruned(0, 0, 0, True),
    ]
    assert store.runs.count() == 2


def answers(store: Store, key: RunKey, failed: RunKey, state: RunState) -> None:
    """Claims a run that answers the failure of another one."""
    packed = PACKED if state is RunState.QUEUED else None
    store.runs.add(job(key.job, failed), NewRun(key, 5000, state, packed=packed), 5001)


@pytest.mark.parametrize("waits", ["job", "queued", "started"])
def test_a_failed_run_stays_until_its_answer_has_ended(store: Store, waits: str) -> None:
    """The program that answers it needs it for its environment, however many runs have followed."""
    claim(store, attempts=1)
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 1)
    store.runs.add_output(AttemptKey(KEY, 1), b"out", 3)
    store.runs.end_attempt(AttemptKey(KEY, 1), RunState.FAILED, Reason("exit status 3"), 9000, Exit(3))
    store.runs.end(KEY, RunState.FAILED, Reason("exit status 3"), 9000)
    claim(store, RunKey(2, 1), RunState.SUCCEEDED)
    if waits == "job":
        assert COMMAND is not None
        user = User(0, "@config")
        number = store.jobs.add(NewJob("in", 9000, None, COMMAND, user, "stanza", on_failure_of=KEY), 9000)
    else:
        answers(store, RunKey(7, 1), KEY, RunState(waits))
    run = store.runs.ended(KEY)
    assert run == EndedRun(KEY, 5000, RunState.FAILED, "exit status 3", "run hello", Exit(3), b"out")
    assert store.runs.ended(KEY, with_output=False) == replace(run, output=b"")
    assert (store.runs.prune(OPERATOR.uid, 0, 5).removed, store.runs.ended(KEY)) == (1, run)
    if waits == "job":
        store.jobs.delete(number)
    else:
        store.runs.end(RunKey(7, 1), RunState.FAILED, None, 9000)
    assert store.runs.prune(OPERATOR.uid, 0, 1).removed == 1
    assert store.runs.ended(KEY) is None


def test_a_run_names_the_run_whose_failure_it_answers(store: Store) -> None:
    claim(store)
    answers(store, RunKey(2, 1), KEY, RunState.QUEUED)
    assert [run.on_failure_of for run in store.runs.history(None, 10)] == [KEY, None]
    assert (store.runs.on_failure_of(RunKey(2, 1)), store.runs.on_failure_of(KEY)) == (KEY, None)
    assert store.runs.next_start(RunKey(2, 1)).on_failure_of == KEY


def test_the_outcome_of_a_run_is_that_of_its_last_attempt(store: Store) -> None:
    claim(store, attempts=2)
    for attempt, output in ((1, b"first"), (2, b"")):
        store.runs.add_attempt(AttemptKey(KEY, attempt), "hello", "boot", 5001, 1)
        if output:
            store.runs.add_output(AttemptKey(KEY, attempt), output, len(output))
        store.runs.end_attempt(AttemptKey(KEY, attempt), RunState.FAILED, Reason("x"), 9000, Exit(None, 9 + attempt))
    store.runs.end(KEY, RunState.FAILED, Reason("x"), 9000)
    assert store.runs.ended(KEY) == EndedRun(KEY, 5000, RunState.FAILED, "x", "run hello", Exit(None, 11), b"")
    assert store.runs.ended(RunKey(9, 9)) is None


def test_a_run_with_a_file_name_that_is_not_utf_8_is_recorded(store: Store) -> None:
    run = NewRun(KEY, 5000, RunState.FAILED, Reason("in f\udcffr.conf"), ended_ms=5001, answer="\udcff")
    with store.transaction():
        store.runs.record(job(), run, 5001)
    assert [past.reason for past in store.runs.history(1, 9)] == ["in f\\udcffr.conf"]


def test_an_attempt_with_a_directory_that_is_not_utf_8_is_recorded(store: Store) -> None:
    claim(store, attempts=1)
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 1)
    store.runs.end_attempt(AttemptKey(KEY, 1), RunState.FAILED, Reason("in /\udcff"), 9000, Exit(3))
    store.runs.queue_again(KEY, Reason("in /\udcff"), 9500)
    assert [attempt.reason for attempt in store.runs.attempts(KEY, 9)] == ["in /\\udcff"]
    assert [run.reason for run in store.runs.history(1, 9)] == ["in /\\udcff"]


def test_an_invalid_text_affects_only_its_row(store: Store) -> None:
    """Whichever query reads it first."""
    claim(store)
    claim(store, RunKey(2, 1))
    store.runs.add_attempt(AttemptKey(KEY, 1), "hello", "boot", 5001, 1)
    store.runs.end_attempt(AttemptKey(KEY, 1), RunState.SUCCEEDED, None, 6001, Exit(0, took_ms=1000))
    store._database.execute("UPDATE runs SET command = CAST(x'72ff6e' AS TEXT) WHERE job = 1")
    assert list(store.runs.lasted(9)) == [(1, "r\ufffdn", 1000, True)]
    # Only this query replaces invalid bytes: that takes all other queries twice the time.
    assert store._database._connection.text_factory is str
    assert [run.command for run in store.runs.history(None, 9)] == ["run hello", "r\ufffdn"]
    store._database._connection.text_factory = str
    assert store.runs.due_and_command(KEY) == (5000, "r\ufffdn")
