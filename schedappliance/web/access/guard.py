"""Checks each request before the application sees it, and adds the security headers to answers.

Rule: everything is closed but the static files, the health and the one-time link. A request that changes something must
come from the page itself, or hold a token, which no browser sends by itself. An answer ends when its viewer may enter no
more, such as a stream whose token was removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schedappliance.web.access.capacity import Capacity
from schedappliance.web.access.doors import Doors
from schedappliance.web.access.identity import Claim, Peer, TokenClaim, claim, needs_link
from schedappliance.web.access.links import SESSION_S
from schedappliance.web.access.refusal import API, Refusal, Refused, plain_refusal, problem
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.settings import LOOPBACK_NAMES, without_port

BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
# While an answer goes on, the page looks this often whether its viewer may still enter.
CHECK_SECONDS = 1.0
# Requests at once, open streams among them.
MOST_REQUESTS = 400
ENTER = "/enter"
# No viewer is needed: they say nothing about jobs.
HEALTH = ("/healthz", "/readyz")
STATIC = "/static/"
SAFE = ("GET", "HEAD", "OPTIONS")
PEER = "schedappliance.peer"
# The refusals of a request whose body was not read to its end.
ENDING = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT)
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    # With `no-referrer`, browsers send `Origin: null` with the forms of the page itself.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
Render = Callable[[Scope, Refusal], Response]


class Guard:
    """`refusal` renders the answer to a request that is not let in. An answer of the API is always a problem as JSON."""

    def __init__(self, app: ASGIApp, doors: Doors, refusal: Render = plain_refusal) -> None:
        self._app, self._doors, self._render = app, doors, refusal
        self._capacity = Capacity(MOST_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sender = _Sender(send)
        try:
            await self._answer(scope, receive, sender)
        except Exception:
            if not sender.has_started:
                # The server's own answer would lack the security headers.
                answer = PlainTextResponse("The page has failed. Its log says why.\n", HTTPStatus.INTERNAL_SERVER_ERROR)
                await answer(scope, receive, sender)
            # The server logs it.
            raise

    async def _answer(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        """Lets the application answer a request that may enter, or says why it may not."""
        claimed: Claim | None = None
        with ExitStack() as after:
            try:
                app: ASGIApp | None = self._enter(scope)
                if app is None:
                    app = self._app
                    claimed = await self._admit(scope)
                    self._take_capacity(scope, after)
                receive = await _with_whole_body(Headers(scope=scope), receive)
            except Refused as refused:
                app, claimed = self._refusal(scope, refused.refusal), None
            if claimed is None:
                await app(scope, receive, sender)
            else:
                await self._answer_while(claimed, scope["state"]["viewer"], app(scope, receive, sender), sender)

    async def _answer_while(self, claimed: Claim, viewer: Viewer, answer: Awaitable[None], sender: _Sender) -> None:
        """Carries out a request. An answer that has begun ends when the claim of its viewer holds no more.

        One that has not may be that of a change, and must say whether the change took effect.
        """
        task = asyncio.ensure_future(answer)
        try:
            while not (await asyncio.wait((task,), timeout=CHECK_SECONDS))[0]:
                if sender.has_started and not await self._holds(claimed, viewer):
                    break
        finally:
            if task.cancel():
                await asyncio.wait((task,))
        if not task.cancelled():
            task.result()
        elif sender.is_stream:
            # A stream is complete at any time. A file breaks off, so that nobody takes a part of it for the whole.
            await sender({"type": "http.response.body", "body": b"", "more_body": False})

    async def _holds(self, claimed: Claim, viewer: Viewer) -> bool:
        """Whether a claim is still that of this viewer."""
        try:
            return await self._doors.viewer(claimed) == viewer
        except Refused:
            return False

    def _take_capacity(self, scope: Scope, after: ExitStack) -> None:
        """Counts the request until it ends. Raises Refused."""
        viewer: Viewer | None = scope.get("state", {}).get("viewer")
        # What everybody may ask for is counted for the other end, so that nobody asks for it in the place of all others.
        owner = viewer.name if viewer else f"{scope['path']} {scope.get(PEER, Peer()).owner}"
        if not self._capacity.take(owner):
            sentence = "Too many requests are carried out at once. Close some tabs, or try again later."
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests", sentence)
        after.callback(self._capacity.give_back, owner)

    async def _admit(self, scope: Scope) -> Claim | None:
        """Puts the viewer into the scope, and returns the claim. None: everybody may see what is wanted. Raises Refused."""
        headers, path = Headers(scope=scope), scope["path"]
        if path in HEALTH:
            return None
        self._check_host(headers)
        if path.startswith(STATIC):
            return None
        claimed = claim(scope.get(PEER, Peer()), scope["headers"], self._doors.settings, self._doors.cookie_name)
        if not isinstance(claimed, TokenClaim):
            self._check_origin(scope["method"], headers)
        if self._doors.settings.read_only and scope["method"] not in SAFE:
            raise Refused(HTTPStatus.FORBIDDEN, "Only for reading", "The page only shows: `web.read_only` is set.")
        scope.setdefault("state", {})["viewer"] = await self._doors.viewer(claimed)
        return claimed

    def _check_host(self, headers: Headers) -> None:
        """Refuses foreign names that lead here (DNS rebinding): to a browser, this page would belong to the foreign site."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or without_port(hosts[0]) not in self._doors.settings.hosts:
            sentence = "The address of the page must be one of the names in `web.hosts`."
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "Unknown name of this page", sentence)

    def _check_origin(self, method: str, headers: Headers) -> None:
        """Refuses what other sites let the browser send: changes, and everything but a visit of the page."""
        site = headers.get("sec-fetch-site")
        if method in SAFE:
            is_visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            is_own = site in (None, "same-origin", "none") or is_visit
        elif site is not None:
            is_own = site == "same-origin"
        else:
            origin = headers.get("origin", "")
            is_own = origin == self._doors.settings.url or (
                origin.startswith(("http://", "https://")) and urlsplit(origin).netloc == headers["host"].lower()
            )
        if not is_own:
            sentence = "This request comes from another site, or has no header Origin. Open the page itself."
            raise Refused(HTTPStatus.FORBIDDEN, "Not from another site", sentence)

    def _enter(self, scope: Scope) -> Response | None:
        """The answer to a request with the one-time link, or for a new one; None to all other requests. Raises Refused."""
        link, peer = self._doors.link, scope.get(PEER, Peer())
        if scope["path"] != ENTER or link is None or peer.uid is not None or not peer.is_loopback:
            return None
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_origin(scope["method"], headers)
        if scope["method"] == "POST":
            link.print_link()
            sentence = "A link was printed where the page was started. Open it there. It works once."
            return self._render(scope, Refusal(HTTPStatus.ACCEPTED, "A new link", sentence))
        keys = parse_qs(scope["query_string"].decode("latin-1")).get("key", [])
        cookie = link.redeem(keys[0]) if scope["method"] == "GET" and len(keys) == 1 else None
        if cookie is None:
            raise needs_link("This link was used before, or is too old. Each link works once.")
        return _welcome(f"{self._doors.cookie_name}={cookie}", without_port(headers["host"]))

    def _refusal(self, scope: Scope, refusal: Refusal) -> Response:
        if scope["path"].startswith(API):
            refusal = replace(refusal, link=False)
            answer = problem(refusal.status, refusal.title, refusal.sentence)
        else:
            answer = self._render(scope, refusal)
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            answer.headers["www-authenticate"] = "Bearer"
        if refusal.status in ENDING:
            # The rest of the body must not be read as the next request.
            answer.headers["connection"] = "close"
        return answer


