"""The arguments `--config` and `--endpoint` of a subcommand, and the appliance file and the socket that they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.cli.arguments import file_path
from schedappliance.client import places
from schedappliance.client.places import DEFAULTS, VARIABLE, path_in

if TYPE_CHECKING:
    from schedappliance.model.appliance_file import ApplianceFile


def add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """`default`: SUPPRESS if the argument may also stand before the action to which this parser belongs."""
    defaults = ", ".join((f"${VARIABLE}", *DEFAULTS))
    words = f"the appliance file; default: the first that exists of {defaults}"
    parser.add_argument("--config", metavar="FILE", type=file_path, default=default, help=words)


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint", metavar="SOCKET", type=file_path, help="the console's socket; no appliance file is read then"
    )


def endpoint_of(options: argparse.Namespace) -> Path:
    """The console's socket; raises Unusable if none is named."""
    if options.endpoint:
        return Path(options.endpoint)
    file = appliance_file(options)
    return path_in(file, "console.listen", file.listen, "--endpoint SOCKET")


def config_path(options: argparse.Namespace) -> Path:
    """The path of the appliance file; raises Unusable if none is named and none exists."""
    return places.config_path(options.config)


def appliance_file(options: argparse.Namespace) -> ApplianceFile:
    """The appliance file; raises Unusable if it is missing or holds a mistake."""
    return places.appliance_file(options.config)
