"""One look of a viewer at the page: the request, and what the viewer may ask.

Rule: a screen reads the appliance only through its look, so that nobody sees what his roles do not allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from schedappliance.client.wire import Message
from schedappliance.web.feed import Feed
from schedappliance.web.gateway import Gateway
from schedappliance.web.viewer import Viewer


@dataclass
class Look:
    """`now_ms`: when the screen was asked for."""

    request: Request
    gateway: Gateway
    feed: Feed
    viewer: Viewer
    now_ms: int
    is_read_only: bool = False
    title: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def query(self, name: str) -> str:
        """A value of the query; empty if it is missing."""
        return str(self.request.query_params.get(name, "")).strip()

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    async def ask(self, line: str) -> Message:
        """Raises Unavailable."""
        return await self.gateway.ask(self.viewer, line)

    async def data(self, line: str) -> Any:
        """Raises Error."""
        return await self.gateway.data(self.viewer, line)

    async def may(self, line: str) -> bool:
        """Raises Unavailable."""
        return await self.gateway.may(self.viewer, line)

    async def allowed(self, lines: Iterable[str]) -> frozenset[str]:
        """Those of the commands that change something which the viewer may give here. Raises Unavailable."""
        if self.is_read_only:
            return frozenset()
        return frozenset([line for line in lines if await self.may(line)])
