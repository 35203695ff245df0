"""A wall clock that is set while the appliance runs or is down: jobs follow it, and nothing repeats or stalls."""

from __future__ import annotations

import signal

import pytest

from schedappliance.engine.effects import StartProgram, Stop
from schedappliance.engine.records import RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, ended, some

HOUR = 3600 * SECOND
DAY = 24 * HOUR
# A declared job is due at full minutes. START_MS is 20 seconds past one.
DECLARED = STANZAS + 'job "tidy" { every = 60 command = "config set tidied 1" }\n'
AT = f"sched at {START_MS // SECOND + 3600} config set a 1"


@pytest.fixture(params=["while it runs", "between two starts", "between two boots"])
def how(request: pytest.FixtureRequest) -> str:
    """When the clock is set."""
    return str(request.param)


def set_clock(appliance: Appliance, step: int, how: str, stanzas: str | None = None) -> None:
    if how == "between two boots":
        appliance.reboot(step, stanzas)
        return
    appliance.clock.step(step)
    if how == "while it runs":
        appliance.turn()
    else:
        appliance.restart(stanzas=stanzas)


def is_step_logged(appliance: Appliance) -> bool:
    return "the jobs follow it" in appliance.logged()


@pytest.mark.parametrize(
    ("line", "back", "moved"),
    [
        ("sched in 600 pid", HOUR, HOUR),
        ("sched in 600 pid", DAY + 1, DAY + 1),
        ("sched in 600 pid", 1500, 1500),
        ("sched every 60 pid", HOUR, HOUR),
        ("sched every 60 pid", HOUR + 59_999, HOUR),
        ("sched every 60 pid", MINUTE, MINUTE),
        ("sched every 60 pid", MINUTE - 1, 0),
        ("sched every 7200 pid", HOUR, 0),
        ("sched every 7200 pid", 5 * HOUR, 4 * HOUR),
        (AT, HOUR, 0),
        (AT, DAY, 0),
    ],
)
def test_jobs_follow_a_clock_that_is_set_back(appliance: Appliance, how: str, line: str, back: int, moved: int) -> None:
    appliance.say(line)
    ((number, before),) = appliance.next_runs()
    assert before is not None
    set_clock(appliance, -back, how)
    assert appliance.next_runs() == [(number, before - moved)]
    assert f"warning: the clock was set back by {back / 1000:.1f} seconds" in appliance.logged()
    assert (appliance.history(), appliance.store.jobs.next_due()) == ([], before - moved)


def test_a_declared_job_stays_at_its_multiples(appliance: Appliance, how: str) -> None:
    appliance.turn(appliance.read(DECLARED))
    set_clock(appliance, -(HOUR + 17 * SECOND), how)
    if how != "while it runs":
        appliance.turn(appliance.read(DECLARED))
    for _ in range(3):
        due = appliance.store.jobs.next_due()
        assert due is not None
        wait = due - appliance.clock.moment().wall
        assert (due % MINUTE, 0 < wait < 2 * MINUTE) == (0, True)
        appliance.after(wait)
    assert {run.state for run in appliance.history()} == {"succeeded"}


@pytest.mark.parametrize("then", ["", "a restart", "a failed commit"])
@pytest.mark.parametrize("back", [2 * SECOND, HOUR, 400 * DAY])
def test_a_clock_step_does_not_change_the_delay_of_an_attempt(
    appliance: Appliance, how: str, back: int, then: str
) -> None:
    retried = STANZAS + 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 600 }\n'
    appliance.turn(appliance.read(retried))
    appliance.say("run p")
    appliance.turn(ended(RunKey(1, 1), 1))
    _, waits = appliance.core.wake()
    assert waits is not None
    left = waits - appliance.clock.moment().boot
    set_clock(appliance, -back, how, retried)
    if then == "a restart":
        appliance.restart(stanzas=retried)
    appliance.after(left - 1)
    assert appliance.started() == []
    appliance.database.failing_commits = int(then == "a failed commit")
    appliance.after(1)
    appliance.after(SECOND)
    assert [start.key.attempt for start in some(StartProgram, appliance.past)] == [1, 2]


