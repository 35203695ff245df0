"""`schedappliance store`: checks or copies the store, even while the appliance runs. Rule: it never changes the store."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from schedappliance.cli.appliance_file import add_config, appliance_file
from schedappliance.cli.arguments import file_path, parser
from schedappliance.cli.errors import FAILED, OK, UNUSABLE, USAGE, print_note
from schedappliance.diagnostics import Unusable
from schedappliance.model.files import real_path
from schedappliance.model.loading import load
from schedappliance.progress import progress
from schedappliance.store import maintenance
from schedappliance.store.loss import loss_of, remedy_for

DESCRIPTION = """\
Check the store of an appliance, back it up, or print the version of its schema. The
store is not changed, and the appliance may run meanwhile."""

STATUSES = {
    OK: "the store has no errors; the backup is complete",
    FAILED: "the store is damaged",
    USAGE: "wrong usage",
    UNUSABLE: "there is no store, or it cannot be read or copied",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    store = parser("store", DESCRIPTION, STATUSES)
    actions = store.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="run SQLite's integrity check")
    check.add_argument(
        "file",
        nargs="?",
        type=file_path,
        metavar="FILE",
        help="a store or a backup; default: the store of the appliance",
    )
    check.set_defaults(act=_check)
    backup = actions.add_parser("backup", help="copy the store, as it is at one instant, to a new file")
    backup.add_argument("target", metavar="FILE", type=file_path, help="the new file; it appears whole or not at all")
    backup.set_defaults(act=_back_up)
    schema = actions.add_parser("schema", help="print the version of the schema, which newer versions may raise")
    schema.set_defaults(act=_print_schema)
    for action in (check, backup, schema):
        add_config(action)
    return store.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    return int(options.act(options))


def _check(options: argparse.Namespace) -> int:
    # SQLite keeps the log beside the file to which a link leads.
    path = real_path(options.file) if options.file else _store_path(options)
    name = options.file or path
    errors = maintenance.check(path)
    if not errors and (unknown := maintenance.why_unknown(path)):
        raise unknown
    print("\n".join(errors) if errors else f"{name}: ok")
    if not errors and (original := maintenance.original(path)):
        print_note(f"{name} is a copy of {original}, or was moved from there")
    _note_loss(path)
    return FAILED if errors else OK


def _back_up(options: argparse.Namespace) -> int:
    path = _store_path(options)
    with progress() as show:
        maintenance.backup(path, options.target, lambda left, total: show(f"{total - left:,} of {total:,} pages"))
    print(options.target)
    _note_loss(path)
    return OK


def _print_schema(options: argparse.Namespace) -> int:
    print(maintenance.schema(_store_path(options)))
    return OK


def _note_loss(path: Path) -> None:
    """A store that is whole may still lack what was in its log, as the file beside it says."""
    if loss := loss_of(path):
        print_note(f"{path}: {loss}; {remedy_for(path)}")


def _store_path(options: argparse.Namespace) -> Path:
    """The store that the stanza files name. An error elsewhere in them does not matter."""
    file = appliance_file(options)
    loaded = load(file.config)
    if path := loaded.configuration.backing_store:
        return path
    if loaded.closure.diagnostics:
        raise Unusable(diagnostics=loaded.closure.diagnostics)
    raise Unusable(
        f"{file.config} has no `backing_store`", "without it, the appliance keeps jobs in memory and has no store"
    )
