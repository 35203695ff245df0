"""`schedappliance notify`: reads an alert from standard input, and delivers it by mail, to a webhook or as a ping.

Rule: secrets come from files, since every user of the machine can read the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from schedappliance.cli.arguments import file_path, parser, positive_duration
from schedappliance.cli.errors import OK, STILL_QUEUED, UNAVAILABLE, UNUSABLE, USAGE, Failure
from schedappliance.clock import SystemClock
from schedappliance.transports import mail, web
from schedappliance.transports.message import Message, NotDelivered, alert_for_test, read_message

DESCRIPTION = """\
Deliver an alert. The appliance starts this as a program that a `notify` stanza
names, and writes the alert to its standard input."""

STATUSES = {
    OK: "delivered",
    USAGE: "wrong usage",
    UNAVAILABLE: "not delivered, and another attempt would not help",
    STILL_QUEUED: "not delivered; another attempt may succeed",
    UNUSABLE: "standard input holds no alert, or a file cannot be read",
}
SECONDS = 30_000
SENDMAIL = "/usr/sbin/sendmail"
_SMTP_PORT, _TLS_PORT, _LAST_PORT = 25, 465, 65535
_HOST, _ADDRESS = (re.compile(host + "(?::([0-9]{1,9}))?") for host in (r"([^][:]+)", r"\[([^][]+)\]"))
# The longest alert that is read: 200 events with commands of 64 KiB each have less.
_MOST_BYTES = 16 * 1024 * 1024


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    notify = parser("notify", DESCRIPTION, STATUSES)
    ways = notify.add_subparsers(title="ways", metavar="WAY", required=True)
    by_mail = ways.add_parser("mail", help="by mail")
    by_mail.add_argument("--to", metavar="ADDRESS", action="append", required=True, help="a receiver; may be repeated")
    by_mail.add_argument("--from", dest="sender", metavar="ADDRESS", help="default: schedappliance@NODE")
    server = by_mail.add_mutually_exclusive_group()
    server.add_argument(
        "--smtp", metavar="HOST[:PORT]", type=_server, default="localhost", help="mail server; default: localhost"
    )
    server.add_argument(
        "--sendmail", metavar="PATH", nargs="?", const=SENDMAIL, help=f"this program instead; default: {SENDMAIL}"
    )
    security = by_mail.add_mutually_exclusive_group()
    for name, meaning in (("starttls", "encrypt after the greeting"), ("tls", "encrypt from the first byte")):
        security.add_argument(
            f"--{name}", dest="security", action="store_const", const=name, default="none", help=meaning
        )
    by_mail.add_argument("--user", metavar="NAME", help="log in at the server as this user")
    by_mail.add_argument("--password-file", metavar="FILE", type=file_path, help="file with the password of that user")
    by_mail.set_defaults(deliver=_mail)
    hook = ways.add_parser("webhook", help="by a POST request with the alert as JSON")
    hook.add_argument("--as", dest="style", choices=("json", "slack", "ntfy"), default="json", help="default: json")
    hook.add_argument(
        "--header-file", metavar="FILE", type=file_path, help="file of more headers, one `NAME: VALUE` a line"
    )
    hook.set_defaults(deliver=_webhook)
    pinged = ways.add_parser(
        "ping", help="by a request to URL, URL/start, URL/STATUS or URL/fail, as Healthchecks takes them"
    )
    pinged.set_defaults(deliver=_ping)
    for way in (hook, pinged):
        place = way.add_mutually_exclusive_group(required=True)
        place.add_argument("url", metavar="URL", nargs="?", help="where to")
        place.add_argument(
            "--url-file", metavar="FILE", type=file_path, help="file with the URL, if the URL is a secret"
        )
    for way in (by_mail, hook, pinged):
        way.add_argument(
            "--timeout", metavar="DURATION", type=positive_duration, default=SECONDS, help="deadline; default: 30"
        )
        way.add_argument("--test", action="store_true", help="deliver a test instead of what standard input holds")
    return notify.parse_args(arguments)


def _server(text: str) -> tuple[str, int | None]:
    """The host of a mail server, and its port if there is one. An IPv6 address before a port is in brackets."""
    match = _ADDRESS.fullmatch(text) or _HOST.fullmatch(text)
    if not match and ("[" in text or text.count(":") < 2):
        raise argparse.ArgumentTypeError(f"invalid server `{text}`; use HOST, HOST:PORT or [ADDRESS]:PORT")
    host, port = match.groups() if match else (text, None)
    if port and not 1 <= int(port) <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"invalid port `{port}`; use 1 to {_LAST_PORT}")
    return host, int(port) if port else None


def run(options: argparse.Namespace) -> int:
    """Raises Failure."""
    message = _message(options)
    seconds = options.timeout / 1000
    ends: list[Exception | None] = []

    def deliver() -> None:
        try:
            options.deliver(options, message, seconds / 2)
            ends.append(None)
        except Exception as error:
            ends.append(error)

    # The timeout of a socket is not enough, since it begins again with each byte that a server sends. The look-up of a host
    # has none, and no signal ends it.
    thread = Thread(target=deliver, daemon=True)
    thread.start()
    thread.join(seconds)
    end = ends[0] if ends else NotDelivered("the deadline has passed", True)
    if isinstance(end, NotDelivered):
        # Half of the deadline, so that a second address of the server can still be tried.
        waited = f" after {seconds / 2:g} seconds" if str(end).endswith("timed out") else ""
        raise Failure(f"not delivered: {end}{waited}", STILL_QUEUED if end.may_pass else UNAVAILABLE)
    if end is not None:
        raise end
    return OK


def _message(options: argparse.Namespace) -> Message | None:
    """The alert to deliver; None for a ping without an alert. A test must not tell a service that something failed."""
    if options.test and options.deliver is _ping:
        return None
    text = (
        json.dumps(alert_for_test(SystemClock().moment().wall))
        if options.test
        else sys.stdin.buffer.read(_MOST_BYTES).decode(errors="replace")
    )
    if options.deliver is _ping and not text:
        return None
    try:
        return read_message(text, {} if options.test else os.environ)
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"standard input holds no alert: {error}", UNUSABLE) from None


def _secret(path: Path) -> str:
    from schedappliance.kinds import read_head

    try:
        text = read_head(path, _MOST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read {path}: {error}", UNUSABLE) from None
    if text.startswith("\ufeff"):
        raise Failure(f"{path} begins with a byte order mark (U+FEFF); save it as UTF-8 without one", UNUSABLE)
    return text


def _mail(options: argparse.Namespace, message: Message, seconds: float) -> None:
    email = mail.mail(message, options.sender or f"schedappliance@{message.node}", options.to)
    if options.sendmail:
        mail.hand_over(email, options.sendmail, seconds)
        return
    host, port = options.smtp
    port = port or (_TLS_PORT if options.security == "tls" else _SMTP_PORT)
    password = _secret(options.password_file) if options.password_file else ""
    mail.send(email, mail.Server(host, port, options.security, options.user, password), seconds)


def _url(options: argparse.Namespace) -> str:
    return _secret(options.url_file) if options.url_file else str(options.url)


def _webhook(options: argparse.Namespace, message: Message, seconds: float) -> None:
    content, headers = web.webhook(message, options.style)
    for line in filter(str.strip, _secret(options.header_file).splitlines()) if options.header_file else ():
        name, colon, value = line.partition(":")
        if not colon:
            raise Failure(f"{options.header_file}: a line is not `NAME: VALUE`", UNUSABLE)
        headers[name.strip()] = value.strip()
    web.post(_url(options), content, headers, seconds)


def _ping(options: argparse.Namespace, message: Message | None, seconds: float) -> None:
    content = ((message and message.events[-1]["output"]) or "").encode(errors="replace")
    url, headers = _url(options), {"Content-Type": "text/plain; charset=utf-8"}
    if message:
        url, headers = web.ping_url(url, message), headers | web.repeated(message)
    web.post(url, content, headers, seconds)
