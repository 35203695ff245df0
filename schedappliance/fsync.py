"""fsync(2) of one file or directory. Rule: call it before anything that relies on the data being on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def fsync_path(path: Path | str, flags: int = 0) -> None:
    """Waits until a file, or the names in a directory, would survive a power cut; raises OSError.

    `flags`: more flags for open(2), for example O_NOFOLLOW in directories where other users can create links.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
