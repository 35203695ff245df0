"""`schedappliance metrics`: the metrics of the appliance for Prometheus, on stdout or in a file for its node exporter."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schedappliance.cli.arguments import file_path
from schedappliance.cli.asking import asking_parser, data_of, print_json, session_of
from schedappliance.cli.errors import FAILED, OK, UNAVAILABLE, USAGE, Failure
from schedappliance.client.exposition import exposition
from schedappliance.drafts import draft_of

DESCRIPTION = """\
Print the metrics in the text format of Prometheus. If no appliance answers, print
that it is down; then the exit status is 69."""
FILE_MODE = 0o644
# Prometheus gives up after 10 s.
PATIENCE_SECONDS = 5.0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = asking_parser("metrics", DESCRIPTION)
    parser.add_argument(
        "--to",
        type=file_path,
        metavar="FILE",
        help="write the metrics to FILE, which is replaced at once, such as a *.prom file of the node exporter",
    )
    options = parser.parse_args(arguments)
    if options.json and options.to is not None:
        parser.error("--json and --to exclude each other: FILE has the format of Prometheus")
    return options


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    data: dict[str, Any] | None = None
    down: Failure | None = None
    try:
        with session_of(options, PATIENCE_SECONDS) as session:
            data, _ = data_of(session, "metrics")
    except Failure as failure:
        if failure.status != UNAVAILABLE:
            raise
        down = failure
    if options.to is not None:
        _replace(options.to, exposition(data))
    elif not options.json:
        sys.stdout.write(exposition(data))
    elif data is not None:
        print_json(data)
    if down:
        raise down
    return OK


def _replace(path: Path, text: str) -> None:
    """Replaces a file at once, so that nobody reads a part of it. Raises Failure.

    Nothing but a file is replaced: as root, `--to /dev/null` would take the device from all programs.
    """
    try:
        if kind := _other_kind(path):
            raise Failure(f"{path} is {kind}, and only a file is replaced; name a file", USAGE)
        # The node exporter reads only *.prom, so it passes over the draft.
        with draft_of(path, text, FILE_MODE) as draft:
            draft.rename(path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}", FAILED) from error


def _other_kind(path: Path) -> str | None:
    """What is at a path, if it is not a file. Raises OSError."""
    from schedappliance.kinds import other_kind

    try:
        return other_kind(path.lstat().st_mode)
    except FileNotFoundError:
        return None
