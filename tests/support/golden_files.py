"""The golden files: for every code a text that triggers it, and the output of `lint` for that text.

`python -m tests.support.golden_files` writes the current output. Read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from schedappliance.cli.main import main
from schedappliance.diagnostics import CODES

FOLDER = Path(__file__).parent.parent / "diagnostics"

# Only a running appliance or doctor reports these codes, never a check of files.
RUNTIME_ONLY = {"E309", *(code for code in CODES if code[1] in "56")} - {"E508"}
JUDGED = sorted(set(CODES) - RUNTIME_ONLY)


def inputs(code: str) -> list[Path]:
    """The input for a code: CODE.conf, CODE.cmd or CODE.yaml, or the folder CODE."""
    names = (code, f"{code}.conf", f"{code}.cmd", f"{code}.yaml")
    return [FOLDER / name for name in names if (FOLDER / name).exists()]


def expected(code: str) -> Path:
    return FOLDER / f"{code}.out"


def printed(code: str) -> str:
    """What `lint` prints about the input of a code, with paths that start at FOLDER."""
    out = io.StringIO()
    with contextlib.chdir(FOLDER), contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(["lint", "--format", "full", *(path.name for path in inputs(code))])
    return out.getvalue()


def regenerate() -> None:
    for code in JUDGED:
        expected(code).write_text(printed(code), encoding="utf-8")


if __name__ == "__main__":
    regenerate()
