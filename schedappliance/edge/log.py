"""The log on stderr: one line per message, whatever characters a name or a command holds."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from queue import SimpleQueue

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