def _welcome(cookie: str, host: str) -> Response:
    """The page that leads on. A redirect would be part of the visit from outside, for which browsers send no such cookie."""
    page = (
        '<!doctype html><title>schedappliance</title><meta http-equiv="refresh" content="0;url=/"><a href="/">Open</a>'
    )
    answer = HTMLResponse(page)
    # Safari keeps no `Secure` cookie without TLS. What is sent to a loopback name stays on the machine anyway.
    secure = "" if host in LOOPBACK_NAMES else "; Secure"
    answer.headers["set-cookie"] = f"{cookie}; Path=/{secure}; HttpOnly; SameSite=Strict; Max-Age={SESSION_S}"
    return answer


class _Sender:
    """Sends an answer with the security headers. `has_started`: its head has been sent. `is_stream`: of events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = self.is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            self.is_stream = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)


async def _with_whole_body(headers: Headers, receive: Receive) -> Receive:
    """Reads the body before the application is called. Raises Refused if it is too long or too slow."""
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return receive
    if "content-length" in headers and "transfer-encoding" in headers:
        # A proxy may believe the one, and this server the other: the rest would be the request of somebody else.
        raise Refused(HTTPStatus.BAD_REQUEST, "Two lengths", "A request has one length.")
    if int(headers.get("content-length", "0")) > BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            first = await _body(receive)
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "Too slow", "The request did not arrive in time.") from None
    messages = iter((first,))

    async def receive_again() -> Message:
        return next(messages, None) or await receive()

    return receive_again


async def _body(receive: Receive) -> Message:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


def _too_large() -> Refused:
    sentence = f"A request holds at most {BODY_BYTES // 1024} KiB."
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large", sentence)
