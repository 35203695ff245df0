"""`schedappliance console`: sends one command, the lines of stdin, or what is typed at a prompt, and prints the answers.

Rule: it imports little. A command with `--endpoint` takes 50 ms of processor time; one that reads the appliance file
takes 100.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from schedappliance.cli.appliance_file import add_config, add_endpoint, endpoint_of
from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import (
    FAILED,
    OK,
    UNAVAILABLE,
    UNUSABLE,
    USAGE,
    Failure,
    print_error,
    print_interrupted,
    print_late,
)
from schedappliance.cli.streams import has_reader, stdin_lines
from schedappliance.client.console import Session
from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import joined, joined_as_is, line_of
from schedappliance.visible import json_text, visible

DESCRIPTION = """\
Send a command to a running appliance and print its answer. Without COMMAND,
send each line of stdin, or open a prompt if stdin is a terminal.

`schedappliance console help` lists the commands. After `run --wait PROGRAM` the
exit status is that of the program."""

STATUSES = {
    OK: "every command succeeded",
    FAILED: "a command failed",
    USAGE: "wrong usage",
    UNAVAILABLE: "no appliance answers",
    UNUSABLE: "no socket is configured, or the appliance file cannot be used",
}


def parse(arguments: Sequence[str], name: str = "console", command: Sequence[str] = ()) -> argparse.Namespace:
    """`name`: a subcommand that is short for a console command, whose first words are `command`."""
    what = "WORD..." if command else "[COMMAND...]"
    description = f"Short for `schedappliance console {' '.join(command)} ...`." if command else DESCRIPTION
    console = parser(name, description, STATUSES, f"[options] {what}")
    add_config(console)
    add_endpoint(console)
    console.add_argument(
        "--as",
        dest="on_behalf_of",
        metavar="USER",
        help="give the commands on behalf of USER, if `delegates` of the stanza files allows it",
    )
    metavar, example = ("WORD", "the rest of the command") if command else ("COMMAND", "for example: sched list")
    console.add_argument("words", metavar=metavar, nargs=argparse.REMAINDER, help=example)
    if not command:
        return console.parse_args(arguments)
    own, words, names = _apart(arguments)
    options = console.parse_args([*own, "--", *words, *names])
    options.words = [" ".join(filter(None, (joined([*command, *words]), joined_as_is(names))))]
    return options


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The options among the arguments of a short command, its words, and those after `--`, none of which is an option.

    argparse would take `--all`, or a job whose name begins with `-`, for an option that it does not know.
    """
    own: list[str] = []
    words: list[str] = []
    names: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            names += rest
        elif word in ("--config", "--endpoint", "--as"):
            own += [word, *islice(rest, 1)]
        elif word in ("-h", "--help") or word.startswith(("--config=", "--endpoint=", "--as=")):
            own.append(word)
        else:
            words.append(word)
    return own, words, names


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    endpoint, user = endpoint_of(options), options.on_behalf_of
    if options.words:
        return send(endpoint, [line_of(options.words)], sys.stdout, sys.stderr, user)
    if sys.stdin.isatty():
        from schedappliance.cli.prompt import prompt

        return prompt(endpoint, say, user)
    return send(endpoint, stdin_lines(), sys.stdout, sys.stderr, user)


def send(endpoint: Path, lines: Iterable[str], out: TextIO, err: TextIO, user: str | None = None) -> int:
    """Sends each line when the one before it is answered; returns the largest exit status. Raises Failure.

    `user`: on whose behalf; None: that of the user of this process.
    It also fails if a transaction is open after the last line: the transaction ends with the connection, without effect.
    It ends early when nobody reads the answers.
    """
    status = OK
    with contextlib.closing(Session(endpoint, on_behalf_of=user, on_late=print_late)) as session:
        for line in lines:
            try:
                response = session.ask(line)
            except Unavailable as unavailable:
                raise Failure(str(unavailable), UNAVAILABLE) from None
            except KeyboardInterrupt:
                print_interrupted()
                raise
            status = max(status, show(response, out, err))
            out.flush()
            if not has_reader(out):
                return status
        if session.in_transaction:
            remedy = "use the prompt, or send all its lines through one pipe"
            raise Failure(f"the transaction has ended with the connection; nothing was changed; {remedy}", FAILED)
    return status


def say(session: Session, line: str, is_typed: bool) -> int:
    """Sends a line of a prompt and shows the answer, or the error if a person typed it; returns the exit status."""
    try:
        response = session.ask(line, quiet=not is_typed)
        return show(response, sys.stdout, sys.stderr) if response["ok"] or is_typed else FAILED
    except Unavailable as unavailable:
        print_error(str(unavailable))
        return UNAVAILABLE
    except KeyboardInterrupt:
        # The command continues.
        print()
        return FAILED


def show(response: dict[str, Any], out: TextIO, err: TextIO) -> int:
    """Prints a response, its output on stdout and its error on stderr; returns the exit status."""
    text = str(response.get("output", ""))
    # An error after `json` has `"data": null` if the command has no data.
    if "data" in response and (response["ok"] or response["data"] is not None):
        text = json_text(response["data"])
    status = response.get("exit_status")
    if text:
        # The output of a program is passed on unchanged.
        whole = text.endswith("\n") or (status is not None and "output" in response)
        out.write(text if whole else f"{text}\n")
    if note := response.get("note"):
        out.flush()
        print(visible(str(note)), file=err)
    if response["ok"]:
        return status or OK
    out.flush()
    _show_error(response, err)
    return status or FAILED


def _show_error(response: dict[str, Any], err: TextIO) -> None:
    """Shows an error as the text protocol does: after `json` as data, and a text of Momentum's without `error: `."""
    text = str(response["error"])
    if "data" in response:
        data = {"error": text, "diagnostics": response["diagnostics"]}
        print(json_text(data), file=err)
    elif response["verbatim"]:
        print(text, file=err)
    else:
        print_error(text, err)
