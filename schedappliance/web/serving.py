"""The process of the page: it makes the parts of the page, and serves them until it is stopped."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import uvicorn
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from schedappliance.clock import SystemClock
from schedappliance.web.application import application
from schedappliance.web.feed import Feed
from schedappliance.web.gateway import Gateway
from schedappliance.web.viewer import Viewer

CONNECTIONS, KEEP_ALIVE_SECONDS, GRACE_SECONDS = 200, 5, 2


class OwnUser:
    """Everyone who reaches the page is the user of this process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._viewer = Viewer(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), "link")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["viewer"] = self._viewer
        await self._app(scope, receive, send)


def serve(endpoint: Path, listen: str) -> None:
    """Serves the page of the appliance at this console until a signal."""
    gateway, clock = Gateway(endpoint), SystemClock()
    feed = Feed(endpoint, clock, gateway.forget_rights)
    app = application("schedappliance", False, gateway, feed, clock, [Middleware(OwnUser)])
    host, _, port = listen.rpartition(":")
    config = uvicorn.Config(
        app,
        host=host,
        port=int(port) if not listen.startswith("/") else 0,
        uds=listen if listen.startswith("/") else None,
        http="h11",
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run()
