"""The events of the API: a stream that continues after a break, and that ends with its client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.clock import SystemClock
from schedappliance.model.token_file import Token
from schedappliance.web.access import guard
from schedappliance.web.access.capacity import SHARE
from schedappliance.web.access.guard import Guard
from schedappliance.web.access.tokens import hash_of
from schedappliance.web.api import events
from schedappliance.web.api.events import MOST_STREAMS
from schedappliance.web.api.routes import API_PATH, api
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS
from tests.web.access.test_guard import Site
from tests.web.access.test_identity import PROXIED
from tests.web.api.test_routes import OWN, scope_of

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon.start()
    daemon.end()


class Stream:
    """A stream as its client sees it. `queue`: what has arrived; a client that does not read has a small one."""

    def __init__(self) -> None:
        self.status = 0
        self.queue: asyncio.Queue[str] = asyncio.Queue(1)
        self.gone, self.end = asyncio.Event(), asyncio.Event()

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        if message.get("body"):
            await self.queue.put(message["body"].decode())
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.end.set()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def event(self) -> dict[str, Any]:
        """The next event that is not a comment."""
        while True:
            part = await asyncio.wait_for(self.queue.get(), PATIENCE_SECONDS)
            fields = dict(
                line.split(": ", 1) for line in part.splitlines() if ": " in line and not line.startswith(":")
            )
            if "data" in fields:
                data: dict[str, Any] = json.loads(fields["data"])
                assert (str(data["seq"]), data["kind"]) == (fields["id"], fields["event"])
                return data


@asynccontextmanager
async def streaming(app: ASGIApp, *headers: tuple[str, str]) -> AsyncIterator[Stream]:
    stream = Stream()
    task = asyncio.ensure_future(app(scope_of("GET", "/events", headers, OWN), stream.receive, stream.send))
    try:
        yield stream
    finally:
        stream.gone.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


def _app(gateway: Gateway) -> Starlette:
    return Starlette(routes=[Mount(API_PATH, app=api(gateway, Feed(gateway.endpoint, SystemClock(), 0, lambda: None)))])


def test_a_stream_continues_after_the_last_event(daemon: Daemon) -> None:
    async def follow() -> None:
        gateway = Gateway(daemon.socket_path, SystemClock())
        app = _app(gateway)
        async with streaming(app) as stream:
            assert (await asyncio.wait_for(stream.queue.get(), PATIENCE_SECONDS)).startswith("retry: ")
            await gateway.ask(OWN, "sched in 1d run hello")
            first = await stream.event()
            assert (first["kind"], stream.status) == ("job", 200)
        await gateway.ask(OWN, "sched in 2d run hello")
        async with streaming(app, ("last-event-id", str(first["seq"]))) as stream:
            assert (await stream.event())["id"] != first["id"], "it happened between the streams"
        gateway.close()

    asyncio.run(follow())


def test_a_stream_goes_on_after_a_restart_of_the_appliance(daemon: Daemon) -> None:
    async def follow() -> None:
        gateway = Gateway(daemon.socket_path, SystemClock())
        async with streaming(_app(gateway)) as stream:
            await asyncio.wait_for(stream.queue.get(), PATIENCE_SECONDS)
            await asyncio.to_thread(daemon.kill)
            await asyncio.to_thread(daemon.start)
            kinds = [(await stream.event())["kind"]]
            await gateway.ask(OWN, "sched in 1d run hello")
            while kinds[-1] != "job":
                kinds.append((await stream.event())["kind"])
            assert kinds[0] == "gap", "the stream says that something is missing"
        gateway.close()

    asyncio.run(follow())


def test_a_quiet_stream_sends_comments(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUIET_SECONDS", 0.01)

    async def follow() -> None:
        gateway = Gateway(daemon.socket_path, SystemClock())
        async with streaming(_app(gateway)) as stream:
            parts = [await asyncio.wait_for(stream.queue.get(), PATIENCE_SECONDS) for _ in range(4)]
            assert parts[1:] == [": \n\n"] * 3
            await gateway.ask(OWN, "sched in 1d run hello")
            assert (await stream.event())["kind"] == "job"
        gateway.close()

    asyncio.run(follow())


def test_streams_are_bounded_and_end_with_their_clients(daemon: Daemon) -> None:
    async def follow() -> None:
        gateway = Gateway(daemon.socket_path, SystemClock())
        app = _app(gateway)
        sessions: list[AsyncSession] = []
        new_session = gateway.new_session
        gateway.new_session = lambda viewer: sessions.append(one := new_session(viewer)) or one  # type: ignore
        streams = []
        share = MOST_STREAMS // SHARE
        for _ in range(share):
            context = streaming(app)
            stream = await context.__aenter__()
            await asyncio.wait_for(stream.queue.get(), PATIENCE_SECONDS)
            streams.append(context)
        async with streaming(app) as one_more:
            assert '"status": 503' in await asyncio.wait_for(one_more.queue.get(), PATIENCE_SECONDS)
        for context in streams:
            await context.__aexit__(None, None, None)
        assert len(sessions) == share and all(session.is_closed() for session in sessions)
        async with streaming(app) as again:
            await asyncio.wait_for(again.queue.get(), PATIENCE_SECONDS)
            assert again.status == 200
        gateway.close()

    asyncio.run(follow())


def test_a_stream_ends_with_its_token(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "CHECK_SECONDS", 0.01)
    doors, tokens = Site(tmp_path, PROXIED).doors, tmp_path / "web-tokens"
    tokens.write_text(Token("one", "nobody", hash_of("sched_secret"), "now").line)

    async def follow() -> None:
        # Nobody needs no delegate on the page of this user.
        gateway = Gateway(daemon.socket_path, SystemClock(), "nobody")
        sessions: list[AsyncSession] = []
        new_session = gateway.new_session
        gateway.new_session = lambda viewer: sessions.append(one := new_session(viewer)) or one  # type: ignore
        app = Guard(_app(gateway), doors)
        async with streaming(app, ("host", "localhost"), ("authorization", "Bearer sched_secret")) as stream:
            await asyncio.wait_for(stream.queue.get(), PATIENCE_SECONDS)
            tokens.unlink()
            await asyncio.wait_for(stream.end.wait(), PATIENCE_SECONDS)
        (session,) = sessions
        assert stream.status == 200 and session.is_closed(), "the watch in the appliance ends too"
        gateway.close()

    asyncio.run(follow())


def test_a_client_that_reads_nothing_holds_no_events_in_the_page(daemon: Daemon) -> None:
    """The page takes an event from the appliance only when the one before is sent. The appliance then drops events."""

    async def follow() -> None:
        gateway = Gateway(daemon.socket_path, SystemClock())
        async with streaming(_app(gateway)) as stream:
            await asyncio.wait_for(stream.queue.get(), PATIENCE_SECONDS)
            for _ in range(300):
                await gateway.ask(OWN, "sched in 1d run hello")
            assert stream.queue.qsize() <= 1
            assert (await stream.event())["kind"] == "job", "what it reads then is the oldest event"
        gateway.close()

    asyncio.run(follow())
