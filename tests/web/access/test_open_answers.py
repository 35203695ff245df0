"""What happens to an answer that goes on, such as a stream, when its viewer may enter no more."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from starlette.types import Message, Receive, Scope, Send

from schedappliance.model.token_file import Token
from schedappliance.web.access import accounts, guard
from schedappliance.web.access.accounts import FRESH_MS
from schedappliance.web.access.guard import PEER, Guard
from schedappliance.web.access.identity import Peer
from schedappliance.web.access.links import SESSION_S
from schedappliance.web.access.tokens import hash_of
from tests.support.waiting import PATIENCE_SECONDS
from tests.web.access.test_guard import LOOPBACK, NOBODYS, Site
from tests.web.access.test_identity import PROXIED

BEARER = ("authorization", "Bearer sched_secret")
EVENTS = "text/event-stream; charset=utf-8"


class Client:
    """A request that is being answered. `messages`: the answer; `has_begun`: a part of it has arrived."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.has_begun = asyncio.Event()

    async def ask(self, site: Site, path: str, *headers: tuple[str, str], peer: Peer = LOOPBACK) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in (("host", "localhost"), *headers)]
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": pairs,
            PEER: peer,
        }
        await asyncio.wait_for(site.guard(scope, self._receive, self._send), PATIENCE_SECONDS)

    async def _receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
        if message.get("body"):
            self.has_begun.set()

    @property
    def is_complete(self) -> bool:
        return not self.messages[-1]["more_body"]


async def _endless(scope: Scope, _receive: Receive, send: Send) -> None:
    head = [(b"content-type", EVENTS.encode() if scope["path"] == "/stream" else b"text/csv")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await asyncio.Event().wait()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(guard, "CHECK_SECONDS", 0.001)
    site = Site(tmp_path, PROXIED)
    site.guard = Guard(_endless, site.doors)
    _write(site, "sched_secret")
    return site


def _write(site: Site, secret: str, user: str = "nobody") -> None:
    draft = site.tokens.with_name("draft")
    draft.write_text(Token("one", user, hash_of(secret), "now").line)
    draft.rename(site.tokens)


def _followed(site: Site, path: str, header: tuple[str, str], change: Callable[[], object]) -> Client:
    """The client of an answer that was ended by a change."""

    async def follow() -> Client:
        client = Client()
        task = asyncio.create_task(client.ask(site, path, header))
        await asyncio.wait_for(client.has_begun.wait(), PATIENCE_SECONDS)
        change()
        await task
        return client

    return asyncio.run(follow())


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site.tokens.write_text("# no tokens\n"),
        lambda site: _write(site, "sched_other"),
        lambda site: _write(site, "sched_secret", "daemon"),
        lambda site: site.tokens.unlink(),
        lambda site: site.tokens.chmod(0o666),
    ],
    ids=["removed", "replaced", "of another user", "without a file", "in a file that cannot be used"],
)
def test_a_stream_ends_with_its_token(site: Site, change: Callable[[Site], object]) -> None:
    client = _followed(site, "/stream", BEARER, lambda: change(site))
    assert client.is_complete and [one.get("body") for one in client.messages] == [None, b"first", b""]
    assert not site.guard._capacity._taken, "there is room again"


def test_a_stream_ends_with_the_account_of_its_user(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_gone(_key: object) -> NoReturn:
        raise KeyError

    def remove() -> None:
        monkeypatch.setattr(pwd, "getpwnam", is_gone)
        monkeypatch.setattr(accounts, "check_missing", lambda *_call: None)
        site.clock.advance(FRESH_MS)

    assert _followed(site, "/stream", BEARER, remove).is_complete


def test_a_stream_ends_with_its_session(site: Site) -> None:
    cookie = ("cookie", site.enter())
    assert _followed(site, "/stream", cookie, lambda: site.clock.advance(SESSION_S * 1000)).is_complete


def test_a_download_that_ends_so_is_not_complete(site: Site) -> None:
    client = _followed(site, "/runs.csv", BEARER, site.tokens.unlink)
    assert not client.is_complete, "nobody takes a part of a file for the whole"


def test_the_streams_of_other_viewers_go_on(site: Site) -> None:
    async def follow() -> None:
        own, other = Client(), Client()
        going_on = asyncio.create_task(own.ask(site, "/stream", peer=NOBODYS))
        ending = asyncio.create_task(other.ask(site, "/stream", BEARER))
        for client in (own, other):
            await asyncio.wait_for(client.has_begun.wait(), PATIENCE_SECONDS)
        site.tokens.unlink()
        await ending
        assert not own.is_complete and not going_on.done()
        going_on.cancel()

    asyncio.run(follow())


def test_a_change_is_awaited_although_its_token_was_removed_meanwhile(site: Site) -> None:
    """Its answer says whether it took effect."""
    is_carried_out = asyncio.Event()

    async def change(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/stream":
            await _endless(scope, receive, send)
        await is_carried_out.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})

    async def act() -> None:
        site.guard = Guard(change, site.doors)
        acting, following = Client(), Client()
        action = asyncio.create_task(acting.ask(site, "/do", BEARER))
        stream = asyncio.create_task(following.ask(site, "/stream", BEARER))
        await asyncio.wait_for(following.has_begun.wait(), PATIENCE_SECONDS)
        site.tokens.unlink()
        await stream
        is_carried_out.set()
        await action
        assert acting.messages[-1]["body"] == b"done"

    asyncio.run(act())
