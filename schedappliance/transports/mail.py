"""Mail, by SMTP or by the `sendmail` of the machine. Rule: the mails of an incident form a thread."""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, NamedTuple

from schedappliance.diagnostics import shortened
from schedappliance.transports.message import Message, NotDelivered, body, header_text
from schedappliance.visible import visible

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9.-]+")


class Server(NamedTuple):
    """A mail server. `security`: `none`, `starttls` or `tls`. `user` None: no login."""

    host: str
    port: int
    security: str = "none"
    user: str | None = None
    password: str = ""


def mail(message: Message, sender: str, receivers: Sequence[str]) -> EmailMessage:
    """The alert as a mail, which is the same for each attempt. Raises NotDelivered."""
    email, last = EmailMessage(), message.events[-1]
    email["Subject"] = header_text(message.subject)
    try:
        email["From"], email["To"] = sender, ", ".join(receivers)
    except ValueError as error:
        raise NotDelivered(f"an address is invalid: {error}", False) from None
    email["Date"] = format_datetime(datetime.fromtimestamp(last["at_ms"] / 1000, UTC))
    email["Message-ID"] = _id(message, message.key)
    if last["incident"] is not None:
        email["References"] = _id(message, f"incident-{last['incident']}")
    email["Auto-Submitted"] = "auto-generated"
    email["X-Sched-Notify"] = header_text(message.notify)
    email.set_content(body(message))
    return email


def _id(message: Message, key: str) -> str:
    left, right = (_NOT_IN_AN_ID.sub("-", text).strip("-.") or "x" for text in (f"{key}.{message.store}", message.node))
    return f"<{left}@{right}>"


# How much all answers of a server may have. smtplib keeps all lines of an answer until its last one has come.
_MOST_ANSWERS = 1 << 20


# What each line of an answer begins with: the code, then `-` if another line follows.
_ANSWER = re.compile(rb"[2-5][0-9]{2}(?:[ -]|\s*\Z)")


class _NoAnswer(Exception):
    """What came in place of an answer: the words before the answer that was awaited, and those after it."""


class _Answers:
    """What a server sends, up to _MOST_ANSWERS. It stands in for the file that smtplib reads.

    smtplib cuts the first characters off a line that is no answer, and takes them for a code.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, _MOST_ANSWERS

    def readline(self, size: int) -> bytes:
        try:
            line: bytes = self._file.readline(size)
        except OSError as error:
            raise _NoAnswer("waited for", f": {error}") from None
        self._left -= len(line)
        if self._left < 0:
            raise NotDelivered(f"the answers of the server have more than {_MOST_ANSWERS:,} bytes", True)
        if not line:
            raise _NoAnswer("the server ends the connection in place of", "")
        if len(line) >= size or not _ANSWER.match(line):
            text = shortened(visible(line.decode(errors="backslashreplace").rstrip()))
            raise _NoAnswer(f"the server sends `{text}` in place of", "")
        return line

    def close(self) -> None:
        self._file.close()


class _Plain(smtplib.SMTP):
    # What comes next from the server.
    _awaited = "its greeting"

    def putcmd(self, cmd: str, args: str = "") -> None:
        self._awaited = f"its answer to {cmd.split()[0].upper()}"
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock.makefile("rb"))
        try:
            return super().getreply()
        except _NoAnswer as error:
            before, after = error.args
            self.close()
            raise smtplib.SMTPServerDisconnected(f"{before} {self._awaited}{after}") from None
        except NotDelivered:
            self.close()
            raise

    def leave(self) -> None:
        """Ends the connection when the server has taken the mail: what it answers now changes nothing."""
        with suppress(OSError, smtplib.SMTPException):
            self.putcmd("quit")


class _Encrypted(_Plain, smtplib.SMTP_SSL):
    """Encrypted from the first byte."""


def send(email: EmailMessage, server: Server, seconds: float) -> None:
    """Sends a mail to a server. Raises NotDelivered."""
    try:
        # It reads all certificates of the machine, which takes a tenth of a second.
        context = None if server.security == "none" else ssl.create_default_context()
        if server.security == "tls":
            connection: _Plain = _Encrypted(server.host, server.port, timeout=seconds, context=context)
        else:
            connection = _Plain(server.host, server.port, timeout=seconds)
        with closing(connection):
            if server.security == "starttls":
                connection.starttls(context=context)
            if server.user is not None:
                connection.login(server.user, server.password)
            connection.send_message(email)
            connection.leave()
    except smtplib.SMTPRecipientsRefused as error:
        answers = list(error.recipients.values())
        may_pass = all(_may_pass(code) for code, _ in answers)
        raise NotDelivered(f"no receiver is accepted: {_answer(*answers[0])}", may_pass) from None
    except smtplib.SMTPResponseException as error:
        raise NotDelivered(_answer(error.smtp_code, error.smtp_error), _may_pass(error.smtp_code)) from None
    except smtplib.SMTPNotSupportedError as error:
        raise NotDelivered(str(error), False) from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(f"{server.host}:{server.port}: {error}", True) from None
    except ValueError:
        raise NotDelivered(
            "the name of the server, the user or the password has characters that SMTP lacks", False
        ) from None


def _answer(code: int, text: bytes | str) -> str:
    words = visible(text.decode(errors="replace") if isinstance(text, bytes) else text, keep="\n")
    return f"the server answers {code} {words}"


def _may_pass(code: int) -> bool:
    """Whether another attempt may succeed after this answer of a server."""
    return not 500 <= code < 600


# The statuses of sendmail after which no attempt can succeed: wrong usage, data, user, host, permission, configuration.
_FOR_GOOD = frozenset({64, 65, 67, 68, 77, 78})


def hand_over(email: EmailMessage, program: str, seconds: float) -> None:
    """Gives a mail to `sendmail`. Raises NotDelivered."""
    try:
        child = subprocess.run([program, "-oi", "-t"], input=email.as_bytes(), timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotDelivered(str(error), True) from None
    if status := child.returncode:
        raise NotDelivered(f"{program} ends with status {status}", status not in _FOR_GOOD)
