"""Digests: an alert waits until the next time of its stanza (`at`), across kills and while the appliance is held.

It has less of each output than an alert that goes out at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.engine.events import ZonesChanged
from schedappliance.engine.records import RunKey
from schedappliance.model.calendars.zones import Zones
from tests.core.test_alerts import DAY, deliveries, end_all, first, text_of, told, use
from tests.core.test_calendars import zone_files
from tests.core.test_late_runs import begin, slow
from tests.support.core import MINUTE, SECOND, START_MS, Appliance, ended

HOUR = 60 * MINUTE
# The tests begin at 22:13:20 UTC.
EIGHT_MS = START_MS + 8 * HOUR + 46 * MINUTE + 40 * SECOND
# From 2003 to 2023.
YEARS = 7305 * DAY
AT = 'at = "08:00 Europe/Berlin" incidents = no again = 0'


def fails(appliance: Appliance) -> None:
    appliance.turn(ended(begin(appliance), 1))


def test_a_timed_alert_is_delivered_at_its_time_across_kills(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow(AT)))
    fails(appliance)
    assert appliance.core.wake()[0] == EIGHT_MS
    appliance.restart(HOUR, slow(AT))
    fails(appliance)
    assert appliance.core.wake()[0] == EIGHT_MS
    appliance.after(EIGHT_MS - appliance.clock.moment().wall - 1)
    assert deliveries(appliance) == []
    appliance.after(1)
    appliance.restart(SECOND, slow(AT))
    appliance.turn()
    assert [len(text_of(start)["events"]) for start in deliveries(appliance)] == [2, 2], "the start is tried again"
    end_all(appliance)
    fails(appliance)
    assert appliance.core.wake()[0] == EIGHT_MS + DAY
    appliance.restart(2 * DAY, slow(AT))
    appliance.turn()
    assert [len(text_of(start)["events"]) for start in deliveries(appliance)] == [2, 2, 1]


def test_the_times_of_a_timed_alert_are_in_the_zone_of_sched(appliance: Appliance) -> None:
    text = slow('at = ( "Mon 12:00" "08:00" ) incidents = no')
    appliance.turn(appliance.read(text))
    fails(appliance)
    assert appliance.core.wake()[0] == EIGHT_MS + HOUR, "UTC is the zone of the machine"
    appliance.after(EIGHT_MS + HOUR - appliance.clock.moment().wall)
    end_all(appliance)
    assert len(deliveries(appliance)) == 1
    appliance.turn(appliance.read('sched { zone = "Asia/Tokyo" }\n' + text))
    fails(appliance)
    assert appliance.core.wake()[0] == EIGHT_MS + 16 * HOUR


def test_a_timed_alert_of_a_held_appliance_is_delivered_after_its_release(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow(AT)))
    fails(appliance)
    appliance.say("sched hold")
    appliance.after(DAY)
    assert deliveries(appliance) == []
    appliance.say("sched release")
    assert len(deliveries(appliance)) == 1


ALERT = "example.com-000000002"
K = 'job "k" { every = 30d argv = ( "/bin/k" ) }\n'


def fail_once(appliance: Appliance, job: str) -> None:
    """The job runs by hand and fails; deliveries go on."""
    appliance.say(f"sched run {job}")
    delivering = {start.key.run for start in deliveries(appliance)}
    appliance.turn(*[ended(key, 1) for key in list(appliance.state.running) if key not in delivering])


@pytest.mark.parametrize("places", [4, 1], ids=["starts at once", "waits for a place"])
def test_an_alert_that_is_delivered_by_hand_collects_no_more(either: Appliance, places: int) -> None:
    """A later event joined the alert and was forgotten at the end of the delivery. At its time, the program had no message."""
    use(either, "collect = 1h", more=K + 'program "h" { argv = ( "/bin/h" ) }\n')
    either.say("sched pause j")
    fail_once(either, "j")
    either.max_running = either.state.places = places
    if places == 1:
        either.say("run h")
    assert either.say("sched run example.com-000000003") == "example.com-000000003/1"
    either.max_running = either.state.places = 4
    fail_once(either, "k")
    end_all(either)
    either.after(HOUR)
    end_all(either)
    assert told(either) == ["j failed: exit status 1", "k failed: exit status 1"]
    assert "not yet" not in either.say("sched incidents")


def test_an_alert_that_is_delivered_by_hand_in_a_hold_is_told_after_its_release(either: Appliance) -> None:
    """Its due time came after the release and ended it, while its run waited."""
    use(either)
    either.after(MINUTE)
    either.say("sched hold")
    either.turn(ended(first(either), 1))
    assert either.say(f"sched run {ALERT}") == f"{ALERT}/1"
    assert "its last run is queued" in either.error(f"sched run {ALERT}")
    either.say("sched pause j")
    either.say("sched release")
    end_all(either)
    either.after(DAY)
    assert told(either)[0] == "j failed: exit status 1"
    assert [run.state for run in either.history(2)] == ["succeeded"]


def test_an_alert_that_is_paused_collects_no_more(either: Appliance) -> None:
    """The events of the stanza joined it after its time too, and were lost with it."""
    use(either, "collect = 1h", more=K)
    either.say("sched pause j")
    fail_once(either, "j")
    either.say("sched pause example.com-000000003")
    fail_once(either, "k")
    either.after(HOUR)
    end_all(either)
    assert told(either) == ["k failed: exit status 1"]


def test_the_event_output_tells_the_output_as_mails_of_cron_do(appliance: Appliance) -> None:
    use(appliance, "when = output")
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 0, output=b"a" * 5000 + "é".encode() * 40_000))
    (start,) = deliveries(appliance)
    assert text_of(start)["events"][0]["output"] == "é" * 32_768
    assert dict(start.env)["SCHED_NOTIFY_OUTPUT"] == "é" * 2048
    end_all(appliance)
    use(appliance, "when = output collect = 1h")
    appliance.after(MINUTE)
    appliance.turn(ended(RunKey(1, 2), 0, output=b"a" * 5000))
    appliance.say("sched pause j")
    appliance.after(60 * MINUTE)
    end_all(appliance)
    assert text_of(deliveries(appliance)[-1])["events"][0]["output"] == "a" * 4096


@pytest.mark.parametrize("is_down", [False, True], ids=["while it runs", "between two starts"])
@pytest.mark.parametrize(
    ("steps", "later"),
    [
        ((-HOUR,), 0),
        ((-9 * HOUR,), 0),
        ((-HOUR, HOUR), 0),
        ((-YEARS,), -YEARS),
        ((-YEARS, YEARS), 0),
    ],
    ids=["back", "to the day before", "back and right", "far back", "far back and right"],
)
def test_a_timed_alert_waits_for_its_time_of_day_when_the_clock_is_set(
    appliance: Appliance, steps: tuple[int, ...], later: int, is_down: bool
) -> None:
    appliance.turn(appliance.read(slow(AT)))
    fails(appliance)
    for step in steps:
        appliance.clock.step(step)
        if is_down:
            appliance.restart(0, slow(AT))
        appliance.turn()
    ((_, left, events),) = waiting(appliance)
    assert (appliance.clock.moment().wall + left, events) == (EIGHT_MS + later, 1)


def test_a_timed_alert_of_a_clock_that_was_ahead_waits_for_its_next_time_only(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow(AT)))
    appliance.clock.step(20 * DAY)
    fails(appliance)
    appliance.clock.step(-20 * DAY)
    appliance.turn()
    assert appliance.core.wake()[0] == EIGHT_MS


def test_a_timed_alert_of_a_clock_that_showed_an_old_year_waits_for_its_time(appliance: Appliance) -> None:
    """It is 12:13 when the clock is right again. The alert would have been due at 08:00, but has begun after that."""
    appliance.turn(appliance.read(slow(AT)))
    appliance.clock.step(-YEARS)
    appliance.turn()
    appliance.clock.advance(14 * HOUR)
    appliance.turn()
    fails(appliance)
    appliance.clock.step(YEARS)
    appliance.turn()
    assert deliveries(appliance) == []
    assert appliance.core.wake()[0] == EIGHT_MS + DAY


def test_a_timed_alert_follows_new_time_zone_data(tmp_path: Path, appliance: Appliance) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin")
    appliance.turn(ZonesChanged(Zones(machine)))
    appliance.turn(appliance.read(slow('at = "08:00 local" incidents = no')))
    fails(appliance)
    assert appliance.core.wake()[0] == EIGHT_MS
    zone_files(tmp_path, Home="Europe/London")
    appliance.turn(ZonesChanged(Zones(machine)))
    assert appliance.core.wake()[0] == EIGHT_MS + HOUR
    fails(appliance)
    assert [events for *_, events in waiting(appliance)] == [2]


def waiting(appliance: Appliance) -> list[tuple[str, int, int]]:
    """The deliveries that wait: command, milliseconds until the due time, and events."""
    rows = appliance.database.rows(
        "SELECT command, next_run_ms, (SELECT count(*) FROM alerts WHERE job = number) FROM jobs"
        " WHERE command LIKE 'run tell%' ORDER BY number"
    )
    return [(command, due - appliance.clock.moment().wall, events) for command, due, events in rows]


@pytest.mark.parametrize("old", ["collect = 1d", 'at = "08:00 Europe/Berlin"', 'at = "Mon 08:00 UTC"'])
def test_an_event_after_a_reload_waits_no_longer_than_the_stanza_says(appliance: Appliance, old: str) -> None:
    appliance.turn(appliance.read(slow(f"{old} incidents = no")))
    fails(appliance)
    appliance.turn(appliance.read(slow("collect = 1m incidents = no")))
    fails(appliance)
    assert waiting(appliance) == [("run tell", MINUTE, 2)]
    appliance.turn(appliance.read(slow("collect = 1h incidents = no")))
    appliance.after(MINUTE - 1)
    fails(appliance)
    assert waiting(appliance) == [("run tell", 1, 3)]


def test_an_event_after_a_reload_goes_out_at_a_time_of_the_new_stanza(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow("collect = 1h incidents = no")))
    fails(appliance)
    appliance.turn(appliance.read(slow(AT)))
    fails(appliance)
    fails(appliance)
    until = EIGHT_MS - appliance.clock.moment().wall
    assert [row[1:] for row in waiting(appliance)] == [(HOUR, 1), (until, 2)]
    appliance.turn(appliance.read(slow(AT.replace("08:00", "06:00"))))
    fails(appliance)
    assert [row[1:] for row in waiting(appliance)] == [(HOUR, 1), (until - 2 * HOUR, 3)]


def test_an_event_after_a_reload_goes_to_the_program_of_the_new_stanza(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow("collect = 1h incidents = no")))
    fails(appliance)
    appliance.turn(appliance.read(slow("collect = 1h incidents = no").replace('"run tell"', '"run tell other"')))
    fails(appliance)
    fails(appliance)
    assert waiting(appliance) == [("run tell", HOUR, 1), ("run tell other", HOUR, 2)]
