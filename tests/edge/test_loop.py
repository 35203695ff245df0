"""The loop: its timers, its alarms, and descriptors that are watched from any thread."""

from __future__ import annotations

import errno
import os
import select
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.clock import Moment, SystemClock, stopwatch
from schedappliance.core.turn import Core
from schedappliance.edge import linux
from schedappliance.edge.log import Log
from schedappliance.edge.loop import ROUND_SECONDS, Alarms, Loop, Timer, boot_timer, wall_timer
from schedappliance.edge.threads import Inbox
from schedappliance.engine.effects import Effect, Stop
from schedappliance.engine.events import AuditDue, Event
from tests.support.waiting import PATIENCE_SECONDS

END_OF_TIME_MS = 253_402_300_799_000  # the last second of the year 9999


def wall_now() -> int:
    return SystemClock().moment().wall


def boot_now() -> int:
    return SystemClock().moment().boot


@pytest.fixture(params=[(wall_timer, wall_now), (boot_timer, boot_now)], ids=["wall", "boot"])
def timer_and_now(request: pytest.FixtureRequest) -> Iterator[tuple[Timer, Callable[[], int]]]:
    make, now = request.param
    timer = make()
    yield timer, now
    timer.close()


def rings(timer: Timer, within_ms: float = 1000 * PATIENCE_SECONDS) -> bool:
    poll = select.poll()
    poll.register(timer.fileno(), select.POLLIN)
    return bool(poll.poll(within_ms))


def silent(timer: Timer) -> bool:
    return not rings(timer, 0)


TimerAndNow = tuple[Timer, Callable[[], int]]


def test_a_new_timer_is_silent(timer_and_now: TimerAndNow) -> None:
    timer, _ = timer_and_now
    assert silent(timer)
    timer.arm(None)
    assert silent(timer)


@pytest.mark.parametrize("before_ms", [0, 1, 1000, None])
def test_a_past_instant_rings_at_once(timer_and_now: TimerAndNow, before_ms: int | None) -> None:
    timer, now = timer_and_now
    timer.arm(-5 if before_ms is None else now() - before_ms)
    assert rings(timer)


@pytest.mark.parametrize("instant", [0, 1, -1, -(10**15)])
def test_instants_before_the_epoch_ring_at_once(timer_and_now: TimerAndNow, instant: int) -> None:
    """Zero would disarm the timer, and the kernel rejects negative instants."""
    timer, _ = timer_and_now
    timer.arm(instant)
    assert rings(timer)


def test_a_timer_rings_at_its_instant_and_not_before(timer_and_now: TimerAndNow) -> None:
    timer, now = timer_and_now
    instant = now() + 30
    timer.arm(instant)
    assert rings(timer)
    assert now() >= instant


@pytest.mark.parametrize("instant", [END_OF_TIME_MS, 10**18])
def test_a_far_instant_is_silent(timer_and_now: TimerAndNow, instant: int) -> None:
    timer, _ = timer_and_now
    timer.arm(instant)
    assert silent(timer)


def test_a_timer_can_be_set_earlier_and_later(timer_and_now: TimerAndNow) -> None:
    timer, now = timer_and_now
    timer.arm(now() + 3_600_000)
    assert silent(timer)
    timer.arm(now())
    assert rings(timer)
    timer.arm(now() + 3_600_000)
    assert silent(timer)


def test_arming_with_none_cancels_an_expiry(timer_and_now: TimerAndNow) -> None:
    timer, now = timer_and_now
    timer.arm(now())
    assert rings(timer)
    timer.arm(None)
    assert silent(timer)


def test_a_timer_rings_until_it_is_acknowledged(timer_and_now: TimerAndNow) -> None:
    timer, now = timer_and_now
    instant = now()
    timer.arm(instant)
    assert [rings(timer), rings(timer)] == [True, True]
    timer.acknowledge()
    assert silent(timer)
    timer.arm(instant)
    assert rings(timer)


def test_arming_for_the_same_instant_keeps_the_expiry(timer_and_now: TimerAndNow) -> None:
    timer, now = timer_and_now
    instant = now()
    timer.arm(instant)
    assert rings(timer)
    timer.arm(instant)
    assert not silent(timer)


def test_acknowledging_without_an_expiry_does_not_block(timer_and_now: TimerAndNow) -> None:
    timer, now = timer_and_now
    timer.acknowledge()
    timer.arm(now() + 3_600_000)
    timer.acknowledge()
    assert silent(timer)


