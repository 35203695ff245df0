"""The log on stderr: one line per message, whatever characters a name or a command holds."""

from __future__ import annotations

import json
import logging
import sys
from typing import TextIO

LOGGER = "schedappliance"


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


def open_log(level: str, format: str, stream: TextIO | None = None) -> logging.Logger:
    """The appliance's logger, set up anew."""
    logger = logging.getLogger(LOGGER)
    logger.handlers.clear()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter())
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    return logger
