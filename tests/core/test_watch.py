"""`watch`: what a turn has changed is told after its commit, once, and only while somebody watches."""

from __future__ import annotations

from typing import Any

import pytest

from schedappliance.core import news
from schedappliance.engine.effects import ONLY_LATER, EndWatches, Happened
from schedappliance.engine.events import NobodyWatches, OutputsChecked
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, ended, some

ONE = "example.com-000000001"


def told(appliance: Appliance) -> list[dict[str, Any]]:
    """The events of the last turn."""
    return [event for happened in some(Happened, appliance.effects) for event in happened.events]


def brief(appliance: Appliance) -> list[tuple[Any, ...]]:
    return [(event["kind"], event.get("run") or event.get("id"), event.get("state")) for event in told(appliance)]


@pytest.fixture
def watched(either: Appliance) -> Appliance:
    answer = either.ask("watch 17")
    assert (answer.error, answer.events_after, told(either)) == (None, 17, [])
    return either


def test_a_client_that_names_no_event_wants_only_later_ones(either: Appliance) -> None:
    assert [either.ask(line).events_after for line in ("watch", "watch 0")] == [ONLY_LATER, 0]


def test_nothing_is_told_while_nobody_watches(either: Appliance) -> None:
    either.say("sched every 60 run hello")
    either.after(MINUTE)
    assert told(either) == []
    assert either.database.changes is None


def test_a_job_and_its_runs_are_told(watched: Appliance) -> None:
    watched.say("sched every 60 run hello")
    assert brief(watched) == [("job", ONE, "waiting")]
    watched.after(MINUTE)
    (start,) = watched.started()
    (run,) = told(watched)
    assert (run["kind"], run["run"], run["state"], run["program"]) == ("run", f"{ONE}/1", "started", "hello")
    assert run["at_ms"] == watched.clock.moment().wall
    watched.turn(ended(start.key.run, 3))
    assert brief(watched) == [("run", f"{ONE}/1", "failed")]
    watched.say(f"sched pause {ONE}")
    assert brief(watched) == [("job", ONE, "paused")]
    watched.say(f"sched delete {ONE}")
    assert brief(watched) == [("job", ONE, "gone")]


def test_a_run_that_changes_twice_in_a_turn_is_told_once_with_its_last_state(watched: Appliance) -> None:
    watched.say("sched every 60 pid")
    watched.after(MINUTE)
    assert brief(watched) == [("run", f"{ONE}/1", "succeeded")]


def test_a_turn_that_fails_tells_nothing_until_it_succeeds(watched: Appliance) -> None:
    watched.database.failing_commits = 9
    assert watched.ask("sched in 5 pid").error is not None
    assert "job" not in [event["kind"] for event in told(watched)]
    watched.database.failing_commits = 0
    watched.after(2 * SECOND)
    watched.say("sched in 6 pid")
    assert [kind for kind, *_ in brief(watched) if kind != "degraded"] == ["job"]


def test_drops_overrides_files_and_troubles_are_told(watched: Appliance) -> None:
    watched.drop("sched in 60 pid\n")
    assert [(event["kind"], event.get("accepted")) for event in told(watched)] == [("job", None), ("drop", True)]
    watched.drop("sched in 60 pid\nfrobnicate\n", "2~b.cmd")
    assert [(event["kind"], event.get("accepted")) for event in told(watched)] == [("drop", False)]
    watched.say("config set a 1")
    assert [event["kind"] for event in told(watched)] == ["override"]
    watched.turn(watched.read("sched {"))
    (event,) = told(watched)
    assert (event["kind"], event["outcome"]) == ("configuration", "rejected")
    watched.turn(OutputsChecked("no space"))
    assert told(watched) == [{"at_ms": watched.clock.moment().wall, "kind": "degraded", "troubles": ["no space"]}]
    watched.turn(OutputsChecked(None))
    assert [event["troubles"] for event in told(watched)] == [[]]


def test_a_turn_that_changes_very_much_tells_only_a_gap(watched: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "MOST_CHANGES", 2)
    watched.turn(*(watched.typed("sched in 60 pid") for _ in range(3)))
    assert [event["kind"] for event in told(watched)] == ["gap"]


def test_other_roles_end_the_watches(watched: Appliance) -> None:
    roles = 'Authorization { Role "r" { allow = ( ".*" ) users = ( "1000" ) } }\n'
    watched.turn(watched.read(STANZAS + roles))
    assert some(EndWatches, watched.effects) == [EndWatches()]
    watched.turn(watched.read(STANZAS))
    assert some(EndWatches, watched.effects) == [EndWatches()]
    watched.turn(watched.read(STANZAS + "\n"))
    assert some(EndWatches, watched.effects) == []


def test_a_watch_that_is_undone_notes_nothing(either: Appliance) -> None:
    before = either.state.remember()
    either.state.watch(True)
    either.state.restore(before)
    assert either.database.changes is None


def test_when_nobody_has_watched_for_a_while_nothing_is_noted(watched: Appliance) -> None:
    watched.turn(NobodyWatches())
    assert some(EndWatches, watched.effects) == [EndWatches()]
    watched.say("sched in 60 pid")
    assert (told(watched), watched.database.changes) == ([], None)


def test_the_next_client_that_watches_gets_no_older_news(watched: Appliance) -> None:
    watched.turn(watched.typed("sched hold"), NobodyWatches())
    assert told(watched) == []
    assert watched.ask("watch 18").events_after == 18
    assert told(watched) == []
