"""The `store` command: checks the store that the configuration names, or copies it, also while the appliance runs."""

from __future__ import annotations

import sys
from pathlib import Path

from schedappliance.diagnostics import in_order
from schedappliance.lint import report
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.loading import load
from schedappliance.store import maintenance

OK, DAMAGED = 0, 1


def store_of(file: ApplianceFile) -> Path | None:
    """The backing store that the stanza files name, or None after saying why there is none."""
    loaded = load(file.config)
    if loaded.configuration.backing_store:
        return loaded.configuration.backing_store
    if not loaded.closure.diagnostics:
        print(f"error: {file.config} has no `backing_store`", file=sys.stderr)
    print(report.full(in_order(loaded.closure.diagnostics)), file=sys.stderr, end="")
    return None


def check(path: Path) -> int:
    """Raises Unusable."""
    found = maintenance.check(path)
    print("\n".join(found) if found else f"{path}: ok")
    return DAMAGED if found else OK


def backup(path: Path, target: Path) -> int:
    """Raises Unusable."""

    def progress(left: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{total - left:,} of {total:,} pages", end="" if left else "\n", file=sys.stderr, flush=True)

    maintenance.backup(path, target, progress)
    print(target)
    return OK
