"""The interpreter that a script names in its first line, as the kernel reads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# The kernel reads as much.
LONGEST = 256


def interpreter(path: Path) -> str | None:
    """What stands after `#!`; None for what is no script, or cannot be read. A FIFO or device never blocks it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        head = os.read(descriptor, LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    line = head[2:].split(b"\n")[0].replace(b"\t", b" ").strip(b" ")
    return os.fsdecode(line.split(b" ")[0]) if head.startswith(b"#!") and line else None
