"""What roles for one job show of an appliance with others: over the screens, their streams, and the REST API."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import Message, Scope

from schedappliance.clock import SystemClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.api.routes import API_PATH
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.application import FILES, SCREENS, application
from schedappliance.web.screens.streams import ALIVE
from tests.support.daemon import STANZAS, Daemon
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

OWN = pwd.getpwuid(os.geteuid()).pw_name
BOSS, GUEST = Viewer(OWN, os.geteuid(), "socket"), Viewer("nobody", None, "proxy")
DECLARED = f"""
program "ledger" {{ argv = ( "/bin/sh" "-c" "exit 3" ) }}
job "backup" {{ every = 1d command = "run hello" }}
job "payroll" {{ every = 1d command = "run ledger" }}
Authorization {{
  delegates = ( "{OWN}" )
  Role "boss" {{ allow = ( "." ) users = ( "{OWN}" ) }}
  Role "guest" {{ allow = ( "^sched (show|history|why|next) backup( |$)" "^authz may " ) users = ( "nobody" ) }}
}}
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon on which both jobs have run, and a run of no job waits to be seen."""
    made = Daemon(tmp_path, STANZAS % (tmp_path / "etc") + DECLARED).start()
    for line in ("sched run backup", "sched run payroll", "run ledger"):
        made.run(line)
    yield made
    made.end()


class Browser:
    """What a viewer gets from the page."""

    def __init__(self, app: Starlette, viewer: Viewer) -> None:
        self._app, self._viewer = app, viewer

    async def get(self, path: str, until: Callable[[str], bool] | None = None) -> tuple[int, str]:
        """The status and the body of an answer. `until`: as a stream, until its text so far is enough."""
        target, _, query = path.partition("?")
        enough, texts, statuses = asyncio.Event(), list[str](), list[int]()

        requests = iter([{"type": "http.request", "body": b""}])

        async def receive() -> Message:
            for request in requests:
                return request
            await enough.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))
            texts.append(message.get("body", b"").decode())
            if until and texts[-1] == ALIVE.decode() and until("".join(texts)):
                enough.set()

        accept = [(b"accept", b"text/event-stream")] if until else []
        scope: Scope = {"type": "http", "method": "GET", "path": target, "root_path": "", "headers": accept}
        scope.update({"query_string": query.encode(), "state": {"viewer": self._viewer}})
        await asyncio.wait_for(self._app(scope, receive, send), PATIENCE_SECONDS)
        return statuses[0], "".join(texts)


@asynccontextmanager
async def page_of(daemon: Daemon) -> AsyncIterator[Callable[[Viewer], Browser]]:
    clock = SystemClock()
    gateway = Gateway(daemon.socket_path, clock)
    feed = Feed(daemon.socket_path, clock, 14 * 86_400_000, gateway.forget_rights)
    app = application("page", False, gateway, feed, clock)
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS):
        while feed.silent_since_ms is not None:
            await feed.wait_after(feed.version, 1)
        yield lambda viewer: Browser(app, viewer)


def with_page(daemon: Daemon, check: Callable[[Callable[[Viewer], Browser]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with page_of(daemon) as browser:
            await check(browser)

    asyncio.run(run())


@pytest.fixture
def hidden(daemon: Daemon) -> list[str]:
    """What must not be seen: the ids of the other runs and their jobs, and their program."""
    names = {name for run in daemon.runs() if run["name"] != "backup" for name in (run["run"], run["id"])}
    return [*names, "ledger"]


def test_the_first_screen_shows_one_job_or_all(daemon: Daemon, hidden: list[str]) -> None:
    async def check(browser: Callable[[Viewer], Browser]) -> None:
        # Whoever looks first, what was made for one is not shown to the other.
        for viewers in ((GUEST, BOSS), (BOSS, GUEST)):
            for span in ("12h", "1h"):
                texts = {one: (await browser(one).get(f"/?span={span}"))[1] for one in viewers}
                assert all(text in texts[BOSS] for text in ("timeline-others", "payroll", *hidden))
                assert texts[GUEST].count('class="lane"') == 1 and "backup" in texts[GUEST]
                assert not [text for text in ("timeline-others", "payroll", *hidden) if text in texts[GUEST]]

    with_page(daemon, check)


def test_the_stream_of_the_first_screen_shows_one_job_or_all(daemon: Daemon, hidden: list[str]) -> None:
    (job,) = {run["id"] for run in daemon.runs() if run["name"] == "backup"}

    async def check(browser: Callable[[Viewer], Browser]) -> None:
        begun = asyncio.Event()

        def sees_both(text: str) -> bool:
            begun.set()
            return f"{job}/2" in text

        following = [asyncio.create_task(browser(one).get("/", sees_both)) for one in (GUEST, BOSS)]
        await begun.wait()
        for line in ("sched run payroll", "run ledger", "sched run backup"):
            await asyncio.to_thread(daemon.run, line)
        (_, of_guest), (_, of_boss) = await asyncio.gather(*following)
        assert all(text in of_boss for text in ("timeline-others", "payroll", *hidden))
        assert not [text for text in ("timeline-others", "payroll", *hidden) if text in of_guest]

    with_page(daemon, check)


def test_no_screen_shows_what_the_role_does_not_allow(daemon: Daemon, hidden: list[str]) -> None:
    """The addresses of other jobs and runs are asked for too."""
    runs = {run["name"]: run["run"] for run in daemon.runs() if run["name"]}

    async def check(browser: Callable[[Viewer], Browser]) -> None:
        for screen in (*(one.path for one in SCREENS), *(path for path, _ in FILES)):
            for name, run in runs.items():
                path = screen.replace("{job}/{occurrence:int}", run).replace("{job}", name)
                for query in ("", f"?job={name}"):
                    boss, guest = [await browser(one).get(path + query) for one in (BOSS, GUEST)]
                    assert boss[0] == 200, path
                    assert not [text for text in hidden if text in guest[1].replace(run, "")], path
        assert (await browser(GUEST).get("/jobs/backup"))[0] == 200
        assert (await browser(GUEST).get(f"/runs/{runs['payroll']}"))[0] == 403
        assert (await browser(GUEST).get("/runs.csv?job=payroll"))[0] == 403
        wrong = ("/runs.csv?state=x", "/runs.csv?job=a%0ab", "/runs.json?since=x", "/runs.csv?job=none")
        assert [(await browser(BOSS).get(path))[0] for path in wrong] == [422, 422, 422, 404]
        assert runs["backup"] in (await browser(GUEST).get("/runs?job=backup"))[1]

    with_page(daemon, check)


def test_the_api_gives_what_the_role_allows(daemon: Daemon, hidden: list[str]) -> None:
    allowed = ("/jobs/backup", "/jobs/backup/why", "/runs?job=backup")
    denied = (
        "/jobs",
        "/jobs/payroll",
        "/jobs/payroll/why",
        "/runs",
        "/runs?job=payroll",
        "/incidents",
        "/events",
        "/summary",
    )

    async def check(browser: Callable[[Viewer], Browser]) -> None:
        for path in (*allowed, *denied):
            status, body = await browser(GUEST).get(f"{API_PATH}{path}")
            assert status == (200 if path in allowed else 403), path
            assert ("backup" in body) == (path in allowed) and not [text for text in hidden if text in body]

    with_page(daemon, check)
