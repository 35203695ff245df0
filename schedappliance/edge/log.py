"""The log on stderr: one line per message, whatever characters a name or a command holds."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import queue
import sys
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


class _Bounded(logging.handlers.QueueHandler):
    """Hands lines to the writing thread; when nobody reads the log they are counted instead of waited for."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1
            return
        if self.dropped:
            record.msg = f"({self.dropped} lines were left out before this one) {record.msg}"
            self.dropped = 0


class Log:
    """The appliance's log: lines go to a thread that writes, so that a reader that hangs holds nobody up."""

    def __init__(self, level: str, format: str, stream: TextIO | None = None) -> None:
        self.logger = logging.getLogger(LOGGER)
        self.logger.handlers.clear()
        writer = logging.StreamHandler(stream or sys.stderr)
        writer.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter())
        lines: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
        self.logger.addHandler(_Bounded(lines))
        self.logger.setLevel(level.upper())
        self.logger.propagate = False
        self._listener = logging.handlers.QueueListener(lines, writer)
        self._listener.start()

    def close(self) -> None:
        """Writes what waits, unless nobody reads it."""
        thread = self._listener._thread
        with contextlib.suppress(queue.Full):
            self._listener.enqueue_sentinel()
        if thread is not None:
            thread.join(LAST_LINES_SECONDS)
