"""How far something has come that takes long: one line on a terminal that is written over, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@contextmanager
def progress() -> Iterator[Progress]:
    """The line on stderr; it is gone afterwards."""
    line = Progress(sys.stderr.isatty())
    try:
        yield line
    finally:
        line.clear()


@dataclass(slots=True)
class Progress:
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
