"""What all requests of the page share, and what all screens show.

Rule: an error of the appliance is a screen too, so that every address answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from jinja2 import Environment
from starlette.requests import Request

from schedappliance.client.errors import NotAuthorized, Rejected, Unavailable
from schedappliance.clock import Clock
from schedappliance.web import rendering
from schedappliance.web.feed import Feed
from schedappliance.web.gateway import Gateway
from schedappliance.web.messages import Messages
from schedappliance.web.pages.look import Look

# The screens that every page links.
NAVIGATION = (("/", "Now"), ("/jobs", "Jobs"))


class Screen(NamedTuple):
    path: str
    name: str
    template: str
    collect: Callable[[Look], Awaitable[dict[str, Any]]]


class Site:
    """What all requests share."""

    def __init__(self, title: str, is_read_only: bool, gateway: Gateway, feed: Feed, clock: Clock) -> None:
        self.title, self.is_read_only = title, is_read_only
        self.gateway, self.feed, self.clock = gateway, feed, clock
        self.templates: Environment = rendering.environment()
        self.messages = Messages()

    def look(self, request: Request) -> Look:
        return Look(
            request,
            self.gateway,
            self.feed,
            request.state.viewer,
            self.clock.moment().wall,
            self.is_read_only,
            self.title,
        )

    async def values(self, look: Look, screen: Screen) -> tuple[str, dict[str, Any], int]:
        """The template, its values, and the status."""
        common = {
            "title": self.title,
            "screen": screen.name,
            "path": look.request.url.path,
            "here": here(look.request),
            "viewer": look.viewer,
            "now_ms": look.now_ms,
            "silent_since_ms": self.feed.silent_since_ms,
            "health": self.feed.health,
            "refused": self.feed.refused,
            "incident_count": 0,
            "navigation": NAVIGATION,
            "is_read_only": self.is_read_only,
            "message": None,
        }
        try:
            common["incident_count"] = len(self.feed.incidents) if await look.may("sched incidents") else 0
            return screen.template, common | await screen.collect(look), 200
        except Unavailable as unavailable:
            return "problem.html", common | {"head": "The appliance does not answer", "text": str(unavailable)}, 503
        except NotAuthorized as error:
            return "problem.html", common | {"head": "Not allowed", "text": str(error)}, 403
        except Rejected as error:
            return "problem.html", common | {"head": "Not found", "text": str(error)}, 404


def here(request: Request) -> str:
    """The address of the request, without the message of the last action."""
    url = request.url.remove_query_params("message")
    return url.path + (f"?{url.query}" if url.query else "")
