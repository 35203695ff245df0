"""`schedappliance init`: writes the two files of a new appliance, with comments. It replaces no file."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from schedappliance.cli.arguments import file_path, parser
from schedappliance.cli.errors import FAILED, OK, USAGE, Failure
from schedappliance.diagnostics import as_argument
from schedappliance.drafts import draft_of, name_new

DESCRIPTION = """\
Write the files of a new appliance: etc/appliance.yaml and etc/sched.conf in DIR. The
jobs in sched.conf are comments. Existing files stay as they are: both files appear
whole, or none does."""
STATUSES = {
    OK: "both files were written",
    FAILED: "a file exists already, or cannot be written; none was written",
    USAGE: "wrong usage",
}
APPLIANCE_FILE, STANZA_FILE = "appliance.yaml", "sched.conf"
# The directories of the unit that systemd runs.
SYSTEM = Path("/etc/schedappliance")
OF_SYSTEM = {
    "../var/sched.db": "/var/lib/schedappliance/sched.db",
    "../var/console.sock": "/run/schedappliance/console.sock",
    "../var/spool": "/var/spool/schedappliance",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    init = parser("init", DESCRIPTION, STATUSES)
    init.add_argument(
        "directory", metavar="DIR", nargs="?", type=file_path, help="the directory; default: the current one"
    )
    init.add_argument(
        "--system", action="store_true", help=f"write to {SYSTEM}, with the paths of the unit for systemd"
    )
    init.add_argument("--example", action="store_true", help="with a program and jobs that run at once")
    options = init.parse_args(arguments)
    if options.system and options.directory is not None:
        init.error("--system takes no DIR")
    return options


def run(options: argparse.Namespace) -> int:
    """Raises Failure."""
    folder = SYSTEM if options.system else (options.directory or Path()) / "etc"
    contents = {folder / name: text for name, text in texts(options).items()}
    for path in contents:
        # A link that leads nowhere is in the way too.
        if os.path.lexists(path):
            raise Failure(f"{path} exists already; nothing was written", FAILED)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(contents)
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}; nothing was written", FAILED) from error
    for path in contents:
        print(f"wrote {path}")
    print(f"start it: schedappliance serve --config {as_argument(folder / APPLIANCE_FILE)}")
    return OK


def _write(contents: Mapping[Path, str]) -> None:
    """Writes all files, or none. Raises OSError."""
    with ExitStack() as stack:
        drafts = {path: stack.enter_context(draft_of(path, text)) for path, text in contents.items()}
        new: list[Path] = []
        try:
            for path, draft in drafts.items():
                name_new(draft, path)
                new.append(path)
        except OSError:
            for path in new:
                path.unlink()
            raise


def texts(options: argparse.Namespace) -> dict[str, str]:
    """The contents of the two files, by their names."""
    return {name: _adapted((_samples() / name).read_text("utf-8"), options) for name in (APPLIANCE_FILE, STANZA_FILE)}


def _samples() -> Path:
    """The directory of the samples: inside the package in a wheel, beside it in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    return next(folder for folder in (package / "samples", package.parent / "etc") if (folder / STANZA_FILE).is_file())


def _adapted(sample: str, options: argparse.Namespace) -> str:
    """The text of a new file. It names no node, so that the node is the name of the host."""
    text = re.sub(r"(?m)^(# yaml-language-server.*|node: .*)\n", "", sample)
    for path, place in OF_SYSTEM.items() if options.system else ():
        text = text.replace(path, place)
    return text if options.example else _with_comments(text)


def _with_comments(text: str) -> str:
    """Makes comments of all that follows the stanza `sched`. A file without it stays as it is."""
    head, stanza, rest = re.split(r"(?m)^(sched \{.*\}\n)", text, maxsplit=1) if "\nsched {" in text else (text, "", "")
    return head + stanza + re.sub(r"(?m)^(?!#|$)", "# ", rest)
