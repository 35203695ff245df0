"""What the subcommands for people share: their arguments, and questions to the console that are answered with data.

Rule: the appliance decides; these subcommands only ask and show.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from schedappliance.cli.appliance_file import add_config, add_endpoint, endpoint_of
from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import FAILED, OK, UNAVAILABLE, UNUSABLE, USAGE, Failure, print_late
from schedappliance.client.console import Session
from schedappliance.client.errors import Unavailable
from schedappliance.visible import json_text

STATUSES = {
    OK: "the appliance answered",
    FAILED: "the command failed",
    USAGE: "wrong usage",
    UNAVAILABLE: "no appliance answers",
    UNUSABLE: "no socket is configured, or the appliance file cannot be used",
}


def asking_parser(name: str, description: str, statuses: dict[int, str] = STATUSES) -> argparse.ArgumentParser:
    """A parser with the arguments that name the appliance, and `--json`."""
    asking = parser(name, description, statuses)
    add_config(asking)
    add_endpoint(asking)
    asking.add_argument("--json", action="store_true", help="print the data as JSON on one line")
    return asking


@contextlib.contextmanager
def session_of(options: argparse.Namespace, patience_seconds: float | None = None) -> Iterator[Session]:
    """A connection to the appliance that the options name. Raises Unusable and Failure.

    `patience_seconds`: how long each answer may take; None: it is waited for, and a note says so.
    """
    on_late = print_late if patience_seconds is None else None
    with contextlib.closing(Session(endpoint_of(options), on_late=on_late)) as session:
        if patience_seconds is not None:
            try:
                session.set_timeout(patience_seconds)
            except Unavailable as unavailable:
                raise Failure(str(unavailable), UNAVAILABLE) from None
        yield session


def data_of(session: Session, line: str) -> tuple[Any, str | None]:
    """The data that the appliance answers, and its note. Raises Failure if it rejects the line."""
    return data_in(answer_of(session, line))


def answer_of(session: Session, line: str, quiet: bool = False) -> dict[str, Any]:
    """The whole answer as data. Raises Failure if none comes. `quiet`: see Session.ask."""
    try:
        return session.ask(f"json {line}", quiet=quiet)
    except Unavailable as unavailable:
        raise Failure(str(unavailable), UNAVAILABLE) from None


def data_in(response: dict[str, Any]) -> tuple[Any, str | None]:
    """The data of an answer, and its note. Raises Failure if it rejects the line."""
    if not response["ok"]:
        raise Failure(str(response["error"]), FAILED)
    return response["data"], response.get("note")


def print_json(data: Any) -> int:
    sys.stdout.write(f"{json_text(data)}\n")
    return OK
