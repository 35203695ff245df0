"""`schedappliance paths`: every file and directory that the appliance uses, as its files name them. No appliance need run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from schedappliance.cli.appliance_file import add_config, appliance_file
from schedappliance.cli.arguments import parser
from schedappliance.cli.asking import print_json
from schedappliance.cli.errors import OK, UNUSABLE, USAGE
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.loading import load
from schedappliance.store.files import BESIDE
from schedappliance.visible import visible

DESCRIPTION = """\
Print the paths of all files and directories of an appliance, with what each of them
is. Those that the daemon makes may be missing before its first start."""
STATUSES = {OK: "the paths were printed", USAGE: "wrong usage", UNUSABLE: "the appliance file cannot be used"}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    paths = parser("paths", DESCRIPTION, STATUSES)
    add_config(paths)
    paths.add_argument("--json", action="store_true", help="print the data as JSON on one line")
    return paths.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    rows = [(what, str(path.absolute()), _exists(path)) for what, path in paths_of(appliance_file(options))]
    if options.json:
        return print_json([{"what": what, "path": path, "exists": exists} for what, path, exists in rows])
    width = max(len(what) for what, _, _ in rows)
    for what, path, exists in rows:
        print(f"{what:{width}}  {visible(path)}{_NOTES[exists]}")
    return OK


_NOTES = {True: "", False: "  (missing)", None: "  (cannot be examined)"}


def _exists(path: Path) -> bool | None:
    """None if nobody can say, such as in a directory that this user may not enter."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True


def paths_of(file: ApplianceFile) -> Iterator[tuple[str, Path]]:
    """What each path is, and the path. Mistakes in the stanza files do not matter."""
    yield "appliance file", file.path
    loaded = load(file.config)
    for path in loaded.closure.texts or (file.config,):
        yield "stanza file", Path(path)
    if store := loaded.configuration.backing_store:
        yield "store", store
        for suffix in BESIDE:
            yield f"store {suffix[1:]}", Path(f"{store}{suffix}")
    if file.listen:
        yield "console socket", file.listen
        yield "console lock", Path(f"{file.listen}.lock")
    if file.spool:
        yield "spool", file.spool
    if file.log_file:
        yield "log", file.log_file
