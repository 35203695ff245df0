"""`at = boot`: a job runs once in each boot of the machine, however often the appliance starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.clock import ManualClock
from tests.support.core import BOOT, MINUTE, NEXT_BOOT, SECOND, STANZAS, START_MS, Appliance

# The machine of the tests has run for 500 seconds.
BOOTED_MS = START_MS - 500 * SECOND
HOUR = 60 * MINUTE


def job(options: str = "", command: str = "version") -> str:
    return f'{STANZAS}job "up" {{ at = boot command = "{command}" {options} }}\n'


def runs(appliance: Appliance) -> list[tuple[int, str]]:
    appliance.turn()
    return [(run.due_ms, run.state) for run in appliance.history()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sched.db"


def test_it_runs_at_the_first_start_in_a_boot_and_not_at_the_next_start(path: Path) -> None:
    appliance = Appliance(path, job())
    assert runs(appliance) == [(START_MS, "succeeded")]
    for _ in range(3):
        appliance.restart(MINUTE, job())
        assert len(runs(appliance)) == 1
    appliance.reboot(HOUR, job())
    assert runs(appliance)[1:] == [(START_MS + 3 * MINUTE + HOUR, "succeeded")]
    appliance.restart(MINUTE, job())
    assert len(runs(appliance)) == 2


SHOWN, HIDDEN = BOOT, ""


@pytest.mark.parametrize(
    "ids",
    [(SHOWN, HIDDEN, SHOWN), (HIDDEN, SHOWN, HIDDEN, SHOWN), (HIDDEN, HIDDEN), (SHOWN, HIDDEN, HIDDEN, SHOWN, SHOWN)],
    ids=lambda ids: "-".join("shown" if boot_id else "hidden" for boot_id in ids),
)
def test_a_hidden_boot_id_is_not_another_boot(path: Path, ids: tuple[str, ...]) -> None:
    """Also if the clock is set by seconds while no daemon runs. The next boot is another one, with or without its id."""
    appliance = Appliance(path, job())
    appliance.close()
    path.unlink()
    appliance.boot_id = ids[0]
    appliance.restart(0, job())
    assert len(runs(appliance)) == 1
    for boot_id in ids[1:]:
        appliance.boot_id = boot_id
        appliance.clock.step(-20 * SECOND)
        appliance.restart(MINUTE, job())
        assert len(runs(appliance)) == 1
    for count, boot_id in enumerate((HIDDEN, HIDDEN, NEXT_BOOT), 2):
        clock = ManualClock(appliance.clock.moment().wall + HOUR, boot=appliance.clock.moment().boot + MINUTE)
        appliance.clock, appliance.boot_id = clock, boot_id
        appliance.restart(0, job())
        assert len(runs(appliance)) == count
        appliance.restart(MINUTE, job())
        assert len(runs(appliance)) == count


def test_a_kill_before_the_claim_loses_nothing_and_repeats_nothing(path: Path) -> None:
    appliance = Appliance(path, job())
    appliance.restart(10 * SECOND, job())
    assert runs(appliance) == [(START_MS, "succeeded")]


def test_the_delay_counts_from_the_boot(path: Path) -> None:
    appliance = Appliance(path, job("delay = 10m"))
    assert runs(appliance) == []
    assert appliance.next_runs() == [(1, BOOTED_MS + 10 * MINUTE)]
    appliance.restart(50 * SECOND, job("delay = 10m"))
    assert runs(appliance) == []
    appliance.after(50 * SECOND)
    assert runs(appliance) == [(BOOTED_MS + 10 * MINUTE, "succeeded")]
    appliance.restart(HOUR, job("delay = 10m"))
    assert len(runs(appliance)) == 1


@pytest.mark.parametrize(("catch_up", "state"), [("once", "succeeded"), ("none", "missed")])
def test_catch_up_decides_about_a_time_that_passed_while_no_appliance_ran(
    path: Path, catch_up: str, state: str
) -> None:
    text = job("delay = 10m") + f"sched {{ catch_up = {catch_up} }}\n"
    appliance = Appliance(path, text)
    appliance.restart(5 * MINUTE, text)
    assert runs(appliance) == [(BOOTED_MS + 10 * MINUTE, state)]


def test_an_appliance_that_starts_late_runs_it_at_once_whatever_catch_up_says(path: Path) -> None:
    appliance = Appliance(path, job("delay = 1m") + "sched { catch_up = none }\n")
    assert runs(appliance) == [(START_MS, "succeeded")]


@pytest.mark.parametrize("is_down", [False, True], ids=["while it runs", "between two starts"])
@pytest.mark.parametrize("step", [-HOUR, HOUR, 365 * 24 * HOUR])
def test_a_clock_that_is_set_does_not_change_the_delay(path: Path, step: int, is_down: bool) -> None:
    """Also if `catch_up` would drop a due time that the clock has skipped."""
    text = job("delay = 10m") + "sched { catch_up = none }\n"
    appliance = Appliance(path, text)
    appliance.clock.step(step)
    if is_down:
        appliance.restart(SECOND, text)
    appliance.turn()
    assert (runs(appliance), appliance.next_runs()) == ([], [(1, BOOTED_MS + 10 * MINUTE + step)])
    appliance.after(100 * SECOND)
    assert runs(appliance) == [(BOOTED_MS + 10 * MINUTE + step, "succeeded")]


@pytest.mark.parametrize("seen_ms", [8 * SECOND, START_MS - 365 * 24 * HOUR, START_MS])
def test_a_machine_without_a_battery_counts_the_delay_from_its_boot(path: Path, seen_ms: int) -> None:
    """It was off for an hour, boots in 1970, at last year's time or at the time of its last shutdown, and then asks NTP."""
    appliance = Appliance(path, job("delay = 10m"))
    appliance.after(10 * MINUTE)
    assert len(runs(appliance)) == 1
    appliance.reboot(seen_ms - appliance.clock.moment().wall, job("delay = 10m"))
    appliance.after(MINUTE)
    appliance.clock.step(START_MS + 2 * HOUR - appliance.clock.moment().wall)
    appliance.turn()
    # The machine had run for ten seconds when the appliance started.
    due = START_MS + 2 * HOUR + 10 * MINUTE - 70 * SECOND
    assert (len(runs(appliance)), appliance.next_runs()) == (1, [(1, due)])
    appliance.after(10 * MINUTE)
    assert runs(appliance)[1:] == [(due, "succeeded")]


