"""A mail server on this machine, with TLS and logins, and the certificate that it shows.

Rule: it speaks SMTP by a library that is not ours.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "sched", "p4ss word"


class Mail(NamedTuple):
    """A mail that was received: from whom and to whom the server was told to send it, its bytes, and who had logged in."""

    sender: str | None
    receivers: list[str]
    content: bytes
    user: str | None

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


class Mailbox:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.port = 0

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        login = session.auth_data
        user = login.login.decode() if isinstance(login, LoginPassword) else None
        self.mails.append(Mail(envelope.mail_from, list(envelope.rcpt_tos), envelope.content, user))
        return "250 kept"


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: object) -> AuthResult:
    is_right = isinstance(login, LoginPassword) and (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=is_right, auth_data=login)


def make_certificate(directory: Path, *names: str) -> Path:
    """A file with a key and a certificate for these names (`IP:127.0.0.1`, `DNS:localhost`)."""
    path = directory / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    words += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={','.join(names)}"]
    words += ["-addext", "keyUsage=digitalSignature,keyCertSign", "-keyout", str(path), "-out", f"{path}.part"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + Path(f"{path}.part").read_text())
    return path


@contextmanager
def mail_server(security: str, certificate: Path | None = None) -> Iterator[Mailbox]:
    """Serves until the end of the block. `security`: `none`, or `starttls` or `tls`, which then require a login."""
    mailbox, loop = Mailbox(), asyncio.new_event_loop()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    factory = partial(
        SMTP,
        mailbox,
        hostname="mail.example.com",
        loop=loop,
        authenticator=_authenticate,
        auth_required=security == "starttls",
        auth_require_tls=security != "tls",
        require_starttls=security == "starttls",
        tls_context=context if security == "starttls" else None,
    )
    outer = context if security == "tls" else None
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0, ssl=outer))
    mailbox.port = server.sockets[0].getsockname()[1]
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield mailbox
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_end_connections())
        loop.close()


async def _end_connections() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
