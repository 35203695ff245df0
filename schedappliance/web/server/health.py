"""`/healthz` and `/readyz` for load balancers and monitors, which have no login.

Rule: an answer is one word. What is wrong is said only to viewers.
"""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from schedappliance.client.errors import Unavailable
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway

# As for `schedappliance health`. A load balancer does not wait longer, and would learn nothing.
PATIENCE_SECONDS = 5.0


def routes(gateway: Gateway, feed: Feed) -> list[Route]:
    """The page asks for itself, so its own user needs a role for `health`."""
    own = Viewer(gateway.own_user, os.geteuid(), "socket")

    async def health(request: Request) -> Response:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                response = await feed.unless_silent(gateway.ask(own, "health"))
            data = response.get("data") or {}
        except (Unavailable, TimeoutError):
            data = {}
        is_well = data.get("ready" if request.url.path == "/readyz" else "live", False)
        status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        return PlainTextResponse("ok\n" if is_well else "unavailable\n", status)

    return [Route("/healthz", health), Route("/readyz", health)]