def test_a_job_that_a_reload_declares_waits_for_the_next_boot(path: Path) -> None:
    appliance = Appliance(path, STANZAS)
    appliance.turn(appliance.read(job()))
    assert runs(appliance) == []
    appliance.restart(MINUTE, job())
    assert runs(appliance) == []
    appliance.reboot(HOUR, job())
    assert len(runs(appliance)) == 1


def test_a_job_that_a_reload_declares_runs_if_its_time_is_still_to_come(path: Path) -> None:
    appliance = Appliance(path, STANZAS)
    appliance.turn(appliance.read(job("delay = 10m")))
    assert appliance.next_runs() == [(1, BOOTED_MS + 10 * MINUTE)]


def test_a_changed_delay_does_not_repeat_it(path: Path) -> None:
    appliance = Appliance(path, job())
    assert len(runs(appliance)) == 1
    appliance.turn(appliance.read(job("delay = 20m")))
    assert appliance.next_runs() == [(1, None)]
    appliance.turn(appliance.read(job(command="pid")))
    appliance.after(HOUR)
    assert len(runs(appliance)) == 1


@pytest.mark.parametrize(
    "meanwhile", ["every = 1h", "at = 1900000000", 'cron = "0 0 1 1 *" zone = UTC', "at = boot enabled = no"]
)
@pytest.mark.parametrize("is_claimed", [True, False], ids=["claimed", "overdue"])
def test_other_due_times_meanwhile_do_not_repeat_it(path: Path, meanwhile: str, is_claimed: bool) -> None:
    """The row of the job did not show any more that it had run in this boot."""
    appliance = Appliance(path, job("delay = 9m"))
    if is_claimed:
        appliance.after(MINUTE)
    else:
        appliance.clock.advance(MINUTE)
    for options in (meanwhile, meanwhile.replace("1", "2")):
        appliance.turn(appliance.read(job().replace("at = boot", options)))
    assert runs(appliance) == [
        (BOOTED_MS + 9 * MINUTE, "succeeded" if is_claimed or "no" not in meanwhile else "missed")
    ]
    appliance.restart(SECOND, job().replace("at = boot", meanwhile))
    appliance.turn(appliance.read(job("delay = 20m")))
    assert appliance.next_runs() == [(1, None)]
    appliance.reboot(HOUR, job("delay = 20m"))
    assert len(appliance.next_runs()) == 1 and appliance.next_runs()[0][1] is not None


def test_a_changed_delay_moves_a_time_that_is_still_to_come(path: Path) -> None:
    appliance = Appliance(path, job("delay = 10m"))
    appliance.turn(appliance.read(job("delay = 20m")))
    assert appliance.next_runs() == [(1, BOOTED_MS + 20 * MINUTE)]
    appliance.turn(appliance.read(job("delay = 1m")))
    assert runs(appliance) == [(START_MS, "succeeded")]


def test_a_job_that_was_disabled_at_the_boot_waits_for_the_next_one(path: Path) -> None:
    appliance = Appliance(path, job("enabled = false"))
    appliance.turn(appliance.read(job()))
    appliance.after(MINUTE)
    assert runs(appliance) == []
    appliance.reboot(HOUR, job())
    assert len(runs(appliance)) == 1


@pytest.mark.parametrize("delay", ["", "delay = 2h"])
def test_a_job_that_is_enabled_before_the_first_start_in_a_boot_runs(path: Path, delay: str) -> None:
    """As a job does that is declared there."""
    appliance = Appliance(path, job(f"enabled = false {delay}"))
    appliance.reboot(HOUR, job())
    assert len(runs(appliance)) == 1
    appliance.restart(MINUTE, job())
    assert len(runs(appliance)) == 1


def test_why_list_and_show_say_what_it_waits_for(path: Path) -> None:
    appliance = Appliance(path, job("delay = 10m"))
    due = "1700000100 (2023-11-14T22:15:00+00:00)"
    assert appliance.say("sched why up") == f"it runs once in each boot of the machine, in this boot at {due}"
    assert f"next run: {due}\n" in appliance.say("sched show up")
    assert appliance.data("sched show up")["at_boot"] is True
    assert "version" in appliance.say("sched list")
    appliance.after(10 * MINUTE)
    why = appliance.say("sched why up").splitlines()
    assert why[0] == "it runs once in each boot of the machine: its time in this boot has passed"
    text = appliance.say("sched show up")
    assert "next run: after the next boot of the machine\n" in text and "state: waiting\n" in text
    assert "version" not in appliance.say("sched list")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("every = 60 delay = 5", "has `delay` without `at = boot`"),
        ("at = 1 delay = 5", "has `delay` without `at = boot`"),
        ("at = boot every = 60", "has both `every` and `at`"),
        ("at = boot offset = 5", "has `offset` without `every`"),
    ],
)
def test_options_that_do_not_fit_are_rejected(path: Path, options: str, message: str) -> None:
    appliance = Appliance(path, STANZAS)
    answer = appliance.reload_typed(f'{STANZAS}job "up" {{ {options} command = "version" }}\n')
    assert not answer.ok and message in (answer.error or "")
