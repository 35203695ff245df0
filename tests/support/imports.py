"""What `import` makes of the files in tests/importing, on a machine with a few users.

`python -m tests.support.imports` writes the current stanzas. Read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import NamedTuple

from schedappliance.importing.expressions import Expressions
from schedappliance.importing.inputs import Importer
from schedappliance.importing.stanzas import Imported, Wishes, give_unique_names, written
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.files import read_regular

EXPRESSIONS = Expressions(Zones(this_machine()))
FOLDER = Path(__file__).parent.parent / "importing"
HOMES = {"root": "/root", "www-data": "/var/www", "deploy": "/home/deploy", "amavis": "/var/lib/amavis"}


class Case(NamedTuple):
    """Files of one kind in a folder of FOLDER. `summary`: what `import` says at its end."""

    kind: str
    folder: str
    paths: tuple[str, ...]
    summary: str
    user: str | None = None


CASES = {
    "debian": Case("crontab", "crontabs", ("etc/crontab",), "4 lines: 4 exact, 0 with notes, 0 not possible"),
    "packages": Case(
        "cron.d", "crontabs", ("etc/cron.d",), "25 lines: 9 exact, 16 with notes, 0 not possible; 4 notes at the top"
    ),
    "personal": Case(
        "crontab", "crontabs", ("personal",), "21 lines: 18 exact, 3 with notes, 0 not possible", "deploy"
    ),
    "cronie": Case(
        "crontab", "crontabs", ("cronie",), "5 lines: 0 exact, 5 with notes, 0 not possible; 1 note at the top"
    ),
    "anacrontab": Case(
        "crontab",
        "crontabs",
        ("anacrontab", "anacrontab-debian"),
        "6 lines: 3 exact, 3 with notes, 0 not possible; 2 notes at the top",
    ),
    "timers": Case("timer", "timers", (".", "pg_dump@main.timer"), "31 timers: 5 exact, 24 with notes, 2 not possible"),
    "at": Case("at", "atjobs", (".",), "2 jobs: 0 exact, 2 with notes, 0 not possible"),
}


def importer(kind: str, user: str | None = None, zone: str = "local") -> Importer:
    return Importer(kind, Wishes(zone, user, HOMES.get), read_regular, EXPRESSIONS)


def inputs_of(case: Case, root: Path = FOLDER) -> list[Imported]:
    """What a case below a root is imported as, with paths that start at its folder."""
    reader = importer(case.kind, case.user)
    with contextlib.chdir(root / case.folder):
        inputs = [imported for name in case.paths for imported in reader.path(Path(name))]
    give_unique_names(inputs)
    return inputs


def expected(name: str) -> Path:
    return FOLDER / "expected" / f"{name}.conf"


def accepted_by_cron(text: str, path: Path) -> bool:
    """Whether Debian's cron accepts the fields. It stops at the first mistake, so each text is a file of its own."""
    path.write_text(f"{text} /bin/true\n")
    return subprocess.run(["crontab", "-n", str(path)], capture_output=True).returncode == 0


def regenerate() -> None:
    for name, case in CASES.items():
        expected(name).write_text(written(inputs_of(case)), encoding="utf-8")


if __name__ == "__main__":
    regenerate()
