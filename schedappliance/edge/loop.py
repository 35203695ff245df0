"""The loop: sleeps until the next instant or input, runs a turn of the core, and performs its effects.

Rule: it never polls. An idle daemon wakes only at an instant that the core or a device has asked for.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import select
import signal
import threading
from collections.abc import Callable, Mapping
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from schedappliance.clock import stopwatch
from schedappliance.edge import linux

if TYPE_CHECKING:
    from schedappliance.clock import Clock, Moment
    from schedappliance.core.state import State
    from schedappliance.core.turn import Core
    from schedappliance.edge.log import Log
    from schedappliance.edge.threads import Inbox
    from schedappliance.engine.effects import Effect
    from schedappliance.engine.events import Event

# The most events of one turn. More would hold the write lock of the store for too long. The next turn follows at once.
BATCH = 1024
# The interval of the audit polls of devices: a change whose event was lost is noticed after at most this time.
AUDIT_MS = 10_000
# After this time, a round leaves the rest of long work to later rounds.
ROUND_SECONDS = 0.002

Perform = Mapping[type, Callable[[Any], None]]
Argument = TypeVar("Argument")


class Timer:
    """A descriptor that is readable from an absolute instant on.

    It uses timerfd, which notices clock steps and suspend and is more precise than the timeout of epoll.
    """

    def __init__(self, clock: int, flags: int = 0) -> None:
        self._flags = linux.TFD_TIMER_ABSTIME | flags
        self._descriptor = linux.timerfd_create(clock)
        self._armed: int | None = None

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def arm(self, instant_ms: int | None) -> None:
        """Sets the instant. One that has passed is readable at once; None is never readable."""
        if instant_ms == self._armed:
            return
        self._armed = instant_ms
        # 0 would disarm the timer, and the kernel rejects negative instants.
        seconds, milliseconds = divmod(max(instant_ms, 1), 1000) if instant_ms is not None else (0, 0)
        try:
            linux.timerfd_settime(self._descriptor, self._flags, seconds, milliseconds * 1_000_000)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            # The clock was set before this call. The descriptor will not report this change, so the loop wakes at once.
            self._armed = None
            linux.timerfd_settime(self._descriptor, self._flags, 0, 1)

    def acknowledge(self, _events: int = 0) -> None:
        """Clears the expiry, or the notice that the clock was set; the timer must be armed again."""
        self._armed = None
        try:
            os.read(self._descriptor, 8)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECANCELED):
                raise


def wall_timer() -> Timer:
    """A timer of wall time. It is also readable after the clock was set."""
    return Timer(linux.CLOCK_REALTIME, linux.TFD_TIMER_CANCEL_ON_SET)


def boot_timer() -> Timer:
    """A timer of the time since boot, including suspend."""
    return Timer(linux.CLOCK_BOOTTIME)


# Identifies an alarm that was set: its instant, and its number.
Alarm = tuple[int, int]

# The heap of alarms is rebuilt when it holds more cancelled alarms than others, and more than this.
MOST_CANCELLED = 64


class Alarms:
    """Calls that devices have asked for, each at an instant of boot time.

    `at` and `cancel` may be called from any thread: `arm` sets the timer to the earliest alarm at once, even while the
    loop sleeps. Thus a worker that has started a program sets an alarm without waking the loop. Tests use the default of
    `arm`, and read `next` instead.
    """

    def __init__(self, arm: Callable[[int | None], None] = lambda _instant_ms: None) -> None:
        self._arm = arm
        self._heap: list[Alarm] = []
        self._calls: dict[Alarm, Callable[[], None]] = {}
        self._order = count()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many alarms are in memory, including cancelled ones."""
        return len(self._heap)

    def at(self, boot_ms: int, call: Callable[[], None]) -> Alarm:
        """Makes the call once, on the loop's thread, at this instant of boot time, unless the alarm is cancelled."""
        with self._lock:
            alarm = (boot_ms, next(self._order))
            self._calls[alarm] = call
            heapq.heappush(self._heap, alarm)
            self._arm_first()
            return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Forgets the call at once, with everything that it refers to. Does nothing after the alarm has rung."""
        with self._lock:
            self._calls.pop(alarm, None)
            if len(self._heap) > 2 * len(self._calls) + MOST_CANCELLED:
                self._heap = sorted(self._calls)
            self._arm_first()

    def _arm_first(self) -> None:
        while self._heap and self._heap[0] not in self._calls:
            heapq.heappop(self._heap)
        self._arm(self.next())

    def next(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def ring(self, boot_ms: int) -> None:
        """Makes the calls whose instant has come, in the order of their instants."""
        while call := self._due(boot_ms):
            call()

    def _due(self, boot_ms: int) -> Callable[[], None] | None:
        with self._lock:
            call = None
            while call is None and self._heap and self._heap[0][0] <= boot_ms:
                call = self._calls.pop(heapq.heappop(self._heap), None)
            self._arm_first()
            return call


class Loop:
    """One epoll for the inbox, the timers, the sockets and the programs.

    Everything runs on one thread, the deciding thread. Other threads may call `watch` for a new descriptor, `alarms.at`
    and `alarms.cancel`.
    """

    def __init__(self, clock: Clock, inbox: Inbox) -> None:
        self.clock, self.inbox = clock, inbox
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._unwatched: set[int] = set()
        self._is_stopped = False
        # How long the turn has slept, in seconds.
        self._slept = 0.0
        # The calls that wait until the effects of the turn are performed, each once.
        self._at_turn_end: dict[tuple[Callable[[Any], None], Any], None] = {}
        # When the present round began, and how many rounds there were.
        self._woken = stopwatch()
        self.round = 0
        # The first two wake the loop for the core, the third for the alarms.
        self._wall, self._boot, self._alarm = wall_timer(), boot_timer(), boot_timer()
        self.alarms = Alarms(self._alarm.arm)
        for timer in (self._wall, self._boot, self._alarm):
            self.watch(timer.fileno(), select.EPOLLIN, timer.acknowledge)
        self.watch(inbox.fileno(), select.EPOLLIN, lambda _events: None)

    def close(self) -> None:
        """Closes the descriptors. The loop cannot be used afterwards."""
        self._epoll.close()
        for timer in (self._wall, self._boot, self._alarm):
            timer.close()

    def watch(self, descriptor: int, events: int, call: Callable[[int], None]) -> None:
        """Calls `call` with the events of a descriptor when events occur. A second `watch` changes the events and `call`.

        Any thread may watch a new descriptor. Only the deciding thread may watch it again.
        """
        # The call is stored first, since an event may occur at once.
        is_new = descriptor not in self._calls
        self._calls[descriptor] = call
        if is_new:
            self._epoll.register(descriptor, events)
        else:
            self._epoll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Stops watching a descriptor. Call it before the descriptor is closed."""
        if self._calls.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self._unwatched.add(descriptor)

    def watch_signals(self, handlers: Mapping[int, Callable[[], None]]) -> None:
        """Calls a handler after each signal.

        A pipe wakes the loop, even for a signal that arrives just before it sleeps.
        """
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self.watch(reading, select.EPOLLIN, lambda _events: _drain(reading))
        for number, handler in handlers.items():
            signal.signal(number, _handler(handler))

    def at_turn_end(self, call: Callable[[Argument], None], argument: Argument) -> None:
        """Makes a call when the effects of this turn are performed. Calls that are equal are made once."""
        self._at_turn_end[call, argument] = None

    def end_turn(self) -> None:
        """Makes the calls that wait for the end of the turn."""
        calls, self._at_turn_end = self._at_turn_end, {}
        for call, argument in calls:
            call(argument)

    def run(
        self,
        core: Core,
        perform: Perform,
        first: list[Effect],
        log: Log,
        is_busy: Callable[[], bool],
        after_turn: Callable[[State], None] | None = None,
    ) -> None:
        """Runs turns until the effect Stop was performed and no device is busy.

        `first`: the effects of the start. `after_turn`: is called when the effects of a turn were performed.
        """
        effects = first
        while True:
            for effect in effects:
                perform[type(effect)](effect)
            self.end_turn()
            if log.lines:
                log.end_turn()
            if after_turn:
                after_turn(core.state)
            if self._is_stopped and not is_busy():
                return
            events, moment = self.wait(*core.wake_early())
            begin = stopwatch()
            self._slept = 0.0
            effects = core.turn(events, moment) if events else core.look_ahead(moment, self.sleep_until)
            core.note_duration(stopwatch() - begin - self._slept)

    def must_yield(self) -> bool:
        """Whether devices should leave the rest of long work to later rounds, since this one has lasted for some time."""
        return stopwatch() - self._woken > ROUND_SECONDS

    def stop(self, _effect: object = None) -> None:
        """Performs the effect Stop."""
        self._is_stopped = True

    def sleep_until(self, wall_ms: int) -> tuple[Moment, Moment]:
        """Sleeps until a wall time or an input, which the next `wait` takes. Returns the moments before and after."""
        before = self.clock.moment()
        if before.wall >= wall_ms or self.inbox.has_items:
            return before, before
        begin = stopwatch()
        self._wall.arm(wall_ms)
        self._epoll.poll()
        self._slept = stopwatch() - begin
        return before, self.clock.moment()

    def wait(self, wall_ms: int | None, boot_ms: int | None) -> tuple[list[Event], Moment]:
        """Sleeps until an instant or an input, and makes all calls that are due.

        Returns the events and the moment of a turn.
        """
        self._wall.arm(wall_ms)
        self._boot.arm(boot_ms)
        self._unwatched.clear()
        ready = self._epoll.poll(0 if self.inbox.has_items else None)
        self._woken = stopwatch()
        self.round += 1
        if len(ready) > 1:
            # The first device of a round has the most time for long work, so another one is first in each round.
            first = self.round % len(ready)
            ready = ready[first:] + ready[:first]
        for descriptor, events in ready:
            # An earlier call may have closed this descriptor, and its number may belong to another file by now.
            if descriptor not in self._unwatched:
                self._calls[descriptor](events)
        moment = self.clock.moment()
        self.alarms.ring(moment.boot)
        return self.inbox.take(BATCH), moment


def _handler(call: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: call()


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 4096)
