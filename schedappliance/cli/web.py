"""`schedappliance web`: serves the page, which shows the appliance in a browser.

Rule: the libraries of the page are imported only here, so that the appliance works without them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from schedappliance.cli.appliance_file import add_config, add_endpoint, endpoint_of
from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import OK, UNUSABLE, USAGE
from schedappliance.diagnostics import Unusable

DESCRIPTION = """\
Serve the page, which shows the appliance in a browser. The page is a process of
its own and a client of the console. This command needs the libraries of the
page: python -m pip install 'schedappliance[web]'"""

STATUSES = {
    OK: "stopped",
    USAGE: "wrong usage",
    UNUSABLE: "the appliance file or the address cannot be used, or a library is not installed",
}
DEFAULT_ADDRESS = "127.0.0.1:8385"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    web = parser("web", DESCRIPTION, STATUSES)
    add_config(web)
    add_endpoint(web)
    web.add_argument(
        "--listen",
        metavar="ADDRESS",
        default=DEFAULT_ADDRESS,
        help=f"HOST:PORT, or the path of a Unix socket; default: {DEFAULT_ADDRESS}",
    )
    return web.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    endpoint = endpoint_of(options)
    try:
        from schedappliance.web.serving import serve
    except ModuleNotFoundError as error:
        remedy = "install it: python -m pip install 'schedappliance[web]'"
        raise Unusable(f"the library {error.name} is not installed", remedy) from None
    serve(endpoint, options.listen)
    return OK
