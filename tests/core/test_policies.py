"""The policies of programs: overlap, retries, reruns, success and limits, each with its own effect."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import pytest

from schedappliance.engine import reasons
from schedappliance.engine.events import OutputsChecked, ProgramNotStarted, StopRequested
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, agrees_with_its_store, ended

HOUR = 60 * MINUTE
FIRST, SECOND_RUN, THIRD = RunKey(1, 1), RunKey(1, 2), RunKey(1, 3)
BEHIND = "it waits for the job's earlier run"
OVERLAP = "the job's last run has not ended"
NEWER = "a newer run took its place"


def program(policy: str, sched: str = "") -> str:
    head = f"sched {{ {sched} }}\n" if sched else ""
    return f'{head}{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'


def scheduled(appliance: Appliance, policy: str) -> None:
    """A job of the program every minute, whose first run has started."""
    appliance.turn(appliance.read(program(policy)))
    appliance.say("sched every 60 run p")
    appliance.after(MINUTE)
    assert appliance.states() == [(1, 1, "started")]


def outcomes(appliance: Appliance) -> list[tuple[str, str | None]]:
    return [(run.state, run.reason) for run in appliance.history()]


def attempts(appliance: Appliance) -> list[tuple[RunKey, int]]:
    """The starts of the last turn."""
    return [start.key for start in appliance.started()]


@pytest.mark.parametrize(
    ("overlap", "first", "second", "signals"),
    [
        ("", ("started", None), ("skipped", OVERLAP), []),
        ("overlap = skip", ("started", None), ("skipped", OVERLAP), []),
        ("overlap = queue", ("started", None), ("queued", BEHIND), []),
        ("overlap = parallel", ("started", None), ("started", None), []),
        (
            "overlap = replace",
            ("started", None),
            ("queued", "it waits for the run that it replaces to end"),
            [(FIRST, signal.SIGTERM)],
        ),
    ],
)
def test_each_policy_of_overlap_acts_differently(
    either: Appliance,
    overlap: str,
    first: tuple[str, str | None],
    second: tuple[str, str | None],
    signals: list[tuple[RunKey, int]],
) -> None:
    scheduled(either, overlap)
    either.after(MINUTE)
    assert (outcomes(either), either.signalled()) == ([first, second], signals)
    assert attempts(either) == ([(SECOND_RUN, 1)] if second[0] == "started" else [])


def test_one_run_waits_for_another_and_a_third_is_skipped(either: Appliance) -> None:
    scheduled(either, "overlap = queue")
    either.after(MINUTE)
    either.after(MINUTE)
    assert outcomes(either)[2] == ("skipped", "the job's last run has not ended, and another one waits for it")
    either.turn(ended(FIRST))
    assert attempts(either) == [(SECOND_RUN, 1)]
    either.after(MINUTE)
    assert [state for _, _, state in either.states()] == ["succeeded", "started", "skipped", "queued"]


def test_a_run_that_waits_for_another_still_waits_after_a_reload_and_a_restart(appliance: Appliance) -> None:
    scheduled(appliance, "overlap = queue on_interrupt = rerun")
    appliance.after(MINUTE)
    files = program("overlap = queue on_interrupt = rerun") + "More = 1\n"
    appliance.turn(appliance.read(files))
    assert (appliance.started(), appliance.states()) == ([], [(1, 1, "started"), (1, 2, "queued")])
    appliance.restart(stanzas=files)
    appliance.turn()
    assert (attempts(appliance), appliance.states()) == ([(FIRST, 2)], [(1, 1, "started"), (1, 2, "queued")])
    appliance.turn(ended(FIRST, attempt=2))
    assert attempts(appliance) == [(SECOND_RUN, 1)]


def test_parallel_runs_end_independently(either: Appliance) -> None:
    scheduled(either, "overlap = parallel")
    either.after(MINUTE)
    either.after(MINUTE, ended(SECOND_RUN, 3))
    assert [state for _, _, state in either.states()] == ["started", "failed", "started"]


def side_by_side(appliance: Appliance, policy: str = "") -> None:
    """Starts two runs of a job in parallel."""
    scheduled(appliance, f"overlap = parallel {policy}")
    appliance.after(MINUTE)
    assert appliance.states() == [(1, 1, "started"), (1, 2, "started")]


def side_by_side_by_hand(appliance: Appliance, policy: str) -> None:
    """As `side_by_side`, of a job that is paused, so that no further run follows."""
    appliance.turn(appliance.read(program(f"overlap = parallel {policy}")))
    for line in ("every 60 run p", "pause example.com-000000001", *["run example.com-000000001"] * 2):
        appliance.say(f"sched {line}")
    assert appliance.states() == [(1, 1, "started"), (1, 2, "started")]


def test_a_run_waits_for_the_last_of_several_parallel_runs(either: Appliance) -> None:
    side_by_side(either)
    either.state.places = 2
    either.after(MINUTE)
    either.after(MINUTE)
    either.turn(either.read(program("overlap = queue")))
    either.turn(ended(FIRST))
    assert either.started() == []
    either.turn(ended(SECOND_RUN))
    assert attempts(either) == [(THIRD, 1)]
    either.turn(ended(THIRD))
    assert attempts(either) == [(RunKey(1, 4), 1)]
    agrees_with_its_store(either)


@pytest.mark.parametrize("survives", [True, False])
def test_a_run_waits_for_parallel_runs_also_after_a_crash(appliance: Appliance, survives: bool) -> None:
    side_by_side(appliance)
    appliance.state.places = 2
    appliance.after(MINUTE)
    appliance.after(MINUTE)
    survivors = {AttemptKey(FIRST, 1): ProcessKey(300, 7)} if survives else {}
    appliance.restart(stanzas=program("overlap = queue"), survivors=survivors)
    appliance.turn()
    assert attempts(appliance) == ([] if survives else [(THIRD, 1)])
    if survives:
        appliance.turn(ended(FIRST, None))
        assert attempts(appliance) == [(THIRD, 1)]
    agrees_with_its_store(appliance)


def test_next_attempts_of_parallel_runs_follow_each_other(either: Appliance) -> None:
    side_by_side_by_hand(either, "retries = 1 retry_delay = 60")
    either.turn(either.read(program("overlap = queue retries = 1 retry_delay = 60")))
    either.turn(ended(FIRST, 3), ended(SECOND_RUN, 3))
    either.after(70 * SECOND)
    assert attempts(either) == [(FIRST, 2)]
    agrees_with_its_store(either)
    either.turn(ended(FIRST, attempt=2))
    assert attempts(either) == [(SECOND_RUN, 2)]


def test_a_next_attempt_of_a_parallel_run_does_not_start_early(either: Appliance) -> None:
    side_by_side_by_hand(either, "retries = 1 retry_delay = 3600")
    either.turn(ended(FIRST, 3))
    either.turn(either.read(program("overlap = queue retries = 1 retry_delay = 3600")))
    either.turn(ended(SECOND_RUN))
    assert either.started() == []
    either.after(2 * HOUR)
    assert attempts(either) == [(FIRST, 2)]


def test_a_running_program_is_replaced_and_the_new_one_starts_after_its_end(either: Appliance) -> None:
    scheduled(either, "overlap = replace kill_after = 5")
    either.after(MINUTE)
    either.after(4_999)
    assert (either.started(), either.signalled()) == ([], [])
    either.after(1)
    assert (either.started(), either.signalled()) == ([], [(FIRST, signal.SIGKILL)])
    either.turn(ended(FIRST, signal=9))
    assert (attempts(either), outcomes(either)) == ([(SECOND_RUN, 1)], [("replaced", NEWER), ("started", None)])
    either.turn(ended(SECOND_RUN))
    assert outcomes(either) == [("replaced", NEWER), ("succeeded", None)]


def test_a_replaced_program_that_succeeds_counts_as_replaced_and_is_not_retried(either: Appliance) -> None:
    scheduled(either, "overlap = replace retries = 5")
    either.after(
        MINUTE,
    )
    either.after(SECOND, ended(FIRST, 0))
    assert [state for _, _, state in either.states()] == ["replaced", "started"]


def test_a_waiting_run_is_replaced_without_having_started(either: Appliance) -> None:
    either.turn(either.read(program("overlap = replace")))
    either.state.places = 0
    either.say("sched every 60 run p")
    either.after(MINUTE)
    either.after(MINUTE)
    assert [run.state for run in either.history()] == ["replaced", "queued"]
    assert (either.history()[0].reason, either.history()[0].attempts, either.signalled()) == (NEWER, 0, [])
    either.state.places = 1
    either.turn()
    assert attempts(either) == [(SECOND_RUN, 1)]


def test_the_newest_run_replaces_all_before_it(either: Appliance) -> None:
    scheduled(either, "overlap = replace kill_after = 600")
    either.after(MINUTE)
    either.after(MINUTE)
    assert either.signalled() == []
    assert [state for _, _, state in either.states()] == ["started", "replaced", "queued"]
    either.turn(ended(FIRST, signal=15))
    assert (attempts(either), either.states()[0]) == ([(THIRD, 1)], (1, 1, "replaced"))
    assert len(either.state.queue) == 0


def test_a_run_that_waits_for_its_next_attempt_is_replaced_too(either: Appliance) -> None:
    scheduled(either, "overlap = replace retries = 1 retry_delay = 600")
    either.turn(ended(FIRST, 1))
    either.after(MINUTE)
    assert (attempts(either), outcomes(either)) == ([(SECOND_RUN, 1)], [("replaced", NEWER), ("started", None)])
    either.after(20 * MINUTE)
    assert FIRST not in [key for key, _ in attempts(either)]


def test_a_failure_is_retried_with_a_doubling_delay(either: Appliance) -> None:
    either.turn(either.read(program("retries = 2 retry_delay = 10")))
    either.say("run p")
    for attempt, least in ((1, 10_000), (2, 20_000)):
        either.turn(ended(FIRST, 3, output=b"%d" % attempt, attempt=attempt))
        assert outcomes(either) == [("queued", f"attempt {attempt} failed: exit status 3; the next one follows")]
        assert f"attempt {attempt} failed: exit status 3; the next one follows in " in either.logged()
        boot, at = either.clock.moment().boot, either.core.wake()[1]
        assert at is not None and least <= at - boot <= least + least // 10
        either.after(at - boot - 1)
        assert attempts(either) == []
        either.after(1)
        assert attempts(either) == [(FIRST, attempt + 1)]
        assert dict(either.started()[0].env)["SCHED_ATTEMPT"] == str(attempt + 1)
    either.turn(ended(FIRST, 4, output=b"3", attempt=3))
    (run,) = either.history()
    assert (run.state, run.reason, run.attempts, run.exit_status) == ("failed", "exit status 4", 3, 4)
    assert either.store.runs.output(FIRST) == (b"3", 1)
    assert either.core.wake() == (None, None)


def test_equal_stores_give_equal_delays_for_the_same_attempt() -> None:
    wakes = []
    for _ in range(2):
        with closing(Appliance(None, program("retries = 1"))) as one:
            one.turn(one.typed("run p"), one.typed("run p"))
            one.turn(ended(FIRST, 1), ended(RunKey(2, 1), 1))
            wakes.append(sorted(one.state.queue.delays().values()))
    assert wakes[0] == wakes[1]
    assert len(set(wakes[0])) == 2


@pytest.mark.parametrize(
    ("policy", "end", "state"),
    [
        ("retries = 0", ended(FIRST, 1), "failed"),
        ("retries = 1", ended(FIRST, 1), "queued"),
        ("retries = 1", ended(FIRST, signal=11), "queued"),
        ("retries = 1", ended(FIRST, 0), "succeeded"),
        ("retries = 1 success = ( 0 3 )", ended(FIRST, 3), "succeeded"),
        ("retries = 1 success = ( 3 )", ended(FIRST, 0), "queued"),
        ("success = ( 3 )", ended(FIRST, 0), "failed"),
        ("success = ( 0 3 )", ended(FIRST, 3), "succeeded"),
        ("", ended(FIRST, 3), "failed"),
        ("retries = 1", ProgramNotStarted(AttemptKey(FIRST, 1), "no such file"), "queued"),
        ("", ProgramNotStarted(AttemptKey(FIRST, 1), "no such file"), "failed"),
    ],
)
def test_only_failures_are_retried(either: Appliance, policy: str, end: ProgramNotStarted, state: str) -> None:
    either.turn(either.read(program(policy)))
    either.say("run p")
    either.turn(end)
    assert [run.state for run in either.history()] == [state]
    assert (either.core.wake()[1] is not None) is (state == "queued")


def test_a_timed_out_run_is_retried_with_a_full_timeout(either: Appliance) -> None:
    either.turn(either.read(program("retries = 1 retry_delay = 0 timeout = 5")))
    either.say("run p")
    either.after(5_000)
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.turn(ended(FIRST, signal=15))
    assert attempts(either) == [(FIRST, 2)]
    either.after(4_999)
    assert either.signalled() == []
    either.after(1)
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.turn(ended(FIRST, signal=15, attempt=2))
    assert outcomes(either) == [("timed_out", "the program's timeout passed")]


def test_a_run_between_two_attempts_has_not_ended(either: Appliance) -> None:
    scheduled(either, "retries = 1 retry_delay = 600")
    either.turn(ended(FIRST, 1))
    either.after(MINUTE)
    assert outcomes(either)[1] == ("skipped", f"{OVERLAP}: it waits")


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_next_attempt_starts_at_its_time_also_after_a_reload_or_a_restart(appliance: Appliance, how: str) -> None:
    files = program("retries = 1 retry_delay = 60")
    appliance.turn(appliance.read(files))
    appliance.say("run p")
    appliance.turn(ended(FIRST, 1))
    at = appliance.core.wake()[1]
    appliance.clock.advance(SECOND)
    if how == "reload":
        appliance.turn(appliance.read(files + "More = 1\n"))
    else:
        appliance.restart(SECOND, stanzas=files)
        appliance.turn()
    assert (appliance.started(), appliance.core.wake()[1]) == ([], at)
    appliance.after(66 * SECOND)
    assert attempts(appliance) == [(FIRST, 2)]


def test_a_next_attempt_without_a_place_waits_and_causes_no_wake(either: Appliance) -> None:
    """A wake in the past would repeat until a place is free."""
    files = program("retries = 1 retry_delay = 60", "max_running = 1")
    either.turn(either.read(files))
    either.say("run p")
    either.turn(ended(FIRST, 1))
    either.say("run sleep 900")
    either.after(66 * SECOND)
    assert (attempts(either), either.core.wake()) == ([], (None, None))
    either.turn(either.read(files + "More = 1\n"))
    assert either.core.wake() == (None, None)
    either.turn(ended(RunKey(2, 1)))
    assert attempts(either) == [(FIRST, 2)]


def test_no_attempt_wakes_an_appliance_whose_store_is_locked(appliance: Appliance) -> None:
    appliance.turn(appliance.read(program("retries = 1 retry_delay = 60")))
    appliance.say("run p")
    appliance.turn(ended(FIRST, 1))
    assert appliance.path
    with closing(sqlite3.connect(appliance.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            appliance.after(66 * SECOND)
            assert appliance.core.wake() == (None, appliance.clock.moment().boot + SECOND)
    appliance.after(SECOND)
    assert attempts(appliance) == [(FIRST, 2)]


def test_a_clock_that_is_set_does_not_move_the_next_attempt(either: Appliance) -> None:
    either.turn(either.read(program("retries = 1 retry_delay = 60")))
    either.say("run p")
    either.turn(ended(FIRST, 1))
    at = either.core.wake()[1]
    either.clock.step(-3_600_000)
    either.turn()
    either.turn(either.read(program("retries = 1 retry_delay = 60") + "More = 1\n"))
    assert either.core.wake()[1] == at


def test_a_start_without_resources_uses_up_no_retry(either: Appliance) -> None:
    either.turn(either.read(program("retries = 1 retry_delay = 0")))
    either.say("run p")
    either.turn(ProgramNotStarted(AttemptKey(FIRST, 1), "too many processes", exhausted=True))
    assert outcomes(either) == [("queued", "too many processes; it is tried again")]
    either.after(SECOND)
    assert attempts(either) == [(FIRST, 1)], "a failed start is not an attempt"
    either.turn(ended(FIRST, 1))
    assert attempts(either) == [(FIRST, 2)]


def test_while_resources_are_short_only_few_of_many_runs_are_tried_again(either: Appliance) -> None:
    either.turn(either.read(program("overlap = parallel", "max_running = 2")))
    for _ in range(5):
        either.say("run p")
    either.turn(
        *(ProgramNotStarted(AttemptKey(RunKey(job, 1), 1), "too many processes", exhausted=True) for job in (1, 2))
    )
    assert attempts(either) == []
    levels = [line.split(":")[0] for line in either.logged().splitlines() if "too many processes" in line]
    assert levels == ["warning", "debug"], "one line for one shortage"
    assert [run["reason"] for run in either.data("sched history example.com-000000005")] == [reasons.SHORT]
    assert either.say("run p").startswith("example.com-000000006")
    assert attempts(either) == [], "nor new runs"
    either.say("sched delete example.com-000000001")
    either.say("sched delete example.com-000000002")
    assert either.core.wake()[1] == either.clock.moment().boot + SECOND, "also after the failed ones have gone"
    either.after(SECOND)
    assert attempts(either) == [(RunKey(3, 1), 1), (RunKey(4, 1), 1)]


@pytest.mark.parametrize(
    ("policy", "again"), [("", False), ("on_interrupt = report", False), ("on_interrupt = rerun", True)]
)
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_an_interrupted_run_is_rerun_only_if_on_interrupt_says_so(
    appliance: Appliance, policy: str, again: bool, how: str
) -> None:
    appliance.turn(appliance.read(program(policy)))
    appliance.say("run p")
    if how == "stopped":
        appliance.turn(StopRequested("SIGTERM"))
        appliance.turn(ended(FIRST, signal=15))
        assert appliance.started() == []
    appliance.restart(SECOND, stanzas=program(policy))
    appliance.turn()
    assert attempts(appliance) == ([(FIRST, 2)] if again else [])
    assert [run.state for run in appliance.history()] == ["started" if again else "interrupted"]


def test_a_rerun_does_not_overtake_and_may_be_interrupted_again(appliance: Appliance) -> None:
    files = program("on_interrupt = rerun")
    appliance.turn(appliance.read(files))
    appliance.say("run p")
    for attempt in (2, 3, 4):
        appliance.restart(SECOND, stanzas=files)
        appliance.turn()
        assert attempts(appliance) == [(FIRST, attempt)]
    appliance.turn(ended(FIRST, attempt=4))
    assert [(run.state, run.attempts) for run in appliance.history()] == [("succeeded", 4)]


def test_a_rerun_uses_up_no_retry(appliance: Appliance) -> None:
    files = program("retries = 2 retry_delay = 10 on_interrupt = rerun")
    appliance.turn(appliance.read(files))
    appliance.say("run p")
    for attempt, least in ((2, 10_000), (4, 20_000)):
        appliance.restart(SECOND, stanzas=files)
        appliance.turn()
        assert attempts(appliance) == [(FIRST, attempt)]
        appliance.turn(ended(FIRST, 3, attempt=attempt))
        boot, at = appliance.clock.moment().boot, appliance.core.wake()[1]
        assert at is not None and least <= at - boot <= least + least // 10, "a rerun does not double the delay"
        appliance.after(at - boot)
        assert attempts(appliance) == [(FIRST, attempt + 1)]
    appliance.turn(ended(FIRST, 4, attempt=5))
    assert [(run.state, run.attempts) for run in appliance.history()] == [("failed", 5)]


def test_a_program_has_its_own_limit_and_others_go_past_it(either: Appliance) -> None:
    either.turn(either.read(program("max_running = 2")))
    either.turn(*[either.typed(line) for line in ("run p", "run p", "run p", "run hello", "run p", "run hello")])
    assert [start.key.run.job for start in either.started()] == [1, 2, 4, 6]
    either.turn(ended(RunKey(2, 1)))
    assert [start.key.run.job for start in either.started()] == [3]
    either.turn(ended(RunKey(3, 1)), ended(RunKey(1, 1)), either.typed("run p"))
    assert [start.key.run.job for start in either.started()] == [5, 7]


def test_a_raised_limit_starts_queued_runs(either: Appliance) -> None:
    either.turn(either.read(program("max_running = 1")))
    either.turn(*[either.typed("run p") for _ in range(4)])
    either.turn(either.read(program("max_running = 3")))
    assert [start.key.run.job for start in either.started()] == [2, 3]


def test_a_run_that_cannot_start_does_not_delay_those_behind_it(either: Appliance) -> None:
    either.turn(either.read(program("max_running = 1")))
    either.turn(*[either.typed(line) for line in ("run p 1", "run p abc", "run p 2")])
    either.turn(either.read(program("max_running = 1").replace("args = any", 'args = ( "[0-9]+" )')))
    either.turn(ended(RunKey(1, 1)))
    either.turn()
    assert [state for _, _, state in either.states()] == ["succeeded", "failed", "started"]


def test_all_programs_together_have_a_limit_and_start_in_order(either: Appliance) -> None:
    either.turn(either.read(program("max_running = 1", "max_running = 2")))
    lines = ("run p", "run p", "run hello", "run sleep 5", "run p", "run hello")
    either.turn(*[either.typed(line) for line in lines])
    starts = [start.key.run.job for start in either.started()]
    assert starts == [1, 3]
    for _ in lines:
        oldest = min(either.state.running)
        either.turn(ended(oldest))
        starts += [start.key.run.job for start in either.started()]
        assert len(either.state.running) <= 2
    assert starts == [1, 3, 2, 4, 5, 6]
    assert {state for _, _, state in either.states()} == {"succeeded"}


def test_without_a_limit_in_the_files_the_number_of_places_counts(either: Appliance) -> None:
    either.state.places = 3
    assert either.state.max_running == 3
    either.turn(either.read(program("", "max_running = 7")))
    assert either.state.max_running == 7


def test_a_due_attempt_goes_before_runs_that_came_due_later(appliance: Appliance) -> None:
    """Both have waited for the appliance to start again."""
    again = program("retries = 1 retry_delay = 60", "max_running = 1")
    appliance.turn(appliance.read(again))
    appliance.say("run p")
    appliance.say("sched in 600 run sleep 5")
    appliance.turn(ended(FIRST, 1))
    appliance.restart(3600 * SECOND, again)
    appliance.turn()
    assert attempts(appliance) == [(FIRST, 2)]
    appliance.turn(ended(FIRST, 0, attempt=2))
    assert attempts(appliance) == [(RunKey(2, 1), 1)]


def test_a_failed_look_up_delays_only_its_own_run(either: Appliance) -> None:
    either.turn(either.read(program("overlap = parallel")))
    either.say("run p")
    either.turn(ProgramNotStarted(AttemptKey(FIRST, 1), "no answer", exhausted=True, is_alone=True))
    assert outcomes(either) == [("queued", "no answer; it is tried again")]
    either.say("run p")
    assert attempts(either) == [(RunKey(2, 1), 1)]
    either.after(SECOND)
    assert (FIRST, 1) in attempts(either)


def test_while_no_output_can_be_written_every_run_waits(either: Appliance) -> None:
    either.turn(either.read(program("retries = 0")))
    either.say("run p")
    trouble = "outputs cannot be written to /var/out: Input/output error"
    either.turn(ProgramNotStarted(AttemptKey(FIRST, 1), trouble, exhausted=True), OutputsChecked(trouble))
    assert either.logged().count(f"error: degraded: {trouble}") == 1
    either.turn(OutputsChecked(trouble))
    assert either.logged() == "", "the same trouble is logged once"
    for _ in range(3):
        either.after(SECOND, either.typed("run p"))
        assert attempts(either) == []
    assert either.core.wake() == (None, None), "only a better disk wakes it"
    assert [run["reason"] for run in either.data("sched history example.com-000000002")] == [reasons.NO_OUTPUT]
    assert either.data("summary")["degraded"] == trouble
    either.turn(OutputsChecked(None))
    assert len(attempts(either)) == 4
    assert either.data("summary")["degraded"] is None