def test_a_clock_that_was_set_before_arming_rings_at_once(
    timer_and_now: TimerAndNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timerfd_settime(2) fails with ECANCELED once, although it arms the timer."""
    timer, now = timer_and_now
    settime = linux.timerfd_settime
    answers = iter([errno.ECANCELED])

    def once_cancelled(timer: int, flags: int, seconds: int, nanoseconds: int) -> None:
        settime(timer, flags, seconds, nanoseconds)
        if number := next(answers, 0):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(linux, "timerfd_settime", once_cancelled)
    timer.arm(now() + 3_600_000)
    assert rings(timer)
    timer.acknowledge()
    timer.arm(now() + 3_600_000)
    assert silent(timer)


def test_the_descriptor_of_a_timer_is_not_inherited(timer_and_now: TimerAndNow) -> None:
    assert not os.get_inheritable(timer_and_now[0].fileno())


def test_alarms_ring_in_the_order_of_instants_then_of_creation() -> None:
    alarms, rung = Alarms(), list[str]()
    for name, at in (("d", 7), ("a", 3), ("b", 5), ("c", 5), ("e", 9)):
        alarms.at(at, partial(rung.append, name))
    assert alarms.next() == 3
    alarms.ring(2)
    assert rung == []
    alarms.ring(5)
    assert (rung, alarms.next()) == (["a", "b", "c"], 7)
    alarms.ring(100)
    assert (rung, alarms.next()) == (["a", "b", "c", "d", "e"], None)
    alarms.ring(100)
    assert len(rung) == 5


def test_an_alarm_may_set_another() -> None:
    alarms, rung = Alarms(), list[int]()

    def again(at: int) -> None:
        rung.append(at)
        alarms.at(at + 10, lambda: again(at + 10))

    alarms.at(0, lambda: again(0))
    alarms.ring(25)
    assert (rung, alarms.next()) == ([0, 10, 20], 30)


def test_an_alarm_that_fails_does_not_ring_again_and_does_not_silence_the_others() -> None:
    alarms, rung = Alarms(), list[int]()

    def fail() -> None:
        raise KeyError

    alarms.at(1, fail)
    alarms.at(2, lambda: rung.append(2))
    with pytest.raises(KeyError):
        alarms.ring(5)
    alarms.ring(5)
    assert (rung, alarms.next()) == ([2], None)


def test_a_cancelled_alarm_does_not_ring() -> None:
    alarms, rung = Alarms(), list[str]()
    first, second = (alarms.at(at, partial(rung.append, name)) for at, name in ((3, "a"), (5, "b")))
    alarms.at(7, lambda: alarms.cancel(last))
    last = alarms.at(7, partial(rung.append, "c"))
    alarms.cancel(first)
    assert alarms.next() == 5
    alarms.ring(100)
    alarms.cancel(second)
    assert (rung, alarms.next()) == (["b"], None)


def test_the_timer_is_set_again_when_the_first_alarm_is_cancelled() -> None:
    armed: list[int | None] = []
    alarms = Alarms(armed.append)
    alarms.cancel(alarms.at(3, lambda: None))
    assert armed == [3, None]


def test_a_cancelled_alarm_leaves_nothing_in_memory() -> None:
    class Buffer:
        pass

    alarms, buffers = Alarms(), weakref.WeakSet[Buffer]()
    alarms.at(0, lambda: None)
    for at in range(1, 10_000):
        buffer = Buffer()
        buffers.add(buffer)
        alarms.cancel(alarms.at(at, partial(print, buffer)))
    del buffer
    assert (len(buffers), alarms.next()) == (0, 0)
    assert len(alarms) < 200


@given(st.lists(st.integers(0, 20), max_size=30), st.lists(st.integers(0, 25), max_size=10).map(sorted))
def test_every_alarm_rings_once_and_none_too_early(instants: list[int], nows: list[int]) -> None:
    alarms, rung = Alarms(), list[tuple[int, int]]()
    for number, at in enumerate(instants):
        alarms.at(at, partial(rung.append, (at, number)))
    for now in nows:
        alarms.ring(now)
        assert rung == sorted((at, number) for number, at in enumerate(instants) if at <= now)
        assert alarms.next() == min((at for at in instants if at > now), default=None)


@pytest.fixture
def loop() -> Iterator[Loop]:
    inbox = Inbox()
    loop = Loop(SystemClock(), inbox)
    yield loop
    loop.close()
    inbox.close()


def test_an_alarm_of_another_thread_wakes_a_loop_that_sleeps(loop: Loop) -> None:
    rung = list[int]()

    def soon() -> None:
        loop.alarms.at(boot_now() + 20, lambda: rung.append(threading.get_ident()))

    late = threading.Timer(0.05, soon)
    late.start()
    while not rung:
        loop.wait(None, None)
    late.join()
    assert rung == [threading.get_ident()], "it is called by the thread of the loop"


def test_another_thread_may_watch_a_new_descriptor_while_the_loop_sleeps(loop: Loop) -> None:
    reading, writing = os.pipe()
    seen = list[bytes]()

    def watch() -> None:
        loop.watch(reading, select.EPOLLIN, lambda _events: seen.append(os.read(reading, 9)))
        os.write(writing, b"late")

    late = threading.Timer(0.05, watch)
    late.start()
    while not seen:
        loop.wait(None, None)
    late.join()
    assert seen == [b"late"]
    os.close(reading)
    os.close(writing)


def test_a_descriptor_that_an_earlier_call_closed_is_not_called_under_its_new_meaning(loop: Loop) -> None:
    """Its number is in use again at once; what epoll has reported is about the file before."""
    pipes = [os.pipe() for _ in range(2)]
    called = list[int]()

    def replace(own: int, other: int, _events: int) -> None:
        called.append(own)
        loop.unwatch(own)
        loop.unwatch(other)
        os.close(other)
        assert os.dup(loop.inbox.fileno()) == other, "the lowest free number"
        loop.watch(other, select.EPOLLIN, lambda _events: called.append(-1))

    (first, _), (second, _) = pipes
    for own, other in ((first, second), (second, first)):
        loop.watch(own, select.EPOLLIN, partial(replace, own, other))
    for _, writing in pipes:
        os.write(writing, b"x")
    loop.wait(None, 0)
    assert called in ([first], [second])
    for pair in pipes:
        for descriptor in pair:
            loop.unwatch(descriptor)
            os.close(descriptor)


def _append(order: list[int], descriptor: int, _events: int) -> None:
    order.append(descriptor)


def test_each_ready_descriptor_is_the_first_in_its_turn(loop: Loop) -> None:
    """A device that works until it must yield would leave the others too little time."""
    firsts: list[int] = []
    order: list[int] = []
    descriptors = [os.eventfd(1) for _ in range(3)]
    for descriptor in descriptors:
        loop.watch(descriptor, select.EPOLLIN, partial(_append, order, descriptor))
    for _ in range(3):
        order.clear()
        loop.wait(None, None)
        assert sorted(order) == sorted(descriptors)
        firsts.append(order[0])
    for descriptor in descriptors:
        os.close(descriptor)
    assert sorted(firsts) == sorted(descriptors)


def test_a_round_must_yield_after_some_time(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 0.0
    monkeypatch.setattr("schedappliance.edge.loop.stopwatch", lambda: seconds)
    loop.inbox.post(lambda: None)
    loop.wait(None, None)
    assert not loop.must_yield()
    seconds = 2 * ROUND_SECONDS
    assert loop.must_yield()
    loop.inbox.post(lambda: None)
    loop.wait(None, None)
    assert not loop.must_yield()


def test_the_loop_stops_when_nothing_is_busy_any_more(loop: Loop) -> None:
    class Stopping:
        """A core that stops in its second turn."""

        turns = 0

        def look_ahead(self, _moment: Moment, _sleep_until: object) -> list[Effect]:
            self.turns += 1
            return [Stop()] if self.turns == 2 else []

        def wake_early(self) -> tuple[int | None, int | None]:
            return None, 0

        def note_duration(self, _seconds: float) -> None:
            pass

    class Lines:
        """A log to which every turn has added a line."""

        lines = ("a line",)
        ends: ClassVar[list[int]] = []

        def end_turn(self) -> None:
            self.ends.append(core.turns)

    core, busy = Stopping(), iter([True, True, False])
    loop.run(cast(Core, core), {Stop: loop.stop}, [], cast(Log, Lines()), lambda: next(busy))
    assert Lines.ends == [0, 1, 2, 3, 4], "a busy device is waited for"


def test_a_look_ahead_sleeps_until_its_instant(loop: Loop) -> None:
    instant = wall_now() + 30
    before, after = loop.sleep_until(instant)
    assert before.wall < instant <= after.wall
    before, after = loop.sleep_until(instant)
    assert before is after, "it has come, so this does not sleep"


def test_an_event_ends_the_sleep_of_a_look_ahead_and_is_left_to_the_next_wait(loop: Loop) -> None:
    reading, writing = os.pipe()
    seen = list[bytes]()
    loop.watch(reading, select.EPOLLIN, lambda _events: seen.append(os.read(reading, 9)))
    os.write(writing, b"early")
    assert loop.sleep_until(END_OF_TIME_MS)[1].wall < END_OF_TIME_MS
    assert seen == []
    loop.wait(None, None)
    assert seen == [b"early"]
    loop.unwatch(reading)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("add", [Inbox.put, Inbox.post])
def test_an_item_of_the_inbox_ends_the_sleep_of_a_look_ahead(loop: Loop, add: Callable[[Inbox, Event], None]) -> None:
    add(loop.inbox, AuditDue())
    assert loop.sleep_until(END_OF_TIME_MS)[1].wall < END_OF_TIME_MS
    assert loop.wait(None, None)[0] == [AuditDue()]


def test_the_sleep_of_a_look_ahead_is_no_part_of_the_duration_of_a_turn(loop: Loop) -> None:
    class Sleeping:
        """A core whose first turn sleeps."""

        durations: ClassVar[list[float]] = []

        def look_ahead(self, moment: Moment, sleep_until: Callable[[int], object]) -> list[Effect]:
            before = stopwatch()
            sleep_until(moment.wall + 30)
            self.slept = stopwatch() - before
            return [Stop()]

        def wake_early(self) -> tuple[int | None, int | None]:
            return None, 0

        def note_duration(self, seconds: float) -> None:
            self.durations.append(seconds)

    class NoLines:
        lines = ()

    core = Sleeping()
    core.state = None  # type: ignore[attr-defined]
    loop.run(cast(Core, core), {Stop: loop.stop}, [], cast(Log, NoLines()), lambda: False)
    (duration,) = core.durations
    assert duration < core.slept
