"""Mails over TLS, and to a server that requires a login: what arrives, and what stays secret when nothing does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from schedappliance.cli.errors import OK, STILL_QUEUED, UNAVAILABLE
from schedappliance.cli.main import main
from tests.support.mail_server import PASSWORD, USER, mail_server, make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate of this machine, which it trusts."""
    path = make_certificate(tmp_path, "IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def send(place: str, tmp_path: Path, *words: str, password: str = PASSWORD) -> int:
    file = tmp_path / "password"
    file.write_text(f"{password}\n")
    login = ("--user", USER, "--password-file", str(file))
    return main(["notify", "mail", "--to", "ops@example.com", "--test", "--smtp", place, *words, *login])


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_is_delivered_over_tls_after_a_login(tmp_path: Path, certificate: Path, security: str) -> None:
    with mail_server(security, certificate) as mailbox:
        assert send(mailbox.place, tmp_path, f"--{security}") == OK
    (mail,) = mailbox.mails
    assert (mail.sender, mail.receivers, mail.user) == ("schedappliance@test", ["ops@example.com"], USER)
    assert mail.message["Subject"] == "[test] this is only a test"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_wrong_password_is_told_without_it(
    tmp_path: Path, certificate: Path, capsys: pytest.CaptureFixture[str], security: str
) -> None:
    with mail_server(security, certificate) as mailbox:
        assert send(mailbox.place, tmp_path, f"--{security}", password="s3cret") == UNAVAILABLE
    assert mailbox.mails == []
    message = capsys.readouterr().err
    assert message.startswith("error: not delivered: the server answers 535 ") and "s3cret" not in message


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_is_not_trusted_gets_nothing(
    tmp_path: Path,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    security: str,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(security, certificate) as mailbox:
        assert send(mailbox.place, tmp_path, f"--{security}") == STILL_QUEUED
    assert mailbox.mails == []
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err


def test_a_certificate_of_another_server_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_certificate(tmp_path, "DNS:mail.example.org")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with mail_server("tls", other) as mailbox:
        assert send(mailbox.place, tmp_path, "--tls") == STILL_QUEUED
    assert mailbox.mails == []
    assert "not valid for '127.0.0.1'" in capsys.readouterr().err


def test_no_password_goes_to_a_server_that_cannot_encrypt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mail_server("none") as mailbox:
        assert send(mailbox.place, tmp_path, "--starttls") == UNAVAILABLE
    assert mailbox.mails == []
    assert "STARTTLS" in capsys.readouterr().err
