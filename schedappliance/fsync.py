"""What must be on the disk before something else is done: fsync(2) of one file or directory."""

from __future__ import annotations

import os
from pathlib import Path


def fsync_path(path: Path | str, flags: int = 0) -> None:
    """Waits until a file, or the names in a directory, would survive a power cut; raises OSError.

    `flags`: for open(2), as O_NOFOLLOW where others can put links.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
