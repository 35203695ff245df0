"""The `doctor` command: facts to lines on stdout, and the exit status. Nothing is changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from schedappliance.diagnostics import in_order
from schedappliance.doctor.facts import Facts
from schedappliance.doctor.findings import checked, findings
from schedappliance.doctor.observe import look
from schedappliance.edge.files.snapshot import Snapshot
from schedappliance.lint import report
from schedappliance.model.appliance_file import read_appliance_file
from schedappliance.model.loading import load

OK, FINDINGS, BAD_CONFIGURATION = 0, 1, 78


def run(config: Path, format: str) -> int:
    """Prints what is wrong, one line each, or that nothing is."""
    file, diagnostics = read_appliance_file(config)
    snapshot = Snapshot({})
    loaded = load(file.config, snapshot.read, snapshot) if file else None
    if file is None or loaded is None or not loaded.closure.texts:
        unread = loaded.diagnostics if loaded else diagnostics
        print(report.full(in_order(unread)), file=sys.stderr, end="")
        return BAD_CONFIGURATION
    facts = look(file, loaded, snapshot.contents)
    found = findings(facts)
    if note := _note(facts):
        print(f"note: {note}", file=sys.stderr)
    if format == "json":
        sys.stdout.write(report.as_json(found))
    else:
        sys.stdout.write(report.lines(found))
        print(f"{checked(facts)}: {report.tally(found) if found else 'all is well'}")
    return FINDINGS if found else OK


def _note(facts: Facts) -> str:
    if os.geteuid() in (0, facts.user.uid):
        return ""
    user = facts.names[facts.user.uid]
    return f"this user cannot see all that `{user}` uses, as whom the appliance runs; run this as `{user}` or as root"
