"""How a stream keeps a screen up to date."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request

from schedappliance.clock import ManualClock
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.screens import now, streams
from schedappliance.web.screens.events import Part
from schedappliance.web.screens.site import Screen, Site

SCREEN = Screen("/", "Now", "now.html", now.collect)


class Screens:
    """A site whose screen is the version of its feed."""

    def __init__(self) -> None:
        self.feed = Feed(Path("nowhere"), ManualClock(0), 0, lambda: None)

    def look(self, _request: Request) -> None:
        return None

    async def parts(self, _look: None, screen: Screen) -> tuple[str, list[Part]]:
        return screen.template, [Part("rows", str(self.feed.version))]


def test_changes_that_come_together_are_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Screens()

    async def sleep(seconds: float) -> None:
        """The first change comes while the stream rests, and the second one while it gathers."""
        if seconds in (streams.LEAST_SECONDS, streams.GATHER_SECONDS):
            site.feed._advance()

    async def sent() -> list[bytes]:
        events = streams._events(cast(Site, site), SCREEN, Request({"type": "http"}))
        return [await anext(events) for _ in range(6)]

    monkeypatch.setattr("schedappliance.web.screens.streams.asyncio.sleep", sleep)
    retry, template, first, alive, second, again = asyncio.run(sent())
    assert (retry, json.loads(template.partition(b"data: ")[2])) == (streams.RETRY, "now.html")
    assert [_html(one) for one in (first, second)] == ["0", "2"]
    assert alive == again == streams.ALIVE


def test_a_page_is_loaded_again_only_when_another_one_can_be_made() -> None:
    templates = ["", "", "now.html"]

    class Comes(Screens):
        async def parts(self, _look: None, screen: Screen) -> tuple[str, list[Part]]:  # noqa: ARG002
            return templates.pop(0), []

    async def sent() -> list[list[bytes]]:
        made = streams._Parts(cast(Site, Comes()), SCREEN, Request({"type": "http"}))
        return [[one async for one in made.changed()] for _ in range(3)]

    assert asyncio.run(sent()) == [[], [], [b'event: template\ndata: "now.html"\n\n']]


def _html(event: bytes) -> Any:
    data = json.loads(event.removeprefix(b"data: "))
    assert data["id"] == "rows"
    return data["html"]


def test_viewers_get_the_same_bytes() -> None:
    part = Part("rows", "<b>\n</b>")
    assert part.event is part.event
    assert part.event == b'data: {"id": "rows", "html": "<b>\\n</b>"}\n\n'
