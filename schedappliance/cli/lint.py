"""`schedappliance lint`: finds files, checks them and prints the diagnostics. Rule: all checks are in `lint/`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.cli.arguments import add_format, file_path, parser, path_text
from schedappliance.cli.errors import FAILED, OK, USAGE, Failure, check_exists, print_note
from schedappliance.cli.streams import read_stdin
from schedappliance.clock import SystemClock
from schedappliance.diagnostics import Diagnostic, in_order
from schedappliance.progress import progress
from schedappliance.visible import write_as_is

if TYPE_CHECKING:
    from schedappliance.lint.linter import Linter

DESCRIPTION = """\
Check stanza files, command files (*.cmd) and appliance files (appliance.yaml).
Print each mistake, its place, and how to correct it. References to programs,
jobs and options are checked with the nearest appliance.yaml, in the directory
of the file or above it."""

STATUSES = {
    OK: "no errors; with --strict no warnings either",
    FAILED: "errors found; with --strict also warnings",
    USAGE: "wrong usage, or an unreadable file",
}

STDIN = Path("<stdin>")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    lint = parser("lint", DESCRIPTION, STATUSES, "[options] PATH...")
    lint.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=path_text,
        help="a file; a directory, for the *.conf, *.cmd and appliance.yaml in it; or - for stdin",
    )
    lint.add_argument(
        "--config", metavar="FILE", type=file_path, help="check references with this appliance file instead"
    )
    add_format(
        lint,
        full="with the source lines",
        concise="one line each",
        json="an array",
        github="annotations of GitHub",
    )
    lint.add_argument("--strict", action="store_true", help="exit with status 1 for warnings, too")
    lint.add_argument("--stdin-filename", metavar="FILE", type=file_path, help="check stdin as the content of FILE")
    # Paths may stand before, between and after options.
    return lint.parse_intermixed_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Failure."""
    # The languages take 0.15 s to load, which `lint --help` need not wait for.
    from schedappliance.lint.linter import Linter, distinct

    # The process ends after one run. Collecting garbage took an eighth of the time and freed nothing.
    gc.disable()
    diagnostics: list[Diagnostic] = []
    with progress() as show:
        now_ms = SystemClock().moment().wall
        linter = Linter(options.config, _Reader(options), lambda name, line: show(f"{name}: line {line:,}"), now_ms)
        files = _files(options, linter)
        for number, file in enumerate(files, 1):
            diagnostics += linter.lint(file)
            if len(files) > 1:
                show(f"{number} of {len(files)} files")
    diagnostics = in_order(distinct(diagnostics))
    write_as_is(sys.stdout, _rendered(options.format, len(files), diagnostics))
    for note in linter.notes:
        print_note(note)
    if linter.unreadable:
        return USAGE
    return FAILED if any(options.strict or diagnostic.is_error for diagnostic in diagnostics) else OK


def _files(options: argparse.Namespace, linter: Linter) -> list[Path]:
    """The files that the paths stand for, each file once, by the name that comes first."""
    from schedappliance.model.files import real_path

    if options.config:
        check_exists(options.config)
        if not options.config.is_file():
            raise Failure(f"not a file: {options.config}", USAGE)
    files: list[Path] = []
    for name in options.paths:
        if name == "-":
            files.append(options.stdin_filename or STDIN)
            continue
        path = Path(name)
        check_exists(path)
        try:
            under = linter.files_of(path)
        except OSError as error:
            raise Failure(f"{error.strerror}: {path}", USAGE) from None
        if not under:
            raise Failure("; ".join([f"no *.conf, *.cmd or appliance.yaml in {path}", *linter.notes]), USAGE)
        files += under
    if options.stdin_filename and "-" not in options.paths:
        raise Failure("--stdin-filename needs the path `-`", USAGE)
    unique: dict[tuple[Path, str], Path] = {}
    for file in files:
        # The suffix is the language.
        unique.setdefault((real_path(file), file.suffix), file)
    return list(unique.values())


@dataclass(slots=True)
class _Reader:
    """Reads files, and stdin in place of the file `--stdin-filename`."""

    options: argparse.Namespace
    stdin: bytes | None = None

    def __call__(self, path: Path) -> bytes:
        from schedappliance.model.files import read_regular, real_path

        stands_for = (self.options.stdin_filename or STDIN) if "-" in self.options.paths else None
        if stands_for is None or real_path(path) != real_path(stands_for):
            return read_regular(path)
        if self.stdin is None:
            self.stdin = read_stdin()
        return self.stdin


def _rendered(form: str, files: int, diagnostics: list[Diagnostic]) -> str:
    from schedappliance.lint import report

    if form == "json":
        return report.as_json(diagnostics)
    if form == "github":
        return report.github(diagnostics)
    counts = f"{report.counts(files, diagnostics)}\n"
    if form == "concise":
        return report.concise(diagnostics) + counts
    separator = "\n" if diagnostics else ""
    return report.full(diagnostics, report.style_of(sys.stdout)) + separator + counts
