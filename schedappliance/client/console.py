"""The console's client: one command, lines from a pipe, or a prompt. Speaks the JSON protocol, prints what people read."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from schedappliance.edge.console.unix_socket import connect

OK, FAILED, UNAVAILABLE = 0, 1, 69


class Unavailable(Exception):
    """No appliance answers."""


def ask(endpoint: Path, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sends each line on one connection and yields it with its response; raises Unavailable."""
    session = Session(endpoint)
    try:
        for line in lines:
            yield line, session.ask(line)
    finally:
        session.close()


class Session:
    """One connection, from the first line on."""

    def __init__(self, endpoint: Path) -> None:
        self._endpoint = endpoint
        self._connection: socket.socket | None = None
        self._answers: BinaryIO | None = None
        self._numbers = count(1)

    def ask(self, line: str) -> dict[str, Any]:
        """The response to a line; raises Unavailable."""
        with _explained(self._endpoint):
            if self._connection is None or self._answers is None:
                self._connection = connect(self._endpoint)
                self._answers = self._connection.makefile("rb")
            request = json.dumps({"v": 1, "id": next(self._numbers), "command": line}, ensure_ascii=False)
            self._connection.sendall(request.encode(errors="surrogateescape") + b"\n")
            answer = self._answers.readline()
        if not answer.endswith(b"\n"):
            raise Unavailable(f"the appliance at {self._endpoint} ended the connection")
        if not answer.startswith(b"{"):
            raise Unavailable(answer.decode(errors="replace").strip().removeprefix("error: "))
        response: dict[str, Any] = json.loads(answer)
        return response

    def has_ended(self) -> bool:
        """Whether there is no connection any more; nothing is sent to find out."""
        if self._connection is None:
            return True
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        for part in (self._answers, self._connection):
            if part is not None:
                part.close()
        self._answers = self._connection = None


@contextlib.contextmanager
def _explained(endpoint: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        help = "see `console.mode` and `console.group` of the appliance"
        raise Unavailable(f"you may not open {endpoint}: {error.strerror}; {help}") from error
    except OSError as error:
        raise Unavailable(f"no appliance answers at {endpoint}: {error.strerror or error}") from error


def show(response: dict[str, Any], line: str, out: TextIO, err: TextIO) -> int:
    """Prints a response: output on stdout, errors on stderr with status 1, or with that of the program waited for."""
    text = str(response.get("output", ""))
    if "data" in response:
        text = json.dumps(response["data"], ensure_ascii=False)
    status = response.get("exit_status")
    if text:
        # What a program wrote is passed on as it is.
        whole = text.endswith("\n") or (status is not None and "output" in response)
        out.write(text if whole else f"{text}\n")
    if response["ok"]:
        return status or OK
    out.flush()
    print(_error(response, line), file=err)
    return status or FAILED


# Momentum's own texts stand as they are; every other error says that it is one.
_VERBATIM = ("Option '", "Reconfigure failed.", "Not Authorized for this command")


def _error(response: dict[str, Any], line: str) -> str:
    """As the text protocol tells it; after `json` as data."""
    text = str(response["error"])
    if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0].lower() == "json":
        found = {"error": text, "diagnostics": response.get("diagnostics", [])}
        return json.dumps(found, ensure_ascii=False)
    verbatim = text.startswith(_VERBATIM) or text.endswith(_VERBATIM)
    return text if verbatim else f"error: {text}"


def line_of(words: list[str]) -> str:
    """One word is a whole line; several are joined, each quoted where the shell's quotes were taken off."""
    if len(words) == 1:
        return words[0]
    return " ".join(quoted(word) for word in words)


def quoted(word: str) -> str:
    """A word as it is typed at the console: in quotes only when it must be."""
    if word and not any(character in " \t\"'" for character in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def run(endpoint: Path, lines: Iterable[str], out: TextIO, err: TextIO) -> int:
    """The status of the worst of the lines."""
    status = OK
    try:
        for line, response in ask(endpoint, lines):
            status = max(status, show(response, line, out, err))
            out.flush()
    except Unavailable as unavailable:
        print(f"error: {unavailable}", file=err)
        return UNAVAILABLE
    return status


def prompt(endpoint: Path) -> int:
    """A prompt for people: one connection while it lasts; an appliance may restart, or let an idle one go, meanwhile."""
    import readline

    from schedappliance.syntax.command import first_words

    words = sorted(first_words())
    readline.set_completer(lambda text, n: [*(f"{w} " for w in words if w.startswith(text)), None][n])
    readline.parse_and_bind("tab: complete")
    with contextlib.closing(Session(endpoint)) as session:
        # A courtesy, which whoever is not allowed it did not ask for.
        if _say(session, "version", show_refusal=False) == UNAVAILABLE:
            return UNAVAILABLE
        _converse(session, f"{endpoint.name}> ")
    return OK


def _converse(session: Session, before: str) -> None:
    transaction = False
    while True:
        try:
            line = input(before).strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line.lower() == "quit":
            return
        if not line:
            continue
        if session.has_ended():
            session.close()
            if transaction:
                # What follows was meant for the transaction; it must not take effect at once instead.
                print(
                    "error: the connection has ended, and the transaction with it; nothing was changed", file=sys.stderr
                )
                transaction = False
                continue
        status = _say(session, line)
        transaction = transaction_after(transaction, line, status == OK)


def transaction_after(before: bool, line: str, ok: bool) -> bool:
    """Whether a transaction is open on the connection after a line."""
    words = line.lower().split()
    if words[:1] == ["config"] and words[1:] == ["begin"]:
        return before or ok
    return before and words[1:] not in (["commit"], ["rollback"])


def _say(session: Session, line: str, show_refusal: bool = True) -> int:
    try:
        response = session.ask(line)
        return show(response, line, sys.stdout, sys.stderr) if response["ok"] or show_refusal else FAILED
    except Unavailable as unavailable:
        session.close()
        print(f"error: {unavailable}", file=sys.stderr)
        return UNAVAILABLE
    except KeyboardInterrupt:
        # No longer waited for; what it asked for goes on. Its answer must not be taken for that of the next line.
        session.close()
        print()
        return FAILED
