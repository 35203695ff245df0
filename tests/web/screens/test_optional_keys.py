"""No screen fails because an answer lacks a key that may be missing, holds null, or is empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import StreamingResponse

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.events import EVENTS
from schedappliance.client.schemas import ANSWERS, answer_kind
from schedappliance.client.wire import Message
from schedappliance.clock import ManualClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.application import FILES, SCREENS
from schedappliance.web.rendering.templates import rendered
from schedappliance.web.screens import run
from schedappliance.web.screens.site import Site
from tests.support.answers import BASE64, DAY_MS, JOB, NOW_MS, Answers, response

ALICE = Viewer("alice", 1000, "socket")
# What the address of a screen asks for beside the screen itself.
QUERIES = {
    "/jobs": ("", "show=off", "show=failing&find=a"),
    "/jobs/new": ("", "line=sched+in+1+version"),
    "/files": ("", "from=1"),
    "/spool": ("", "file=a.cmd"),
    "/preview": ("", "job=a"),
    "/runs": ("", "text=a"),
    "/confirm": ("", "line=sched+hold", "line=sched+stop+a"),
}
# What is said of a run, or of a job.
OF_RUN_OR_JOB = (ANSWERS["sched_show"], ANSWERS["sched_why"])
ADDRESSES = [(screen, query) for screen in SCREENS for query in QUERIES.get(screen.path, ("",))]


@dataclass
class Console:
    """A connection to an appliance whose answers are made of their types."""

    answers: Answers

    async def ask(self, line: str, quiet: bool = False) -> Message:  # noqa: ARG002
        kind = answer_kind(line.removeprefix("json "))
        assert kind is not Any, line
        if kind in OF_RUN_OR_JOB:
            kind = get_args(kind)["/" not in line]
        data = self.answers.of(kind)
        # The question decides which of two keys is there.
        if line.endswith("as base64"):
            data["base64"] = BASE64
        return response(self.answers, data)

    async def ask_together(self, lines: Sequence[str]) -> list[Message]:
        return [await self.ask(line) for line in lines]

    def set_timeout(self, timeout: float | None) -> None:
        pass

    def renew(self) -> None:
        pass

    close = renew


class ToConsole(Gateway):
    """A gateway to such an appliance."""

    def __init__(self, console: Console) -> None:
        super().__init__(Path("nowhere"), ManualClock(NOW_MS), "own")
        self._console = console

    def new_session(self, viewer: Viewer) -> AsyncSession:  # noqa: ARG002
        return cast(AsyncSession, self._console)


async def _site(answers: Answers) -> Site:
    """A page whose feed has read everything and taken an event of each kind."""
    console, clock = Console(answers), ManualClock(NOW_MS)
    feed = Feed(Path("nowhere"), clock, DAY_MS, lambda: None)
    await feed._read_all(cast(AsyncSession, console))
    for _ in range(2):
        await feed._read_stale(cast(AsyncSession, console))
        for kind in EVENTS.values():
            feed._take(answers.of(kind))
    return Site("a", False, ToConsole(console), feed, clock)


def _request(path: str, query: str) -> Request:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    return Request(scope | {"state": {"viewer": ALICE}, "path_params": {"job": JOB, "occurrence": 1}})


async def _show_all(answers: Answers) -> dict[str, str]:
    """Every screen with its stream, and every file: the template of each address."""
    site, shown = await _site(answers), dict[str, str]()
    for screen, query in ADDRESSES:
        look = site.look(_request(screen.path, query))
        template, values, _ = await site.values(look, screen)
        assert rendered(site.templates, template, values).html
        assert (await site.parts(look, screen))[0] in (template, "problem.html")
        shown[f"{screen.path}?{query}"] = template
    for path, make in FILES:
        file = await make(site.look(_request(path, "")))
        assert isinstance(file, StreamingResponse)
        assert [part async for part in file.body_iterator]
    await run.follow(site.look(_request("/runs", "")), run.Reading())
    return shown


def _always(value: bool) -> Callable[[], bool]:
    return lambda: value


@pytest.mark.parametrize("is_null", [True, False], ids=["null", "values"])
@pytest.mark.parametrize("has_keys", [True, False], ids=["all keys", "no optional key"])
def test_every_screen_is_shown(has_keys: bool, is_null: bool) -> None:
    answers = Answers(lambda choices: choices[0], _always(has_keys), _always(is_null))
    assert set(asyncio.run(_show_all(answers)).values()) == {screen.template for screen in SCREENS}


@settings(max_examples=10)
@given(st.integers(min_value=0))
def test_every_screen_is_shown_of_a_mixture(seed: int) -> None:
    dice = Random(seed)

    def toss() -> bool:
        return dice.random() < 0.5

    asyncio.run(_show_all(Answers(dice.choice, toss, toss)))
