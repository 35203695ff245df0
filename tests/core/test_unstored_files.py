"""Edits of the stanza files while the store cannot be written: mistakes are told at once, and good files wait for the store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schedappliance.commands.view import FILES_UNSTORED
from schedappliance.engine.effects import Happened
from schedappliance.engine.events import AuditDue, FilesRead, SpoolSeen, WatchChanged
from schedappliance.engine.intake import SpoolBacklog
from tests.support.core import SECOND, STANZAS, Appliance, FragileDatabase, agrees_with_its_store, some

GOOD = STANZAS.replace("86400", "5")
BAD = STANZAS + "x { }\n"
REJECTED = "the stanza files are rejected"


@pytest.fixture(params=["running", "started"])
def full(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Appliance]:
    """An appliance whose disk is full: since it ran, or since before it started."""
    with closing(Appliance(tmp_path / "sched.db")) as appliance:
        monkeypatch.setattr(FragileDatabase, "full", True)
        if request.param == "started":
            appliance.restart(SECOND)
        appliance.turn(WatchChanged("events"))
        yield appliance


def outcome(appliance: Appliance) -> tuple[str, str | None]:
    """The result of the last attempt, and why the present files wait."""
    status = appliance.data("config status")
    return status["last_attempt"]["outcome"], status["waits"]


def has_room(appliance: Appliance) -> None:
    """Makes room, and lets the appliance notice it."""
    FragileDatabase.full = False
    appliance.after(SECOND)
    assert appliance.core.is_settled


def test_mistakes_are_told_at_once_and_only_once(full: Appliance) -> None:
    full.turn(full.read(BAD))
    assert full.logged().count(REJECTED) == 1
    assert re.search(r"error: .*/sched.conf:\d+:1: E201 unknown stanza `x`", full.logged())
    assert outcome(full) == ("rejected", None)
    assert "unknown stanza `x`" in full.say("config status")
    assert "the stanza files were rejected" in full.say("health")
    full.after(SECOND)
    assert REJECTED not in full.logged()
    has_room(full)
    assert REJECTED not in full.logged()
    assert outcome(full) == ("rejected", None)
    assert full.state.metrics.counters["reloads_total", ("rejected",)] == 1
    agrees_with_its_store(full)


def test_good_files_wait_and_become_active_when_there_is_room(full: Appliance) -> None:
    before, _ = outcome(full)
    full.turn(full.read(GOOD))
    assert outcome(full) == (before, FILES_UNSTORED)
    assert full.state.options.value("message_expiration") == "86400"
    has_room(full)
    assert outcome(full) == ("accepted", None)
    assert full.state.options.value("message_expiration") == "5"
    agrees_with_its_store(full)


@pytest.mark.parametrize(
    "edits",
    [(BAD, STANZAS.replace("86400", "4"), GOOD, BAD + "y { }\n", BAD), (GOOD, BAD, BAD)],
    ids=["different mistakes", "equal mistakes"],
)
def test_good_files_that_wait_stay_if_later_edits_are_bad(full: Appliance, edits: tuple[str, ...]) -> None:
    for text in edits:
        full.turn(full.read(text))
    assert outcome(full) == ("rejected", FILES_UNSTORED)
    has_room(full)
    assert outcome(full) == ("rejected", None)
    assert full.state.options.value("message_expiration") == "5"
    agrees_with_its_store(full)


def test_files_that_are_restored_are_accepted_again(full: Appliance) -> None:
    full.turn(full.read(BAD))
    full.turn(full.read(STANZAS))
    has_room(full)
    assert outcome(full) == ("accepted", None)
    agrees_with_its_store(full)


def test_rejected_files_that_are_read_again_do_not_wait(full: Appliance) -> None:
    """They were said to become active when the store can be written."""
    FragileDatabase.full = False
    full.turn(full.read(BAD))
    FragileDatabase.full = True
    full.turn(full.read(BAD), full.typed("sched in 9h run hello"))
    assert full.state.status.degraded and outcome(full) == ("rejected", None)
    assert REJECTED not in full.logged()
    has_room(full)
    assert outcome(full) == ("rejected", None)
    assert full.state.metrics.counters["reloads_total", ("rejected",)] == 1
    agrees_with_its_store(full)


def test_an_edit_that_is_undone_does_not_wait(full: Appliance) -> None:
    before, _ = outcome(full)
    full.turn(full.read(STANZAS), full.typed("sched in 9h run hello"))
    assert outcome(full) == (before, None)
    full.turn(full.read(GOOD))
    assert outcome(full) == (before, FILES_UNSTORED)
    full.turn(full.read(STANZAS))
    assert outcome(full) == (before, None)
    has_room(full)
    assert full.state.options.value("message_expiration") == "86400"
    agrees_with_its_store(full)


def test_a_long_wait_keeps_two_readings_at_most(full: Appliance) -> None:
    for number in range(5):
        full.turn(full.read(STANZAS.replace("86400", str(number + 1))), full.read(BAD + f"# {number}\n"))
    readings = [event for event in full.core._degraded.backlog if isinstance(event, FilesRead)]
    assert [event.is_told for event in readings] == [False, True]


def test_what_devices_see_does_not_wait_for_the_store(full: Appliance) -> None:
    before = len(full.core._degraded.backlog)
    full.turn(WatchChanged("poll every 2 seconds", "it is open"), AuditDue("the log is gone"))
    full.turn(SpoolSeen(SpoolBacklog(), "no spool"))
    status = full.state.status
    assert (status.watch, status.log, status.without_spool) == ("poll every 2 seconds", "the log is gone", "no spool")
    assert outcome(full)[1] == "it is open"
    assert len(full.core._degraded.backlog) == before


def test_clients_that_watch_learn_of_a_rejection_once(full: Appliance) -> None:
    full.state.watch(True)
    full.turn(full.read(BAD))
    effects = full.effects
    has_room(full)
    events = [event for news in some(Happened, [*effects, *full.effects]) for event in news.events]
    assert [event["outcome"] for event in events if event["kind"] == "configuration"] == ["rejected"]
