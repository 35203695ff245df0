"""How a screen stays up to date: the parts that have changed, as events of a stream.

Rule: a screen is made at most once a second for a stream, and only when something may have changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from schedappliance.client.errors import Error
from schedappliance.web.pages import run
from schedappliance.web.site import Screen, Site

# After so many seconds the parts with durations and distances are sent again, and a proxy sees that the stream lives.
QUIET_SECONDS, LEAST_SECONDS, RETRY_MS = 5.0, 1.0, 2000
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def stream(site: Site, screen: Screen, request: Request) -> StreamingResponse:
    events = _run_events(site, screen, request) if screen.collect is run.collect else _events(site, screen, request)
    return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)


def _event(data: Any, kind: str = "", key: str = "") -> str:
    """One event. JSON has no line ends outside of escapes."""
    head = "".join(f"{name}: {value}\n" for name, value in (("event", kind), ("id", key)) if value)
    return f"{head}data: {json.dumps(data)}\n\n"


class _Parts:
    """The parts of a screen that a stream has sent."""

    def __init__(self, site: Site, screen: Screen, request: Request) -> None:
        self._site, self._screen, self._request = site, screen, request
        self._sent: dict[str, str] = {}
        self._template = ""

    async def changed(self) -> AsyncIterator[str]:
        site = self._site
        template, parts = await site.parts(site.look(self._request), self._screen)
        if template != self._template:
            # The page loads itself again if it was made from another one, such as that of an error.
            self._template = template
            yield _event(template, "template")
        for key, html in parts.items():
            if self._sent.get(key) != html:
                self._sent[key] = html
                yield _event({"id": key, "html": html})


async def _events(site: Site, screen: Screen, request: Request) -> AsyncIterator[str]:
    parts = _Parts(site, screen, request)
    yield f"retry: {RETRY_MS}\n\n"
    while True:
        version = site.feed.version
        async for event in parts.changed():
            yield event
        yield ": \n\n"
        await asyncio.sleep(LEAST_SECONDS)
        await site.feed.wait_after(version, QUIET_SECONDS)


async def _run_events(site: Site, screen: Screen, request: Request) -> AsyncIterator[str]:
    """The parts of the screen of a run, and its output line by line. The id of an event says how far it is."""
    parts = _Parts(site, screen, request)
    reading = run.reading_from(request.headers.get("last-event-id") or request.query_params.get("mark", ""))
    yield f"retry: {RETRY_MS}\n\n"
    version, waited = -1, QUIET_SECONDS
    while True:
        if version != site.feed.version or waited >= QUIET_SECONDS:
            version, waited = site.feed.version, 0.0
            async for event in parts.changed():
                yield event
        # While the appliance does not answer, the band says so.
        with suppress(Error):
            if html := await run.follow(site.look(request), reading):
                yield _event({"html": html}, "output", reading.mark())
        if reading.is_earlier and "attempt" not in request.query_params:
            yield _event({}, "reload")
        yield ": \n\n"
        if reading.is_over:
            await asyncio.sleep(LEAST_SECONDS)
            await site.feed.wait_after(version, QUIET_SECONDS)
            waited = QUIET_SECONDS
        else:
            await asyncio.sleep(run.FOLLOW_SECONDS)
            waited += run.FOLLOW_SECONDS
