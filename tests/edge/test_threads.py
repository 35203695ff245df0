"""The inbox: every item is taken once and in order, from any thread, and a descriptor is readable meanwhile."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.edge.threads import Inbox
from schedappliance.engine.events import StopRequested

THREADS, EACH = 8, 500


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


def readable(inbox: Inbox) -> bool:
    return bool(select.select([inbox.fileno()], [], [], 0)[0])


def event(name: object) -> StopRequested:
    return StopRequested(str(name))


def test_the_descriptor_is_readable_while_items_are_posted(inbox: Inbox) -> None:
    assert not readable(inbox)
    for number in range(3):
        inbox.post(event(number))
        assert readable(inbox)
    assert inbox.take(2) == [event(0), event(1)]
    assert readable(inbox)
    assert inbox.take(2) == [event(2)]
    assert not readable(inbox)


def test_an_item_that_is_put_wakes_nobody(inbox: Inbox) -> None:
    inbox.put(event("left"))
    assert not readable(inbox)
    inbox.post(event("posted"))
    assert inbox.take(5) == [event("left"), event("posted")]
    inbox.put(event("alone"))
    assert inbox.take(5) == [event("alone")]


def test_a_thread_that_signals_late_does_not_leave_the_descriptor_readable(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item is taken after the thread has seen that it must signal, and before it does."""
    write = os.eventfd_write

    def late(descriptor: int, value: int) -> None:
        assert inbox.take(5) == [event("taken")]
        write(descriptor, value)

    with monkeypatch.context() as patch:
        patch.setattr(os, "eventfd_write", late)
        inbox.post(event("taken"))
    assert inbox.take(5) == []
    assert not readable(inbox)


def test_an_empty_inbox_gives_no_events(inbox: Inbox) -> None:
    assert [inbox.take(5), inbox.take(5)] == [[], []]
    assert not readable(inbox)


def test_calls_are_made_between_the_events_before_and_after_them(inbox: Inbox) -> None:
    seen: list[str] = []
    inbox.post(event("first"))
    inbox.post(lambda: seen.append("call"))
    inbox.post(event("second"))
    assert inbox.take(1) == [event("first")]
    assert seen == []
    assert inbox.take(1) == [event("second")]
    assert seen == ["call"]


def test_calls_do_not_count_for_the_limit(inbox: Inbox) -> None:
    seen: list[int] = []
    for number in range(5):
        inbox.post(partial(seen.append, number))
    inbox.post(event("last"))
    assert inbox.take(1) == [event("last")]
    assert (seen, readable(inbox)) == ([0, 1, 2, 3, 4], False)


def test_an_event_that_a_call_posts_is_taken_in_the_same_turn(inbox: Inbox) -> None:
    inbox.post(lambda: inbox.post(event("from a call")))
    assert inbox.take(5) == [event("from a call")]
    assert not readable(inbox)


def test_a_call_that_fails_does_not_lose_the_items_after_it(inbox: Inbox) -> None:
    def fail() -> None:
        raise KeyError

    inbox.post(fail)
    inbox.post(event("after"))
    with pytest.raises(KeyError):
        inbox.take(5)
    assert readable(inbox)
    assert inbox.take(5) == [event("after")]


def test_a_signal_handler_may_post(inbox: Inbox) -> None:
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: inbox.post(event("SIGUSR1")))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert readable(inbox)
    assert inbox.take(5) == [event("SIGUSR1")]


def test_threads_lose_nothing_and_keep_their_order(inbox: Inbox) -> None:
    def post(thread: int) -> None:
        for number in range(EACH):
            inbox.post(event(f"{thread} {number}"))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(THREADS)]
    poll = select.poll()
    poll.register(inbox.fileno(), select.POLLIN)
    reasons: list[str] = []
    for thread in threads:
        thread.start()
    while len(reasons) < THREADS * EACH:
        assert poll.poll(10_000), "items wait, but the descriptor is not readable"
        for item in inbox.take(7):
            assert isinstance(item, StopRequested)
            reasons.append(item.reason)
    for thread in threads:
        thread.join()
    for thread_number in range(THREADS):
        own = [reason for reason in reasons if reason.startswith(f"{thread_number} ")]
        assert own == [f"{thread_number} {number}" for number in range(EACH)]
    assert (inbox.take(5), readable(inbox)) == ([], False)


def test_the_descriptor_is_not_inherited(inbox: Inbox) -> None:
    assert not os.get_inheritable(inbox.fileno())
    assert not os.get_blocking(inbox.fileno())


@given(st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["event", "call"])), max_size=40))
def test_items_come_out_once_in_order_however_they_are_posted_and_taken(steps: list[int | str]) -> None:
    inbox = Inbox()
    calls: list[int] = []
    events: list[StopRequested] = []
    for number, step in enumerate(steps):
        if step == "event":
            inbox.post(event(number))
        elif step == "call":
            inbox.post(partial(calls.append, number))
        else:
            items = inbox.take(int(step))
            assert len(items) <= int(step)
            events += [item for item in items if isinstance(item, StopRequested)]
    while readable(inbox):
        events += [item for item in inbox.take(3) if isinstance(item, StopRequested)]
    inbox.close()
    assert events == [event(number) for number, step in enumerate(steps) if step == "event"]
    assert calls == [number for number, step in enumerate(steps) if step == "call"]
