"""What load balancers and monitors learn from the page without a login."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import Message as Response
from schedappliance.clock import SystemClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance import feed as feeds
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.server import health


class _Appliance(Gateway):
    """An appliance with this health; None: nobody answers."""

    def __init__(self, response: Response | None) -> None:
        super().__init__(Path("/nowhere"), SystemClock())
        self._response = response

    async def ask(self, viewer: Viewer, line: str) -> Response:
        assert (viewer.name, line) == (self.own_user, "health")
        if self._response is None:
            raise Unavailable("nobody answers")
        return self._response


class _StandingStill(Gateway):
    """An appliance that accepts questions and never answers."""

    async def ask(self, viewer: Viewer, line: str) -> Response:
        await asyncio.Event().wait()
        raise AssertionError(viewer, line)


def _feed() -> Feed:
    return Feed(Path("/nowhere"), SystemClock(), 0, lambda: None)


def _ask(response: Response | None, path: str) -> tuple[int, bytes]:
    return _answer(_Appliance(response), _feed(), path)


def _answer(gateway: Gateway, feed: Feed, path: str) -> tuple[int, bytes]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    asyncio.run(Starlette(routes=[*health.routes(gateway, feed)])(scope, receive, send))
    return messages[0]["status"], messages[1]["body"]


@pytest.mark.parametrize(
    ("response", "live", "ready"),
    [
        ({"ok": True, "data": {"live": True, "ready": True, "troubles": []}}, 200, 200),
        ({"ok": True, "data": {"live": True, "ready": True, "troubles": ["the file /etc/secret is gone"]}}, 200, 200),
        ({"ok": False, "data": {"live": True, "ready": False, "troubles": ["the store is full"]}}, 200, 503),
        ({"ok": False, "data": None, "error": "Not Authorized for this command"}, 503, 503),
        (None, 503, 503),
    ],
)
def test_the_answer_is_one_word(response: Response | None, live: int, ready: int) -> None:
    for path, status in (("/healthz", live), ("/readyz", ready)):
        assert _ask(response, path) == (status, b"ok\n" if status == 200 else b"unavailable\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_question_without_an_answer_ends_before_a_load_balancer_gives_up(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.01)
    assert _answer(_StandingStill(Path("/nowhere"), SystemClock()), _feed(), path) == (503, b"unavailable\n")


def test_what_the_page_knows_already_is_said_without_waiting_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", None)
    feed = _feed()
    feed._be_late()
    assert _answer(_StandingStill(Path("/nowhere"), SystemClock()), feed, "/healthz")[0] == 503
