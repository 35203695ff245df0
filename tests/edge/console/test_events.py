"""The events of clients that watch: numbers, resuming, gaps, and clients that read slowly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schedappliance.clock import ManualClock
from schedappliance.edge.console.events import EVENTS_PER_MS, FLUSH_MS, KEPT, REMEMBERED_MS, EventRing, Watch, Watchers
from schedappliance.edge.loop import Loop
from schedappliance.edge.threads import Inbox
from schedappliance.engine.effects import ONLY_LATER, Happened
from schedappliance.engine.events import NobodyWatches


def ring_of(number: int, first: int = 1001) -> EventRing:
    ring = EventRing(first)
    ring.add({"kind": "run", "run": f"r{index}"} for index in range(number))
    return ring


def taken(ring: EventRing, watch: Watch, size: int = 10**9) -> list[tuple[int, str]]:
    lines = [json.loads(line) for line in ring.take(watch, size)]
    assert all((line["v"], line["id"]) == (1, json.loads(watch.key)) for line in lines)
    return [(line["event"]["seq"], line["event"].get("run", line["event"]["kind"])) for line in lines]


def test_a_client_gets_only_later_events() -> None:
    ring = ring_of(2)
    watch = ring.begin("7", ONLY_LATER)
    assert (ring.has_more(watch), taken(ring, watch)) == (False, [])
    ring.add([{"kind": "run", "run": "new"}])
    assert (ring.has_more(watch), taken(ring, watch), taken(ring, watch)) == (True, [(1003, "new")], [])


@pytest.mark.parametrize(
    ("after", "events"),
    [
        (1003, []),
        (1001, [(1002, "r1"), (1003, "r2")]),
        (1000, [(1001, "r0"), (1002, "r1"), (1003, "r2")]),
        (999, [(1000, "gap"), (1001, "r0"), (1002, "r1"), (1003, "r2")]),
        (0, [(1000, "gap"), (1001, "r0"), (1002, "r1"), (1003, "r2")]),
        (5000, [(1003, "gap")]),
    ],
)
def test_a_client_resumes_after_the_last_event_that_it_knows(after: int, events: list[tuple[int, str]]) -> None:
    ring = ring_of(3)
    assert taken(ring, ring.begin('"a"', after)) == events


def test_a_client_that_knows_no_event_is_told_of_a_gap_if_none_is_kept() -> None:
    """Earlier daemons may have told some."""
    ring = ring_of(0)
    assert taken(ring, ring.begin("1", 0)) == [(1000, "gap")]


def test_a_client_that_reads_too_slowly_is_told_of_a_gap() -> None:
    ring = ring_of(1)
    watch = ring.begin("null", 1000)
    ring.add({"kind": "run", "run": f"s{index}"} for index in range(KEPT))
    events = taken(ring, watch)
    assert events[:2] == [(1001, "gap"), (1002, "s0")]
    assert (len(events), events[-1]) == (KEPT + 1, (1001 + KEPT, f"s{KEPT - 1}"))


def test_a_part_of_the_events_is_taken_at_a_time() -> None:
    ring = ring_of(100)
    watch, events = ring.begin("1", 1000), []
    while ring.has_more(watch):
        part = taken(ring, watch, 200)
        assert 1 <= len(part) <= 5
        events += part
    assert [number for number, _ in events] == list(range(1001, 1101))


class Room:
    """Clients that are sent what they lack; a manual clock moves the loop."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000_000)
        self.loop = Loop(self.clock, Inbox())
        self.sent: list[str] = []
        self.watchers: Watchers[str] = Watchers(self.loop, self.sent.append)

    def after(self, milliseconds: int) -> list[Any]:
        self.clock.advance(milliseconds)
        self.loop.inbox.post(lambda: None)
        return self.loop.wait(None, None)[0]


@pytest.fixture
def room() -> Any:
    room = Room()
    yield room
    room.loop.close()
    room.loop.inbox.close()


def test_the_events_of_many_turns_are_sent_together(room: Room) -> None:
    first = 1_700_000_000_000 * EVENTS_PER_MS
    assert room.watchers.begin("bob", "1", ONLY_LATER) == first - 1
    for _ in range(3):
        room.watchers.publish(Happened(({"kind": "gap"},)))
    assert room.sent == []
    room.after(FLUSH_MS)
    assert (room.sent, room.watchers.is_behind("bob")) == (["bob"], True)
    assert room.watchers.next_bytes("bob", 10**6).count(b"\n") == 3
    assert (room.watchers.next_bytes("bob", 10**6), room.watchers.next_bytes("eve", 10**6)) == (b"", b"")


def test_the_core_is_told_that_the_client_of_a_watch_has_never_come(room: Room) -> None:
    room.watchers.publish(Happened(({"kind": "gap"},)))
    room.after(REMEMBERED_MS)
    room.watchers.audit()
    assert NobodyWatches() in room.after(0)


def test_the_core_is_told_when_nobody_has_watched_for_a_while(room: Room) -> None:
    room.watchers.begin("bob", "1", ONLY_LATER)
    room.watchers.leave("bob")
    room.watchers.audit()
    assert room.after(REMEMBERED_MS - 1) == []
    room.watchers.audit()
    assert room.after(1) == []
    room.watchers.audit()
    assert room.after(0) == [NobodyWatches()]
    room.watchers.audit()
    assert room.after(REMEMBERED_MS) == []
