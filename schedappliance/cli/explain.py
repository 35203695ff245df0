"""`schedappliance explain`: the page of a diagnostic code, or the list of all codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import OK, USAGE, Failure
from schedappliance.diagnostics import CODES, did_you_mean
from schedappliance.lint import explanations

DESCRIPTION = """\
Explain the code of a diagnostic, with a wrong and a right example. Without
CODE, list all codes."""

STATUSES = {OK: "printed", USAGE: "wrong usage, or no such code"}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    explain = parser("explain", DESCRIPTION, STATUSES)
    explain.add_argument("code", metavar="CODE", nargs="?", help="for example E202; upper or lower case")
    return explain.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    if options.code is None:
        sys.stdout.write("".join(f"{code}  {title}\n" for code, title in CODES.items()))
        return OK
    code = options.code.upper()
    if code not in CODES:
        raise Failure(f"no code {options.code}; {did_you_mean(code, CODES, '`explain` lists all')}", USAGE)
    sys.stdout.write(explanations.page(code))
    return OK
