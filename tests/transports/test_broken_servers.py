"""`schedappliance notify` against servers that break the protocol: the error says what they have sent."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

import pytest

from schedappliance.cli.errors import OK, STILL_QUEUED
from tests.transports.test_notify import notify, serving


class Script(socketserver.StreamRequestHandler):
    """A mail server that sends `instead` when its answer to `at` is due, and then ends the connection. `ANY`: its greeting."""

    at: ClassVar[bytes] = b""
    instead: ClassVar[bytes] = b""

    def handle(self) -> None:
        with suppress(OSError):
            for verb in self._verbs():
                if verb == self.at:
                    self.wfile.write(self.instead)
                    return
                answer = {b"ANY": b"220 here", b"DATA": b"354 go on", b"QUIT": b"221 bye"}.get(verb, b"250 ok")
                self.wfile.write(answer + b"\r\n")

    def _verbs(self) -> Iterator[bytes]:
        """What an answer is due to; `.`: the mail."""
        yield b"ANY"
        while line := self.rfile.readline():
            yield line[:4].strip().upper()
            if line[:4].upper() == b"DATA":
                list(iter(self.rfile.readline, b".\r\n"))
                yield b"."


AWAITED = {
    "ANY": "its greeting",
    **{verb: f"its answer to {verb}" for verb in ("EHLO", "MAIL", "RCPT", "DATA")},
    ".": "its answer to DATA",
}


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (b"huh\r\n", "the server sends `huh` in place of "),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server sends `HTTP/1.1 400 Bad Request` in place of "),
        (b"\x15\x03\x01\x02\xff", r"the server sends `\u{15}\u{3}\u{1}\u{2}\xff` in place of "),
        (b"x" * 10_000, f"the server sends `{'x' * 37}...` in place of "),
        (b"250 " + b"x" * 10_000, f"the server sends `250 {'x' * 33}...` in place of "),
        (b"2", "the server sends `2` in place of "),
        (b"", "the server ends the connection in place of "),
        (b"250-first\r\n", "the server ends the connection in place of "),
        (b"250-first\r\nsecond\r\n", "the server sends `second` in place of "),
    ],
)
@pytest.mark.parametrize("at", AWAITED)
def test_what_a_mail_server_sends_in_place_of_an_answer_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: str, instead: bytes, said: str
) -> None:
    Script.at, Script.instead = at.encode(), instead
    with serving(socketserver.TCPServer(("127.0.0.1", 0), Script)) as place:
        assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", place) == STILL_QUEUED
    assert capsys.readouterr().err == f"error: not delivered: {place}: {said}{AWAITED[at]}\n"


@pytest.mark.parametrize("instead", [b"", b"huh\r\n", b"554 no\r\n"])
def test_a_mail_that_was_taken_is_delivered_whatever_follows(monkeypatch: pytest.MonkeyPatch, instead: bytes) -> None:
    """Another attempt would deliver it twice."""
    Script.at, Script.instead = b"QUIT", instead
    with serving(socketserver.TCPServer(("127.0.0.1", 0), Script)) as place:
        assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", place) == OK


def test_a_mail_server_that_sends_nothing_is_named_with_what_was_awaited(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        words = ("mail", "--to", "a@example.org", "--smtp", place)
        assert notify(monkeypatch, *words, "--timeout", "1") == STILL_QUEUED
    assert (
        capsys.readouterr().err
        == f"error: not delivered: {place}: waited for its greeting: timed out after 0.5 seconds\n"
    )


class RawSite(socketserver.StreamRequestHandler):
    """A web server that reads a request and sends `instead`."""

    instead: ClassVar[bytes] = b""

    def handle(self) -> None:
        length = next(int(line.split()[1]) for line in self.rfile if line.lower().startswith(b"content-length"))
        self.rfile.readline()
        self.rfile.read(length)
        self.wfile.write(self.instead)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (b"", "the server ends the connection in place of an answer"),
        (b"220 mail.example.org ESMTP\r\n", "the server sends `220 mail.example.org ESMTP` in place of an answer"),
        (b"HTTP/1.1 fine\r\n\r\n", "the server sends `HTTP/1.1 fine` in place of an answer"),
        (b"\x15\x03\x01\xff", r"the server sends `\u{15}\u{3}\u{1}ÿ` in place of an answer"),
        (b"\r\n", "the server sends `` in place of an answer"),
    ],
)
def test_what_a_web_server_sends_in_place_of_an_answer_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], instead: bytes, said: str
) -> None:
    RawSite.instead = instead
    with serving(socketserver.TCPServer(("127.0.0.1", 0), RawSite)) as place:
        assert notify(monkeypatch, "webhook", f"http://{place}/") == STILL_QUEUED
    assert capsys.readouterr().err == f"error: not delivered: {said}\n"


@pytest.mark.parametrize(
    "instead",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhuh",
        b"HTTP/1.1 204 No Content\r\nConte",
    ],
)
def test_an_alert_that_a_web_server_has_taken_is_delivered_whatever_follows(
    monkeypatch: pytest.MonkeyPatch, instead: bytes
) -> None:
    RawSite.instead = instead
    with serving(socketserver.TCPServer(("127.0.0.1", 0), RawSite)) as place:
        assert notify(monkeypatch, "webhook", f"http://{place}/") == OK
