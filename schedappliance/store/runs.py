"""The rows of runs, attempts and outputs. Rule: `engine/states.py` allows every change of a state."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from schedappliance.engine.attempts import EndedRun, Exit, Policy
from schedappliance.engine.metrics import JobEnds
from schedappliance.engine.reasons import Reason
from schedappliance.engine.records import AttemptKey, Job, ProcessKey, RunKey, User
from schedappliance.engine.schedule import Missed
from schedappliance.engine.states import BEGINNINGS, TRANSITIONS, RunState, move
from schedappliance.model.commands import Command, read_command, unpack
from schedappliance.store.database import Table, storable
from schedappliance.store.failures import damaged
from schedappliance.store.history import PastRun, key_of, past_run
from schedappliance.syntax.grammars import GRAMMAR_VERSION

# A run of a guest with more bytes than this is a long one.
LONG_BYTES = 4000
# To find runs that may be pruned, one call examines at most this many rows more than it may remove.
SWEPT_AT_ONCE = 1000
# SQLite stores no value with more bytes.
ANY_OUTPUT = 2**31


@dataclass(slots=True)
class NewRun:
    """A claimed occurrence as it is stored. `packed`: the parsed command, for a run that waits."""

    key: RunKey
    due_ms: int
    state: RunState
    reason: Reason | None = None
    missed: Missed | None = None
    packed: str | None = None
    ended_ms: int | None = None
    answer: str | None = None
    attempts: int = 0


class LiveRun(NamedTuple):
    key: RunKey
    state: RunState
    attempts: int


class QueuedRun(NamedTuple):
    """A run that waits. `sequence`: its place in the order of claims. `retry_at_ms`: when its next attempt is due."""

    sequence: int
    key: RunKey
    command: Command | None
    retry_at_ms: int | None
    uid: int


class NextStart(NamedTuple):
    """The data that the start of a waiting run needs. `attempts`: the number of attempts before this start.

    `is_first`: no start was tried before. A start that failed for a shortage is no attempt.
    """

    due_ms: int
    command: Command | None
    attempts: int
    user: User
    origin: str
    on_failure_of: RunKey | None
    claimed_ms: int
    is_first: bool


class Attempt(NamedTuple):
    """One start of a run's program. `output`: the stored part of its output. `output_bytes`: the size of the whole.

    `boot_id` and `started_boot_ms`: the boot in which it started, and the boot time then. The program is being ended if
    a newer run replaced its run (`replaced`), or a user stopped it (`stopped_by`). `namespace`: the pid namespace in which the
    pid counts; empty if it is not known. `policy`: what it was started with; None if an earlier version started it.
    `is_last`: no attempt follows, since its job was called off.
    """

    key: AttemptKey
    program: str
    state: str
    reason: str | None
    process: ProcessKey | None
    boot_id: str
    started_ms: int
    started_boot_ms: int
    ended_ms: int | None
    exit: Exit
    replaced: bool
    stopped_by: str | None
    output: bytes | None
    output_bytes: int | None
    namespace: str = ""
    policy: Policy | None = None
    is_last: bool = False


class Pruned(NamedTuple):
    """How many runs were removed, with how many bytes of outputs. `swept`: the row behind which the next call continues.

    `is_over`: there are no further rows, so the next call starts at the first one. `noted`: the bytes that were noted of
    the long runs among those that were removed.
    """

    removed: int
    size: int
    swept: int
    is_over: bool
    noted: int = 0


class Runs(Table):
    file = "runs"

    def add(self, job: Job, run: NewRun, now_ms: int) -> int:
        """Claims an occurrence; returns its place in the order of claims.

        UNIQUE(job, occurrence) makes a second claim an error.
        """
        name, row = _insertion(job, run, now_ms)
        cursor = self._database.execute(self._sql[name], row)
        assert cursor.lastrowid is not None
        if job.user.uid:
            self._database.batch.users[self._sql["count_rows"]][job.user.uid] += 1
        self._database.note_change(run.key)
        return cursor.lastrowid

    def record(self, job: Job, run: NewRun, now_ms: int) -> None:
        """As `add`, but deferred, for a run whose place in the order of claims is not needed."""
        name, row = _insertion(job, run, now_ms)
        self._database.batch.add("runs", self._sql[name], row)
        if job.user.uid:
            self._database.batch.users[self._sql["count_rows"]][job.user.uid] += 1
        self._database.note_change(run.key)

    def live(self) -> list[LiveRun]:
        """The runs that have not ended, in the order of their claims."""
        rows = self._database.rows(self._sql["live_runs"])
        live = []
        for job, occurrence, state, attempts, sequence, indexed in rows:
            live.append(LiveRun(RunKey(job, occurrence), _state(state), attempts))
            if live[-1].state not in TRANSITIONS or indexed != sequence:
                raise damaged(f"{live[-1]} differs from its index entries")
        return live

    def queued(self) -> list[QueuedRun]:
        """The runs that wait, in the order of their claims."""
        return [
            QueuedRun(sequence, RunKey(job, number), _command(packed, grammar, text), retry_at, uid)
            for sequence, job, number, text, packed, grammar, retry_at, uid in self._database.rows(
                self._sql["queued_runs"]
            )
        ]

    def last_waiting(self, job: int | None, before: int, since_ms: int, until_ms: int, most: int) -> dict[RunKey, str]:
        """The last runs that wait, with their stored reasons: those that were claimed before a place, and due in a range."""
        rows = self._database.rows(self._sql["waiting_runs"], (before, job, since_ms, until_ms, most))
        return {RunKey(job, occurrence): reason or "" for job, occurrence, reason in rows}

    def waits(self, job: int) -> bool:
        """Whether a run of a job waits."""
        return self._database.row(self._sql["waits"], (job,)) is not None

    def has_due(self, job: int, due_ms: int) -> bool:
        """Whether a job has a run, or a row without a run, for a due time."""
        return self._database.row(self._sql["has_due"], (job, due_ms)) is not None

    def next_start(self, key: RunKey) -> NextStart:
        row = self._database.row(self._sql["queued_run"], key)
        if row is None:
            raise damaged(f"{key} is not found")
        due, text, packed, grammar, attempts, uid, user, origin, claimed, is_first, *failed = row
        command, by = _command(packed, grammar, text), User(uid, user)
        return NextStart(due, command, attempts, by, origin, key_of(*failed), claimed, bool(is_first))

    def start(self, key: AttemptKey) -> None:
        started = self._database.execute(self._sql["start_run"], (*key.run, key.attempt)).rowcount
        assert started == 1, f"{key.run} was not queued"
        self._database.note_change(key.run)

    def queue_again(self, key: RunKey, reason: Reason, retry_at_ms: int) -> int:
        """Lets a run wait for its next attempt; returns its place in the order of claims."""
        row = self._database.row(self._sql["sequence_of"], key)
        if row is None:
            raise damaged(f"{key} is not found")
        queued = self._database.execute(self._sql["queue_run"], (*key, storable(reason), retry_at_ms)).rowcount
        assert queued == 1, f"{key} was not started"
        self._database.note_change(key)
        return int(row[0])

    def set_back(self, milliseconds: int) -> None:
        """Moves the wall times of waiting attempts back after the clock was set back."""
        self._database.execute(self._sql["move_back_retries"], (milliseconds,))

    def forget_attempt(self, key: AttemptKey) -> None:
        """Removes an attempt that never began, so that it does not count."""
        self._database.execute(self._sql["forget_attempt"], (*key.run, key.attempt))
        self._database.execute(self._sql["one_attempt_less"], key.run)

    def count(self) -> int:
        return int(self._database.row(self._sql["count_runs"])[0])

    def count_by_user(self) -> dict[int, int]:
        """How many runs each user has, without root."""
        counts = Counter(dict(self._database.rows(self._sql["runs_of_users"])))
        counts.update(self._database.batch.users[self._sql["count_rows"]])
        return counts

    def prune(self, uid: int, swept: int, most: int, least: int = 0, most_bytes: int | None = None) -> Pruned:
        """Removes at most `most` of the oldest ended runs of a user behind row `swept`, with their attempts and outputs.

        After `least` runs, it stops before their outputs exceed `most_bytes`. One call passes over a limited number of
        rows that stay: runs that are needed, and, if the user is root, runs of others.
        """
        limit = most + SWEPT_AT_ONCE
        if uid:
            end, seen = self._database.row(self._sql["next_of_user_to_sweep"], (uid, swept, limit))
        else:
            end, seen = self._database.row(self._sql["next_to_sweep"], (swept, limit))
        oldest = self._sql["oldest_ended_of_user" if uid else "oldest_ended"]
        bytes_removed = 0
        gone: list[int] = []
        is_full = False
        for sequence, job, occurrence, size in self._database.rows(oldest, (uid, swept, end, most)):
            is_full = len(gone) >= max(least, 1) and most_bytes is not None and bytes_removed + size > most_bytes
            if is_full:
                break
            self._delete(uid, sequence, RunKey(job, occurrence), size > 0)
            gone.append(sequence)
            bytes_removed, swept = bytes_removed + size, sequence
        noted = self._forget_long(uid, gone) if uid and gone else 0
        if is_full or len(gone) == most:
            return Pruned(len(gone), bytes_removed, swept, False, noted)
        is_over = seen < limit
        return Pruned(len(gone), bytes_removed, 0 if is_over else end, is_over, noted)

    def _delete(self, uid: int, sequence: int, key: RunKey, has_outputs: bool) -> None:
        """Removes a run that has ended."""
        batch = self._database.batch
        batch.add("attempts", self._sql["delete_attempts"], key)
        if has_outputs:
            batch.add("outputs", self._sql["delete_outputs"], key)
        batch.add("runs", self._sql["delete_run"], (sequence,))
        if uid:
            batch.users[self._sql["count_rows"]][uid] -= 1

    def _forget_long(self, uid: int, gone: list[int]) -> int:
        """Forgets the long ones among runs of a guest that were removed. Returns the bytes that were noted of them."""
        return sum(size for (size,) in self._database.rows(self._sql["forget_long_runs"], (uid, json.dumps(gone))))

    def note_bytes(self, key: RunKey) -> tuple[int, int]:
        """Notes a run that has ended if it is a long one. Returns its uid, and how many bytes more were noted than before."""
        uid, sequence, size, noted = self._database.row(self._sql["bytes_of_run"], key)
        if size <= LONG_BYTES:
            return uid, 0
        self._database.execute(self._sql["note_long_run"], (uid, sequence, size))
        return uid, size - noted

    def bytes_by_user(self) -> dict[int, int]:
        """How many bytes the long runs of each guest have."""
        return dict(self._database.rows(self._sql["bytes_of_long_runs"]))

    def remove_long(self, uid: int) -> int:
        """Removes the oldest long run of a user that is not needed. Returns its bytes; 0 if there is none."""
        row = self._database.row(self._sql["oldest_long_run"], (uid,))
        if row is None:
            return 0
        sequence, job, occurrence, _ = row
        self._delete(uid, sequence, RunKey(job, occurrence), has_outputs=True)
        return self._forget_long(uid, [sequence])

    def end(self, key: RunKey, state: RunState, reason: Reason | None, now_ms: int, answer: str | None = None) -> None:
        before = [str(old) for old in TRANSITIONS if state in TRANSITIONS[old]]
        ended = (*key, str(state), storable(reason), now_ms, storable(answer), before[0], before[-1])
        if self._database.execute(self._sql["end_run"], ended).rowcount == 1:
            self._database.note_change(key)
            return
        row = self._database.row(self._sql["run_state"], key)
        if row is None:
            raise damaged(f"{key} is not found")
        move(_state(row[0]), state)
        raise damaged(f"{key} cannot be ended, though it is {row[0]}")

    def last_ends(self, jobs: Collection[int]) -> dict[int, JobEnds]:
        rows = self._database.rows(self._sql["last_ends"], (json.dumps(list(jobs)),)) if jobs else []
        return dict.fromkeys(jobs, JobEnds()) | {job: JobEnds(*ends) for job, *ends in rows}

    def history(self, job: int | None, limit: int) -> list[PastRun]:
        """The last runs, the newest first."""
        if job is None:
            rows = self._database.rows(self._sql["history"], (limit,))
        else:
            rows = self._database.rows(self._sql["history_of_job"], (job, limit))
        return [past_run(row) for row in rows]

    def states(self, job: int, limit: int) -> list[tuple[RunKey, RunState]]:
        """The last runs of a job and their states, the newest first. It takes a tenth of the time of `history`."""
        rows = self._database.rows(self._sql["states_of_job"], (job, limit))
        return [(RunKey(job, occurrence), RunState(state)) for occurrence, state in rows]

    def past(self, key: RunKey) -> PastRun | None:
        """One row of the history; None if there is none, or if it was pruned."""
        row = self._database.row(self._sql["past_run"], key)
        return past_run(row) if row else None

    def attempts(self, key: RunKey, limit: int, most_output: int = ANY_OUTPUT) -> list[Attempt]:
        """The last attempts of a run, in their order. Outputs with more bytes than `most_output` are left out."""
        rows = self._database.rows(self._sql["last_attempts"], (most_output, *key, limit))
        return [_attempt(row) for row in reversed(rows)]

    def attempt(self, key: AttemptKey) -> Attempt | None:
        row = self._database.row(self._sql["attempt"], (*key.run, key.attempt))
        return _attempt(row) if row else None

    def answer(self, key: RunKey) -> str | None:
        """The stored answer of an internal command; None if there is none."""
        row = self._database.row(self._sql["answer"], key)
        return row[0] if row else None

    def on_failure_of(self, key: RunKey) -> RunKey | None:
        """The run whose failure this run answers; None if it answers none."""
        row = self._database.row(self._sql["on_failure_of"], key)
        return key_of(*row) if row else None

    def ended(self, key: RunKey, with_output: bool = True) -> EndedRun | None:
        """A run that has ended, with the end of its last attempt and its output; None if it was pruned."""
        row = self._database.row(self._sql["ended_run"], (with_output, *key))
        if row is None:
            return None
        due, state, reason, command, status, number, output = row
        return EndedRun(key, due, _state(state), reason, command, Exit(status, number), output or b"")

    def uid(self, key: RunKey) -> int:
        """The uid of the user of a run; 0 if the run was pruned."""
        row = self._database.row(self._sql["uid_of_run"], key)
        return int(row[0]) if row else 0

    def due_and_command(self, key: RunKey) -> tuple[int, str]:
        row = self._database.row(self._sql["run"], key)
        return int(row[0]), str(row[1])

    def lasted(self, limit: int) -> Iterator[tuple[int, str, int, bool]]:
        """The last attempts, the newest first: job, command, how many milliseconds each took, whether it succeeded."""
        yield from self._database.stream(self._sql["lasted"], (limit,))

    def durations(self, key: RunKey, limit: int) -> list[int]:
        """How long the last runs of the job took that succeeded, up to this one, in milliseconds."""
        return [duration for (duration,) in self._database.rows(self._sql["durations"], (*key, limit))]

    def add_attempt(
        self,
        key: AttemptKey,
        program: str,
        boot_id: str,
        wall_ms: int,
        boot_ms: int,
        namespace: str = "",
        policy: Policy | None = None,
    ) -> None:
        row = (*key.run, key.attempt, program, boot_id, namespace, wall_ms, boot_ms, *_policy_columns(policy))
        self._database.batch.add("attempts", self._sql["add_attempt"], row)

    def set_pid(self, key: AttemptKey, process: ProcessKey, namespace: str = "") -> None:
        self._database.execute(self._sql["set_pid"], (*key.run, key.attempt, *process[:2], namespace))

    def mark_replaced(self, key: AttemptKey) -> None:
        self._database.execute(self._sql["mark_replaced"], (*key.run, key.attempt))

    def mark_last(self, key: AttemptKey) -> None:
        self._database.execute(self._sql["mark_last"], (*key.run, key.attempt))

    def mark_stopped(self, key: AttemptKey, user: str) -> None:
        self._database.execute(self._sql["mark_stopped"], (*key.run, key.attempt, storable(user)))

    def failures(self, key: RunKey) -> int:
        """How many attempts of a run have failed."""
        return int(self._database.row(self._sql["failures"], key)[0])

    def end_attempt(self, key: AttemptKey, state: RunState, reason: Reason | None, now_ms: int, how: Exit) -> None:
        assert state in TRANSITIONS[RunState.STARTED], state
        figures = now_ms, how.status, how.signal, how.cpu_ms, how.memory_bytes, how.took_ms
        self._database.execute(
            self._sql["end_attempt"], (*key.run, key.attempt, state.value, storable(reason), *figures)
        )

    def live_attempts(self) -> list[Attempt]:
        """The attempts whose end is not recorded. At start, these are the attempts that the last daemon left."""
        return [_attempt(row) for row in self._database.rows(self._sql["live_attempts"])]

    def add_output(self, key: AttemptKey, output: bytes, output_bytes: int) -> None:
        self._database.execute(self._sql["add_output"], (*key.run, key.attempt, output, output_bytes))

    def output(self, key: RunKey) -> tuple[bytes, int] | None:
        """The stored output of a run's last attempt, and the size of the whole output in bytes."""
        for last in self.attempts(key, 1):
            if last.output is not None and last.output_bytes is not None:
                return last.output, last.output_bytes
        return None


