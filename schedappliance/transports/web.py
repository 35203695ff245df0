"""Requests over HTTP: webhooks with the alert as JSON or as text, and pings of a service that expects them.

Rule: no redirect is followed, since a POST would become a GET, without the alert.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from email.header import Header
from html import escape
from http.client import BadStatusLine, HTTPException, InvalidURL, RemoteDisconnected
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from schedappliance.diagnostics import shortened
from schedappliance.transports.message import Message, NotDelivered, body, header_text
from schedappliance.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

# The statuses below 500 after which another attempt may succeed.
_MAY_PASS = frozenset({408, 425, 429})
_MOST_READ = 4096
# Characters of an output: ntfy makes longer messages a file, and Slack cuts them.
_MOST_IN_CHATS = 3000
# The namespace of the UUIDs that a service of pings takes as ids of runs.
_RUNS = uuid.UUID("5b0a3b7e-6a0b-4a58-9d0c-5d3c2f3f7a11")


class _NoRedirect(HTTPRedirectHandler):
    """Leaves each redirect to the handler of errors. The reason of this one may hold the new URL."""

    def http_error_302(self, *_arguments: Any, **_named: Any) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def webhook(message: Message, style: str) -> tuple[bytes, dict[str, str]]:
    """The content of a request and its headers. `style`: `json`, `slack` or `ntfy`."""
    if style == "ntfy":
        title = header_text(message.subject)
        if not title.isascii():
            title = Header(title, "utf-8", maxlinelen=10_000).encode()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Title": title, **repeated(message)}
        return body(message, _MOST_IN_CHATS).encode(errors="replace"), headers
    text = message.text
    if style == "slack":
        # `<!channel>` in the output of a program would notify everybody.
        text = json.dumps(
            {"text": escape(f"{header_text(message.subject)}\n```\n{body(message, _MOST_IN_CHATS)}```", quote=False)}
        )
    return text.encode(errors="replace"), {"Content-Type": "application/json", **repeated(message)}


def repeated(message: Message) -> dict[str, str]:
    """The header that is the same in each attempt to deliver an alert."""
    return {"Idempotency-Key": f"{message.store}/{message.key}"}


def ping_url(url: str, message: Message) -> str:
    """The URL of a ping, which says whether a run has started, succeeded or failed, and with which status."""
    event = message.events[-1]
    kind, run = event["kind"], event["run"] or {}
    ending = {"started": "/start", "succeeded": "", "recovered": ""}.get(kind)
    if ending is None:
        ending = f"/{run['exit_status']}" if kind == "failed" and run.get("exit_status") else "/fail"
    parts = _parts(url)
    query = "&".join(filter(None, (parts.query, f"rid={uuid.uuid5(_RUNS, run['run'])}" if run else "")))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + ending, query=query))


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise NotDelivered("the URL is invalid", False) from None


def _has_port(parts: SplitResult) -> bool:
    """Whether the port can be used, if there is one. Python takes 0, and connects with 99999 - 65536."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _place(url: str | None) -> str:
    """The scheme and the host of a URL. Raises NotDelivered."""
    parts = _parts(url or "")
    return f"{parts.scheme}://{parts.hostname}/..." if parts.hostname else "another path"


def post(url: str, content: bytes, headers: Mapping[str, str], seconds: float) -> None:
    """Sends a request. Raises NotDelivered, whose reason holds no part of the URL or of a header: they may be secret."""
    parts = _parts(url)
    if parts.scheme not in ("http", "https"):
        raise NotDelivered("the URL begins neither with http:// nor with https://", False)
    if not parts.hostname:
        raise NotDelivered("the URL names no host", False)
    if not _has_port(parts):
        raise NotDelivered("the port in the URL is not a number from 1 to 65535", False)
    if "@" in parts.netloc:
        raise NotDelivered("the URL holds a user; write a line `Authorization: ...` into `--header-file`", False)
    try:
        request = Request(url, content, {"User-Agent": "schedappliance", **headers}, method="POST")
        # The status says that the alert is taken, whatever follows it.
        with build_opener(_NoRedirect()).open(request, timeout=seconds) as answer, suppress(OSError, HTTPException):
            answer.read(_MOST_READ)
    except HTTPError as error:
        error.close()  # The connection.
        to = f" and redirects to {_place(error.headers.get('Location'))}" if 300 <= error.code < 400 else ""
        may_pass = error.code >= 500 or error.code in _MAY_PASS
        raise NotDelivered(f"the server answers {error.code} {visible(error.reason)}{to}", may_pass) from None
    except (ValueError, InvalidURL):
        raise NotDelivered("the URL or a header has characters that HTTP lacks", False) from None
    except RemoteDisconnected:
        raise NotDelivered("the server ends the connection in place of an answer", True) from None
    except BadStatusLine as error:
        line = shortened(visible(str(error).strip()))
        raise NotDelivered(f"the server sends `{line}` in place of an answer", True) from None
    except (OSError, HTTPException) as error:
        raise NotDelivered(str(getattr(error, "reason", error)), True) from None
