"""The log on stderr: one line per message, whatever characters a name or a command holds, and whoever says it."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import traceback
import warnings
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from queue import SimpleQueue
from typing import NamedTuple, TextIO

from schedappliance.clock import local_time

LOGGER = "schedappliance"
MOST_WAITING = 10_000
LEVELS = logging.getLevelNamesMapping()
LAST_LINES_SECONDS = 2.0


def _text(time: str, level: str, message: str, trace: str) -> str:
    shown = message if message.isprintable() else "".join(map(_printable, message))
    return f"{time} {level} {shown}\n{trace}"


def _json(time: str, level: str, message: str, trace: str) -> str:
    row = {"time": time, "level": level, "message": message} | ({"traceback": trace.rstrip("\n")} if trace else {})
    return f"{json.dumps(row, ensure_ascii=False)}\n"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class Line(NamedTuple):
    """What is to be said: the level in lower case, a wall time in milliseconds, the traceback with its line ends."""

    level: str
    message: str
    wall_ms: int
    trace: str = ""


class _Handing(logging.Handler):
    """What the parts of the appliance log is said by the log."""

    def __init__(self, put: Callable[[Line], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        trace = f"{logging.Formatter().formatException(record.exc_info)}\n" if record.exc_info else ""
        self._put(Line(record.levelname.lower(), record.getMessage(), int(record.created * 1000), trace))


class _Passing(logging.Handler):
    """Passes on what libraries log. What is an error of theirs is none of the appliance: it goes on without them."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        raised = f": {_raised(record.exc_info[1])}" if record.exc_info else ""
        self._logger.warning("%s: %s%s", record.name, record.getMessage(), raised)


def _raised(error: BaseException | None) -> str:
    """An exception in few words, with the place where it was raised."""
    kind = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{kind}: {error}{place}"


class Log:
    """The appliance's log: lines go to a thread that writes, so that a reader that hangs holds nobody up.

    While nobody reads them they are counted instead of waited for, and so are those that could not be written.
    """

    def __init__(self, level: str, format: str, descriptor: int = 2) -> None:
        self._queue: SimpleQueue[list[Line] | None] = SimpleQueue()
        self._descriptor = descriptor
        self._torn = False
        self._of_turn: list[Line] = []
        # One thread may come twice: the collector runs anywhere, and what ends badly in it is said by this log too.
        self._counting = threading.RLock()
        self._waiting = self._lost = 0
        self._format = _json if format == "json" else _text
        self._said = {name.lower(): at >= LEVELS[level.upper()] for name, at in LEVELS.items()}
        self._deciding = threading.get_ident()
        self.logger = logging.getLogger(LOGGER)
        self.logger.handlers[:] = [_Handing(self._take)]
        self.logger.setLevel(level.upper())
        self.logger.propagate = False
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def say(self, level: str, message: str, wall_ms: int) -> None:
        """One line of the deciding thread, with the others of its turn. The ways of `logging` take six times as long."""
        if self._said[level]:
            self._of_turn.append(Line(level, message, wall_ms))

    def hand_over(self) -> None:
        """Wakes the writing thread, which takes about as long as an answer: so not before the answers are sent."""
        if self._of_turn:
            lines, self._of_turn = self._of_turn, []
            self._put(lines)

    def _take(self, line: Line) -> None:
        """A line said by way of `logging`, by any thread: after what the same thread has said before."""
        if threading.get_ident() == self._deciding:
            self.hand_over()
        self._put([line])

    def _put(self, lines: list[Line]) -> None:
        """All lines of a turn or none: it is the reader who may be late, however much a turn has to say."""
        with self._counting:
            if self._waiting >= MOST_WAITING:
                self._lost += len(lines)
                return
            lines = [*self._note(lines[0].wall_ms), *lines]
            self._waiting += len(lines)
            self._queue.put(lines)

    def _note(self, wall_ms: int) -> list[Line]:
        """How many lines are missing at this place, if any are."""
        lost, self._lost = self._lost, 0
        return [Line("warning", f"{lost} lines of the log were left out here", wall_ms)] if lost else []

    def speak_for_all(self) -> None:
        """From now on libraries, their threads and Python itself say what they have to say as lines of this log."""
        logging.getLogger().handlers[:] = [_Passing(self.logger)]
        threading.excepthook = self._thread_ended
        sys.unraisablehook = self._not_raised
        warnings.showwarning = self._warned

    def _thread_ended(self, found: threading.ExceptHookArgs) -> None:
        if found.exc_type is not SystemExit:
            name = found.thread.name if found.thread else "unknown"
            self.logger.error("the thread %s has ended: %s", name, _raised(found.exc_value))

    def _not_raised(self, found: sys.UnraisableHookArgs) -> None:
        about = found.err_msg or "an exception was ignored"
        self.logger.error("%s: %s", about, _raised(found.exc_value))

    def _warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG002
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        self.logger.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)

    def _write(self) -> None:
        """Past Python's own buffers and locks: whoever hangs here hangs alone."""
        while (lines := self._queue.get()) is not None:
            lost = self._lost_of(lines)
            with self._counting:
                self._waiting -= len(lines)
                self._lost += lost
                note = [] if lost or self._waiting else self._note(lines[-1].wall_ms)
            if note:
                self._lost_of(note)

    def _lost_of(self, lines: list[Line]) -> int:
        """Writes the lines; returns how many of them were not written whole."""
        texts = [self._encoded(line) for line in lines]
        if self._torn:
            texts[0] = b"\n" + texts[0]
        ends = list(accumulate(map(len, texts)))
        written = _written(self._descriptor, b"".join(texts))
        if written:
            self._torn = written not in ends
        return len(lines) - bisect_right(ends, written)

    def _encoded(self, line: Line) -> bytes:
        text = self._format(local_time(line.wall_ms), line.level, line.message, line.trace)
        return text.encode(errors="backslashreplace")

    def close(self) -> None:
        """Writes what waits, unless nobody reads it."""
        self.hand_over()
        self._queue.put(None)
        self._writer.join(LAST_LINES_SECONDS)


def _written(descriptor: int, text: bytes) -> int:
    """How many bytes of the text could be written. Waits for a reader, also where the descriptor does not block."""
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()
        except OSError:
            break
    return len(text) - len(rest)
