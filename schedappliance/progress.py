"""A progress indicator: one line on stderr that is overwritten. Rule: it prints only to a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@contextmanager
def progress() -> Iterator[Progress]:
    """The indicator on stderr; its line is removed at the end."""
    line = Progress(sys.stderr.isatty())
    try:
        yield line
    finally:
        line.clear()


@dataclass(slots=True)
class Progress:
    """Calling it shows a text. `shown`: stderr is a terminal; `width`: the columns that must be overwritten."""

    shown: bool
    width: int = 0

    def __call__(self, text: str) -> None:
        if self.shown:
            print(f"\r{text:<{self.width}}", end="", file=sys.stderr, flush=True)
            self.width = max(self.width, len(text))

    def clear(self) -> None:
        if self.shown and self.width:
            print(f"\r{'':<{self.width}}\r", end="", file=sys.stderr, flush=True)
            self.width = 0
