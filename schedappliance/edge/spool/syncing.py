"""What must stand on the disk before something else is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from schedappliance.edge import linux
from schedappliance.fsync import fsync_path

# Above so many files one sync of the whole file system is cheaper.
FEW = 8


def sync_directories(*directories: Path) -> None:
    """What was renamed there stays renamed after a power cut; raises OSError."""
    for directory in directories:
        fsync_path(directory, os.O_NOFOLLOW)


def sync_files(directory: Path, files: Sequence[str]) -> None:
    """Their contents, and their names in this directory or one beside it on its file system; raises OSError."""
    if len(files) > FEW:
        _sync_file_system(directory)
        return
    for path in [*files, *{os.path.dirname(file) for file in files}]:  # noqa: PTH120
        fsync_path(path, os.O_NOFOLLOW)


def _sync_file_system(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        linux.syncfs(descriptor, str(directory))
    finally:
        os.close(descriptor)
