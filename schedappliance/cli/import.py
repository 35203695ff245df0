"""`schedappliance import`: prints stanzas for crontabs, systemd timers and at jobs. Rule: `importing/` makes the stanzas."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.cli.arguments import parser, path_text
from schedappliance.cli.errors import FAILED, OK, UNUSABLE, USAGE, Failure, print_error
from schedappliance.cli.streams import read_stdin
from schedappliance.visible import visible

if TYPE_CHECKING:
    from schedappliance.importing.inputs import Importer
    from schedappliance.importing.stanzas import Imported

DESCRIPTION = """\
Print stanzas for the jobs of cron, systemd timers and at, on stdout. A comment
names each difference. Nothing is installed, and nothing is switched off.

KIND and PATH:
  crontab  a crontab without a user column, /etc/crontab, or an anacrontab
  cron.d   a file with a user column, or a directory such as /etc/cron.d
  timer    a .timer file with its .service beside it, or a directory
  at       a file in the spool of at, or the spool"""

STATUSES = {
    OK: "all imported; comments name the differences",
    FAILED: "something cannot be imported, and is left out",
    USAGE: "wrong usage, or no such file",
    UNUSABLE: "a file cannot be read; nothing is printed",
}

KINDS = ("crontab", "cron.d", "timer", "at")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    importer = parser("import", DESCRIPTION, STATUSES, "[options] KIND PATH...")
    importer.add_argument("kind", metavar="KIND", choices=KINDS, help="what the paths are")
    importer.add_argument(
        "paths", metavar="PATH", nargs="+", type=path_text, help="a file, a directory, or - for a crontab on stdin"
    )
    importer.add_argument("--user", metavar="NAME", help="the user who owns the crontab or the user units")
    importer.add_argument(
        "--zone",
        metavar="ZONE",
        default="local",
        help="time zone of the schedules; default: local, that of the machine",
    )
    importer.add_argument(
        "--defaults",
        action="store_true",
        help="put variables that all jobs share into `defaults`, which applies to all programs of the appliance",
    )
    return importer.parse_intermixed_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Failure and Unusable."""
    from schedappliance.importing.inputs import NOUNS
    from schedappliance.importing.stanzas import give_unique_names, summary, take_common_variables, written

    inputs = _inputs(options)
    give_unique_names(inputs)
    defaults = take_common_variables(inputs) if options.defaults else {}
    sys.stdout.write(written(inputs, defaults))
    sys.stdout.flush()
    failed = _report(inputs)
    print(summary(inputs, NOUNS[options.kind]), file=sys.stderr)
    return FAILED if failed else OK


def _inputs(options: argparse.Namespace) -> list[Imported]:
    from schedappliance.diagnostics import InvalidValue
    from schedappliance.importing.expressions import Expressions
    from schedappliance.importing.inputs import Importer
    from schedappliance.importing.stanzas import Wishes
    from schedappliance.model.calendars.zones import Zones, this_machine
    from schedappliance.model.files import read_regular

    expressions = Expressions(Zones(this_machine()))
    try:
        expressions.check_zone(options.zone)
    except InvalidValue as invalid:
        raise Failure(f"--zone: {invalid}", USAGE) from None

    wishes = Wishes(options.zone, options.user, _home_of, os.path.isdir)
    importer = Importer(options.kind, wishes, read_regular, expressions)
    return [imported for name in options.paths for imported in _of_path(importer, name)]


def _of_path(importer: Importer, name: str) -> list[Imported]:
    if name != "-":
        path = Path(name)
        is_template = importer.kind == "timer" and "@" in path.name
        if not is_template and not os.path.lexists(path):
            raise Failure(f"no such file or directory: {path}", USAGE)
        return importer.path(path)
    if importer.kind in ("timer", "at"):
        raise Failure(f"`-` stands for a crontab; name the files of a {importer.kind}", USAGE)
    return [importer.stdin(read_stdin())]


def _report(inputs: list[Imported]) -> bool:
    """Prints what cannot be imported. Returns whether there is anything."""
    from schedappliance.diagnostics import in_order
    from schedappliance.lint import report

    diagnostics = [diagnostic for imported in inputs for diagnostic in imported.diagnostics]
    if diagnostics:
        print(report.full(in_order(diagnostics)), file=sys.stderr, end="")
    failures = [entry for imported in inputs for entry in imported.entries if entry.failure]
    for entry in failures:
        print_error(visible(f"{entry.place}: {entry.failure}"))
    return bool(diagnostics or failures)


def _home_of(user: str) -> str | None:
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError):
        return None
