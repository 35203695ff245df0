"""Files that are held in memory, for tests that read files without a disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from schedappliance.diagnostics import Diagnostic
from schedappliance.model.configuration import Configuration
from schedappliance.model.loading import load

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


def read_stanzas(text: str) -> Configuration:
    """What a stanza file declares. It must have no diagnostics."""
    loaded = load(ROOT, held({ROOT.name: text}))
    assert loaded.diagnostics == []
    return loaded.configuration


def diagnostics_of(text: str) -> list[Diagnostic]:
    """What is wrong or doubtful in a stanza file."""
    return load(ROOT, held({ROOT.name: text})).diagnostics


def digest(text: str) -> str:
    """Names a text, as a digest of the files names what they hold."""
    return hashlib.sha256(text.encode()).hexdigest()
