"""Calendar jobs that were created while the clock was wrong, and jobs that are due when it is set.

No due time that was reached is lost, none runs twice, and no time before the creation of a job counts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schedappliance.clock import ManualClock
from schedappliance.engine.records import RunKey
from tests.support.core import MINUTE, STANZAS, Appliance, ended

HOUR = 60 * MINUTE
DAY = 24 * HOUR
UTC_ZONE = f"sched {{ zone = UTC catch_up = all }}\n{STANZAS}"
DAILY = 'job "daily" { cron = "30 2 * * *" command = "pid" }\n'
MONTHLY = 'job "monthly" { cron = "0 3 1 * *" command = "pid" }\n'
FAST = 'job "fast" { cron = "*/5 * * * *" command = "pid" }\n'


def at(text: str) -> int:
    """An instant in UTC, in milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


NOON = at("2027-01-10 12:00")


class Wrong:
    """A machine whose clock shows something else when its store is created. `step`: sets the clock to an instant."""

    def __init__(self, path: Path, shown: str, stanzas: str = STANZAS) -> None:
        self.appliance = Appliance(path / "sched.db", f"{UTC_ZONE}{stanzas}", clock=ManualClock(at(shown), boot=9000))
        self.stanzas = f"{UTC_ZONE}{stanzas}"

    def set(self, shown: str, is_down: bool = False) -> None:
        clock = self.appliance.clock
        clock.step(at(shown) - clock.moment().wall)
        if is_down:
            self.appliance.restart(0, self.stanzas)
        self.appliance.turn()

    def until(self, shown: str) -> None:
        """Lets time pass from due time to due time."""
        while (now := self.appliance.clock.moment().wall) < at(shown):
            wakes, _ = self.appliance.core.wake()
            self.appliance.after(max(0, min(at(shown), wakes or at(shown)) - now))

    def due(self) -> list[tuple[str, str]]:
        """The runs: due time and state."""
        return [(_shown(run.due_ms), run.state) for run in self.appliance.history()]

    def next(self) -> list[str | None]:
        return [_shown(due) if due else None for _, due in self.appliance.next_runs()]


