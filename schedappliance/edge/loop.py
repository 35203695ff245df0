"""The loop: sleeps until the next due time or the next input, gives the core its turn, performs the effects. Never polls."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from schedappliance.clock import Clock
from schedappliance.core.turn import Core
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.timers import Alarms, boot_timer, wall_timer
from schedappliance.engine.effects import Effect

# Events taken in one turn; the rest wait for the next, which follows at once.
BATCH = 1024

Perform = Mapping[type, Callable[[Any], None]]


class Loop:
    """One epoll for timers, inbox and sockets; runs on the deciding thread. `moment` is that of the last turn."""

    def __init__(self, clock: Clock, inbox: Inbox, alarms: Alarms) -> None:
        self._clock = clock
        self._inbox = inbox
        self._alarms = alarms
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self.moment = clock.moment()
        self._wall, self._boot = wall_timer(), boot_timer()
        self.watch(self._wall.fileno(), select.EPOLLIN, lambda _events: self._wall.acknowledge())
        self.watch(self._boot.fileno(), select.EPOLLIN, lambda _events: self._boot.acknowledge())
        self.watch(inbox.fileno(), select.EPOLLIN, lambda _events: None)

    def watch(self, descriptor: int, events: int, call: Callable[[int], None]) -> None:
        """Calls when a descriptor is ready; called again, it changes what is awaited."""
        if descriptor in self._calls:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._calls[descriptor] = call

    def unwatch(self, descriptor: int) -> None:
        if self._calls.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def watch_signals(self, handlers: Mapping[int, Callable[[], None]]) -> None:
        """Signals wake the loop through a pipe, so that none is seen too late."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self.watch(reading, select.EPOLLIN, lambda _events: _drain(reading))
        for number, handler in handlers.items():
            signal.signal(number, _handler(handler))

    def run(
        self, core: Core, perform: Perform, first: list[Effect], ended: Callable[[], bool], after: Callable[[], None]
    ) -> None:
        """Turns until `ended()`; `first` are the effects of the start. `after` is called when a turn's effects are done."""
        effects, self.moment = first, self._clock.moment()
        while True:
            for effect in effects:
                perform[type(effect)](effect)
            after()
            if ended():
                return
            wall, boot = core.wake()
            self._wall.arm(wall)
            self._boot.arm(min((at for at in (boot, self._alarms.next()) if at is not None), default=None))
            for descriptor, events in self._epoll.poll(0 if self._inbox.waits else None):
                if call := self._calls.get(descriptor):
                    call(events)
            self.moment = self._clock.moment()
            self._alarms.ring(self.moment.boot)
            effects = core.turn(self._inbox.take(BATCH), self.moment)


def _handler(call: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: call()


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 4096)
