"""The routes of the page: which address shows which screen, and how a screen stays up to date.

Rule: an address is a question of its viewer. The same address gives the page, and its changes as a stream of events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from schedappliance.clock import Clock
from schedappliance.web import rendering
from schedappliance.web.feed import Feed
from schedappliance.web.gateway import Gateway
from schedappliance.web.pages import actions, jobs, now
from schedappliance.web.site import Screen, Site

# A comment keeps proxies from closing a quiet stream; fragments with durations are sent again.
QUIET_SECONDS, RETRY_MS = 5.0, 2000
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


SCREENS = (
    Screen("/", "Now", "now.html", now.collect),
    Screen("/jobs", "Jobs", "jobs.html", jobs.collect),
)


def application(
    title: str, is_read_only: bool, gateway: Gateway, feed: Feed, clock: Clock, middleware: Any = ()
) -> Starlette:
    """The page as an ASGI application. `middleware`: it sets `request.state.viewer`."""
    site = Site(title, is_read_only, gateway, feed, clock)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run())
        yield
        following.cancel()
        gateway.close()

    routes: list[Route | Mount] = [Route(screen.path, _shown(site, screen)) for screen in SCREENS]
    routes += actions.routes(site)
    static = StaticFiles(packages=[("schedappliance.web", "static")])
    return Starlette(routes=[*routes, Mount("/static", static)], middleware=list(middleware), lifespan=lifespan)


def _shown(site: Site, screen: Screen) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(
                _changes(site, screen, request), media_type="text/event-stream", headers=STREAM_HEADERS
            )
        look = site.look(request)
        template, values, status = await site.values(look, screen)
        values["message"] = site.messages.take(look.viewer, look.query("message"))
        return HTMLResponse(rendering.page(site.templates, template, values), status)

    return show


async def _changes(site: Site, screen: Screen, request: Request) -> AsyncIterator[str]:
    """The fragments of a screen whenever they change, as events of a stream."""
    sent: dict[str, str] = {}
    template_before = None
    yield f"retry: {RETRY_MS}\n\n"
    while True:
        version = site.feed.version
        template, values, _ = await site.values(site.look(request), screen)
        if template_before not in (None, template):
            yield "event: reload\ndata: {}\n\n"
        template_before = template
        changed = {
            name: html
            for name, html in rendering.fragments(site.templates, template, values).items()
            if sent.get(name) != html
        }
        sent |= changed
        for html in changed.values():
            yield f"data: {json.dumps(html)}\n\n"
        yield ": \n\n"
        # At most once a second.
        await asyncio.sleep(1)
        await site.feed.wait_after(version, QUIET_SECONDS)
