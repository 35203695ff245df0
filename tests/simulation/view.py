"""The input of an invariant: the rows, the past, what really runs, and one step of the appliance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import TypeAlias

from schedappliance.clock import Moment
from schedappliance.engine.reasons import REMOVED, SWITCHED_OFF, WHILE_PAUSED
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.schedule import Schedules
from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Configuration, Program
from tests.simulation.journal import Change, JobRow, Rows, RunRow
from tests.simulation.processes import Process

# A move of a run from one state to the next. The first is None before the claim.
Move: TypeAlias = tuple[str | None, str]

# Why due times were missed that no tick has claimed.
NOT_CLAIMED = (WHILE_PAUSED, REMOVED, SWITCHED_OFF)
# The delay that is allowed after the clock was set by less than a step.
SLACK_MS = 2000


@dataclass(slots=True)
class Past:
    """Everything that was ever committed or seen, also if its rows are gone.

    - `claimed`: every run with its last state; `covered`: the last occurrence of a job that a row stands for
    - `jobs`: the command of every job; `numbers`: the last job of each command; `made`: how many jobs each command had
    - `started`: every attempt that was started
    - `due_at`: when a one-shot job is due, unless it has a time of day
    - `ready_at`: the latest time of the next attempt of a run; `wakes`: its exact time, where that is known
    - `boot`: the number of this boot, which also grows when the appliance cannot know whether a start is in the same boot
    - `ran_in`: the boot in which a job of `at = boot` has run last
    - `pushed`: how much steps of the clock may have delayed a job
    - `answered`: the runs whose failure was answered; `replaced`: the runs that a newer one replaced; `stopped`: those that a
      user stopped
    - `streaks`: how many events in a row a declared job has; `told`: the jobs whose incident was told; `subjects`: the job of
      each incident; `due_alerts`, `alerts`: the alerts of this step by job and kind, as they must be and as they are
    - `left_out`: how many events the alerts of this step stand for; `given_up`: how many were removed
    - `late`: the runs that were told as late; `lasted`: how long the successful attempts of a job took
    - `ended_attempts`: how many attempts of each program ended in each state; `ended_of`: how many runs of each declared job did
    - `ends`: how many occurrences ended in each state; `moves`: how often runs made each move
    - `outputs_fail`: whether the appliance knows that outputs cannot be written, so that no program must start
    - `was_set_forward`: whether the clock was set forward since the last turn that was committed
    - `short_until`: until when no program must start, since a start has failed for lack of resources
    """

    claimed: dict[RunKey, str] = field(default_factory=dict)
    covered: dict[int, int] = field(default_factory=dict)
    jobs: dict[int, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    started: set[AttemptKey] = field(default_factory=set)
    due_at: dict[int, int] = field(default_factory=dict)
    ready_at: dict[RunKey, int] = field(default_factory=dict)
    wakes: dict[RunKey, int] = field(default_factory=dict)
    boot: int = 1
    ran_in: dict[int, int] = field(default_factory=dict)
    pushed: Counter[int] = field(default_factory=Counter)
    answered: set[RunKey] = field(default_factory=set)
    replaced: set[RunKey] = field(default_factory=set)
    stopped: set[RunKey] = field(default_factory=set)
    streaks: Counter[int] = field(default_factory=Counter)
    told: set[int] = field(default_factory=set)
    subjects: dict[int, int] = field(default_factory=dict)
    late: set[RunKey] = field(default_factory=set)
    lasted: dict[int, list[int]] = field(default_factory=dict)
    due_alerts: Counter[tuple[int, str]] = field(default_factory=Counter)
    alerts: Counter[tuple[int, str]] = field(default_factory=Counter)
    left_out: int = 0
    given_up: int = 0
    ended_attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended_of: Counter[tuple[int, str]] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    moves: Counter[Move] = field(default_factory=Counter)
    pruned: int = 0
    outputs_fail: bool = False
    was_set_forward: bool = False
    short_until: int = -1


@dataclass
class View:
    """`rows` follow the changes of the step one by one. `policies`: all that were active in the step, often the same.

    `asked`: the commands that were carried out in the step, beside those of jobs. `turned`: the step was a turn, not a
    start; `settled`: a whole turn that was committed; `idle`: a turn that opened no transaction; `in_parts`: a turn whose
    parts were committed one by one, those of lines and drops after what was due. `elapsed` counts the milliseconds of the
    history, whatever the clocks say. `processes` are on their way or run; of the ends in `untold`
    the appliance has been or will be informed; None is a start that failed.
    """

    rows: Rows
    past: Past
    processes: Mapping[AttemptKey, Process]
    untold: Mapping[AttemptKey, Process | None]
    policies: Sequence[Configuration]
    moment: Moment
    elapsed: int
    places: int
    started_wall: int
    # What the core used in this step, for calendar jobs.
    schedules: Schedules | None = None
    changes: Sequence[Change] = ()
    asked: Sequence[str] = ()
    turned: bool = False
    settled: bool = False
    idle: bool = False
    in_parts: bool = False
    # Whether the appliance is held after the step, and whether it was held all the time.
    is_held: bool = False
    was_held: bool = False
    # The planned end of a hold that lasts.
    hold_ends: int | None = None

    def programs(self, name: str) -> list[Program | None]:
        return [configuration.programs.get(name) for configuration in self.policies]

    def may_overlap(self, name: str) -> bool:
        return any(program is not None and program.overlap == "parallel" for program in self.programs(name))

    def must_overlap(self, name: str) -> bool:
        return all(program is not None and program.overlap == "parallel" for program in self.programs(name))

    @cached_property
    def limits(self) -> list[int]:
        """The number of programs that may run, under every policy."""
        return [configuration.max_running or self.places for configuration in self.policies]

    def limits_of(self, name: str) -> list[int]:
        """The same for one program."""
        own = [configuration.most_running(name) for configuration in self.policies]
        return [limit if own is None else own for limit, own in zip(self.limits, own, strict=True)]

    @cached_property
    def claims(self) -> dict[int, list[RunRow]]:
        """The runs that were claimed in the step, by job."""
        claims: dict[int, list[RunRow]] = {}
        for change in self.changes:
            if change.old is None and isinstance(change.new, RunRow):
                claims.setdefault(change.new.job, []).append(change.new)
        return claims

    @cached_property
    def pruned(self) -> dict[RunKey, RunRow]:
        """The runs that were removed in the step."""
        gone = (change.old for change in self.changes if change.new is None)
        return {run.key: run for run in gone if isinstance(run, RunRow)}

    @property
    def ended(self) -> int:
        """How many runs of the history have ended."""
        return len(self.rows.runs) - len(self.rows.live)

    @cached_property
    def ticked(self) -> list[JobRow]:
        """The jobs that the tick claimed, before their claims, in the order of their runs. Jobs that a command ran are left out."""
        if self.was_held:
            # Only changed files claim what is due then, in any order.
            return []
        claimed: list[tuple[int, JobRow]] = []
        for old, new in self.changes if self.claims else ():
            if not isinstance(old, JobRow) or not isinstance(new, JobRow | None):
                continue
            own = [run for run in self.claims.get(old.number, ()) if run.occurrence > old.occurrence]
            by_hand = old.next_run_ms is None or any(run.reason in NOT_CLAIMED for run in own)
            # Such a job is removed by a run by hand too.
            by_hand = by_hand or (old.kind == "run" and self.was_told("sched run", old.number))
            advanced = new is None or (new.occurrence > old.occurrence and new.next_run_ms != old.next_run_ms)
            if own and advanced and not by_hand:
                # Not its first run of the step, which may be a run by hand.
                claimed.append((own[0].sequence, old))
        return [job for _, job in sorted(claimed, key=itemgetter(0))]

    def was_told(self, command: str, job: int) -> bool:
        """Whether a line of this step gives a command about a job."""
        lines = [*self.asked, *(run.command for runs in self.claims.values() for run in runs)]
        return any(command in line and f"{job:09d}" in line for line in lines)

    def startable(self, before: int | None = None) -> Iterator[RunRow]:
        """The runs that wait only for a place, in the order of their claims, up to the run numbered `before`."""
        running = Counter(attempt.program for attempt in self.rows.started.values())
        # A run waits for the running and for the earlier claimed runs of its job.
        busy = {run.job for run in self.rows.live.values() if run.state == RunState.STARTED}
        for run in self.rows.queued():
            if before is not None and run.sequence >= before:
                return
            name = run.program or ""
            free = run.job not in busy or self.must_overlap(name)
            busy.add(run.job)
            if free and not self._is_delayed(run) and running[name] < min(self.limits_of(name)):
                yield run

    def wasted(self) -> Iterator[RunRow]:
        """The runs that wait although there is a place for them, and outputs can be written."""
        is_open = not self.past.outputs_fail and not self.is_held and self.elapsed > self.past.short_until
        if is_open and len(self.rows.started) < min(self.limits):
            yield from self.startable()

    def _is_delayed(self, run: RunRow) -> bool:
        return run.retry_at_ms is not None and self.elapsed <= self.past.ready_at[run.key] + SLACK_MS
