"""The `lint` command: what is to be checked, how it is shown, and the exit status."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, in_order
from schedappliance.lint import report
from schedappliance.lint.linter import Linter, files_under
from schedappliance.model.files import read_regular
from schedappliance.progress import progress

OK, FINDINGS, USAGE = 0, 1, 2

STDIN = Path("<stdin>")


class _Usage(Exception):
    pass


def run(options: argparse.Namespace) -> int:
    """Checks the paths and prints what was found."""
    try:
        files = _files(options)
    except _Usage as usage:
        print(f"error: {usage}", file=sys.stderr)
        return USAGE
    # One run, then the process ends: looking for garbage would take an eighth of its time and find nothing.
    gc.disable()
    with progress() as told:
        linter = Linter(options.config, _Reader(options), lambda name, line: told(f"{name}: line {line:,}"))
        found: list[Diagnostic] = []
        for number, file in enumerate(files, 1):
            found += linter.lint(file)
            if len(files) > 1:
                told(f"{number} of {len(files)} files")
    found = in_order(found)
    _print(options.format, len(files), found)
    for note in linter.notes:
        print(f"note: {note}", file=sys.stderr)
    if linter.unreadable:
        return USAGE
    counted = found if options.strict else [d for d in found if d.is_error]
    return FINDINGS if counted else OK


def _files(options: argparse.Namespace) -> list[Path]:
    if options.config and not options.config.is_file():
        raise _Usage(f"no such file: {options.config}")
    files: list[Path] = []
    for name in options.paths:
        if name == "-":
            files.append(options.stdin_filename or STDIN)
            continue
        path = Path(name)
        if not os.path.exists(path):  # noqa: PTH110
            raise _Usage(f"no such file or directory: {path}")
        under = files_under(path)
        if not under:
            raise _Usage(f"no *.conf, *.cmd or appliance.yaml in {path}")
        files += under
    if options.stdin_filename and "-" not in options.paths:
        raise _Usage("--stdin-filename goes with `-`")
    return list(dict.fromkeys(files))


@dataclass(slots=True)
class _Reader:
    """Reads files; stdin takes the place of the file that it names."""

    options: argparse.Namespace
    stdin: bytes | None = None

    def __call__(self, path: Path) -> bytes:
        stands_for = (self.options.stdin_filename or STDIN) if "-" in self.options.paths else None
        if stands_for is None or os.path.realpath(path) != os.path.realpath(stands_for):
            return read_regular(path)
        if self.stdin is None:
            self.stdin = sys.stdin.buffer.read()
        return self.stdin


def _print(format: str, files: int, found: list[Diagnostic]) -> None:
    if format == "json":
        sys.stdout.write(report.as_json(found))
    elif format == "github":
        sys.stdout.write(report.github(found))
    elif format == "concise":
        sys.stdout.write(report.concise(found) + report.counts(files, found) + "\n")
    else:
        text = report.full(found, report.style_of(sys.stdout))
        sys.stdout.write(text + ("\n" if found else "") + report.counts(files, found) + "\n")
