"""`schedappliance notify` against real servers on this machine: what arrives, and how it ends when nothing does."""

from __future__ import annotations

import io
import json
import socket
import socketserver
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar, NoReturn

import pytest

from schedappliance.cli.errors import OK, STILL_QUEUED, UNAVAILABLE, UNUSABLE, USAGE
from schedappliance.cli.main import main
from schedappliance.cli.notify import parse
from schedappliance.clock import local_text

RUN = {
    "run": "example.com-000000001/2",
    "id": "example.com-000000001",
    "command": "run backup",
    "due_ms": 1_700_000_000_000,
    "started_ms": 1_700_000_000_000,
    # The clock was set while it ran.
    "ended_ms": 1_600_000_000_000,
    "took_ms": 90_000,
    "attempts": 3,
    "exit_status": 3,
}
EVENT: dict[str, Any] = {
    "kind": "failed",
    "at_ms": 1_700_000_090_000,
    "subject": "backup",
    "summary": "backup failed: exit status 3",
    "reason": "exit status 3",
    "incident": 7,
    "count": 2,
    "since_ms": 1_700_000_000_000,
    "reminder": False,
    "run": RUN,
    "output": "disk is naïvely full\n",
}
ALERT = {
    "v": 1,
    "notify": "ops",
    "node": "example.com",
    "subject": "[example.com] backup failed: exit status 3",
    "events": [EVENT],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHED_RUN_ID", "example.com-000000009/1")
    monkeypatch.setenv("SCHED_STORE", "0123")


def notify(monkeypatch: pytest.MonkeyPatch, *words: str, alert: object = ALERT) -> int:
    """The exit status of a delivery."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(alert).encode())))
    return main(["notify", *words])


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[str]:
    """Serves until the end of the block; gives HOST:PORT."""
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Mailbox(socketserver.StreamRequestHandler):
    """A mail server that answers RCPT with `answer`."""

    mails: ClassVar[list[bytes]] = []
    answer: ClassVar[bytes] = b"250 ok"

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.mails.append(b"".join(lines))
            answer = self.answer if verb == b"RCPT" else b"221 bye" if verb == b"QUIT" else b"250 ok"
            self.wfile.write(answer + b"\r\n")


@pytest.fixture
def mailbox() -> Iterator[str]:
    Mailbox.mails.clear()
    Mailbox.answer = b"250 ok"
    with serving(socketserver.TCPServer(("127.0.0.1", 0), Mailbox)) as place:
        yield place


class Site(BaseHTTPRequestHandler):
    """A web server that answers with `status` and keeps what it was sent."""

    requests: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []
    status: ClassVar[int] = 200
    scheme: ClassVar[str] = "https"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, content))
        self.send_response(self.status)
        self.send_header("Location", f"{self.scheme}://example.org{self.path}")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Site.requests.clear()
    Site.status, Site.scheme = 200, "https"
    with serving(HTTPServer(("127.0.0.1", 0), Site)) as place:
        yield f"http://{place}/hook"


def test_a_mail_says_what_happened_and_belongs_to_the_thread_of_its_incident(
    monkeypatch: pytest.MonkeyPatch, mailbox: str
) -> None:
    for _ in range(2):
        assert notify(monkeypatch, "mail", "--to", "a@example.org", "--to", "b@example.org", "--smtp", mailbox) == OK
    first, again = Mailbox.mails
    assert first == again, "another attempt sends the same mail, so that it can be recognized"
    mail = message_from_bytes(first, policy=default)
    assert (mail["Subject"], mail["From"], mail["To"]) == (
        ALERT["subject"],
        "schedappliance@example.com",
        "a@example.org, b@example.org",
    )
    assert mail["Message-ID"] == "<example.com-000000009-1.0123@example.com>"
    assert mail["References"] == "<incident-7.0123@example.com>"
    assert (mail["Auto-Submitted"], mail["Date"]) == ("auto-generated", "Tue, 14 Nov 2023 22:14:50 +0000")
    assert mail.get_content().splitlines() == [
        "backup failed: exit status 3",
        "",
        "command: run backup",
        "run: example.com-000000001/2",
        f"due: {local_text(1_700_000_000_000)}",
        "took: 1 min 30 s",
        "attempts: 3",
        f"incident: 7, 2 events since {local_text(1_700_000_000_000)}",
        "more: schedappliance console sched show example.com-000000001/2",
        "",
        "The end of its output:",
        "disk is naïvely full",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nBcc: x@example.org", "a Bcc: x@example.org"),
        ("a\r\n\r\nbody", "a body"),
        ("a =?utf-8?q?=0d=0aBcc:_x?= ü", "a = ?utf-8?q?=0d=0aBcc:_x?= ü"),
        ("=?utf-8?b?DQpCY2M6IHg=?=", "= ?utf-8?b?DQpCY2M6IHg= ?="),
        ("a\0b\x1b[31m\u202e", "a\\u{0}b\\u{1b}[31m\\u{202e}"),
        ("a\udc80", "a\\u{dc80}"),
        ("a" * 100_000, "a" * 197 + "..."),
    ],
    ids=["line", "body", "word", "base64", "control", "surrogate", "long"],
)
def test_a_text_of_others_cannot_add_a_header(
    monkeypatch: pytest.MonkeyPatch, mailbox: str, site: str, text: str, shown: str
) -> None:
    alert = {**ALERT, "subject": text, "notify": text, "events": [{**EVENT, "summary": text, "output": text}]}
    assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", mailbox, alert=alert) == OK
    assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", mailbox) == OK
    mail, other = (message_from_bytes(content, policy=default) for content in Mailbox.mails)
    assert set(mail.keys()) == set(other.keys())
    assert (mail["Subject"], mail["X-Sched-Notify"]) == (shown, shown)
    assert notify(monkeypatch, "webhook", site, "--as", "ntfy", alert=alert) == OK
    assert notify(monkeypatch, "webhook", site, "--as", "ntfy") == OK
    (_, headers, _), (_, others, _) = Site.requests
    assert headers.keys() == others.keys()
    assert str(make_header(decode_header(headers["title"]))) == shown


@pytest.mark.parametrize(
    ("answer", "status"), [(b"550 no such user", UNAVAILABLE), (b"451 try later", STILL_QUEUED)], ids=["550", "451"]
)
def test_the_status_tells_whether_another_attempt_helps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mailbox: str, answer: bytes, status: int
) -> None:
    Mailbox.answer = answer
    assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", mailbox) == status
    assert answer.decode() in capsys.readouterr().err


def test_sendmail_gets_the_mail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/mail\nexit $(cat {tmp_path}/status)\n'
    )
    program.chmod(stat.S_IRWXU)
    for status, expected in ((0, OK), (75, STILL_QUEUED), (67, UNAVAILABLE)):
        (tmp_path / "status").write_text(str(status))
        assert notify(monkeypatch, "mail", "--to", "a@example.org", "--sendmail", str(program)) == expected
    assert (tmp_path / "words").read_text() == "-oi -t\n"
    assert message_from_bytes((tmp_path / "mail").read_bytes(), policy=default)["To"] == "a@example.org"
    assert notify(monkeypatch, "mail", "--to", "a@example.org", "--sendmail", str(tmp_path / "none")) == STILL_QUEUED


def test_a_webhook_gets_the_alert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: str) -> None:
    (tmp_path / "headers").write_text("Authorization: Bearer secret\n\nX-A: b\n")
    (tmp_path / "url").write_text(f"{site}\n")
    words = ("--url-file", str(tmp_path / "url"), "--header-file", str(tmp_path / "headers"))
    assert notify(monkeypatch, "webhook", *words) == OK
    ((path, headers, content),) = Site.requests
    assert (path, json.loads(content)) == ("/hook", ALERT)
    assert headers["authorization"] == "Bearer secret"
    assert headers["idempotency-key"] == "0123/example.com-000000009/1"


@pytest.mark.parametrize("words", [["webhook", "--as", "slack"], ["webhook", "--as", "ntfy"], ["ping"]])
def test_each_attempt_has_the_same_key(monkeypatch: pytest.MonkeyPatch, site: str, words: list[str]) -> None:
    for _ in range(2):
        assert notify(monkeypatch, *words, site) == OK
    assert [headers["idempotency-key"] for _, headers, _ in Site.requests] == ["0123/example.com-000000009/1"] * 2


def test_an_output_notifies_nobody_in_a_chat(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    alert = {**ALERT, "events": [{**EVENT, "output": "```\n<!channel> & <http://a|b>"}]}
    assert notify(monkeypatch, "webhook", site, "--as", "slack", alert=alert) == OK
    ((_, _, slack),) = Site.requests
    assert "&lt;!channel&gt; &amp; &lt;http://a|b&gt;" in json.loads(slack)["text"]


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "header"),
    [
        (f"https://user:{SECRET}@127.0.0.1:1/", ""),
        (f"http://127.0.0.1:1/{SECRET} x", ""),
        (f"http://127.0.0.1:1/{SECRET}ü", ""),
        (f"http://[{SECRET}/", ""),
        ("SITE", f"A: {SECRET}…"),
        (f"SITE/{SECRET}", ""),
    ],
    ids=["user", "blank", "letter", "host", "header", "redirect"],
)
def test_no_reason_tells_a_secret(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    site: str,
    url: str,
    header: str,
) -> None:
    """The output of a delivery is in the store, and on the screens of others."""
    Site.status = 301
    (tmp_path / "url").write_text(url.replace("SITE", site))
    (tmp_path / "headers").write_text(header)
    words = ("--url-file", str(tmp_path / "url"), *(("--header-file", str(tmp_path / "headers")) if header else ()))
    assert notify(monkeypatch, "webhook", *words) == UNAVAILABLE
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: not delivered: ") and err.count("\n") == 1
    assert SECRET not in err


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_scheme_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], site: str, status: int
) -> None:
    """The error of urllib for such a redirect holds the new URL."""
    Site.status, Site.scheme = status, "gopher"
    assert notify(monkeypatch, "webhook", f"{site}/{SECRET}") == UNAVAILABLE
    err = capsys.readouterr().err
    assert err.endswith(" and redirects to gopher://example.org/...\n") and SECRET not in err


@pytest.mark.parametrize("option", ["--url-file", "--header-file"])
def test_a_secret_is_read_from_a_file_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], site: str, option: str
) -> None:
    """A device has no end."""
    assert (
        notify(monkeypatch, "webhook", *([site] if option == "--header-file" else []), option, "/dev/zero") == UNUSABLE
    )
    assert "error: cannot read /dev/zero: [Errno 22] not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--url-file", "--header-file"])
def test_a_byte_order_mark_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, site: str, option: str
) -> None:
    """It would belong to a password, or to the name of a header."""
    (tmp_path / "secret").write_text(f"\ufeff{site}\n")
    words = ([site] if option == "--header-file" else []) + [option, str(tmp_path / "secret")]
    assert notify(monkeypatch, "webhook", *words) == UNUSABLE
    assert f"{tmp_path}/secret begins with a byte order mark (U+FEFF)" in capsys.readouterr().err
    assert Site.requests == []


def test_a_file_of_headers_with_another_line_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, site: str
) -> None:
    (tmp_path / "headers").write_text("Bearer secret\n")
    assert notify(monkeypatch, "webhook", site, "--header-file", str(tmp_path / "headers")) == UNUSABLE
    assert capsys.readouterr().err == f"error: {tmp_path}/headers: a line is not `NAME: VALUE`\n"
    assert Site.requests == []


def test_chats_get_a_text(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    assert notify(monkeypatch, "webhook", site, "--as", "slack") == OK
    assert notify(monkeypatch, "webhook", site, "--as", "ntfy") == OK
    (_, _, slack), (_, headers, ntfy) = Site.requests
    assert json.loads(slack)["text"].startswith(f"{ALERT['subject']}\n```\nbackup failed")
    assert (headers["title"], ntfy.decode().splitlines()[0]) == (ALERT["subject"], "backup failed: exit status 3")


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (EVENT, "/hook/3"),
        ({**EVENT, "kind": "started"}, "/hook/start"),
        ({**EVENT, "kind": "succeeded"}, "/hook"),
        ({**EVENT, "kind": "timed_out"}, "/hook/fail"),
        ({**EVENT, "run": {**RUN, "exit_status": None}}, "/hook/fail"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_ping_says_how_a_run_ended(
    monkeypatch: pytest.MonkeyPatch, site: str, event: dict[str, Any], path: str
) -> None:
    assert notify(monkeypatch, "ping", f"{site}?create=1", alert={**ALERT, "events": [event]}) == OK
    ((pinged, _, content),) = Site.requests
    assert pinged.partition("?")[0] == path
    assert pinged.partition("?")[2].startswith("create=1&rid=")
    assert content.decode() == EVENT["output"]


@pytest.mark.parametrize(
    ("status", "expected"), [(500, STILL_QUEUED), (429, STILL_QUEUED), (404, UNAVAILABLE), (302, UNAVAILABLE)]
)
def test_an_answer_of_a_web_server_decides_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], site: str, status: int, expected: int
) -> None:
    Site.status = status
    assert notify(monkeypatch, "webhook", site) == expected
    assert len(Site.requests) == 1
    assert f"error: not delivered: the server answers {status}" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["mail", "webhook"])
def test_a_server_that_hangs_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        words = ("mail", "--to", "a@example.org", "--smtp", place) if way == "mail" else ("webhook", f"http://{place}/")
        assert notify(monkeypatch, *words, "--timeout", "0.2") == STILL_QUEUED
    assert "not delivered: " in capsys.readouterr().err


class Trickle(socketserver.StreamRequestHandler):
    """A mail server that never ends its answer, but sends a byte again and again, until the test is over."""

    is_over: ClassVar[Event] = Event()

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        with suppress(OSError):
            while not self.is_over.wait(0.01):
                self.wfile.write(b"2")


def test_a_server_that_never_ends_its_answer_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Trickle.is_over.clear()
    with serving(socketserver.TCPServer(("127.0.0.1", 0), Trickle)) as place:
        words = ("mail", "--to", "a@example.org", "--smtp", place, "--timeout", "0.2")
        try:
            assert notify(monkeypatch, *words) == STILL_QUEUED
        finally:
            Trickle.is_over.set()
    assert "the deadline has passed" in capsys.readouterr().err


class Flood(socketserver.StreamRequestHandler):
    """A mail server whose answer has lines without end."""

    def handle(self) -> None:
        with suppress(OSError):
            while True:
                self.wfile.write(b"220-" + b"a" * 1000 + b"\r\n")


def test_the_answers_of_a_mail_server_are_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(socketserver.TCPServer(("127.0.0.1", 0), Flood)) as place:
        assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", place) == STILL_QUEUED
    assert "not delivered: the answers of the server have more than 1,048,576 bytes" in capsys.readouterr().err


def test_a_look_up_that_hangs_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The C library goes on after a signal."""
    is_over = Event()

    def hang(*_arguments: object, **_options: object) -> NoReturn:
        while not is_over.is_set():
            with suppress(Exception):
                is_over.wait()
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert notify(monkeypatch, "webhook", "http://localhost/", "--timeout", "0.2") == STILL_QUEUED
    is_over.set()
    assert capsys.readouterr().err == "error: not delivered: the deadline has passed\n"


@pytest.mark.parametrize("alert", [[], {"v": 2, "events": [1]}, {"v": 1}, {**ALERT, "events": []}, "text"])
def test_what_is_no_alert_is_not_delivered(monkeypatch: pytest.MonkeyPatch, site: str, alert: object) -> None:
    assert notify(monkeypatch, "webhook", site, alert=alert) == UNUSABLE
    assert Site.requests == []


def test_a_ping_without_an_alert_says_that_the_appliance_works(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    """As a job sends it, whose standard input is empty."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["notify", "ping", site]) == OK
    assert [(path, content) for path, _, content in Site.requests] == [("/hook", b"")]
    assert main(["notify", "webhook", site]) == UNUSABLE


def test_a_test_needs_no_alert(monkeypatch: pytest.MonkeyPatch, site: str, mailbox: str) -> None:
    assert notify(monkeypatch, "webhook", site, "--test", alert=None) == OK
    assert notify(monkeypatch, "ping", site, "--test", alert=None) == OK
    # A ping to URL/fail would raise an alarm.
    assert [path for path, _, _ in Site.requests] == ["/hook", "/hook"]
    assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", mailbox, "--test", alert=None) == OK
    assert notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", mailbox, "--test", alert=None) == OK
    first, second = (message_from_bytes(mail, policy=default) for mail in Mailbox.mails)
    assert first["Subject"] == "[test] this is only a test"
    assert parsedate_to_datetime(first["Date"]).year >= 2026
    # A server drops a mail whose id it knows.
    assert first["Message-ID"] != second["Message-ID"]


WRONG_URLS = [
    "http://",
    "https://",
    "http://:80/",
    *(f"http://127.0.0.1:{port}/" for port in ("0", "99999", "-1", "x")),
]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["webhook", "file:///etc/passwd"], UNAVAILABLE),
        (["webhook", "http://[bad"], UNAVAILABLE),
        *((["webhook", url], UNAVAILABLE) for url in WRONG_URLS),
        (["ping", "http://"], UNAVAILABLE),
        (["webhook", "--url-file", "/nonexistent/url"], UNUSABLE),
        (["mail", "--to", "a@example.org", "--smtp", "127.0.0.1:1"], STILL_QUEUED),
        (["mail", "--to", "a\nb", "--smtp", "127.0.0.1:1"], UNAVAILABLE),
        (["mail", "--to", "a@example.org", "--smtp", "a" * 70], UNAVAILABLE),
    ],
    ids=["scheme", "URL", *WRONG_URLS, "ping", "file", "refused", "address", "server"],
)
def test_mistakes_have_statuses(monkeypatch: pytest.MonkeyPatch, words: list[str], status: int) -> None:
    assert notify(monkeypatch, *words) == status


@pytest.mark.parametrize("url", ["http://127.0.0.1:s3cret/", "http://:s3cret@/", "http://:80/"])
def test_a_url_without_a_place_is_blamed_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert notify(monkeypatch, "webhook", url) == UNAVAILABLE
    error = capsys.readouterr().err
    assert ("the URL names no host" in error) != ("the port in the URL is not a number from 1 to 65535" in error)
    assert SECRET not in error


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("localhost", ("localhost", None)),
        ("mail.example.org:587", ("mail.example.org", 587)),
        ("[::1]:25", ("::1", 25)),
        ("[::1]", ("::1", None)),
        ("fe80::1", ("fe80::1", None)),
        ("::1:25", ("::1:25", None)),
    ],
)
def test_a_mail_server_has_a_host_and_perhaps_a_port(text: str, server: tuple[str, int | None]) -> None:
    assert parse(["mail", "--to", "a@example.org", "--smtp", text]).smtp == server


@pytest.mark.parametrize(
    "text", ["", ":25", "localhost:", "localhost:0", "localhost:99999", "localhost:x", "[::1", "[]:25"]
)
def test_a_mail_server_without_a_place_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(SystemExit) as end:
        notify(monkeypatch, "mail", "--to", "a@example.org", "--smtp", text)
    assert end.value.code == USAGE


@pytest.mark.parametrize("words", [["mail"], ["webhook"], ["ping", "a", "--url-file", "b"], ["pigeon"], []])
def test_wrong_usage_is_reported(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        notify(monkeypatch, *words)
    assert end.value.code == USAGE
