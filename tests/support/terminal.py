"""Programs whose output is a terminal. Rule: the output is short, since nobody reads it before the program has ended."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def on_a_terminal(*arguments: str, cwd: Path | None = None, **environment: str) -> bytes:
    """What `schedappliance ARGUMENTS` shows on a terminal, on stdout and stderr."""
    master, slave = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "schedappliance", *arguments]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=variables, cwd=cwd, check=False)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        # Linux reports EIO when all others have closed the terminal.
        pass
    os.close(master)
    return shown
