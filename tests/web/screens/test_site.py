"""What all screens share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request

from schedappliance.client.answers import Diagnostic
from schedappliance.client.errors import NotAuthorized, Rejected, Unavailable
from schedappliance.clock import ManualClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.application import SCREENS
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.parts import Part
from schedappliance.web.screens.site import MOST_NAMED, Screen, Shown, Site, _named, _problem, discard_oldest, here

ALICE = Viewer("alice", 1000, "socket")
WRONG = Diagnostic("<command>", 1, 1, 1, 2, "E203", "error", "a wrong time", "write `12h`")


def _feed() -> Feed:
    """That of an appliance that answers."""
    feed = Feed(Path("nowhere"), ManualClock(0), 0, lambda: None)
    feed.silent_since_ms = None
    return feed


class NoRole:
    """An appliance that allows its viewers nothing."""

    async def may(self, _viewer: Viewer, _line: str) -> bool:
        return False

    async def data(self, _viewer: Viewer, _line: str, reads_failures: bool = False) -> Any:  # noqa: ARG002
        raise NotAuthorized("Not Authorized for this command", ())

    async def ground(self, _viewer: Viewer) -> tuple[str, ...]:
        return ()

    async def learn(self, _viewer: Viewer, _lines: Iterable[str]) -> None:
        pass

    async def ask_all(self, _viewer: Viewer, lines: Sequence[str]) -> list[Any]:
        return [{"ok": False, "data": None} for _ in lines]

    answer = ask = data


@pytest.mark.parametrize("screen", SCREENS, ids=lambda one: one.path)
def test_a_viewer_without_a_role_gets_every_screen_and_its_stream(screen: Screen) -> None:
    feed = _feed()
    feed.jobs = {"a-000000001": {"id": "a-000000001", "name": "secret", "paused": True, "next_run_ms": 0}}
    site = Site("a", False, cast(Gateway, NoRole()), feed, ManualClock(0))
    request = _request(screen.path, "")
    request.scope["state"] = {"viewer": ALICE}
    request.scope["path_params"] = {"job": "secret-job", "occurrence": 1}

    async def answer() -> tuple[str, dict[str, str]]:
        _, parts = await site.parts(site.look(request), screen)
        return (await site.page(site.look(request), screen))[0], {part.key: part.html for part in parts}

    whole, parts = asyncio.run(answer())
    for text in (whole, *parts.values()):
        assert "No trouble" not in text and 'class="tile"' not in text
        assert ">secret<" not in text
    assert set(parts) <= {"trouble", "hold", "verdict", "problem"}


class Hangs(NoRole):
    """An appliance that allows everything, and answers no question."""

    async def may(self, _viewer: Viewer, _line: str) -> bool:
        return True

    async def ground(self, _viewer: Viewer) -> tuple[str, ...]:
        await asyncio.Event().wait()
        return ()

    async def data(self, _viewer: Viewer, _line: str, reads_failures: bool = False) -> Any:  # noqa: ARG002
        await asyncio.Event().wait()


def test_a_stream_without_an_answer_changes_only_what_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing that somebody types in the meantime is lost."""
    monkeypatch.setattr("schedappliance.web.appliance.feed.LOOK_SECONDS", 0.0)
    feed = _feed()
    site = Site("a", False, cast(Gateway, Hangs()), feed, ManualClock(0))
    request = _request("/jobs/new", "")
    request.scope["state"] = {"viewer": ALICE}
    (screen,) = (screen for screen in SCREENS if screen.path == "/jobs/new")

    async def parts() -> tuple[str, list[Part]]:
        asyncio.get_running_loop().call_soon(feed._be_late)
        return await site.parts(site.look(request), screen)

    template, made = asyncio.run(parts())
    assert template == "" and [part.key for part in made] == ["trouble", "problem"]
    assert "The appliance has not answered since" in made[0].html


class OneFile(NoRole):
    """An appliance whose spool holds one file."""

    def __init__(self, **row: Any) -> None:
        self._row = {"file": "a.cmd", "time_ms": 0, "user": None} | row

    async def may(self, _viewer: Viewer, line: str) -> bool:
        return line.startswith("spool")

    async def data(self, _viewer: Viewer, _line: str, reads_failures: bool = False) -> Any:  # noqa: ARG002
        return [self._row]


def _chosen(appliance: OneFile) -> str:
    """What the screen Spool shows of the one file."""
    feed = _feed()
    site = Site("a", False, cast(Gateway, appliance), feed, ManualClock(0))
    request = _request("/spool", "file=a.cmd")
    request.scope["state"] = {"viewer": ALICE}
    (screen,) = (screen for screen in SCREENS if screen.path == "/spool")
    _, parts = asyncio.run(site.parts(site.look(request), screen))
    return next(part.html for part in parts if part.key == "chosen")


def test_a_file_of_the_spool_that_waits_is_shown() -> None:
    assert "is being written" in _chosen(OneFile(state="waiting", answer="is being written"))


def test_the_answers_to_the_lines_of_a_file_are_shown() -> None:
    lines = [
        {"line": 1, "output": "n-000000001"},
        {"line": 3, "data": {"id": "<n>"}, "error": "was skipped"},
        {"command": "run old", "output": "of an earlier version"},
    ]
    result = {"file": "a.cmd", "accepted": True, "user": "alice", "results": lines, "diagnostics": []}
    html = _chosen(OneFile(state="done", answer="3 commands", result=result))
    for text in (
        "Line 1",
        "n-000000001",
        "Line 3",
        "{&#34;id&#34;: &#34;&lt;n&gt;&#34;}",
        "was skipped",
        "of an earlier",
    ):
        assert text in html
    many = result | {"results": lines[:1] * 60, "repeats": "b.cmd"}
    html = _chosen(OneFile(state="done", answer="60 commands", result=many))
    assert html.count("Line 1") == 50 and "first 50 of 60 commands" in html and "b.cmd" in html


