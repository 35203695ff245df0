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
from schedappliance.web.screens.parts import Part
from schedappliance.web.screens.site import Screen, Shown, Site

SCREEN = Screen("/", "Now", "now.html", now.collect)


class Screens:
    """A site whose screen is the version of its feed."""

    def __init__(self) -> None:
        self.clock = ManualClock(0)
        self.feed = Feed(Path("nowhere"), self.clock, 0, lambda: None)

    def look(self, _request: Request) -> None:
        return None

    def take_shown(self, _request: Request) -> Shown | None:
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
    assert part.event_after("") is part.event_after("")
    assert part.event_after("") == b'data: {"id": "rows", "html": "<b>\\n</b>"}\n\n'


def _table(*rows: str) -> str:
    return f"<table><tr><th>Job</th></tr>{''.join(rows)}</table>"


def _row(key: str, text: str) -> str:
    return f'<tr id="row-{key}"><th>{key}</th>\n<td>{text}</td></tr>'


def test_rows_that_a_page_has_are_not_sent_again() -> None:
    sent = _table(_row("a", "1"), _row("b", "2"), _row("c", "3"))
    same = '<tr id="row-{}" data-same></tr>'.format
    for rows, expected in (
        ((_row("a", "1"), _row("b", "5"), _row("c", "3")), (same("a"), _row("b", "5"), same("c"))),
        ((_row("c", "3"), _row("a", "1"), _row("d", "2")), (same("c"), same("a"), _row("d", "2"))),
        ((_row("b", "1"), _row("a", "2")), (_row("b", "1"), _row("a", "2"))),
        ((), ()),
    ):
        assert _html(Part("rows", _table(*rows)).event_after(sent)) == _table(*expected)
        assert _html(Part("rows", _table(*rows)).event_after("")) == _table(*rows)


def test_each_stream_gets_the_rows_that_it_has_not_sent() -> None:
    tables = [_table(_row("a", text), _row("b", "2")) for text in ("1", "5", "5")]

    class Tables(Screens):
        async def parts(self, _look: None, screen: Screen) -> tuple[str, list[Part]]:
            return screen.template, [Part("rows", tables.pop(0))]

    async def sent() -> list[list[bytes]]:
        made = streams._Parts(cast(Site, Tables()), SCREEN, Request({"type": "http"}))
        return [[one async for one in made.changed()] for _ in range(3)]

    (_, first), (second,), third = asyncio.run(sent())
    assert _html(first) == _table(_row("a", "1"), _row("b", "2"))
    assert _html(second) == _table(_row("a", "5"), '<tr id="row-b" data-same></tr>')
    assert third == []


@pytest.mark.parametrize(("shown_version", "age_ms"), [(0, 0), (-1, 0), (0, 60_000)])
def test_a_stream_sends_what_its_page_does_not_show(
    shown_version: int, age_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change may come before the stream, or after. A tab in the background opens its stream when somebody looks at it."""
    is_current = (shown_version, age_ms) == (0, 0)

    class Visited(Screens):
        def take_shown(self, _request: Request) -> Shown | None:
            return Shown(shown_version, -age_ms, "now.html", {"rows": "0" if is_current else "-1", "head": "Now"})

        async def parts(self, _look: None, screen: Screen) -> tuple[str, list[Part]]:
            return screen.template, [Part("rows", str(self.feed.version)), Part("head", "Now")]

    site = Visited()

    async def sleep(seconds: float) -> None:
        if seconds == streams.LEAST_SECONDS:
            site.feed._advance()

    async def sent() -> list[bytes]:
        events = streams._events(cast(Site, site), SCREEN, Request({"type": "http"}))
        return [await anext(events) for _ in range(3)]

    monkeypatch.setattr("schedappliance.web.screens.streams.asyncio.sleep", sleep)
    retry, change, alive = asyncio.run(sent())
    assert (retry, _html(change), alive) == (streams.RETRY, "1" if is_current else "0", streams.ALIVE)
