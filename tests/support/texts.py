"""Files that are held in memory, and short views of diagnostics, for the tests of the languages."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from schedappliance.diagnostics import Diagnostic

FOLDER = Path("/nowhere/etc")
ROOT = FOLDER / "sched.conf"


def held(files: dict[str, str | bytes]) -> Callable[[Path], bytes]:
    """Reads files by their names in FOLDER; any other file does not exist."""

    def read(path: Path) -> bytes:
        content = files.get(path.name) if path.parent == FOLDER else None
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return content if isinstance(content, bytes) else content.encode()

    return read


def digest(text: str) -> str:
    """Names a text, as a digest of the files names what they hold."""
    return hashlib.sha256(text.encode()).hexdigest()


def codes(diagnostics: Iterable[Diagnostic]) -> list[str]:
    return [diagnostic.code for diagnostic in diagnostics]


def pointed(diagnostic: Diagnostic) -> str:
    """The text that a diagnostic points at."""
    assert diagnostic.span is not None
    return diagnostic.source.text[diagnostic.span.start : diagnostic.span.end]