def test_only_the_first_mistakes_of_a_file_are_shown() -> None:
    result = {"file": "a.cmd", "accepted": False, "user": "alice", "results": []}
    result |= {"diagnostics": [asdict(WRONG)] * 60, "more_diagnostics": 7}
    html = _chosen(OneFile(state="failed", answer="a wrong time", result=result))
    assert html.count("E203") == 50 and "and 17 more diagnostics" in html


ABOUT_FILES = "the stanza files were rejected: /etc/sched.conf:18:15: E202 unknown option"
REFUSED = {"outcome": "rejected", "diagnostics": [{"file": "/etc/sched.conf", "line": 18, "message": "unknown option"}]}


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (("health", "config status"), [(f"T{ABOUT_FILES[1:]}", "/files"), ("The disk is full", "")]),
        (("config status",), [("The stanza files on disk are rejected: /etc/sched.conf:18: unknown option", "/files")]),
        (("health",), [(f"T{ABOUT_FILES[1:]}", ""), ("The disk is full", "")]),
        ((), []),
    ],
)
def test_rejected_files_are_told_once(allowed: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    class Some(NoRole):
        async def may(self, _viewer: Viewer, line: str) -> bool:
            return line in allowed

    feed = _feed()
    feed.health = {"troubles": [ABOUT_FILES, "the disk is full"], "held": None, "ready": False}
    feed.refused = REFUSED
    site = Site("a", False, cast(Gateway, Some()), feed, ManualClock(0))
    request = _request("/", "")
    request.scope["state"] = {"viewer": ALICE}
    troubles = asyncio.run(site._troubles(site.look(request)))
    assert [(one["text"], one["href"]) for one in troubles] == expected


def _request(path: str, query: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []})


def test_the_address_of_a_screen_is_that_of_its_part_of_a_list() -> None:
    query = "find=a&after=0001.example.com-000000001"
    assert here(_request("/jobs", query)) == f"/jobs?{query}"
    assert here(_request("/runs/a-1/1", "attempt=2&position=2-11-1")) == "/runs/a-1/1?attempt=2"
    assert here(_request("/", "message=abc")) == "/"


@pytest.mark.parametrize(
    ("error", "status", "head", "text", "remedy"),
    [
        (Unavailable("no answer"), 503, "The appliance does not answer", "No answer.", ""),
        (
            Rejected("an error; do this", (WRONG,)),
            404,
            "The appliance has rejected this",
            "A wrong time.",
            "Write `12h`.",
        ),
        (NotAuthorized("Not Authorized"), 403, "Your roles do not allow this", "Not Authorized.", ""),
    ],
)
def test_the_page_of_an_error_says_what_to_do(
    error: Unavailable | Rejected, status: int, head: str, text: str, remedy: str
) -> None:
    values, found = _problem(error, "/jobs/x")
    assert (found, values["head"], values["text"], values["help"]) == (status, head, text, remedy)
    assert values["way_out"] == ("/jobs/x", "Try again")


def test_the_page_of_what_does_not_exist_leads_to_the_jobs() -> None:
    values, status = _problem(Rejected("", (replace(WRONG, code="E501"),)), "/jobs/x")
    assert (status, values["head"], values["way_out"]) == (404, "Not found", ("/jobs", "All jobs"))
    assert _problem(Rejected("", (replace(WRONG, code="E513"),)), "/spool?file=x")[0]["way_out"][0] == "/spool"


def test_the_first_stream_of_a_page_knows_what_the_page_shows() -> None:
    site, (screen, *_) = Site("a", False, cast(Gateway, NoRole()), _feed(), ManualClock(0)), SCREENS

    async def shown(address: str) -> tuple[str, Shown | None, Shown | None]:
        path, _, query = address.partition("?")
        request = _request(path, query)
        request.scope["state"] = {"viewer": ALICE}
        html, _ = await site.page(site.look(request), screen)
        found = re.search(r'data-stream="([^"]*)"', html)
        assert found
        path, _, query = found[1].replace("&amp;", "&").partition("?")
        stream = _request(path, query)
        assert here(stream) == address
        return html, site.take_shown(stream), site.take_shown(stream)

    for address in ("/", "/?find=a&span=1h"):
        html, first, second = asyncio.run(shown(address))
        assert first and second is None
        assert (first.version, first.template) == (site.feed.version, "now.html")
        assert first.parts and all(part in html for part in first.parts.values())


def test_the_page_of_an_error_is_loaded_again_by_its_stream() -> None:
    site = Site("a", False, cast(Gateway, NoRole()), _feed(), ManualClock(0))
    request = _request("/", "")
    request.scope["state"] = {"viewer": ALICE}

    async def collect(_look: Look) -> dict[str, Any]:
        raise NotAuthorized("Not Authorized for this command", ())

    _, status = asyncio.run(site.page(site.look(request), Screen("/", "Now", "now.html", collect)))
    assert status == 403
    assert not site._shown


def test_pages_without_streams_use_bounded_memory() -> None:
    entries = {number: number for number in range(3)}
    for number in range(3, 9):
        discard_oldest(entries, 3)
        entries[number] = number
    assert list(entries) == [6, 7, 8]


def test_a_few_jobs_in_trouble_are_named_and_many_are_counted() -> None:
    assert _named(["tidy"]) == "tidy"
    assert _named(["tidy", "backup", "a" * 50]) == f"{'a' * 37}..., backup and tidy"
    assert _named(["tidy"] * (MOST_NAMED + 1)) == "4 jobs"
