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
from queue import SimpleQueue
from typing import TextIO

LOGGER = "schedappliance"
MOST_WAITING = 10_000
LAST_LINES_SECONDS = 2.0


class _TextFormatter(logging.Formatter):
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        lines = [_one_line(record.getMessage())]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return f"{self.formatTime(record)} {record.levelname.lower()} {lines[0]}" + "".join(f"\n{m}" for m in lines[1:])


class _JsonFormatter(_TextFormatter):
    def format(self, record: logging.LogRecord) -> str:
        row = {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Handing(logging.Handler):
    """Hands lines to the writing thread; when nobody reads the log they are counted instead of waited for."""

    def __init__(self, lines: SimpleQueue[bytes | None]) -> None:
        super().__init__()
        self._lines = lines
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        if self._dropped:
            record.msg = f"({self._dropped} lines were left out before this one) {record.msg}"
            self._dropped = 0
        self._lines.put(f"{self.format(record)}\n".encode(errors="backslashreplace"))


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
    """The appliance's log: lines go to a thread that writes, so that a reader that hangs holds nobody up."""

    def __init__(self, level: str, format: str, descriptor: int = 2) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._descriptor = descriptor
        handler = _Handing(self._lines)
        handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter())
        self.logger = logging.getLogger(LOGGER)
        self.logger.handlers[:] = [handler]
        self.logger.setLevel(level.upper())
        self.logger.propagate = False
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

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
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):
                while line:
                    line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Writes what waits, unless nobody reads it."""
        self._lines.put(None)
        self._writer.join(LAST_LINES_SECONDS)
