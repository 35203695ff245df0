"""`/healthz` and `/readyz` for load balancers and monitors, which have no login.

Rule: an answer is one word. What is wrong is said only to viewers.
"""

from __future__ import annotations

import os
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from schedappliance.client.errors import Unavailable
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.gateway import Gateway


def routes(gateway: Gateway) -> list[Route]:
    """The page asks for itself, so its own user needs a role for `health`."""
    own = Viewer(gateway.own_user, os.geteuid(), "socket")

    async def health(request: Request) -> Response:
        try:
            data = (await gateway.ask(own, "health")).get("data") or {}
        except Unavailable:
            data = {}
        is_well = data.get("ready" if request.url.path == "/readyz" else "live", False)
        status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        return PlainTextResponse("ok\n" if is_well else "unavailable\n", status)

    return [Route("/healthz", health), Route("/readyz", health)]
