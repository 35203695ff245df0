"""`/api/v1/events`: the events of the appliance as a stream, for programs.

Rule: a stream is one `watch` of its viewer, so the roles decide what it holds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.errors import Error, Unavailable
from schedappliance.client.events import Follower
from schedappliance.client.wire import Message
from schedappliance.web.access.capacity import Capacity
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.api.problems import Problem, rejected
from schedappliance.web.appliance.gateway import Gateway

# A comment keeps proxies from closing a quiet stream. A browser connects again after the pause.
QUIET_SECONDS, RETRY_MS = 15.0, 2000
# Each stream is a connection of its own to the console, which gives a quarter of its connections to the user of the page.
MOST_STREAMS = 64
# The number of an event has 64 bits.
LONGEST_NUMBER = 19


class EventStreams:
    """The streams that are open."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._capacity = Capacity(MOST_STREAMS)

    async def answer(self, request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > LONGEST_NUMBER:
            raise Problem(HTTPStatus.BAD_REQUEST, "Last-Event-ID is the number of an event")
        viewer: Viewer = request.state.viewer
        if not self._capacity.take(viewer.name):
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "there are too many streams already; close some")
        session, follower = self._gateway.new_session(viewer), Follower(int(after))
        end = partial(self._end, viewer, session)
        try:
            response = await session.ask(follower.line)
            if not response["ok"]:
                end()
                return rejected(response)
            follower.begin(response)
        except BaseException:
            end()
            raise
        return _Stream(_followed(session, follower), end)

    def _end(self, viewer: Viewer, session: AsyncSession) -> None:
        session.close()
        self._capacity.give_back(viewer.name)


class _Stream(StreamingResponse):
    """`end` is called at the end, even if the client has gone before the first event."""

    def __init__(self, events: AsyncIterator[str], end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _followed(session: AsyncSession, follower: Follower) -> AsyncIterator[str]:
    """The events as parts of a stream, over restarts of the appliance. Ends when the viewer may watch no more."""
    yield f"retry: {RETRY_MS}\n\n"
    while True:
        try:
            async for message in _messages(session):
                yield ": \n\n" if message is None else _part(follower, message)
        except Unavailable as unavailable:
            session.close()
            pause_s = follower.pause_after(unavailable)
        await asyncio.sleep(pause_s)
        try:
            follower.begin(await session.ask(follower.line))
        except Unavailable:
            continue
        except Error:
            return


async def _messages(session: AsyncSession) -> AsyncIterator[Message | None]:
    """The messages of a connection; None if there was none for a while. Raises Unavailable."""
    while True:
        # A deadline of the message itself could lose what has arrived at that moment.
        message = asyncio.ensure_future(session.next_message(None))
        try:
            while not (await asyncio.wait((message,), timeout=QUIET_SECONDS))[0]:
                yield None
            yield message.result()
        finally:
            message.cancel()


def _part(follower: Follower, message: Message) -> str:
    event = follower.take(message)
    data = json.dumps(message["event"], ensure_ascii=False)
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n"