@pytest.mark.parametrize("step", [1001, HOUR, 400 * DAY])
def test_a_clock_that_is_set_forward_acts_like_a_downtime(either: Appliance, step: int) -> None:
    either.say("sched every 60 config set a 1")
    either.say("sched in 600 config set b 1")
    either.say(f"sched at {(START_MS + 500 * DAY) // SECOND} pid")
    before = either.next_runs()
    either.clock.step(step)
    either.turn()
    assert f"warning: the clock was set forward by {step / 1000:.1f} seconds" in either.logged()
    assert not is_step_logged(either)
    now = either.clock.moment().wall
    assert [run for run in before if (run[1] or 0) > now] == [run for run in either.next_runs() if run in before]
    assert len(either.history(2)) == (step > 600 * SECOND)
    assert {run.state for run in either.history(1)} == ({"missed", "succeeded"} if step > 2 * MINUTE else set())
    either.turn()
    assert either.effects == []


@pytest.mark.parametrize("step", [HOUR, -1000, -1, 0, 1000])
def test_without_a_step_back_no_job_moves(appliance: Appliance, how: str, step: int) -> None:
    appliance.say(f"sched at {START_MS // SECOND + 7200} pid")
    appliance.say("sched in 7200 pid")
    appliance.say("sched every 7200 pid")
    before = appliance.next_runs()
    set_clock(appliance, step, how)
    assert (appliance.next_runs(), is_step_logged(appliance)) == (before, False)


