"""What a real bash offers at a place of a line, with the script of `schedappliance completion`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import PATIENCE_SECONDS


def completed(script: str, line: str, config: Path = Path("/nowhere/appliance.yaml")) -> list[str]:
    """The words that are offered after `schedappliance LINE`. `config`: the appliance file of the script."""
    words = ["schedappliance", *line.split(" ")]
    program = f'schedappliance() {{ {shlex.quote(sys.executable)} -m schedappliance "$@"; }}'
    place = f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}"
    done = subprocess.run(
        ["bash", "--norc", "-c", f'{program}\n{script}\n{place}\n_schedappliance\nprintf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "SCHEDAPPLIANCE_CONFIG": str(config)},
    )
    assert done.stderr == ""
    return done.stdout.split()