def _attempt(row: Any) -> Attempt:
    """A row of the view `stored_attempts`."""
    job, occurrence, attempt, program, state, reason, pid, ticks, namespace, *columns = row
    boot_id, started_ms, started_boot_ms, ended_ms, status, signal, cpu_ms, memory_bytes, took_ms, *columns = columns
    replaced, stopped_by, output, output_bytes, is_last, *policy = columns
    return Attempt(
        AttemptKey(RunKey(job, occurrence), attempt),
        program,
        state,
        reason,
        ProcessKey(pid, ticks or 0) if pid else None,
        boot_id,
        started_ms,
        started_boot_ms,
        ended_ms,
        Exit(status, signal, None, cpu_ms, memory_bytes, took_ms),
        bool(replaced),
        stopped_by,
        output,
        output_bytes,
        namespace or "",
        _policy(*policy),
        bool(is_last),
    )


def _policy_columns(policy: Policy | None) -> tuple[int | str | None, ...]:
    if policy is None:
        return (None,) * 4
    return policy.timeout_ms, policy.kill_after_ms, " ".join(map(str, policy.success)), policy.output_limit


def _policy(
    timeout: int | None, kill_after: int | None, success: str | None, output_limit: int | None
) -> Policy | None:
    if kill_after is None:
        return None
    if success is None or output_limit is None or not re.fullmatch("[0-9 ]*", success):
        raise damaged("what an attempt was started with is not complete")
    return Policy(timeout, kill_after, tuple(map(int, success.split())), output_limit)


