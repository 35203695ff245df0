"""The real observer reports every change before any poll, even after its directory was replaced or it died."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reload.conftest import Watch
from tests.support.core import SECOND
from tests.support.file_changes import CHANGES, Change, Place, plain
from tests.support.waiting import eventually
from tests.support.watched_files import LONG, Watched, stanzas

real_changes = [change for change in CHANGES if change.generations]


def assert_reported_by_event(watched: Watched, value: int) -> None:
    """Moves the clock only after a hint, and never as far as the next poll."""
    poll = watched.loop.alarms.next()
    assert poll is not None

    def is_taken_over() -> bool:
        watched.turn()
        if watched.loop.alarms.next() != poll:
            watched.pass_time(SECOND // 4)
        return watched.value() == value

    eventually(is_taken_over, "the change")
    assert watched.clock.moment().boot < poll


@pytest.mark.parametrize("change", real_changes, ids=[change.name for change in real_changes])
def test_an_event_reports_a_change_before_any_poll(tmp_path: Path, watch_events: Watch, change: Change) -> None:
    place = Place(tmp_path, stanzas(3600))
    change.prepare(place)
    watched = watch_events(place.conf)
    change.change(place)
    assert_reported_by_event(watched, 3600)
    assert watched.generation() == 2


def let_the_observer_die(watched: Watched) -> None:
    watched.observers[-1].stop()
    watched.observers[-1].join()


@pytest.mark.parametrize(
    "disturbance",
    ["directory_deleted_and_recreated", "directory_put_in_place_of_another", "symlinked_directory", "death"],
)
def test_events_report_changes_again_after_a_disturbance(tmp_path: Path, watch_events: Watch, disturbance: str) -> None:
    """The observer of a removed directory, and one that died, are replaced."""
    place = Place(tmp_path, stanzas(1))
    by_name = {change.name: change for change in CHANGES}
    change = by_name.get(disturbance)
    (change.prepare if change else plain)(place)
    watched = watch_events(place.conf)
    if change:
        change.change(place)
    else:
        let_the_observer_die(watched)
    watched.pass_time(LONG)
    assert watched.status()["watch"] == "events"
    place.conf.write_text(stanzas(2))
    assert_reported_by_event(watched, 2)
