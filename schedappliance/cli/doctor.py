"""`schedappliance doctor`: prints the problems of the machine and the paths. Rule: it changes nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from schedappliance.cli.appliance_file import add_config, appliance_file
from schedappliance.cli.arguments import add_format, parser
from schedappliance.cli.errors import FAILED, OK, UNUSABLE, USAGE, print_note
from schedappliance.diagnostics import Unusable
from schedappliance.doctor.facts import Facts
from schedappliance.doctor.findings import checked, findings
from schedappliance.doctor.observe import observe
from schedappliance.edge.files.snapshot import Snapshot
from schedappliance.lint import report
from schedappliance.model.loading import load

DESCRIPTION = """\
Check the machine, the files, the store, the spool and the socket of an
appliance. Print one line with the remedy for each problem. Nothing is changed,
and the appliance may run meanwhile. Run this as the user of the appliance or as
root: other users cannot see everything."""

STATUSES = {
    OK: "no problems found",
    FAILED: "problems found",
    USAGE: "wrong usage",
    UNUSABLE: "the configuration cannot be read",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    doctor = parser("doctor", DESCRIPTION, STATUSES)
    add_config(doctor)
    add_format(doctor, full="one line each", json="an array")
    return doctor.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    file = appliance_file(options)
    snapshot = Snapshot({})
    loaded = load(file.config, snapshot.read, snapshot)
    if not loaded.closure.texts:
        raise Unusable(diagnostics=loaded.diagnostics)
    facts = observe(file, loaded, snapshot.contents)
    diagnostics = findings(facts)
    if note := _note(facts):
        print_note(note)
    if options.format == "json":
        sys.stdout.write(report.as_json(diagnostics))
    else:
        sys.stdout.write(report.lines(diagnostics))
        print(f"{checked(facts)}: {report.tally(diagnostics) if diagnostics else 'no problems found'}")
    return FAILED if diagnostics else OK


def _note(facts: Facts) -> str:
    if os.geteuid() in (0, facts.user.uid):
        return ""
    user = facts.names[facts.user.uid]
    others = "root" if facts.user.uid == 0 else f"`{user}` or as root"
    return f"this user cannot see everything that the appliance's user `{user}` uses; run this as {others}"
