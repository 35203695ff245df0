"""The golden files: for every code a text that triggers it, and the output of `lint` for that text.

For codes of cron and calendar expressions the text may be a command line of `schedappliance when`.

`python -m tests.support.golden_files` writes the current output. Read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path

from schedappliance.cli.main import main
from schedappliance.diagnostics import CODES

FOLDER = Path(__file__).parent.parent / "diagnostics"

# Only a running appliance or doctor reports these codes, never a check of files.
RUNTIME_ONLY = {"E309", *(code for code in CODES if code[1] in "56")} - {"E508"}
JUDGED = sorted(set(CODES) - RUNTIME_ONLY)


def inputs(code: str) -> list[Path]:
    """The input for a code: CODE.conf, CODE.cmd, CODE.yaml or CODE.sh, or the folder CODE."""
    names = (code, f"{code}.conf", f"{code}.cmd", f"{code}.yaml", f"{code}.sh")
    return [FOLDER / name for name in names if (FOLDER / name).exists()]


def expected(code: str) -> Path:
    return FOLDER / f"{code}.out"


def printed(code: str) -> str:
    """What `lint` prints about the input of a code, with paths that start at FOLDER, or `when` on stderr."""
    out = io.StringIO()
    if (line := FOLDER / f"{code}.sh").exists():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(out):
            main(shlex.split(line.read_text())[1:])
        return out.getvalue()
    with contextlib.chdir(FOLDER), contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(["lint", "--format", "full", *(path.name for path in inputs(code))])
    return out.getvalue()


def regenerate() -> None:
    for code in JUDGED:
        expected(code).write_text(printed(code), encoding="utf-8")


if __name__ == "__main__":
    regenerate()
