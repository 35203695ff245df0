"""One look of a viewer at the page: the request, and what the viewer may ask.

Rule: a screen reads the appliance only through its look, so that nobody sees what the roles do not allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from schedappliance.client.wire import Message, quoted
from schedappliance.web.feed import Feed, Row
from schedappliance.web.gateway import Gateway
from schedappliance.web.viewer import Viewer
from schedappliance.web.words import Times

MOST_DUE_TIMES = 100


@dataclass(frozen=True)
class Look:
    """`times`: when the screen was asked for, and the zone in which it shows instants."""

    request: Request
    gateway: Gateway
    feed: Feed
    viewer: Viewer
    times: Times
    is_read_only: bool

    @property
    def now_ms(self) -> int:
        return self.times.now_ms

    @property
    def is_stream(self) -> bool:
        """Whether the viewer has the screen already, and wants its changes."""
        return "text/event-stream" in self.request.headers.get("accept", "")

    def query(self, name: str) -> str:
        """A value of the query; empty if it is missing."""
        return str(self.request.query_params.get(name, "")).strip()

    def number(self, name: str) -> int | None:
        """A whole number of the query; None if it is missing or is none."""
        text = self.query(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    async def ask(self, line: str) -> Message:
        """Raises Unavailable."""
        return await self.gateway.ask(self.viewer, line)

    async def data(self, line: str) -> Any:
        """Raises Error."""
        return await self.gateway.data(self.viewer, line)

    async def data_if_allowed(self, line: str) -> Any:
        """The data; None if the roles of the viewer do not allow the command. Raises Error."""
        return await self.data(line) if await self.may(line) else None

    async def may(self, line: str) -> bool:
        """Raises Unavailable."""
        return await self.gateway.may(self.viewer, line)

    async def allowed(self, lines: Iterable[str]) -> frozenset[str]:
        """Those of the commands that change something which the viewer may give here. Raises Unavailable."""
        if self.is_read_only:
            return frozenset()
        return frozenset([line for line in lines if await self.may(line)])

    async def due_times(self, job: Row, until_ms: int) -> list[int]:
        """The next due times of a job with a calendar, which are asked for again when it has another next one. Raises Error."""
        line = f"sched next {quoted(job['id'])} {MOST_DUE_TIMES}"
        if job["next_run_ms"] > until_ms or not await self.may(line):
            return []
        known = self.feed.planned.get(job["id"])
        if known is None or known[0] != job["next_run_ms"]:
            data = await self.data(line)
            known = self.feed.planned[job["id"]] = [one["due_ms"] for one in data["next"]] or [job["next_run_ms"]]
        return known

    async def jobs(self) -> list[Row]:
        """The jobs of the feed, if the viewer may list them. Raises Unavailable."""
        return list(self.feed.jobs.values()) if await self.may("sched list") else []

    async def may_see_runs(self) -> bool:
        return await self.may("sched history")
