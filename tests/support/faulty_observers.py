"""Faulty observers: one reports nothing, one makes every possible mistake."""

from __future__ import annotations

import errno
import random
from contextlib import suppress
from typing import Any

from watchdog.events import FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue
from watchdog.observers.inotify import InotifyObserver


class SilentObserver(BaseObserver):
    """Watches and reports nothing."""

    def __init__(self) -> None:
        super().__init__(EventEmitter)

    def schedule(self, *_what: Any, **_how: Any) -> Any:
        return None


class _Death(Exception):
    """Ends an observer."""


class MischievousObserver(InotifyObserver):
    """Drops, doubles, reorders and invents events, and dies of some, at random."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self._held: list[Any] = []
        if dice.random() < 0.1:
            self._inotify_fd.stop()
            raise OSError(errno.ENOSPC, "inotify watch limit reached")

    def run(self) -> None:
        with suppress(_Death):
            super().run()

    def dispatch_events(self, event_queue: EventQueue) -> None:
        entry = event_queue.get(block=True)
        if entry is self.stop_event:
            return
        event, watch = entry
        deed = self._dice.choice(("drop", "double", "hold", "tell", "raise"))
        if deed == "raise" and self._dice.random() < 0.3:
            raise _Death
        if deed == "hold":
            self._held.append(event)
            return
        events = {"double": [event, event], "tell": [event, *self._held[::-1]]}.get(deed, [])
        if deed == "tell":
            self._held.clear()
        for one in events:
            for handler in list(self._handlers[watch]):
                assert isinstance(handler, FileSystemEventHandler)
                handler.dispatch(one)
