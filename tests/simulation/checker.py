"""Follows the rows from commit to commit and checks every invariant at every step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from schedappliance.engine.effects import Answer, PublishResult, StartProgram
from schedappliance.engine.reasons import AFTER_REPLACED
from schedappliance.engine.records import AttemptKey
from schedappliance.engine.states import RunState
from tests.simulation import alerts, counting, invariants, promises
from tests.simulation.journal import LIVE, AttemptRow, Change, JobRow, Rows, RunRow, followed, stored
from tests.simulation.processes import NOT_LOOKED_UP
from tests.simulation.view import Past, View
from tests.simulation.zones import LONGEST_GAP_MS

LEFT_OUTPUTS = "SELECT job, occurrence FROM outputs WHERE (job, occurrence) NOT IN (SELECT job, occurrence FROM runs)"


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Checker:
    """`rows` and `past` include all steps so far."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.past = Past()

    def step(self, view: View) -> None:
        """One commit, or the commits of one turn."""
        for change in view.changes:
            self._change(view, change)
            self._note(view, change)
            _hold("alerts_follow_the_runs", alerts.follow(view, change))
            _hold("a_counter_never_goes_back", counting.follow(self.past, self.rows, change))
            self.rows.apply(change)
        _hold("each_event_is_told_once", alerts.each_event_is_told_once(view))
        _hold("late_runs_are_told", alerts.late_runs_are_told(view) if view.settled else ())
        for invariant in invariants.OF_A_STEP if view.changes else ():
            _hold(invariant.__name__, invariant(view))
        for invariant in invariants.OF_A_TURN if view.settled else ():
            _hold(invariant.__name__, invariant(view))

    def _change(self, view: View, change: Change) -> None:
        match change:
            case Change(RunRow() | None as old, RunRow() | None as new):
                for of_a_run in invariants.OF_A_RUN:
                    _hold(of_a_run.__name__, of_a_run(view, old, new))
            case Change(AttemptRow() | None as old, AttemptRow() | None as new):
                for of_an_attempt in invariants.OF_AN_ATTEMPT:
                    _hold(of_an_attempt.__name__, of_an_attempt(view, old, new))
            case Change(JobRow() | None as old, JobRow() | None as new):
                for of_a_job in invariants.OF_A_JOB:
                    _hold(of_a_job.__name__, of_a_job(view, old, new))

    def world(self, view: View) -> None:
        """Checks the world after the effects of the step."""
        for invariant in promises.OF_THE_WORLD:
            _hold(invariant.__name__, invariant(view))

    def wake(self, view: View, at: int | None) -> None:
        """Checks the instants until which the appliance is about to sleep."""
        _hold("it_wakes_in_time", promises.it_wakes_in_time(view, at))

    def order(self, view: View, effect: StartProgram) -> None:
        for invariant in promises.OF_A_START:
            _hold(invariant.__name__, invariant(view, effect))

    def begin(self, name: AttemptKey) -> None:
        """Checks and notes that a program really starts."""
        hold("no_attempt_is_started_twice", name in self.past.started, f"{name} begins again")
        self.past.started.add(name)

    def answer(self, view: View, line: str, answer: Answer) -> None:
        for invariant in promises.OF_AN_ANSWER:
            _hold(invariant.__name__, invariant(view, line, answer))

    def drop(self, view: View, lines: Sequence[str], result: PublishResult) -> None:
        _hold("a_drop_happens_once", promises.a_drop_happens_once(view, lines, result))

    def whole(self, connection: sqlite3.Connection) -> None:
        """Checks that the store holds exactly what was committed."""
        actual, wanted = stored(connection), followed(self.rows)
        for table in actual:
            wrong = actual[table] ^ wanted[table]
            hold("what_was_committed_is_there", bool(wrong), f"{table}: {wrong}")
        left = connection.execute(LEFT_OUTPUTS).fetchall()
        hold("outputs_go_with_their_runs", bool(left), f"{left}")
        for invariant in counting.OF_THE_STORE:
            _hold(invariant.__name__, invariant(connection, self.past))

    def set_back(self, milliseconds: int) -> None:
        """The wall clock was set back, and the appliance can know it. The part beyond whole periods delays a job.

        A calendar job waits for one more of its due times at most.
        """
        for job in self.rows.jobs.values():
            longest = LONGEST_GAP_MS if job.kind == "calendar" else job.interval_ms or 0
            self.past.pushed[job.number] += min(milliseconds, longest)

    def delay(self, milliseconds: int) -> None:
        """A change of the clock may delay all waiting jobs, and the appliance cannot know it."""
        for number in self.rows.jobs:
            self.past.pushed[number] += milliseconds
        for key in self.past.ready_at:
            self.past.ready_at[key] += milliseconds
        self.past.wakes.clear()

    def start(self) -> None:
        """After a start, the wall clock decides when a waiting attempt is due."""
        self.past.wakes.clear()
        self.past.outputs_fail = False

    def _note(self, view: View, change: Change) -> None:
        past = self.past
        if isinstance(change.new, RunRow):
            state = change.old.state if isinstance(change.old, RunRow) else None
            past.moves[state, change.new.state] += state != change.new.state
            past.claimed[change.new.key] = change.new.state
            if change.new.state not in LIVE:
                past.ends[change.new.state] += change.new.missed_count or 1
        if isinstance(job := change.new, JobRow) and job.boot_delay_ms is not None and job.next_run_ms is None:
            # A row that is only written again ran earlier, perhaps in an earlier boot.
            was_due = not isinstance(change.old, JobRow) or change.old.next_run_ms is not None
            past.ran_in[job.number] = past.boot if was_due else past.ran_in.get(job.number, past.boot)
        match change:
            case Change(None, JobRow() as job):
                past.jobs[job.number] = job.command
                past.numbers[job.command] = job.number
                past.made[job.command] += 1
                if job.kind == "run" and job.failed is not None:
                    past.answered.add(job.failed)
                if job.kind in ("in", "run"):
                    past.due_at[job.number] = view.elapsed + (job.next_run_ms or 0) - view.moment.wall
            case Change(JobRow() as old, JobRow() as job) if job.occurrence > old.occurrence:
                if job.next_run_ms != old.next_run_ms:
                    past.pushed.pop(job.number, None)
            case Change(RunRow(), None):
                past.pruned += 1
            case Change(_, AttemptRow() as attempt) if attempt.stopped_by is not None:
                past.stopped.add(attempt.key.run)
            case Change(RunRow(state=RunState.QUEUED), RunRow(state=RunState.CANCELLED) as run):
                if (run.reason or "").startswith("stopped by "):
                    past.stopped.add(run.key)
            case Change(None, RunRow() as run):
                past.covered[run.job] = run.occurrence
                if run.reason == AFTER_REPLACED:
                    past.replaced |= {other.key for other in self.rows.live_of(run.job) if other.program}
            case Change(RunRow(), RunRow(state=RunState.QUEUED) as run) if run.retry_at_ms is not None:
                past.ready_at[run.key] = view.elapsed + run.retry_at_ms - view.moment.wall
                past.wakes[run.key] = past.ready_at[run.key]
                # A look-up that fails delays only its own run.
                if (run.reason or "").endswith("; it is tried again") and NOT_LOOKED_UP not in (run.reason or ""):
                    past.short_until = past.ready_at[run.key]
            case _:
                pass


def hold(invariant: str, wrong: bool, what: str) -> None:
    """Raises Broken if an invariant that is checked once does not hold."""
    if wrong:
        raise Broken(invariant, what)


def _hold(invariant: str, complaints: Iterable[str] | Iterator[str]) -> None:
    for complaint in complaints:
        raise Broken(invariant, complaint)
