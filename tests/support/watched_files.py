"""Stanza files on the real file system, with the real watcher, the real core and a manual clock.

Rule: files are read on the thread of the test, when the clock moves. Only an observer has threads.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchdog.observers import Observer

from schedappliance.clock import ManualClock
from schedappliance.edge.files.snapshot import read_files
from schedappliance.edge.files.watcher import Watcher
from schedappliance.edge.loop import Loop
from schedappliance.edge.threads import Inbox, Worker
from schedappliance.engine.effects import Answer, Effect, FilesAccepted, LogMessage, ReadFiles, Reply
from schedappliance.engine.events import Event, FilesRead, LineTyped, Remains
from schedappliance.engine.records import User
from schedappliance.store.tables import Store, name_store
from tests.support.core import IDENTITY, NODE, SECOND, START_MS, new_core, open_quickly, spoken

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver
# Longer than the audit interval, and than any text waits.
LONG = 25 * SECOND
STANZAS = """\
Message_Expiration = 86400
program "hello" { argv = ( "/bin/echo" "hello" ) }
job "hourly" { every = 1h command = "run hello" }
"""

NewObserver = Callable[[], "BaseObserver"]


def stanzas(value: int) -> str:
    """The stanzas with another value, by which the tests recognize them."""
    return STANZAS.replace("86400", str(value))


class AtOnce(Worker):
    """Performs a task where it is submitted."""

    def __init__(self) -> None:
        pass

    def submit(self, task: Callable[[], None]) -> None:
        task()

    def close(self, seconds: float = 5.0) -> None:
        pass


class Watched:
    """An appliance in memory over the stanza file `conf`. `logged`: all lines that core and edge have logged."""

    def __init__(self, conf: Path, new_observer: NewObserver | None) -> None:
        self.conf = conf
        self.logged: list[str] = []
        self.taken: list[FilesRead] = []
        self.clock = ManualClock(START_MS, boot=500 * SECOND)
        self.loop = Loop(self.clock, Inbox())
        reading = read_files(conf)
        loaded = reading.loaded
        assert loaded.accepted, [d.brief() for d in loaded.diagnostics]
        self.store = name_store(Store(open_quickly(None)), NODE, IDENTITY, START_MS)
        self.core = new_core(self.store, loaded.configuration, self.clock.moment())
        self.core.start(Remains({}, {}), reading.digest, loaded.texts)
        log = logging.Logger("watched")
        log.addHandler(_Remembering(self.logged))
        self.observers: list[BaseObserver] = []
        active = self.core.state
        self.files = Watcher(conf, self.loop, AtOnce(), log, lambda: active.options, self._new(new_observer))
        self.files.open(reading, FilesAccepted(loaded.texts, loaded.configuration.authorization is not None))
        # The look that follows the first watch is over then.
        self.pass_time(SECOND)

    def _new(self, new_observer: NewObserver | None) -> NewObserver:
        """Records the observers that are made."""

        def new() -> BaseObserver:
            self.observers.append((new_observer or Observer)())
            return self.observers[-1]

        return new

    def close(self) -> None:
        self.files.close()
        self.store.close()
        self.loop.close()
        self.loop.inbox.close()

    def turn(self, *more: Event) -> list[Effect]:
        """One turn of the loop: alarms, events, effects."""
        moment = self.clock.moment()
        self.loop.alarms.ring(moment.boot)
        events = [*self.loop.inbox.take(1024), *more]
        self.taken += [event for event in events if isinstance(event, FilesRead)]
        effects = self.core.turn(events, moment)
        for effect in effects:
            if isinstance(effect, ReadFiles):
                self.files.read(effect)
            elif isinstance(effect, FilesAccepted):
                self.files.note_accepted(effect)
            elif isinstance(effect, LogMessage):
                self.logged.append(f"{effect.level}: {effect.message}")
        return effects

    def pass_time(self, milliseconds: int) -> None:
        """Moves the clock from alarm to alarm, as the loop would wake."""
        end = self.clock.moment().boot + milliseconds
        self.turn()
        while (at := self.loop.alarms.next()) is not None and at <= end:
            self.clock.advance(max(0, at - self.clock.moment().boot))
            self.turn()
            # The files that were read came in after the turn.
            self.turn()
        self.clock.advance(end - self.clock.moment().boot)
        self.turn()

    def ask(self, line: str) -> Answer:
        effects = self.turn(LineTyped(line, User(1000, "operator"), 1))
        answers = [effect.answer for effect in effects if isinstance(effect, Reply)]
        while not answers:
            answers = [effect.answer for effect in self.turn() if isinstance(effect, Reply)]
        return answers[0]

    def say(self, line: str) -> str:
        return spoken(self.ask(line))

    def status(self) -> dict[str, Any]:
        status = json.loads(self.say("json config status"))
        assert isinstance(status, dict)
        return status

    def value(self) -> int:
        """The active value by which the tests recognize stanzas."""
        return int(self.say("config get message_expiration").rpartition(" ")[2])

    def generation(self) -> int:
        return int(self.status()["generation"])

    def outcome(self) -> str:
        return str(self.status()["last_attempt"]["outcome"])

    def assert_whole(self) -> None:
        """The active configuration, its generation in the store and the files are the same."""
        reading = read_files(self.conf)
        assert self.status()["digest"] == reading.digest
        assert self.store.settings.texts(self.generation()) == dict(reading.loaded.texts)


class _Remembering(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{record.levelname.lower()}: {record.getMessage()}")
