"""`schedappliance serve`: runs the appliance in the foreground."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

from schedappliance.cli.appliance_file import add_config, config_path
from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import FAILED, OK, UNUSABLE, USAGE, Failure
from schedappliance.cli.page_process import PageProcess

DESCRIPTION = """\
Run the appliance in the foreground and log to stderr. SIGHUP reloads the stanza
files, SIGUSR1 opens the log again if it is a file. SIGTERM, SIGINT and SIGQUIT
stop the appliance and the programs that it runs."""

STATUSES = {
    OK: "the appliance was stopped",
    FAILED: "a lock file was removed or replaced, the store is locked, or there is no\n"
    "       room to upgrade it; start the appliance again",
    USAGE: "wrong usage",
    UNUSABLE: "the configuration, the store, the socket or the spool cannot be used",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    serve = parser("serve", DESCRIPTION, STATUSES)
    add_config(serve)
    serve.add_argument(
        "--last-good",
        metavar="STORE",
        nargs="?",
        const="",
        help="if the stanza files hold an error, start with the files that were accepted last; "
        "STORE is the path of the store that keeps them, if the stanza files do not name it",
    )
    serve.add_argument(
        "--web", action="store_true", help="serve the page too, as `schedappliance web` does, in a process of its own"
    )
    return serve.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    config = config_path(options)
    # Nothing runs yet while the modules are loaded: a SIGHUP has nothing to reload, a SIGTERM stops in order.
    for ignored in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        signal.signal(ignored, signal.SIG_IGN)
    for stopping in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(stopping, lambda _number, _frame: sys.exit(OK))
    _do_without_openssl()
    from schedappliance.boot.appliance import serve as serve_appliance
    from schedappliance.boot.configuration import LastGood
    from schedappliance.boot.process import beside_orphans
    from schedappliance.lockfile import LockLost

    last_good = None
    if options.last_good is not None:
        last_good = LastGood(Path(options.last_good) if options.last_good else None)

    def serve_beside_page() -> int:
        with _page(config.absolute()) if options.web else nullcontext():
            return serve_appliance(config, last_good)

    try:
        # The page is a child of the daemon, also if that is a child of process 1.
        return beside_orphans(serve_beside_page)
    except LockLost as lost:
        raise Failure(f"{lost}; the appliance ended without its programs", FAILED) from None


def _do_without_openssl() -> None:
    """Lets `hashlib` use the digests of Python itself, if it has them: OpenSSL takes 3.5 MB, and only files are hashed."""
    if any(map(find_spec, ("_sha256", "_sha2"))):
        # An import of a module that is None fails, and `hashlib` then looks for the others.
        sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]


@contextmanager
def _page(config: Path) -> Iterator[None]:
    page = PageProcess(config)
    try:
        yield
    finally:
        page.end()
