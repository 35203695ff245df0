"""`schedappliance web`: serves the page, which shows the appliance in a browser.

Rule: the libraries of the page are imported only here, so that the appliance works without them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.cli.appliance_file import add_config, appliance_file
from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import OK, UNUSABLE, USAGE
from schedappliance.cli.web_token import add_token
from schedappliance.client.places import path_in
from schedappliance.diagnostics import Unusable

if TYPE_CHECKING:
    from schedappliance.model.appliance_file import Address, ApplianceFile

DESCRIPTION = """\
Serve the page, which shows the appliance in a browser. The page is a process of
its own and a client of the console. This command needs the libraries of the
page: python -m pip install 'schedappliance[web]'"""

# The page must not take time from jobs. While 50 viewers look, two cores are busy: a twentieth of the jobs starts more than
# 3 ms late beside a page with the niceness 0, and 1 ms beside one with 10.
NICE = 10
AS_ROOT = "warning: the page runs as root, and whoever it lets in can do what root can; start it as another user"

STATUSES = {
    OK: "stopped",
    USAGE: "wrong usage",
    UNUSABLE: "the appliance file or the address cannot be used, or a library is not installed",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    web = parser("web", DESCRIPTION, STATUSES)
    add_config(web)
    web.add_argument(
        "--listen", metavar="ADDRESS", help="HOST:PORT, or the path of a Unix socket, in place of that of the file"
    )
    web.add_argument("--end-with-stdin", action="store_true", help="end when standard input ends")
    web.set_defaults(act=_serve)
    add_token(web.add_subparsers(title="actions", metavar="ACTION"))
    return web.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    return int(options.act(options))


def _serve(options: argparse.Namespace) -> int:
    file = appliance_file(options)
    endpoint = path_in(file, "console.listen", file.listen, "an appliance with a console")
    try:
        from schedappliance.web.server.serving import serve_page
        from schedappliance.web.settings import listening_at, web_settings
    except ModuleNotFoundError as error:
        remedy = "install it: python -m pip install 'schedappliance[web]'"
        raise Unusable(f"the library {error.name} is not installed", remedy) from None
    if os.geteuid() == 0:
        _announce(AS_ROOT)
    with suppress(OSError):
        os.nice(NICE)
    settings = listening_at(web_settings(file), options.listen)
    _check_paths(file, settings.listen)
    serve_page(endpoint, settings, _announce, sys.stdin.fileno() if options.end_with_stdin else None)
    return OK


def _check_paths(file: ApplianceFile, listen: Path | Address | None) -> None:
    """Raises Unusable if the page would use a path of the appliance. `listen`: where it listens."""
    from schedappliance.model.appliance_paths import mistake_of_keys

    if mistake := mistake_of_keys(replace(file, web=replace(file.web, listen=listen))):
        raise Unusable(mistake.message, mistake.help or "")


def _announce(line: str) -> None:
    """What the page says about itself goes to stderr, as the log of the appliance does."""
    print(line, file=sys.stderr, flush=True)
