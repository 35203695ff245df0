"""The streams of open screens: each brings the parts of its screen that have changed, as HTML for browsers.

Programs follow the events of the appliance itself: see `schedappliance/web/api/events.py`. Rule: a screen is made at most
once a second for a stream, and only when something may have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import StreamingResponse

from schedappliance.client.errors import Error
from schedappliance.web.screens import run
from schedappliance.web.screens.parts import event
from schedappliance.web.screens.site import Screen, Site

# After so many seconds the parts with durations and distances are sent again, and a proxy sees that the stream lives.
QUIET_SECONDS, LEAST_SECONDS = 5.0, 1.0
# A change seldom comes alone: a short run ends, its job gets another due time. All of them are one work for the page, which
# begins when the appliance has done its own: the change may be one of many programs that start at one instant.
GATHER_SECONDS = 0.2
RETRY, ALIVE = b"retry: 2000\n\n", b": \n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def stream(site: Site, screen: Screen, request: Request) -> StreamingResponse:
    events = _run_events(site, screen, request) if screen.collect is run.collect else _events(site, screen, request)
    return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)


class _Parts:
    """The parts of a screen that its page has: what it showed at first, and what the stream has sent.

    `version`: the version of the feed that the page shows; None if that is unknown, or the page is older than QUIET_SECONDS.
    """

    def __init__(self, site: Site, screen: Screen, request: Request) -> None:
        self._site, self._screen, self._request = site, screen, request
        shown = site.take_shown(request)
        is_fresh = shown is not None and site.clock.moment().boot - shown.boot_ms < QUIET_SECONDS * 1000
        self.version = shown.version if shown and is_fresh else None
        self._template = shown.template if shown else ""
        self._sent = dict(shown.parts) if shown else {}

    async def changed(self) -> AsyncIterator[bytes]:
        site = self._site
        template, parts = await site.parts(site.look(self._request), self._screen)
        if template not in ("", self._template):
            # The page loads itself again if it was made from another one, such as that of an error.
            self._template = template
            yield event(template, "template")
        for part in parts:
            sent = self._sent.get(part.key, "")
            if part.html != sent:
                self._sent[part.key] = part.html
                yield part.event_after(sent)


async def _events(site: Site, screen: Screen, request: Request) -> AsyncIterator[bytes]:
    parts = _Parts(site, screen, request)
    yield RETRY
    if parts.version == site.feed.version:
        await _change(site, site.feed.version)
    while True:
        version = site.feed.version
        async for one in parts.changed():
            yield one
        yield ALIVE
        await _change(site, version)


async def _change(site: Site, version: int) -> None:
    """Waits until something may have changed, and until what belongs to it has changed too."""
    await asyncio.sleep(LEAST_SECONDS)
    if await site.feed.wait_after(version, QUIET_SECONDS) != version:
        await asyncio.sleep(GATHER_SECONDS)


async def _run_events(site: Site, screen: Screen, request: Request) -> AsyncIterator[bytes]:
    """The parts of the screen of a run, and its output line by line. The id of an event says how far it is."""
    parts = _Parts(site, screen, request)
    reading = run.reading_from(request.headers.get("last-event-id") or request.query_params.get("position", ""))
    yield RETRY
    version, waited = parts.version, QUIET_SECONDS if parts.version is None else 0.0
    while True:
        if version != site.feed.version or waited >= QUIET_SECONDS:
            version, waited = site.feed.version, 0.0
            async for one in parts.changed():
                yield one
        # While the appliance does not answer, the band says so.
        with suppress(Error):
            if html := await site.feed.unless_silent(run.follow(site.look(request), reading)):
                yield event({"html": html}, "output", reading.position())
        if reading.is_earlier and "attempt" not in request.query_params:
            yield event({}, "reload")
        yield ALIVE
        if reading.is_over:
            await _change(site, version)
            waited = QUIET_SECONDS
        else:
            await asyncio.sleep(run.FOLLOW_SECONDS)
            waited += run.FOLLOW_SECONDS
