"""What must stand on the disk before something else is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from schedappliance.edge import linux

# Above so many files one sync of the whole file system is cheaper.
FEW = 8


def sync_directories(*directories: Path) -> None:
    """What was renamed there stays renamed after a power cut; raises OSError."""
    for directory in directories:
        _sync(directory)


def sync_files(directory: Path, files: Sequence[str]) -> None:
    """Their contents, and their names in this directory or one beside it on its file system; raises OSError."""
    if len(files) > FEW:
        _sync(directory, whole=True)
        return
    for path in [*files, *{os.path.dirname(file) for file in files}]:  # noqa: PTH120
        _sync(path)


def _sync(path: Path | str, whole: bool = False) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not whole:
            os.fsync(descriptor)
        else:
            linux.syncfs(descriptor, str(path))
    finally:
        os.close(descriptor)
