"""Every invariant detects what breaks it. The histories show that it detects nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from schedappliance.clock import Moment
from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import Answer, PublishResult, StartProgram
from schedappliance.engine.reasons import AFTER_REPLACED
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.schedule import Schedules
from schedappliance.model.calendars.zones import Machine, Zones
from tests.simulation import invariants, promises
from tests.simulation.checker import Broken, Checker
from tests.simulation.journal import AttemptRow, Change, DropRow, JobRow, Row, RunRow
from tests.simulation.processes import Process
from tests.simulation.view import View
from tests.support.core import START_MS, configuration

HOUR = 3_600_000
KEY = RunKey(1, 1)
STANZAS = """\
sched { max_running = 2 catch_up = none catch_up_within = 30 history = 3 }
program "p" { argv = ( "/bin/work" ) args = any max_running = 1 }
program "q" { argv = ( "/bin/work" ) args = any overlap = parallel on_failure = "run p" }
"""

JOB = JobRow(1, "every", START_MS + HOUR, HOUR, 0, "run q m1", "console", None, None, 1, 0)
RUN = RunRow(1, 1, 1, START_MS, "started", None, None, "run q m1", "console", 1, None)
QUEUED = RUN._replace(state="queued", attempts=0)
ENDED = RUN._replace(state="succeeded")
NEWER = QUEUED._replace(occurrence=2, sequence=2, reason=AFTER_REPLACED)
ANSWER = JobRow(2, "run", START_MS, None, 0, "run p", "stanza", None, None, 1, 0, 1, 1)
ATTEMPT = AttemptRow(1, 1, 1, "q", "started", 0)
STOPPED = ATTEMPT._replace(stopped_by="operator")
PROCESS = Process(AttemptKey(KEY, 1), 1000, Exit(0), deaf=False, began=True)
START = StartProgram(AttemptKey(KEY, 1), ("/bin/work",), (), "/", 0o022, 65_536)


SCHEDULES = Schedules(Zones(Machine()), {})


def view(*stored: Row, changes: tuple[Change, ...] = (), **rest: Any) -> View:
    """The view of a turn with these changes after these rows were stored."""
    checker = Checker()
    policies = [configuration(STANZAS).configuration]
    before = View(checker.rows, checker.past, {}, {}, policies, Moment(START_MS, 0), 0, 16, START_MS, SCHEDULES)
    for row in stored:
        checker._note(before, Change(None, row))
        checker.rows.apply(Change(None, row))
    return replace(before, changes=changes, **{"turned": True, "settled": True, **rest})


@dataclass(frozen=True)
class Case:
    """A change, and the rows that were stored before it."""

    invariant: str
    old: Row | None
    new: Row | None
    stored: tuple[Row, ...] = ()


# In UTC; it is 22:13:20.
MIDNIGHT = START_MS + 6_400_000
CALENDAR = JOB._replace(
    kind="calendar", next_run_ms=START_MS, interval_ms=None, schedule='{"cron":["0 0 * * *"],"zone":"UTC"}'
)

BOOT_JOB = JOB._replace(kind="in", interval_ms=None, declared="up", schedule="boot a delay 3600000")
BOOT_RAN = BOOT_JOB._replace(next_run_ms=None)


CHANGES = [
    Case("ids_are_never_reused", None, JOB, (JOB._replace(number=2),)),
    Case("the_phase_of_a_job_is_kept", JOB, JOB._replace(next_run_ms=START_MS + HOUR + 1)),
    Case("a_calendar_gives_the_due_times", CALENDAR, CALENDAR._replace(next_run_ms=MIDNIGHT + 1000)),
    Case("a_calendar_gives_the_due_times", CALENDAR, CALENDAR._replace(occurrence=1, next_run_ms=MIDNIGHT + 24 * HOUR)),
    Case("no_due_time_is_forgotten", CALENDAR, CALENDAR._replace(next_run_ms=MIDNIGHT)),
    Case("a_boot_gives_one_run", BOOT_RAN, BOOT_JOB, (BOOT_RAN,)),
    Case("a_boot_gives_one_run", BOOT_RAN, BOOT_JOB._replace(schedule="boot b delay 3600000"), (BOOT_RAN,)),
    Case("no_job_is_lost", JOB, None),
    Case("a_failure_is_answered_once", None, ANSWER),
    Case("a_failure_is_answered_once", None, ANSWER, (ENDED,)),
    Case("a_failure_is_answered_once", None, ANSWER, (ENDED._replace(state="failed", failed_job=7),)),
    Case("a_failure_is_answered_once", None, ANSWER._replace(number=3), (ENDED._replace(state="failed"), ANSWER)),
    Case("one_claim_per_occurrence", None, RUN, (ENDED,)),
    Case("no_occurrence_is_left_out", None, RUN._replace(occurrence=3), (ENDED,)),
    Case("no_occurrence_is_left_out", None, RUN._replace(occurrence=3, state="missed", missed_count=1), (ENDED,)),
    Case("no_move_is_illegal", None, RUN._replace(state="interrupted")),
    Case("no_move_is_illegal", ENDED, RUN),
    Case("no_move_is_illegal", ENDED, ENDED),
    Case("no_move_is_illegal", QUEUED, None),
    Case("the_phase_of_a_run_is_kept", None, RUN._replace(due_ms=START_MS - 1), (JOB,)),
    Case("attempts_follow_the_policy", RUN, QUEUED, (RUN, ATTEMPT._replace(state="failed"))),
    Case("attempts_follow_the_policy", RUN, QUEUED, (RUN, ATTEMPT._replace(state="interrupted"))),
    Case("the_newest_is_the_next", QUEUED, RUN, (QUEUED, NEWER)),
    Case("the_newest_is_the_next", RUN, RUN._replace(state="timed_out"), (RUN, NEWER)),
    Case("a_stopped_run_is_over", QUEUED, RUN, (QUEUED, STOPPED)),
    Case("a_stopped_run_is_over", RUN, RUN._replace(state="interrupted"), (RUN, STOPPED)),
    Case("runs_start_in_the_order_of_their_claims", None, RUN._replace(job=2, sequence=2), (QUEUED,)),
    Case("skipped_only_for_overlap", None, RUN._replace(state="skipped", command="run p")),
    Case("skipped_only_for_overlap", None, RUN._replace(occurrence=2, state="skipped"), (RUN,)),
    Case("what_is_still_needed_is_not_pruned", ENDED, None, (ANSWER,)),
    Case(
        "what_is_still_needed_is_not_pruned", ENDED, None, (QUEUED._replace(job=2, failed_job=1, failed_occurrence=1),)
    ),
    Case("no_attempt_ends_twice", ATTEMPT._replace(state="failed"), ATTEMPT._replace(state="failed"), (RUN,)),
    Case("ends_are_true", ATTEMPT, ATTEMPT._replace(state="succeeded"), (RUN, ATTEMPT)),
    Case("ends_are_true", ATTEMPT, ATTEMPT._replace(state="timed_out"), (RUN, ATTEMPT)),
    Case("ends_are_true", ATTEMPT, ATTEMPT._replace(state="replaced"), (RUN, ATTEMPT)),
    Case("ends_are_true", ATTEMPT, ATTEMPT._replace(state="cancelled"), (RUN, ATTEMPT)),
    Case("durations_are_true", ATTEMPT, ATTEMPT._replace(state="failed", ended_ms=START_MS), (RUN, ATTEMPT)),
    Case("durations_are_true", ATTEMPT, ATTEMPT._replace(state="failed", ended_ms=1, took_ms=9), (RUN, ATTEMPT)),
    Case("attempts_follow_each_other", None, ATTEMPT),
    Case("attempts_follow_each_other", None, ATTEMPT._replace(attempt=2), (RUN._replace(attempts=2), ATTEMPT)),
    Case("limits_are_kept", None, ATTEMPT, (RUN, ATTEMPT._replace(job=2), ATTEMPT._replace(job=3))),
    Case("limits_are_kept", None, ATTEMPT._replace(program="p"), (RUN, ATTEMPT._replace(job=2, program="p"))),
    Case("limits_are_kept", None, ATTEMPT._replace(program="p"), (RUN, ATTEMPT._replace(occurrence=2))),
]


@pytest.mark.parametrize("new", [RUN, ENDED._replace(due_ms=START_MS - 1), QUEUED._replace(due_ms=START_MS - 1)])
def test_what_begins_while_held_is_found(new: RunRow) -> None:
    change = Change(None, new)
    assert list(invariants.nothing_begins_while_held(view(changes=(change,), was_held=True), None, new))
    assert not list(invariants.nothing_begins_while_held(view(changes=(change,)), None, new))
    by_hand = QUEUED._replace(due_ms=START_MS)
    held = view(changes=(Change(None, by_hand),), was_held=True)
    assert not list(invariants.nothing_begins_while_held(held, None, by_hand))


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.invariant)
def test_a_change_that_breaks_an_invariant_is_found(case: Case) -> None:
    change = Change(case.old, case.new)
    with pytest.raises(Broken) as broken:
        checker = Checker()
        checker._change(view(*case.stored, changes=(change,)), change)
    assert broken.value.invariant == case.invariant


def test_a_job_whose_row_is_written_again_may_run_in_the_next_boot() -> None:
    checker = Checker()
    checker._note(view(), Change(BOOT_JOB, BOOT_RAN))
    checker.past.boot += 1
    checker._note(view(), Change(BOOT_RAN, BOOT_RAN))
    seen = replace(view(), past=checker.past)
    assert not list(invariants.a_boot_gives_one_run(seen, BOOT_RAN, BOOT_JOB))
    checker._note(view(), Change(BOOT_JOB, BOOT_RAN))
    assert list(invariants.a_boot_gives_one_run(seen, BOOT_RAN, BOOT_JOB))


LATE = JOB._replace(next_run_ms=START_MS - 90_000)
TICKED = (
    Change(LATE, LATE._replace(occurrence=1, next_run_ms=START_MS + HOUR - 90_000)),
    Change(None, RUN._replace(due_ms=START_MS - 90_000)),
)
SECOND_JOB = tuple(
    Change(change.old and change.old._replace(**{name: 2}), change.new and change.new._replace(**{name: 2}))  # type: ignore[arg-type]
    for change, name in zip(TICKED, ("number", "job"), strict=True)
)
PRUNED = (Change(ENDED._replace(job=2, sequence=2), None),)
HISTORY = [ENDED._replace(occurrence=number, sequence=number) for number in range(1, 105)]
STEPS: list[tuple[str, View]] = [
    ("claims_are_in_order", view(changes=(*SECOND_JOB, *TICKED))),
    ("only_what_is_due_is_claimed", view(changes=(Change(JOB, JOB._replace(occurrence=1, next_run_ms=0)), TICKED[1]))),
    (
        "only_what_is_due_is_claimed",
        view(changes=(Change(BOOT_JOB._replace(next_run_ms=START_MS), BOOT_JOB._replace(occurrence=1)), TICKED[1])),
    ),
    ("catch_up_is_kept", view(changes=TICKED)),
    ("every_claim_is_recorded", view(JOB._replace(occurrence=1), changes=TICKED[:1])),
    ("every_failure_is_answered", view(changes=(Change(RUN, RUN._replace(state="failed")),))),
    ("runs_and_attempts_agree", view(RUN, changes=(Change(None, RUN),))),
    ("runs_and_attempts_agree", view(ENDED, ATTEMPT, changes=(Change(ATTEMPT, ATTEMPT),))),
    ("the_oldest_are_pruned", view(ENDED, changes=PRUNED)),
    ("the_oldest_are_pruned", view(ATTEMPT._replace(job=2), changes=PRUNED)),
    ("no_more_is_pruned_than_history_says", view(*HISTORY[2:4], changes=PRUNED)),
    ("history_is_kept_short", view(*HISTORY)),
    ("no_place_is_wasted", view(QUEUED)),
    ("a_hold_ends_in_time", view(is_held=True, hold_ends=START_MS)),
    ("nothing_stalls", view(JOB._replace(next_run_ms=START_MS + 2 * HOUR))),
    ("nothing_stalls", view(JOB._replace(kind="in", interval_ms=None), elapsed=HOUR)),
    ("a_recurrent_job_stays_due", view(JOB._replace(next_run_ms=None))),
    ("a_recurrent_job_stays_due", view(CALENDAR._replace(next_run_ms=None))),
]


@pytest.mark.parametrize(("invariant", "seen"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_step_that_breaks_an_invariant_is_found(invariant: str, seen: View) -> None:
    broken = [one.__name__ for one in (*invariants.OF_A_STEP, *invariants.OF_A_TURN) if list(one(seen))]
    assert invariant in broken


def test_correct_pruning_breaks_no_invariant() -> None:
    """Newer runs stay, and so do older ones that are live, still needed, or ended in the same step."""
    older = [
        QUEUED._replace(job=3),
        ENDED._replace(job=4, state="failed"),
        ENDED._replace(job=5, sequence=0),
    ]
    answer = ANSWER._replace(failed_job=4)
    ends = Change(older[2]._replace(state="started"), older[2])
    seen = view(*HISTORY[2:], *older, answer, changes=(*PRUNED, ends))
    assert [name for one in invariants.OF_A_STEP[-2:] for name in one(seen)] == []
    assert list(invariants.history_is_kept_short(seen)) == []
    assert list(invariants.history_is_kept_short(view(*HISTORY[1:]))) == []


WORLDS: list[tuple[str, View]] = [
    ("every_process_is_known", view(ENDED, processes={(KEY, 1): PROCESS})),
    ("no_attempt_is_forgotten", view(RUN, ATTEMPT)),
    ("a_stopped_program_gets_term", view(RUN, STOPPED, processes={(KEY, 1): PROCESS})),
    (
        "no_program_outlives_its_timeout",
        view(RUN, ATTEMPT, processes={(KEY, 1): replace(PROCESS, term_at=9)}, elapsed=10),
    ),
    (
        "no_program_outlives_its_timeout",
        view(RUN, ATTEMPT, processes={(KEY, 1): replace(PROCESS, kill_at=9, signals=[15])}, elapsed=10),
    ),
]


@pytest.mark.parametrize(("promise", "seen"), WORLDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_world_that_breaks_a_promise_is_found(promise: str, seen: View) -> None:
    assert [one.__name__ for one in promises.OF_THE_WORLD if list(one(seen))] == [promise]


@pytest.mark.parametrize(
    "seen",
    [
        view(JOB),
        view(QUEUED._replace(retry_at_ms=START_MS + HOUR)),
        view(is_held=True, hold_ends=START_MS + HOUR),
        view(RUN, ATTEMPT, processes={(KEY, 1): replace(PROCESS, term_at=HOUR)}),
    ],
    ids=["a due time", "an attempt", "a hold", "a timeout"],
)
def test_a_wake_that_comes_too_late_is_found(seen: View) -> None:
    seen.past.wakes[KEY] = seen.past.ready_at[KEY] = HOUR
    assert list(promises.it_wakes_in_time(seen, HOUR)) == []
    assert list(promises.it_wakes_in_time(seen, HOUR + 10_000))
    assert list(promises.it_wakes_in_time(seen, None))


def test_a_run_that_could_start_is_not_slept_over() -> None:
    assert list(promises.it_wakes_in_time(view(QUEUED), None))
    assert list(promises.it_wakes_in_time(view(QUEUED), view().elapsed + 1))
    assert list(promises.it_wakes_in_time(view(QUEUED), view().elapsed)) == []
    assert list(promises.it_wakes_in_time(view(QUEUED, is_held=True), None)) == []


def test_a_start_that_breaks_a_promise_is_found() -> None:
    def broken(seen: View) -> set[str]:
        return {one.__name__ for one in promises.OF_A_START if list(one(seen, START))}

    assert broken(view(RUN, ATTEMPT)) == set()
    assert broken(view(RUN)) == {"every_start_was_committed"}
    twice = view(RUN, ATTEMPT)
    twice.past.started.add(AttemptKey(KEY, 1))
    assert broken(twice) == {"no_attempt_is_started_twice"}
    others = {(RunKey(job, 1), 1): PROCESS for job in (2, 3)}
    beside = [ATTEMPT._replace(job=job) for job in (2, 3)]
    assert broken(view(RUN, ATTEMPT, *beside, processes=others)) == {"limits_are_kept_by_processes"}


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("sched in 60 run q m2", "example.com-000000001"),
        ("run q m2", "example.com-000000001/1"),
        ("config set pace m2", "pace = m2"),
        ("sched delete example.com-000000001", ""),
        ("sched pause example.com-000000001", ""),
        ("sched run example.com-000000001", "example.com-000000001/1"),
        ("sched stop example.com-000000001/1", "example.com-000000001/1: cancelled"),
    ],
)
def test_an_accepted_line_that_is_not_stored_is_found(line: str, output: str) -> None:
    assert list(promises.what_is_accepted_is_stored(view(JOB), line, Answer(output)))
    assert not list(promises.what_is_accepted_is_stored(view(JOB), line, Answer(error="no")))


def test_a_rejected_line_that_is_carried_out_is_found() -> None:
    seen = view(JOB)
    assert list(promises.rejected_lines_are_not_carried_out(seen, "sched in 60 run q m1", Answer(error="no")))
    assert not list(promises.rejected_lines_are_not_carried_out(seen, "sched in 60 run q m2", Answer(error="no")))


@pytest.mark.parametrize(
    ("state", "is_well"), [("failed", True), ("succeeded", False), ("queued", False), (None, False)]
)
def test_an_error_about_a_run_that_has_not_failed_is_found(state: str | None, is_well: bool) -> None:
    """During a hold, a run is claimed at once, and fails at once if an option is not set."""
    seen = view(JOB)
    seen.past.claimed |= {KEY: state} if state else {}
    answer = Answer("example.com-000000001/1", error="run example.com-000000001/1 failed: option `pace` is not set")
    assert bool(list(promises.rejected_lines_are_not_carried_out(seen, "run q m1", answer))) != is_well


@pytest.mark.parametrize(
    ("stored", "jobs", "accepted", "result", "is_well"),
    [
        (True, 1, True, "{}", True),
        (True, 2, True, "{}", False),
        (True, 0, True, "{}", False),
        (True, 1, False, "{}", False),
        (True, 0, False, "{}", True),
        (True, 1, True, "other", False),
        (False, 1, True, "{}", False),
    ],
)
def test_a_drop_that_does_not_happen_once_is_found(
    stored: bool, jobs: int, accepted: bool, result: str, is_well: bool
) -> None:
    rows: list[Row] = [JOB._replace(number=number) for number in range(1, jobs + 1)]
    rows += [DropRow("1~a.cmd", int(accepted), "{}")] if stored else []
    published = PublishResult("1~a.cmd", "a.cmd", accepted, result)
    lines = ["sched every 3600 run q m1"]
    assert bool(list(promises.a_drop_happens_once(view(*rows), lines, published))) != is_well


def test_every_invariant_has_a_case_that_it_finds() -> None:
    shown = (
        {case.invariant for case in CHANGES} | {"nothing_begins_while_held"} | {name for name, _ in (*STEPS, *WORLDS)}
    )
    of_rows = (*invariants.OF_A_JOB, *invariants.OF_A_RUN, *invariants.OF_AN_ATTEMPT)
    of_steps = (*invariants.OF_A_STEP, *invariants.OF_A_TURN, *promises.OF_THE_WORLD)
    assert {one.__name__ for one in (*of_rows, *of_steps)} == shown


def test_rows_follow_their_changes() -> None:
    checker = Checker()
    for row in (JOB, RUN, ATTEMPT):
        checker.rows.apply(Change(None, row))
    assert (checker.rows.live, checker.rows.started) == ({KEY: RUN}, {(KEY, 1): ATTEMPT})
    checker.rows.apply(Change(RUN, ENDED))
    checker.rows.apply(Change(ATTEMPT, None))
    assert (checker.rows.live, checker.rows.started, checker.rows.runs) == ({}, {}, {KEY: ENDED})


def test_a_place_may_stay_free_while_the_machine_lacks_resources() -> None:
    seen = view(QUEUED)
    seen.past.short_until = seen.elapsed
    assert list(invariants.no_place_is_wasted(seen)) == []
    seen.past.short_until -= 1
    assert list(invariants.no_place_is_wasted(seen))


def test_a_line_may_let_a_run_go_after_what_was_due_if_both_were_committed_alone() -> None:
    assert list(invariants.no_place_is_wasted(view(QUEUED, in_parts=True, asked=["sched release"]))) == []
    assert list(invariants.no_place_is_wasted(view(QUEUED, in_parts=True)))
    assert list(invariants.no_place_is_wasted(view(QUEUED, asked=["sched release"])))
