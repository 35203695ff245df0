"""The invariants of the rows: small pure functions that yield what is wrong.

The invariants of a job, a run or an attempt are checked for every change of such a row, before it is applied; those of
a step after all of its changes; those of a turn after it was committed as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from schedappliance.core.pruning import SLACK
from schedappliance.engine.attempts import Exit
from schedappliance.engine.records import AT_BOOT, AttemptKey
from schedappliance.engine.schedule import LATE_MS, MOST_AT_ONCE, Schedules
from schedappliance.engine.states import BEGINNINGS, FAILURES, TRANSITIONS, RunState
from tests.simulation.journal import LIVE, AttemptRow, JobRow, RunRow
from tests.simulation.view import SLACK_MS, View
from tests.simulation.zones import LONGEST_GAP_MS, modelled_due

OfAJob = Callable[[View, JobRow | None, JobRow | None], Iterator[str]]
OfARun = Callable[[View, RunRow | None, RunRow | None], Iterator[str]]
OfAnAttempt = Callable[[View, AttemptRow | None, AttemptRow | None], Iterator[str]]
OfAStep = Callable[[View], Iterator[str]]


# Of a job


def ids_are_never_reused(view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    if old is None and new is not None and new.number <= max(view.past.jobs, default=0):
        yield f"job {new.number} comes after job {max(view.past.jobs)}"


def the_phase_of_a_job_is_kept(_view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    """Due times differ by whole periods, however late a run was and whatever happens to the clock."""
    if old is None or new is None or old.next_run_ms is None or new.next_run_ms is None:
        return
    same = (old.interval_ms, old.schedule) == (new.interval_ms, new.schedule)
    if same and old.interval_ms and (new.next_run_ms - old.next_run_ms) % old.interval_ms:
        yield f"job {old.number} moves from {old.next_run_ms} to {new.next_run_ms}"


def no_job_is_lost(view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    """A job is removed after its last run, when a command deletes it, or when the files no longer declare it.

    The job of an alert is also removed when another alert stands for its events; see alerts.py.
    """
    if old is None or new is not None:
        return
    done = (
        old.interval_ms is None
        and old.kind != "calendar"
        and any(run.occurrence > old.occurrence for run in view.claims.get(old.number, ()))
    )
    undeclared = old.declared is not None and any(old.declared not in policy.jobs for policy in view.policies)
    gives_way = any(alert.job == old.number for alert in view.rows.alerts.values())
    if not (done or undeclared or gives_way or is_deleted(view, old.number)):
        yield f"job {old.number} was removed: {old}"


def is_deleted(view: View, job: int) -> bool:
    """Whether a command of this step deletes a job."""
    return view.was_told("sched delete", job)


def a_failure_is_answered_once(view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    """The command of `on_failure` answers it, unless the failed run itself answers a failure."""
    if old is not None or new is None or new.failed is None or new.kind != "run":
        return
    failed = view.rows.runs.get(new.failed)
    programs = view.programs(failed.program or "") if failed else []
    commands = [program.on_failure.command.text for program in programs if program and program.on_failure]
    is_wrong = failed is None or failed.state not in FAILURES or failed.failed_job is not None
    if is_wrong or new.command not in commands or new.failed in view.past.answered:
        yield f"job {new.number} answers {failed}: {new}"


def a_calendar_gives_the_due_times(view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    """Each next due time is one of the calendar. After a claim, it is the first one after now."""
    if new is None or new.kind != "calendar" or new.next_run_ms is None or view.schedules is None:
        return
    if old is not None and old.next_run_ms == new.next_run_ms:
        return
    position = [change.new for change in view.changes].index(new)
    later = [change.old for change in view.changes[position + 1 :]]
    if any(isinstance(row, JobRow) and row.number == new.number for row in later):
        # Zone data that arrived later in the same turn has moved it, or other files have removed it; that change is judged.
        return
    calendar = view.schedules.calendar(new.schedule or "")
    if calendar.explain(new.next_run_ms) is None:
        yield f"job {new.number} is due at {new.next_run_ms}, which its calendar does not have"
    is_claimed = old is not None and old.next_run_ms is not None and new.occurrence > old.occurrence
    if (is_claimed or old is None) and new.next_run_ms != calendar.next_after(view.moment.wall):
        yield f"job {new.number} is due at {new.next_run_ms}, not at its first due time after now"
    modelled = modelled_due(new.schedule or "", view.schedules.zones, view.moment.wall) if is_claimed else None
    if modelled is not None and new.next_run_ms != modelled:
        yield f"job {new.number} is due at {new.next_run_ms}, not at {modelled}: {new.schedule}"


def no_due_time_is_forgotten(view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    """A calendar job whose due time has come does not move without a claim, unless the clock was set forward."""
    if (
        old is None
        or new is None
        or new.kind != "calendar"
        or old.schedule != new.schedule
        or view.past.was_set_forward
    ):
        return
    now, was_on = view.moment.wall, old.enabled and new.enabled
    if was_on and (old.next_run_ms or now + 1) <= now < (new.next_run_ms or now) and new.occurrence == old.occurrence:
        yield f"job {new.number} moves from {old.next_run_ms} to {new.next_run_ms} without a run"


def a_boot_gives_one_run(view: View, old: JobRow | None, new: JobRow | None) -> Iterator[str]:
    """A job of `at = boot` that has run in a boot is not due again in it, also if the boot hides its id."""
    if old is None or new is None or new.boot_delay_ms is None or not (old.schedule or "").startswith(AT_BOOT):
        return
    if view.past.ran_in.get(new.number) == view.past.boot and old.next_run_ms is None and new.next_run_ms is not None:
        yield f"job {new.number} is due again in this boot: {new}"


OF_A_JOB: tuple[OfAJob, ...] = (
    ids_are_never_reused,
    the_phase_of_a_job_is_kept,
    a_calendar_gives_the_due_times,
    no_due_time_is_forgotten,
    a_boot_gives_one_run,
    no_job_is_lost,
    a_failure_is_answered_once,
)


# Of a run


def one_claim_per_occurrence(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    if old is None and new is not None and new.key in view.past.claimed:
        yield f"{new.key} was claimed before"


def no_occurrence_is_left_out(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """The occurrences of a job have no gap, counting those that a row records as missed."""
    if old is None and new is not None:
        covered = view.past.covered.get(new.job, 0)
        if new.occurrence - (new.missed_count or 1) != covered:
            yield f"{new.key} with {new.missed_count or 1} due times follows occurrence {covered}"


def no_move_is_illegal(_view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    if old is None and new is not None and new.state not in BEGINNINGS:
        yield f"{new.key} begins as {new.state}"
    if old is not None and new is None and old.state in LIVE:
        yield f"{old.key} is removed while it is {old.state}"
    if old is not None and new is not None:
        legal = old.state in LIVE if old.state == new.state else new.state in TRANSITIONS.get(RunState(old.state), ())
        if not legal:
            yield f"{old.key} goes from {old.state} to {new.state}"


def the_phase_of_a_run_is_kept(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """A run by hand is due now. Due times that passed before a change of the schedule have the phase of the old one."""
    if old is not None or new is None or new.due_ms == view.moment.wall:
        return
    job = view.rows.jobs.get(new.job)
    if job is None:
        return
    before = [change.old for change in view.changes if isinstance(change.old, JobRow)]
    others = [row for row in before if row.number == job.number and row.schedule != job.schedule]
    if not any(_has_phase(row, new.due_ms) for row in (job, *others)):
        yield f"{new.key} is due at {new.due_ms}, its job at {job.next_run_ms}"


def _has_phase(job: JobRow, due_ms: int) -> bool:
    return not job.interval_ms or job.next_run_ms is None or (job.next_run_ms - due_ms) % job.interval_ms == 0


def attempts_follow_the_policy(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """A run waits again only for a retry or a rerun, or because its start failed. A rerun does not use up a retry."""
    if old is None or new is None or (old.state, new.state) != (RunState.STARTED, RunState.QUEUED):
        return
    gone = (change.old for change in view.changes if change.new is None)
    if any(isinstance(attempt, AttemptRow) and attempt.key.run == old.key for attempt in gone):
        return
    last = view.rows.attempts[AttemptKey(old.key, old.attempts)]
    programs = [program for program in view.programs(last.program) if program]
    if last.state == RunState.INTERRUPTED:
        tells = any(alert.job == old.job for alert in view.rows.alerts.values())
        allowed = tells or any(program.on_interrupt == "rerun" for program in programs)
    else:
        retries = max((program.retries for program in programs), default=0)
        states = [view.rows.attempts[AttemptKey(old.key, number)].state for number in range(1, old.attempts + 1)]
        failures = sum(state in (RunState.FAILED, RunState.TIMED_OUT) for state in states)
        allowed = last.state in (RunState.FAILED, RunState.TIMED_OUT) and failures <= retries
    if not allowed:
        yield f"{old.key} waits again after {last}"


def the_newest_is_the_next(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """A replaced run neither starts nor waits again, however it ends."""
    if old is None or new is None or new.key not in view.past.replaced:
        return
    if new.state not in (old.state, RunState.REPLACED) and new.key not in view.past.stopped:
        yield f"{new.key} is {new.state}, although a newer run took its place"


def a_stopped_run_is_over(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """It neither starts nor waits again, however its program ends, also if the next daemon learns it."""
    if old is None or new is None or new.key not in view.past.stopped:
        return
    if new.state not in (old.state, RunState.CANCELLED):
        yield f"{new.key} is {new.state}, although a user stopped it"


def runs_start_in_the_order_of_their_claims(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    begins = new is not None and new.state == RunState.STARTED and (old is None or old.state == RunState.QUEUED)
    if new is not None and begins and new.program:
        for earlier in view.startable(new.sequence):
            yield f"{new.key} starts before {earlier.key}, which was claimed earlier"


def nothing_begins_while_held(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """No program starts, and no due job is claimed, except that other files queue what was due by the old ones."""
    if not view.was_held or new is None or any(line == "sched release" for line in view.asked):
        return
    if new.state == RunState.STARTED and (old is None or old.state == RunState.QUEUED):
        yield f"{new.key} starts although the appliance is held"
    is_due = old is None and new.state != RunState.MISSED and new.due_ms != view.moment.wall
    if is_due and (len(view.policies) == 1 or new.state == RunState.SUCCEEDED):
        yield f"{new.key} is claimed although the appliance is held"


def skipped_only_for_overlap(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    if old is None and new is not None and new.state == RunState.SKIPPED:
        policies = {program.overlap if program else "skip" for program in view.programs(new.program or "")}
        if not view.rows.live_of(new.job) or not policies & {"skip", "queue"}:
            yield f"{new.key} is skipped, although nothing of its job lives, or {policies} lets it run"


def what_is_still_needed_is_not_pruned(view: View, old: RunRow | None, new: RunRow | None) -> Iterator[str]:
    """The program of `on_failure` still needs the failed run."""
    if old is not None and new is None and old.key in view.rows.needed():
        yield f"{old.key} is removed before its failure was answered"


OF_A_RUN: tuple[OfARun, ...] = (
    one_claim_per_occurrence,
    no_occurrence_is_left_out,
    no_move_is_illegal,
    the_phase_of_a_run_is_kept,
    attempts_follow_the_policy,
    the_newest_is_the_next,
    a_stopped_run_is_over,
    runs_start_in_the_order_of_their_claims,
    nothing_begins_while_held,
    skipped_only_for_overlap,
    what_is_still_needed_is_not_pruned,
)


# Of an attempt


def no_attempt_ends_twice(_view: View, old: AttemptRow | None, new: AttemptRow | None) -> Iterator[str]:
    if old is not None and new is not None and old.state != RunState.STARTED:
        yield f"attempt {old.key} goes from {old.state} to {new.state}"


def ends_are_true(view: View, old: AttemptRow | None, new: AttemptRow | None) -> Iterator[str]:
    """The row records what the appliance was told: how the program ended, and whether the appliance ended it."""
    if old is None or new is None or old.state != RunState.STARTED or new.state == RunState.STARTED:
        return
    process = view.untold.get(new.key)
    if new.state == RunState.FAILED:
        true = new.key in view.untold and (process is None or process.exit != Exit(0))
    elif new.state == RunState.SUCCEEDED:
        true = process is not None and process.exit.status in process.success
    elif new.state == RunState.REPLACED:
        true = new.key.run in view.past.replaced
    elif new.state == RunState.CANCELLED:
        true = new.key.run in view.past.stopped
    elif new.state == RunState.TIMED_OUT:
        # The timeout of a start may have passed before its failure was reported.
        true = bool(process.signals) if process else new.key in view.untold
    else:
        true = not view.turned or (process is not None and (process.exit == Exit() or bool(process.signals)))
    if not true:
        yield f"attempt {new.key} is recorded as {new.state}, it ended as {process}"


def durations_are_true(view: View, old: AttemptRow | None, new: AttemptRow | None) -> Iterator[str]:
    """An attempt took the time from its start until its end was heard, whatever the wall clock showed."""
    if old is None or new is None or old.ended_ms is not None or new.ended_ms is None:
        return
    lasted = view.moment.boot - new.started_boot_ms
    if new.took_ms is None or new.took_ms < 0 or (view.turned and new.took_ms != lasted):
        yield f"attempt {new.key} took {new.took_ms} ms, it began {lasted} ms ago"


def attempts_follow_each_other(view: View, old: AttemptRow | None, new: AttemptRow | None) -> Iterator[str]:
    """A program is started as an attempt of its run, after the previous attempt has failed."""
    if old is not None or new is None:
        return
    key, number = new.key
    run, before = view.rows.runs.get(key), view.rows.attempts.get(AttemptKey(key, number - 1))
    if run is None or run.state != RunState.STARTED or run.attempts != number:
        yield f"attempt {new.key} belongs to {run}"
    failed = before is not None and before.state in (RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED)
    if number > 1 and not failed:
        yield f"attempt {new.key} follows {before}"


def limits_are_kept(view: View, old: AttemptRow | None, new: AttemptRow | None) -> Iterator[str]:
    """These are `max_running` in total and of the program, and `overlap` of the job."""
    if old is None and new is not None:
        yield from over_limits(view, new, list(view.rows.started.values()))


def over_limits(view: View, attempt: AttemptRow, running: Sequence[AttemptRow]) -> Iterator[str]:
    """Yields the limits that an attempt exceeds when it starts beside others."""
    same = sum(other.program == attempt.program for other in running)
    if len(running) >= max(view.limits):
        yield f"attempt {attempt.key} starts beside {len(running)} others"
    if same >= max(view.limits_of(attempt.program)):
        yield f"attempt {attempt.key} of program {attempt.program} starts beside {same} others"
    siblings = [other.key for other in running if other.job == attempt.job]
    if siblings and not view.may_overlap(attempt.program):
        yield f"attempt {attempt.key} starts while {siblings} run"


OF_AN_ATTEMPT: tuple[OfAnAttempt, ...] = (
    no_attempt_ends_twice,
    durations_are_true,
    ends_are_true,
    attempts_follow_each_other,
    limits_are_kept,
)


# Of a step


def claims_are_in_order(view: View) -> Iterator[str]:
    for earlier, later in pairwise((job.next_run_ms or 0, job.number) for job in view.ticked):
        if earlier > later:
            yield f"job {earlier[1]} is claimed before job {later[1]}"


def only_what_is_due_is_claimed(view: View) -> Iterator[str]:
    for job in view.ticked:
        if job.next_run_ms is None or job.next_run_ms > view.moment.wall or job.paused or not job.enabled:
            yield f"job {job.number} is claimed: {job}"
        if job.boot_delay_ms is not None and view.moment.boot < job.boot_delay_ms - SLACK_MS:
            yield f"job {job.number} is claimed {view.moment.boot} ms after the boot: {job}"


def catch_up_is_kept(view: View) -> Iterator[str]:
    """`catch_up` decides how many past due times are run, and how old they may be. Runs by hand have no due time."""
    now = view.moment.wall
    policies = {configuration.catch_up for configuration in view.policies}
    within = [configuration.catch_up_within_ms for configuration in view.policies]
    for job in (job for job in view.ticked if job.kind != "run"):
        runs = [run for run in view.claims[job.number] if run.state != RunState.MISSED and run.due_ms != now]
        if len(runs) > (MOST_AT_ONCE if "all" in policies else 1):
            yield f"job {job.number} makes up for {len(runs)} due times"
        late = [run.key for run in runs if run.due_ms < view.started_wall or now - run.due_ms > LATE_MS]
        if policies == {"none"} and late:
            yield f"{late} are caught up"
        if any(all(most is not None and now - run.due_ms > most for most in within) for run in runs):
            yield f"job {job.number} makes up for what is older than {within}"


def every_claim_is_recorded(view: View) -> Iterator[str]:
    for number in {change.new.number for change in view.changes if isinstance(change.new, JobRow)}:
        row, covered = view.rows.jobs.get(number), view.past.covered.get(number, 0)
        if row and row.occurrence != covered:
            yield f"job {number} has claimed {row.occurrence} occurrences, rows stand for {covered}"


def every_failure_is_answered(view: View) -> Iterator[str]:
    for old, new in view.changes:
        if isinstance(new, RunRow) and new.state in FAILURES and new.failed_job is None and new.program:
            ends = not isinstance(old, RunRow) or old.state in LIVE
            declared = all(program and program.on_failure for program in view.programs(new.program))
            if ends and declared and new.key not in view.past.answered:
                yield f"{new.key} has ended as {new.state}, and nothing answers it"


def runs_and_attempts_agree(view: View) -> Iterator[str]:
    """A started run has one running attempt; any other run has none."""
    keys = {change.new.key for change in view.changes if isinstance(change.new, RunRow)}
    keys |= {change.new.key.run for change in view.changes if isinstance(change.new, AttemptRow)}
    for key in sorted(keys & view.rows.runs.keys()):
        run = view.rows.runs[key]
        running = [number for (other, number) in view.rows.started if other == key]
        if running != ([run.attempts] if run.state == RunState.STARTED and run.program else []):
            yield f"{run.state} {key} with {run.attempts} attempts has the attempts {running} running"


def the_oldest_are_pruned(view: View) -> Iterator[str]:
    """The oldest runs of a user that have ended and are no longer needed are removed, with their attempts."""
    if not view.pruned:
        return
    rows = [row for change in view.changes for row in change]
    # Runs that ended in this step may have ended after the removal. The same holds for runs that were still needed.
    spared = view.rows.needed() | {row.key for row in rows if isinstance(row, RunRow)}
    spared |= {row.failed for row in rows if isinstance(row, JobRow | RunRow) and row.failed}
    newest: Counter[int] = Counter()
    for run in view.pruned.values():
        newest[run.uid] = max(newest[run.uid], run.sequence)
    for run in view.rows.runs.values():
        if run.sequence < newest[run.uid] and run.state not in LIVE and run.key not in spared:
            yield f"{run.key}, {run.state} in place {run.sequence}, is kept, place {newest[run.uid]} is not"
    if left := [name for name in view.rows.attempts if name[0] in view.pruned]:
        yield f"the attempts {left} are kept without their runs"


def no_more_is_pruned_than_history_says(view: View) -> Iterator[str]:
    least = min(configuration.history for configuration in view.policies)
    if view.pruned and view.ended < least:
        yield f"{len(view.pruned)} runs are removed, {view.ended} of {least} are left"


OF_A_STEP: tuple[OfAStep, ...] = (
    claims_are_in_order,
    only_what_is_due_is_claimed,
    catch_up_is_kept,
    every_claim_is_recorded,
    every_failure_is_answered,
    runs_and_attempts_agree,
    the_oldest_are_pruned,
    no_more_is_pruned_than_history_says,
)


# Of a turn, even if it changes nothing


def no_place_is_wasted(view: View) -> Iterator[str]:
    """No run waits that could start.

    Of a turn whose parts were committed one by one, a line may have let it go after what was due. Then the next turn follows
    at once, as `it_wakes_in_time` checks, and starts it.
    """
    for run in view.wasted() if not (view.in_parts and view.asked) else ():
        yield f"{run.key} waits, although {len(view.rows.started)} of {view.limits} run: {run}"


def nothing_stalls(view: View) -> Iterator[str]:
    """A recurrent job runs again within its period, plus the time by which a clock was set back; `in` after its duration."""
    for job in view.rows.jobs.values():
        if job.next_run_ms is None or job.kind == "at":
            continue
        longest = LONGEST_GAP_MS if job.kind == "calendar" else job.interval_ms
        if job.boot_delay_ms is not None:
            wait = job.boot_delay_ms - view.moment.boot
        else:
            wait = longest or view.past.due_at[job.number] - view.elapsed
        if job.next_run_ms - view.moment.wall > max(0, wait) + view.past.pushed[job.number] + SLACK_MS:
            if job.kind == "calendar" and view.schedules and _is_next(view.schedules, job, view.moment.wall):
                # Its `from` is years ahead of a clock that was set back.
                continue
            yield f"job {job.number} waits {job.next_run_ms - view.moment.wall} ms: {job}"


def a_recurrent_job_stays_due(view: View) -> Iterator[str]:
    """No calendar of the histories ends, so only a job that is switched off may have no next due time, whatever was edited."""
    for job in view.rows.jobs.values():
        if job.enabled and job.next_run_ms is None and (job.interval_ms or job.kind == "calendar"):
            yield f"job {job.number} is never due again: {job}"


def _is_next(schedules: Schedules, job: JobRow, now_ms: int) -> bool:
    return schedules.calendar(job.schedule or "").next_after(now_ms) == job.next_run_ms


def history_is_kept_short(view: View) -> Iterator[str]:
    """While the history is too long, each turn that opens a transaction removes part of it."""
    most = max(configuration.history for configuration in view.policies)
    needed = len(view.rows.needed() & view.rows.runs.keys()) if view.ended > most + SLACK else 0
    if view.ended - needed > most + SLACK and not view.pruned and not view.idle:
        yield f"{view.ended} ended runs are kept, {needed} of them needed, `history` is {most}"


def a_hold_ends_in_time(view: View) -> Iterator[str]:
    if view.hold_ends is not None and view.hold_ends <= view.moment.wall and not view.idle:
        yield f"the hold should have ended at {view.hold_ends}"


OF_A_TURN: tuple[OfAStep, ...] = (
    no_place_is_wasted,
    nothing_stalls,
    a_recurrent_job_stays_due,
    history_is_kept_short,
    a_hold_ends_in_time,
)
