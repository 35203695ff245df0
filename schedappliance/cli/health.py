"""`schedappliance health`: whether the appliance is well, as an exit status for a supervisor or a container."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from schedappliance.cli.asking import STATUSES, asking_parser, data_of, print_json, session_of
from schedappliance.cli.errors import FAILED, OK, UNAVAILABLE
from schedappliance.visible import visible

DESCRIPTION = """\
Ask the appliance for an answer within five seconds, and print what is wrong."""
PATIENCE_SECONDS = 5.0
OF_HEALTH = STATUSES | {
    OK: "the appliance answered; with --ready, it also can run commands and programs",
    FAILED: "with --ready: it answered, but cannot run commands or programs",
    UNAVAILABLE: "no appliance answered in time",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = asking_parser("health", DESCRIPTION, OF_HEALTH)
    parser.add_argument("--ready", action="store_true", help="fail if commands or programs cannot run")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    with session_of(options, PATIENCE_SECONDS) as session:
        health, _ = data_of(session, "health")
    if options.json:
        print_json(health)
    else:
        lines = [*health["troubles"], *(["held"] if health["held"] else [])] or ["ok"]
        sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))
    return FAILED if options.ready and not health["ready"] else OK
