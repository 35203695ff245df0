"""A progress indicator: one line on stderr that is overwritten. Rule: it prints only to a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schedappliance.visible import visible, write_as_is


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
            text = visible(text)
            self._show(f"\r{text:<{self.width}}")
            self.width = max(self.width, len(text))

    def clear(self) -> None:
        if self.shown and self.width:
            self._show(f"\r{'':<{self.width}}\r")
            self.width = 0

    def _show(self, text: str) -> None:
        write_as_is(sys.stderr, text)
        sys.stderr.flush()
