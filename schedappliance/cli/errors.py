"""How the command line says that something cannot be used. Rule: nothing else prints an Unusable."""

from __future__ import annotations

import sys

from schedappliance.diagnostics import Unusable, in_order


def print_unusable(unusable: Unusable) -> None:
    """The diagnostics in full, then `error: MESSAGE; HELP`, on stderr."""
    if unusable.diagnostics:
        from schedappliance.lint import report

        print(report.full(in_order(unusable.diagnostics)), file=sys.stderr, end="")
    if unusable.message:
        print(f"error: {unusable}", file=sys.stderr)
