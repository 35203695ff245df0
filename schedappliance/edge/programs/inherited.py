"""Settings of the daemon's process that the keeper gets back as they were, since programs inherit them from it.

Rule: what cannot be set back stays. No program fails for that.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def restore_limit(pid: int, soft: int) -> None:
    """Sets the limit on descriptors that the daemon was started with, for the programs.

    The daemon has raised its own.
    """
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def restore_oom_score(file: Path) -> None:
    """Takes a negative `OOMScoreAdjust=` of the daemon from a process: the programs that it starts shall be killed first.

    The keeper itself loses the protection too, but it is small, and the kernel kills the largest process.
    """
    with contextlib.suppress(OSError, ValueError):
        if int(file.read_text()) < 0:
            file.write_text("0")