def _insertion(job: Job, run: NewRun, now_ms: int) -> tuple[str, tuple[Any, ...]]:
    """The statement that adds a run, and its values.

    Most runs need 13 of the 19 columns. Without the other six a burn-down of internal commands takes 8 % less CPU
    time (`benchmarks/pricing.py`): `sqlite3` needs 0.3 µs to bind a None.
    """
    assert run.state in BEGINNINGS
    row = (
        *run.key,
        run.due_ms,
        str(run.state),
        run.reason and storable(run.reason),
        job.text,
        *job.user,
        job.origin,
        run.attempts,
        now_ms,
        run.ended_ms,
        run.answer and storable(run.answer),
    )
    missed, packed, failed = run.missed, run.packed, job.on_failure_of
    if missed is None and packed is None and failed is None:
        return "add_run", row
    count, since_ms = (missed.count, missed.since_ms) if missed else (None, None)
    return "add_whole_run", (
        *row,
        count,
        since_ms,
        packed,
        GRAMMAR_VERSION if packed else None,
        *(failed or (None, None)),
    )


def _state(text: str) -> RunState:
    try:
        return RunState(text)
    except ValueError:
        raise damaged(f"a run is `{text}`") from None


def _command(packed: str | None, grammar: int | None, text: str) -> Command | None:
    """The command of a waiting run. A run that started when it was claimed has stored only the text."""
    if packed is not None and grammar is not None:
        command = unpack(packed, grammar, text)
        return command.bare if command else None
    read = read_command(text).command
    return read.bare if read else None


def may_be_long(command: str, reason: str | None, answer: str | None = None) -> bool:
    """Whether a run with these texts and no output may be a long one: a character takes at most four bytes."""
    return 4 * (len(command) + len(reason or "") + len(answer or "")) > LONG_BYTES