def test_passing_time_is_not_a_step(either: Appliance) -> None:
    either.say("sched in 604800 pid")
    before = either.next_runs()
    for _ in range(10):
        either.after(DAY // 3)
        assert either.effects == []
    assert either.next_runs() == before


def test_small_steps_add_up(either: Appliance) -> None:
    either.say("sched in 600 pid")
    for _ in range(3):
        either.clock.step(-400)
        either.turn()
    assert either.next_runs() == [(1, START_MS + 600 * SECOND - 1200)]
    either.turn()
    assert either.effects == []


def test_every_step_is_followed_once(either: Appliance) -> None:
    either.say("sched in 600 pid")
    for step in (-HOUR, 2 * HOUR, -HOUR, -DAY):
        either.clock.step(step)
        either.turn()
        if step > 0:
            break
    assert either.states() == [(1, 1, "succeeded")]
    either.say("sched in 600 pid")
    ((_, before),) = either.next_runs()
    for step in (-HOUR, -DAY):
        either.clock.step(step)
        either.turn()
        either.turn()
    assert before is not None
    assert either.next_runs() == [(2, before - HOUR - DAY)]


@pytest.mark.parametrize("back", [2 * SECOND, 61 * SECOND, HOUR, 30 * DAY])
def test_nothing_repeats_and_nothing_stalls(appliance: Appliance, how: str, back: int) -> None:
    """The runs equal those with a clock that was never set, within one period, and each occurrence runs once."""
    appliance.say("sched every 60 config set a 1")
    appliance.say("sched in 300 config set b 1")
    appliance.after(MINUTE)
    set_clock(appliance, -back, how)
    for _ in range(10):
        appliance.after(MINUTE)
    assert appliance.states(2) == [(2, 1, "succeeded")]
    runs = appliance.states(1)
    assert 9 <= len(runs) <= 11
    assert runs == [(1, number, "succeeded") for number in range(1, len(runs) + 1)]
    dues = [run.due_ms for run in appliance.history(1)]
    assert {due % MINUTE for due in dues} == {START_MS % MINUTE}


def test_a_one_shot_job_waits_for_its_duration(appliance: Appliance, how: str) -> None:
    appliance.say("sched in 300 run sleep 5")
    appliance.after(100 * SECOND)
    if how == "between two boots":
        appliance.reboot()
    set_clock(appliance, -DAY, how)
    appliance.after(200 * SECOND - 1)
    assert appliance.started() == []
    appliance.after(1)
    assert [start.key.run for start in appliance.started()] == [RunKey(1, 1)]


def test_a_time_of_day_is_waited_for(appliance: Appliance, how: str) -> None:
    appliance.say(AT)
    set_clock(appliance, -HOUR, how)
    appliance.after(2 * HOUR - 1)
    assert appliance.history() == []
    appliance.after(1)
    assert appliance.states() == [(1, 1, "succeeded")]


def test_a_job_that_has_run_at_its_time_does_not_run_again(appliance: Appliance, how: str) -> None:
    appliance.say(AT)
    appliance.after(HOUR)
    set_clock(appliance, -HOUR, how)
    appliance.after(2 * HOUR)
    assert appliance.states() == [(1, 1, "succeeded")]


def test_a_job_added_after_the_step_is_not_moved(either: Appliance) -> None:
    either.clock.step(-HOUR)
    either.say("sched in 600 pid")
    either.say("sched every 60 pid")
    now = either.clock.moment().wall
    assert either.next_runs() == [(1, now + 600 * SECOND), (2, now + MINUTE)]
    either.turn()
    assert either.effects == []


def test_a_disabled_job_follows_too(appliance: Appliance, how: str) -> None:
    off = DECLARED.replace("command =", "enabled = no command =")
    appliance.turn(appliance.read(DECLARED))
    appliance.turn(appliance.read(off))
    appliance.clock.step(-HOUR)
    if how == "while it runs":
        appliance.turn()
    elif how == "between two starts":
        appliance.restart(stanzas=off)
    else:
        appliance.restart()
    appliance.turn(appliance.read(DECLARED))
    appliance.after(2 * MINUTE)
    assert "succeeded" in [run.state for run in appliance.history()]


def test_a_queued_run_is_not_moved_and_starts_in_order(either: Appliance) -> None:
    either.state.places = 1
    either.say("run sleep 5")
    either.say("run sleep 6")
    either.clock.step(-DAY)
    either.turn(ended(RunKey(1, 1)))
    assert [start.key.run.job for start in either.started()] == [2]
    assert {run.due_ms for run in either.history()} == {START_MS}


def test_a_boot_clock_that_restarted_means_another_boot(appliance: Appliance) -> None:
    """Also with the same boot id, as after a machine was restored from a snapshot."""
    appliance.reboot()
    appliance.say("sched in 60 config set a 1")
    appliance.say("sched in 600 config set b 1")
    ((_, _), (_, before)) = appliance.next_runs()
    assert before is not None
    appliance.after(MINUTE)
    appliance.reboot(after_ms=-HOUR)
    assert appliance.next_runs() == [(2, before - HOUR)]


def test_across_boots_the_clock_is_compared_with_the_last_tick(appliance: Appliance) -> None:
    appliance.say("sched in 60 config set a 1")
    appliance.say("sched in 600 config set b 1")
    appliance.after(MINUTE)
    appliance.reboot(after_ms=-10 * SECOND)
    assert "set back by 10.0 seconds since the last tick" in appliance.logged()
    assert appliance.next_runs() == [(2, START_MS + 590 * SECOND)]


def test_a_new_store_has_no_last_tick(appliance: Appliance) -> None:
    assert "the clock" not in "".join(repr(effect) for effect in appliance.past)
    assert appliance.store.settings.meta("last_wall_ms") == START_MS


def test_a_step_whose_turn_failed_is_followed_once_when_it_can_be_recorded(either: Appliance) -> None:
    either.say("sched in 600 pid")
    either.database.full = True
    for _ in range(3):
        either.clock.step(-HOUR)
        either.turn()
        assert not is_step_logged(either)
    assert either.next_runs() == [(1, START_MS + 600 * SECOND)]
    either.database.full = False
    either.turn()
    assert "the clock was set back by 10800.0 seconds; the jobs follow it" in either.logged()
    assert either.next_runs() == [(1, START_MS + 600 * SECOND - 3 * HOUR)]
    either.turn()
    assert either.effects == []


@pytest.mark.parametrize("line", ["sched in 7200 pid", "sched every 600 pid"])
def test_a_step_that_was_followed_is_not_followed_again_at_the_next_start(appliance: Appliance, line: str) -> None:
    appliance.say(line)
    appliance.clock.step(-HOUR)
    appliance.turn()
    before = appliance.next_runs()
    appliance.restart()
    assert (appliance.next_runs(), is_step_logged(appliance)) == (before, False)


def test_a_job_added_in_the_failed_turn_of_a_step_is_not_moved(either: Appliance) -> None:
    either.clock.step(-HOUR)
    either.database.failing_commits = 1
    either.say("sched in 600 pid")
    either.after(SECOND)
    assert either.history() == []


def test_a_shutdown_that_is_due_after_a_step_back_is_carried_out(either: Appliance) -> None:
    either.say("sched in 600 shutdown")
    either.clock.step(-HOUR)
    either.turn()
    either.after(600 * SECOND)
    assert len(some(Stop, either.effects)) == 1


def test_a_miss_after_a_step_back_has_the_right_reason(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.clock.step(-HOUR)
    either.turn()
    either.after(3 * MINUTE)
    assert either.history()[0].reason == "the time had passed before it could be run"


def test_a_step_forward_between_two_starts_is_logged(appliance: Appliance) -> None:
    appliance.clock.step(HOUR)
    appliance.restart()
    assert "the clock was set forward by 3600.0 seconds" in appliance.logged()


RIGHT_AGAIN = "it is right again, and the jobs have their old due times again"


def boot_in_1970(appliance: Appliance, seconds: int = 8) -> None:
    """A machine without a battery for its clock boots in 1970."""
    appliance.reboot(after_ms=seconds * SECOND - appliance.clock.moment().wall)
    assert "the jobs follow it" in appliance.logged()


def show(appliance: Appliance, wall: int, how: str) -> None:
    """Sets the clock to an instant."""
    set_clock(appliance, wall - appliance.clock.moment().wall, how)


def test_a_machine_that_boots_in_1970_loses_no_job_when_the_clock_is_corrected(appliance: Appliance, how: str) -> None:
    """Due times that passed while it was off are missed or caught up, once. Nothing runs early or without a reason."""
    appliance.say("sched every 60 config set a 1")
    appliance.say("sched in 86400 config set b 1")
    appliance.say(f"sched at {START_MS // SECOND + 7200} config set c 1")
    appliance.say("sched every 2592000 config set d 1")
    before = appliance.next_runs()
    appliance.after(SECOND)
    boot_in_1970(appliance)
    for _ in range(3):
        appliance.after(MINUTE)
    assert appliance.states() == [(1, 1, "succeeded"), (1, 2, "succeeded")]
    show(appliance, START_MS + HOUR, how)
    assert RIGHT_AGAIN in appliance.logged()
    appliance.turn()
    now = appliance.clock.moment().wall
    assert appliance.next_runs() == [(1, now + MINUTE), *before[1:]]
    *_, missed, caught_up = appliance.history()
    assert (missed.state, missed.missed_since_ms, missed.missed_count) == ("missed", START_MS + 3 * MINUTE, 57)
    assert (caught_up.key, caught_up.due_ms) == ((1, 60), START_MS + HOUR)
    appliance.after(HOUR)
    assert appliance.states(3) == [(3, 1, "succeeded")]
    appliance.after(DAY)
    assert appliance.states(2) == [(2, 1, "succeeded")]
    assert appliance.states(4) == []


def test_repeated_boots_in_1970_do_not_lose_count(appliance: Appliance) -> None:
    appliance.say("sched in 86400 config set b 1")
    appliance.say("sched every 7 config set a 1")
    before = appliance.next_runs()
    for seconds in (100, 50, 8, 20):
        appliance.reboot(after_ms=seconds * SECOND - appliance.clock.moment().wall)
    show(appliance, START_MS, "while it runs")
    assert appliance.next_runs() == before
    assert appliance.history() == []


def test_a_job_added_in_1970_waits_for_its_duration(appliance: Appliance) -> None:
    boot_in_1970(appliance)
    appliance.say("sched in 600 config set a 1")
    appliance.say("sched every 600 config set b 1")
    appliance.after(MINUTE)
    show(appliance, START_MS + MINUTE, "while it runs")
    assert appliance.history() == []
    (_, first), (_, second) = appliance.next_runs()
    assert first == START_MS + 600 * SECOND
    assert second is not None and START_MS + MINUTE < second <= START_MS + 660 * SECOND


def test_a_step_forward_to_a_new_time_acts_like_a_downtime(appliance: Appliance) -> None:
    appliance.say("sched every 60 config set a 1")
    boot_in_1970(appliance)
    appliance.clock.step(DAY)
    appliance.turn()
    assert (RIGHT_AGAIN in appliance.logged(), [run.state for run in appliance.history()]) == (
        False,
        ["missed", "succeeded"],
    )


def test_a_step_forward_smaller_than_the_step_back_delays_no_job(appliance: Appliance) -> None:
    """Two days have passed since. The clock shows the old time, and is still wrong."""
    appliance.say("sched every 86400 pid")
    appliance.say(f"sched in {5 * DAY // SECOND} config set a 1")
    appliance.clock.step(-3 * DAY)
    appliance.turn()
    appliance.after(2 * DAY)
    appliance.clock.step(DAY)
    appliance.turn()
    now = appliance.clock.moment().wall
    assert (RIGHT_AGAIN in appliance.logged(), appliance.next_runs()) == (False, [(1, now + DAY), (2, now + 2 * DAY)])


def test_a_step_back_is_forgotten_once_as_much_time_has_passed(either: Appliance) -> None:
    either.clock.step(-HOUR)
    either.turn()
    either.after(2 * HOUR)
    either.say("sched every 60 config set a 1")
    either.clock.step(HOUR)
    either.turn()
    assert RIGHT_AGAIN not in either.logged()
    assert [(run.state, run.missed_count) for run in either.history()] == [("missed", 59), ("succeeded", None)]


@pytest.mark.parametrize("how", ["while it runs", "between two starts"])
def test_a_step_back_and_forward_again_changes_nothing(appliance: Appliance, how: str) -> None:
    """Across boots, a day may have passed as well."""
    appliance.say("sched every 7 pid")
    appliance.say("sched every 86401 pid")
    appliance.say("sched in 600 pid")
    before = appliance.next_runs()
    appliance.clock.step(-DAY)
    appliance.turn()
    set_clock(appliance, DAY, how)
    assert (appliance.next_runs(), appliance.history()) == (before, [])
    assert RIGHT_AGAIN in appliance.logged()


def test_correcting_the_clock_does_not_change_the_delay_of_an_attempt(appliance: Appliance) -> None:
    retried = STANZAS + 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 600 }\n'
    appliance.turn(appliance.read(retried))
    appliance.say("run p")
    appliance.turn(ended(RunKey(1, 1), 1))
    (waits,) = appliance.database.rows("SELECT retry_at_ms FROM runs")
    for step in (-DAY, DAY):
        set_clock(appliance, step, "between two starts", retried)
    assert appliance.database.rows("SELECT retry_at_ms FROM runs") == [waits]


def test_a_step_forward_whose_turn_failed_is_followed_when_it_can_be_recorded(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.say("sched in 600 pid")
    before = either.next_runs()
    either.clock.step(-DAY)
    either.turn()
    either.clock.step(DAY)
    either.database.failing_commits = 1
    either.turn()
    either.after(SECOND)
    assert (either.next_runs(), either.history()) == (before, [])


def test_a_paused_job_that_was_overdue_is_listed_in_1970(appliance: Appliance) -> None:
    job = appliance.say("sched every 60 pid")
    appliance.say(f"sched pause {job}")
    appliance.say(f"sched in {DAY // SECOND} pid")
    appliance.after(DAY)
    boot_in_1970(appliance)
    ((_, due),) = appliance.next_runs()
    assert due is not None and due < 0
    assert [row["id"] for row in appliance.data("sched list")] == [job]
    assert "paused" in appliance.say(f"sched show {job}")


TILL_2200 = 7_258_118_400 * SECOND - START_MS


def test_the_year_2200_is_like_any_other(appliance: Appliance, how: str) -> None:
    """A clock that was set there by mistake and then corrected: nothing repeats or stalls."""
    appliance.say("sched every 60 config set a 1")
    appliance.say(f"sched every {100 * 365 * 86400} config set b 1")
    set_clock(appliance, TILL_2200, how)
    appliance.turn()
    now = appliance.clock.moment().wall
    assert now >= 7_258_118_400 * SECOND
    first = [(run.state, run.missed_count) for run in appliance.history(1)]
    assert first == [("missed", (now - START_MS) // MINUTE - 1), ("succeeded", None)]
    assert [(run.state, run.due_ms) for run in appliance.history(2)] == [
        ("succeeded", START_MS + 100 * 365 * DAY),
    ]
    assert "(2200-01-01T" in appliance.say("sched show example.com-000000001")
    appliance.say("sched in 60 config set c 1")
    appliance.after(MINUTE)
    assert appliance.states(3) == [(3, 1, "succeeded")]
    done = len(appliance.history())
    show(appliance, START_MS + DAY, how)
    assert is_step_logged(appliance)
    for _ in range(5):
        appliance.after(MINUTE)
    runs = appliance.history()[done:]
    assert len(runs) in (4, 5)
    assert {(run.key.job, run.state) for run in runs} == {(1, "succeeded")}
    numbers = [run.key.occurrence for run in appliance.history(1)]
    assert numbers == sorted(set(numbers))


def test_a_timeout_passes_while_the_machine_is_suspended(either: Appliance) -> None:
    """Both clocks go on, so there is no step, but due times and timeouts have passed."""
    either.say("run limited")
    either.say("sched every 60 config set a 1")
    either.say("sched in 600 config set b 1")
    either.after(HOUR)
    assert "the clock" not in either.logged()
    assert either.signalled() == [(RunKey(1, 1), signal.SIGTERM)]
    assert [(run.key.job, run.state, run.reason) for run in either.history()[1:]] == [
        (2, "missed", "the time had passed before it could be run"),
        (2, "succeeded", None),
        (3, "succeeded", None),
    ]
    either.after(HOUR)
    assert either.signalled() == [(RunKey(1, 1), signal.SIGKILL)]


def test_an_attempt_whose_time_passed_during_a_suspend_starts_at_once(either: Appliance) -> None:
    either.turn(either.read(STANZAS + 'program "p" { argv = ( "/bin/p" ) retries = 1 retry_delay = 600 }\n'))
    either.say("run p")
    either.turn(ended(RunKey(1, 1), 1))
    either.after(HOUR)
    assert [start.key for start in either.started()] == [(RunKey(1, 1), 2)]


def test_a_clock_that_stays_set_back_is_not_taken_as_corrected_at_a_start(appliance: Appliance) -> None:
    """The clock reaches its earlier time again by itself while the appliance is down."""
    appliance.say("sched in 900 pid")
    appliance.clock.step(-18 * SECOND)
    appliance.turn()
    set_back = appliance.next_runs()
    appliance.restart(17 * SECOND + 500)
    assert appliance.next_runs() == set_back
    assert "right again" not in "".join(appliance.logged())
