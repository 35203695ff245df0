"""The log on stderr: one line per message, whatever characters a name or a command holds, and whoever says it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TextIO

from schedappliance.clock import local_time

LOGGER = "schedappliance"
MOST_WAITING = 10_000
MOST_AT_ONCE = 1000
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


class _Handing(logging.Handler):
    """What the parts of the appliance log is said by the log."""

    def __init__(self, put: Callable[[str, str, int, str], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        trace = f"{logging.Formatter().formatException(record.exc_info)}\n" if record.exc_info else ""
        self._put(record.levelname.lower(), record.getMessage(), int(record.created * 1000), trace)


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

    When nobody reads them they are counted instead of waited for.
    """

    def __init__(self, level: str, format: str, descriptor: int = 2) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._descriptor = descriptor
        self._of_turn: list[tuple[str, str, int]] = []
        self._dropped = 0
        self._format = _json if format == "json" else _text
        self._said = {name.lower(): at >= LEVELS[level.upper()] for name, at in LEVELS.items()}
        self.logger = logging.getLogger(LOGGER)
        self.logger.handlers[:] = [_Handing(self._put)]
        self.logger.setLevel(level.upper())
        self.logger.propagate = False
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def say(self, level: str, message: str, wall_ms: int) -> None:
        """One line of the deciding thread, with the others of its turn. The ways of `logging` take six times as long."""
        if self._said[level]:
            self._of_turn.append((level, message, wall_ms))

    def hand_over(self) -> None:
        """Wakes the writing thread, which takes about as long as an answer: so not before the answers are sent."""
        if self._of_turn:
            lines, self._of_turn = self._of_turn, []
            for line in lines:
                self._put(*line)

    def _put(self, level: str, message: str, wall_ms: int, trace: str = "") -> None:
        if self._lines.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        if self._dropped:
            message = f"({self._dropped} lines were left out before this one) {message}"
            self._dropped = 0
        line = self._format(local_time(wall_ms), level, message, trace)
        self._lines.put(line.encode(errors="backslashreplace"))

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
        """Past Python's own buffers and locks: whoever hangs here hangs alone. What waits is written at once."""
        while (line := self._lines.get()) is not None:
            lines, ended = [line], False
            with contextlib.suppress(Empty):
                while len(lines) < MOST_AT_ONCE and not ended:
                    following = self._lines.get_nowait()
                    ended = following is None
                    lines.append(following or b"")
            with contextlib.suppress(OSError):
                text = b"".join(lines)
                while text:
                    text = text[os.write(self._descriptor, text) :]
            if ended:
                return

    def close(self) -> None:
        """Writes what waits, unless nobody reads it."""
        self.hand_over()
        self._lines.put(None)
        self._writer.join(LAST_LINES_SECONDS)