def _shown(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.fixture(params=[False, True], ids=["while it runs", "between two starts"])
def is_down(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("ran", [False, True], ids=["new", "has run"])
def test_a_job_created_while_the_clock_was_ahead_keeps_its_first_due_time(
    tmp_path: Path, ran: bool, is_down: bool
) -> None:
    """It was ahead by 365 days and 5 hours, or longer: then the monthly job has run by the wrong time."""
    machine = Wrong(tmp_path, "2028-01-31 23:00" if ran else "2028-02-05 03:00", DAILY + MONTHLY)
    if ran:
        machine.until("2028-02-01 03:01")
    before = machine.due()
    machine.set("2027-01-31 22:00", is_down)
    assert (machine.due(), machine.next()) == (before, ["2027-02-01 02:30", "2027-02-01 03:00"])
    machine.until("2027-02-01 03:01")
    assert machine.due()[len(before) :] == [("2027-02-01 02:30", "succeeded"), ("2027-02-01 03:00", "succeeded")]


def test_a_due_time_that_has_run_does_not_run_again_after_a_small_step_back(tmp_path: Path, is_down: bool) -> None:
    machine = Wrong(tmp_path, "2027-01-10 02:00", DAILY)
    machine.until("2027-01-10 02:40")
    machine.set("2027-01-10 02:10", is_down)
    machine.until("2027-01-10 04:00")
    assert machine.due() == [("2027-01-10 02:30", "succeeded")]
    assert machine.next() == ["2027-01-11 02:30"]


def test_a_job_created_in_1970_has_no_due_times_before(tmp_path: Path, is_down: bool) -> None:
    """A new machine boots in 1970 and gets the time in two steps. Then nothing is caught up, and nothing is missed."""
    machine = Wrong(tmp_path, "1970-01-01 00:01", DAILY + MONTHLY + FAST)
    machine.appliance.say('sched cron "*/5 * * * *" pid')
    machine.appliance.after(MINUTE)
    machine.set("2001-09-09 01:43", is_down)
    machine.appliance.after(MINUTE)
    machine.set("2027-01-10 12:03", is_down)
    assert machine.due() == []
    five = "2027-01-10 12:05"
    assert machine.next() == ["2027-01-11 02:30", "2027-02-01 03:00", five, five]
    machine.until("2027-01-10 12:06")
    assert machine.due() == [(five, "succeeded")] * 2


def test_a_due_time_that_was_reached_after_the_creation_is_caught_up(tmp_path: Path, is_down: bool) -> None:
    """The job was created at 02:25. The clock that showed 1970 is set at 02:35."""
    machine = Wrong(tmp_path, "1970-01-01 00:01", DAILY)
    machine.appliance.after(10 * MINUTE)
    machine.set("2027-01-10 02:35", is_down)
    assert machine.due() == [("2027-01-10 02:30", "succeeded")]
    assert machine.next() == ["2027-01-11 02:30"]


def test_a_step_forward_is_a_downtime_for_jobs_of_earlier_boots(tmp_path: Path) -> None:
    """The machine was off for three days. It boots at the time of its last shutdown, and then asks for the time."""
    machine = Wrong(tmp_path, "2027-01-10 12:00", DAILY)
    machine.appliance.reboot(MINUTE, machine.stanzas)
    machine.appliance.say('sched cron "30 2 * * *" pid')
    machine.set("2027-01-13 12:00")
    assert machine.due() == [(f"2027-01-{day} 02:30", "succeeded") for day in (11, 12, 13)]
    assert {run.key.job for run in machine.appliance.history()} == {1}


@pytest.mark.parametrize("boots", [1, 2])
def test_a_job_created_in_1970_waits_when_the_clock_is_right_again(tmp_path: Path, boots: int) -> None:
    """The machine was off for three days; the jobs before are caught up."""
    machine = Wrong(tmp_path, "2027-01-10 12:00", DAILY)
    machine.appliance.after(MINUTE)
    machine.appliance.reboot(at("1970-01-01 00:01") - NOON - MINUTE, machine.stanzas)
    machine.appliance.after(MINUTE)
    machine.appliance.say('sched cron "*/5 * * * *" pid')
    if boots == 2:
        machine.appliance.boot_id = "another"
        machine.appliance.clock = ManualClock(at("1970-01-01 00:01"), boot=9000)
        machine.appliance.restart(0, machine.stanzas)
    machine.appliance.after(MINUTE)
    machine.set("2027-01-13 12:02")
    assert "the jobs have their old due times again" in "".join(repr(effect) for effect in machine.appliance.past)
    assert machine.due() == [(f"2027-01-{day} 02:30", "succeeded") for day in (11, 12, 13)]
    assert machine.next() == ["2027-01-14 02:30", "2027-01-13 12:05"]


def test_an_overdue_job_runs_after_a_step_back_that_leaves_it_overdue(tmp_path: Path) -> None:
    """It came due at 02:30 while no daemon ran. By the clock, it did not exist yet."""
    machine = Wrong(tmp_path, "2027-01-10 02:00", DAILY)
    machine.appliance.clock.advance(40 * MINUTE)
    machine.set("2026-01-10 02:40", is_down=True)
    assert machine.due() == [("2026-01-10 02:30", "succeeded")]
    assert machine.next() == ["2026-01-11 02:30"]


def test_an_overdue_job_is_not_lost_when_the_clock_is_set_back_and_right_again(tmp_path: Path) -> None:
    """It came due at 02:30 while no daemon ran. The clock was set back by 90 minutes, and forward again."""
    machine = Wrong(tmp_path, "2027-01-10 02:00", DAILY)
    machine.appliance.clock.advance(40 * MINUTE)
    machine.set("2027-01-10 01:10", is_down=True)
    assert machine.due() == []
    machine.appliance.after(5 * MINUTE)
    machine.set("2027-01-10 02:45")
    assert machine.due() == [("2027-01-10 02:30", "succeeded")]
    assert machine.next() == ["2027-01-11 02:30"]


def test_an_overdue_job_that_has_run_meanwhile_does_not_run_again(tmp_path: Path) -> None:
    machine = Wrong(tmp_path, "2027-01-10 02:00", DAILY)
    machine.appliance.clock.advance(40 * MINUTE)
    machine.set("2027-01-10 01:10", is_down=True)
    machine.until("2027-01-10 02:35")
    machine.set("2027-01-10 04:05")
    assert machine.due() == [("2027-01-10 02:30", "succeeded")]


ENDING = 'job "ending" { cron = "0 * * * *" until = "2027-03-31" command = "pid" }\n'
ENDLESS = 'job "endless" { cron = "0 * * * *" command = "pid" }\n'


@pytest.mark.parametrize(
    "ending",
    [
        ENDING,
        'job "ending" { calendar = "2027-*-* *:00" command = "pid" }\n',
        'job "ending" { every = 1h until = "2027-03-31" command = "pid" }\n',
        'job "ending" { cron = "0 * * * *" only = quarter command = "pid" }\ndays "quarter" { dates = "2027-01..03-*" }\n',
        'job "ending" { cron = "0 * * * *" each = 1d from = "2027-01-01" until = "2027-03-31" command = "pid" }\n',
    ],
    ids=["until", "year", "every", "only", "each"],
)
def test_a_job_that_has_ended_by_a_wrong_clock_only_is_due_again(tmp_path: Path, ending: str, is_down: bool) -> None:
    """It is due at the same time as a job that does not end."""
    machine = Wrong(tmp_path, "2027-01-10 12:10", ENDLESS + ending)
    machine.set("2029-05-06 07:30", is_down)
    assert machine.next() == ["2029-05-06 08:00", None]
    machine.appliance.after(MINUTE)
    machine.set("2027-01-10 12:11", is_down)
    assert machine.next() == ["2027-01-10 13:00"] * 2
    machine.until("2027-01-10 13:01")
    assert machine.due()[-2:] == [("2027-01-10 13:00", "succeeded")] * 2


def test_a_job_that_has_ended_does_not_repeat_its_last_run_after_a_small_step_back(
    tmp_path: Path, is_down: bool
) -> None:
    machine = Wrong(tmp_path, "2027-01-10 02:00", DAILY.replace("cron", 'until = "2027-01-10 05:00" cron'))
    machine.until("2027-01-10 02:40")
    machine.set("2027-01-10 02:10", is_down)
    machine.until("2027-01-10 04:00")
    assert (machine.due(), machine.next()) == ([("2027-01-10 02:30", "succeeded")], [None])


def test_a_job_that_was_created_after_its_end_by_a_wrong_clock_only_is_due(tmp_path: Path, is_down: bool) -> None:
    machine = Wrong(tmp_path, "2029-05-06 01:00", DAILY.replace("cron", 'until = "2027-01-10 05:00" cron'))
    assert machine.next() == [None]
    machine.set("2027-01-10 02:10", is_down)
    assert machine.next() == ["2027-01-10 02:30"]


def test_a_job_that_has_ended_stays_so_when_the_clock_is_right_again(tmp_path: Path, is_down: bool) -> None:
    """The clock shows 1970 meanwhile."""
    machine = Wrong(tmp_path, "2027-03-31 22:10", ENDING)
    machine.until("2027-04-01 12:00")
    before = machine.due()
    machine.set("1970-01-01 00:10", is_down)
    assert machine.next() != [None]
    machine.appliance.after(MINUTE)
    machine.set("2027-04-01 12:01", is_down)
    assert (machine.due(), machine.next()) == (before, [None])


def test_a_job_whose_due_times_are_all_before_its_creation_does_not_run(tmp_path: Path, is_down: bool) -> None:
    machine = Wrong(tmp_path, "1970-01-01 00:10", ENDING)
    machine.appliance.after(MINUTE)
    machine.set("2027-04-01 12:01", is_down)
    assert (machine.due(), machine.next()) == ([], [None])


@pytest.mark.parametrize("step", [-90 * MINUTE, -365 * DAY, HOUR, 365 * DAY])
def test_a_run_that_waits_when_the_clock_is_set_runs_once(tmp_path: Path, step: int) -> None:
    machine = Wrong(tmp_path, "2027-01-10 02:00", DAILY.replace("pid", "run sleep 5"))
    appliance = machine.appliance
    appliance.state.places = 1
    appliance.say("run sleep 6")
    appliance.after(30 * MINUTE)
    (queued,) = [run for run in appliance.history() if run.state == "queued"]
    appliance.clock.step(step)
    appliance.turn()
    assert queued in appliance.history()
    appliance.turn(ended(RunKey(2, 1)))
    assert [start.key.run for start in appliance.started()] == [queued.key]
