"""The mail and the webhook of docs/alerting.md, with a real appliance, a real mail server and a real web server.

Rule: the stanzas are those of the document, with the places of this test in them.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from tests.support.daemon import Daemon
from tests.support.documents import DOCS, blocks
from tests.support.mail_server import PASSWORD, USER, mail_server, make_certificate
from tests.support.waiting import eventually

DOCUMENT = DOCS / "alerting.md"
STORE = 'sched { backing_store = "../var/sched.db" }\n'


def stanzas(word: str, places: Mapping[str, str]) -> str:
    """The stanzas of the document that hold a word, with other places."""
    (text,) = [block for block in blocks(DOCUMENT.read_text(), "conf") if word in block]
    executable = f'"{sys.executable}" "-m" "schedappliance"'
    for old, new in {'"/opt/schedappliance/bin/schedappliance"': executable, **places}.items():
        assert old in text, f"the document no longer names {old}"
        text = text.replace(old, new)
    return STORE + text


def fail_twice_and_recover(daemon: Daemon, backup: Path) -> list[str]:
    """Lets the job of the document fail, fail again and succeed. Returns the runs of the failure and of the success."""
    daemon.start()
    runs = [daemon.run("sched run nightly")]
    delivered(daemon)
    runs.append(daemon.run("sched run nightly"))
    backup.touch()
    runs.append(daemon.run("sched run nightly"))
    delivered(daemon)
    assert [run["state"] for run in runs] == ["failed", "failed", "succeeded"]
    deliveries = [run["state"] for run in daemon.runs() if run["command"] != "run nightly"]
    assert deliveries == ["succeeded", "succeeded"]
    return [runs[0]["run"], runs[2]["run"]]


def delivered(daemon: Daemon) -> None:
    eventually(lambda: not daemon.rows("SELECT job FROM alerts"), "the end of all deliveries")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_mail_of_the_document_arrives_once_and_so_does_the_recovery(daemon: Daemon, tmp_path: Path) -> None:
    certificate, password, backup = (
        make_certificate(tmp_path, "IP:127.0.0.1"),
        tmp_path / "password",
        tmp_path / "today",
    )
    password.write_text(PASSWORD)
    with mail_server("starttls", certificate) as mailbox:
        places = {
            "mail.example.com:587": mailbox.place,
            "/etc/schedappliance/mail.password": str(password),
            "/srv/backup/today": str(backup),
            "timeout = 2m": f'timeout = 2m  env = [ SSL_CERT_FILE = "{certificate}" ]',
        }
        daemon.conf.write_text(stanzas("mail-ops", places))
        first, last = fail_twice_and_recover(daemon, backup)
    for mail in mailbox.mails:
        assert (mail.sender, mail.receivers, mail.user) == ("sched@example.com", ["ops@example.com"], USER)
        assert (mail.message["To"], mail.message["Auto-Submitted"]) == ("ops@example.com", "auto-generated")
    failure, recovery = (mail.message for mail in mailbox.mails)
    assert failure["Subject"] == "[example.com] nightly failed: exit status 1"
    assert recovery["Subject"].startswith("[example.com] nightly recovered after 2 events since ")
    assert f"`{failure['Subject']}`" in DOCUMENT.read_text()
    assert failure["Message-ID"] != recovery["Message-ID"]
    assert failure["References"] == recovery["References"] is not None
    told, ended = failure.get_content().splitlines(), recovery.get_content().splitlines()
    assert f"run: {first}" in told and f"run: {last}" in ended
    assert form(told) == form(shown_body())


def shown_body() -> list[str]:
    """The body of a mail in the document, without the output, since the job writes none."""
    (body,) = [block for block in blocks(DOCUMENT.read_text(), "") if block.startswith("nightly failed")]
    return body.partition("\nThe end of its output:")[0].splitlines()


def form(body: list[str]) -> list[str]:
    """The lines of a mail, without the values that differ from run to run."""
    return [re.sub(r"^(due|took|run|more|incident): .*", r"\1", line) for line in body]


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    content: bytes


@contextmanager
def web_server(statuses: list[int]) -> Iterator[tuple[str, list[Request]]]:
    """A web server that answers with these statuses, and then with 200; what it was sent."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(Request(self.path, {name.lower(): text for name, text in self.headers.items()}, content))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_webhook_of_the_document_is_called_once_and_once_more_for_the_recovery(
    daemon: Daemon, tmp_path: Path
) -> None:
    headers, backup = tmp_path / "headers", tmp_path / "today"
    headers.write_text("Authorization: Bearer TOKEN\n")
    with web_server([503]) as (url, requests):
        places = {
            "https://ops.example.com": url,
            "/etc/schedappliance/webhook.headers": str(headers),
            "/srv/backup/today": str(backup),
            "retry_delay = 1m": "retry_delay = 0",
        }
        daemon.conf.write_text(stanzas("call-ops", places))
        first, last = fail_twice_and_recover(daemon, backup)
    busy, failure, recovery = requests
    assert busy == failure, "another attempt sends the same alert with the same key"
    assert failure.headers["idempotency-key"] != recovery.headers["idempotency-key"]
    for request in requests:
        assert (request.path, request.headers["authorization"]) == ("/alerts", "Bearer TOKEN")
        assert request.headers["content-type"] == "application/json"
    told, ended = json.loads(failure.content), json.loads(recovery.content)
    assert_like(told, json.loads(blocks(DOCUMENT.read_text(), "json")[0]))
    assert (told["events"][0]["run"]["run"], ended["events"][0]["run"]["run"]) == (first, last)
    assert ended["events"][0]["kind"] == "recovered"
    assert ended["events"][0]["incident"] == told["events"][0]["incident"]


def assert_like(told: dict[str, Any], shown: dict[str, Any]) -> None:
    """An alert is the one that the document shows, but for the instants and the keys of the run that it leaves out."""
    (event,), (example,) = told["events"], shown["events"]
    assert {**told, "events": []} == {**shown, "events": []}
    assert {key: event["run"][key] for key in example["run"]} == example["run"]
    varying = dict.fromkeys(("run", "at_ms", "since_ms"))
    assert event | varying == example | varying
