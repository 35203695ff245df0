"""Measures an earlier checkout of the project in turn with this one.

Rule: its own benchmark measures it, since its daemon needs a store of its own version.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.reporting import OURS

BEFORE = f"{OURS}, the earlier checkout"
_NAMES = "import sys; from pathlib import Path; folder, count = Path(sys.argv[1]), int(sys.argv[2]); "


def earlier(checkout: Path, statements: str, folder: Path, count: int) -> float:
    """What the statements print. They know `folder` and `count`."""
    # Python looks for modules in the working directory first.
    command = [sys.executable, "-c", _NAMES + statements, str(folder), str(count)]
    return float(subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout)
