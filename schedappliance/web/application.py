"""The routes of the page: which address shows which screen.

Rule: the same address gives a screen, and as a stream of events what changes on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from schedappliance.client.errors import Rejected, Unavailable
from schedappliance.clock import Clock
from schedappliance.web.api.problems import client_has_left, status_of
from schedappliance.web.api.routes import API_PATH, api
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.rendering import zones
from schedappliance.web.rendering.static_files import StaticFiles
from schedappliance.web.screens import (
    about,
    actions,
    files,
    incidents,
    job,
    jobs,
    month,
    now,
    preview,
    run,
    runs,
    spool,
)
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.site import Screen, Site
from schedappliance.web.screens.streams import stream
from schedappliance.web.server import health

SCREENS = (
    Screen("/", "Now", "now.html", now.collect),
    Screen("/jobs", "Jobs", "jobs.html", jobs.collect),
    Screen("/jobs/new", "Jobs", "new_job.html", jobs.collect_new),
    Screen("/jobs/{job}", "Jobs", "job.html", job.collect),
    Screen("/runs", "Runs", "runs.html", runs.collect),
    Screen("/runs/{job}/{occurrence:int}", "Runs", "run.html", run.collect),
    Screen("/month", "Month", "month.html", month.collect),
    Screen("/incidents", "Incidents", "incidents.html", incidents.collect),
    Screen("/preview", "Preview", "preview.html", preview.collect),
    Screen("/files", "Files", "files.html", files.collect),
    Screen("/spool", "Spool", "spool.html", spool.collect),
    Screen("/about", "About", "about.html", about.collect),
    Screen("/confirm", "", "confirm.html", actions.confirm),
)
FILES = (
    ("/runs.csv", runs.export_csv),
    ("/runs.json", runs.export_json),
    ("/runs/{job}/{occurrence:int}/output", run.download),
)
START_SECONDS = 2.0
YEAR_SECONDS = 365 * 86_400


def application(
    title: str,
    is_read_only: bool,
    gateway: Gateway,
    feed: Feed,
    clock: Clock,
    middleware: Iterable[Middleware] = (),
) -> Starlette:
    """The page as an ASGI application. `middleware`: it sets `request.state.viewer`."""
    site = Site(title, is_read_only, gateway, feed, clock)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run())
        # The first viewer should not see a page that knows nothing yet.
        await feed.wait_after(feed.version, START_SECONDS)
        yield
        following.cancel()
        gateway.close()

    async def act(request: Request) -> Response:
        return await actions.act(site, request)

    static = StaticFiles()
    routes: list[Route | Mount] = [Route(screen.path, _shown(site, screen)) for screen in SCREENS]
    routes += [Route(path, _file(site, make)) for path, make in FILES]
    routes += [
        Route("/do", act, methods=["POST"]),
        Route("/zone", _choose_zone),
        *health.routes(gateway, feed),
        Mount(API_PATH, app=api(gateway, feed)),
        # Browsers ask for it where an answer, such as a refusal, names no other.
        Route("/favicon.ico", static.answer),
        Route("/static/{name}", static.answer),
    ]
    # A screen with many rows is ten times smaller. Streams of events are left alone. The usual level takes twice the time for
    # a twentieth of the bytes.
    every = [*middleware, Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)]
    handlers: dict[Any, Any] = {Exception: _failed, ClientDisconnect: client_has_left}
    return Starlette(routes=routes, middleware=every, exception_handlers=handlers, lifespan=lifespan)


def _shown(site: Site, screen: Screen) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        look = site.look(request)
        if look.is_stream:
            return stream(site, screen, request)
        return HTMLResponse(*await site.page(look, screen))

    return show


def _file(
    site: Site, make: Callable[[Look], Coroutine[Any, Any, Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        try:
            return await site.feed.unless_silent(make(site.look(request)))
        except Unavailable as unavailable:
            return Response(f"{unavailable}\n", 503, media_type="text/plain")
        except Rejected as error:
            status = status_of(next((one.code for one in error.diagnostics), None))
            return Response(f"{error}\n", status, media_type="text/plain")

    return send


async def _failed(_request: Request, _error: Exception) -> Response:
    """The answer after a bug of the page, which the server logs."""
    return Response("The page has failed. Its log says why.\n", 500, media_type="text/plain")


async def _choose_zone(request: Request) -> Response:
    """Keeps the choice of a zone in a cookie."""
    response = RedirectResponse(actions.own_address(request.query_params.get("next", "/")), 303)
    chosen = request.query_params.get("zone", "")
    if chosen in dict(zones.CHOICES):
        response.set_cookie(zones.COOKIE, chosen, max_age=YEAR_SECONDS, samesite="strict", httponly=True)
    return response
