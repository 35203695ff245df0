"""The feed: what it knows after events, and that it comes back after the appliance was away."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import Message
from schedappliance.clock import SystemClock
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance import feed as feed_module
from schedappliance.web.appliance import gateway as gateway_module
from schedappliance.web.appliance.feed import Feed, Row
from schedappliance.web.appliance.gateway import TOGETHER, Gateway
from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS

DAY_MS = 86_400_000
JOB: Row = {
    "id": "n-000000001",
    "name": "greeting",
    "next_run_ms": 5000,
    "recurrent": True,
    "interval_ms": 1000,
    "calendar": None,
    "zone": None,
    "command": "run hello",
    "user": "@config",
    "origin": "stanza",
    "paused": False,
}
RUN: Row = {
    "run": "n-000000001/1",
    "sequence": 1,
    "id": "n-000000001",
    "name": "greeting",
    "due_ms": 4000,
    "state": "started",
    "started_ms": 4001,
    "ended_ms": None,
    "took_ms": 0,
    "attempts": 1,
}
INCIDENT: Row = {"incident": 1, "subject": "greeting", "id": "n-000000001", "since_ms": 1}


class Console:
    """A console whose answers a test decides."""

    def __init__(self) -> None:
        self.jobs: list[Row] = [JOB]
        self.runs: list[Row] = []
        self.zone = ""
        self.watchers: list[asyncio.StreamWriter] = []
        self.connections: list[asyncio.StreamWriter] = []
        # What happens while a command is answered, by how the command begins.
        self.meanwhile: dict[str, Callable[[], None]] = {}
        self.requests: list[Row] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while line := await reader.readline():
                request = json.loads(line)
                self.requests.append(request)
                answer = {"v": 1, "id": request["id"], "ok": True, "transaction": False}
                answer["data"] = self.data(request["command"], writer)
                if answer["data"] is None:
                    answer |= {"ok": False, "error": "no such job", "diagnostics": []}
                for begin in [begin for begin in self.meanwhile if request["command"].startswith(f"json {begin}")]:
                    self.meanwhile.pop(begin)()
                writer.write(json.dumps(answer).encode() + b"\n")
        except (ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    def data(self, command: str, writer: asyncio.StreamWriter) -> Any:
        if command == "watch":
            self.watchers.append(writer)
            return {"seq": 1}
        words = command.removeprefix("json ")
        if words.startswith("sched list"):
            return self.jobs
        if words.startswith("sched history"):
            return [run for run in self.runs if "state" not in words or run["state"] in words]
        if words.startswith("sched show"):
            job = next((job for job in self.jobs if job["id"] == words.split()[2]), None)
            return job and job | {"state": "waiting"}
        if words == "sched incidents":
            return {"incidents": []}
        if words == "health":
            return {"troubles": [], "held": None, "ready": True}
        if words == "config show sched":
            return [{"stanza": "sched", "name": "", "options": {"zone": self.zone} if self.zone else {}}]
        return {"last_attempt": None}

    def tell(self, **event: Any) -> None:
        for writer in self.watchers:
            writer.write(json.dumps({"v": 1, "id": 1, "event": {"seq": 2, "at_ms": 0, **event}}).encode() + b"\n")


@pytest.fixture
def endpoint() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "console.sock"


async def until(feed: Feed, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await feed.wait_after(feed.version, 0.1)


def follow(endpoint: Path, check: Callable[[Feed, Console], Awaitable[None]]) -> None:
    async def run() -> None:
        console = Console()
        feed = Feed(endpoint, SystemClock(), DAY_MS, lambda: None)
        async with await asyncio.start_unix_server(console.serve, endpoint):
            following = asyncio.create_task(feed.run())
            await until(feed, lambda: feed.silent_since_ms is None)
            await check(feed, console)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(run())


def test_events_change_what_the_feed_knows(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        assert list(feed.jobs) == ["n-000000001"]
        console.tell(kind="run", **RUN)
        await until(feed, lambda: list(feed.live) == ["n-000000001/1"])
        console.tell(kind="run", **RUN | {"state": "failed", "ended_ms": 4500, "took_ms": 499})
        await until(feed, lambda: list(feed.failed) == ["n-000000001/1"])
        assert not feed.live and feed.columns.of("n-000000001")[0].took_ms == 499
        console.tell(kind="incident", change="begun", incident=INCIDENT)
        await until(feed, lambda: list(feed.incidents) == [1])
        console.tell(kind="incident", change="recovered", incident=INCIDENT)
        await until(feed, lambda: not feed.incidents)
        console.tell(kind="degraded", troubles=["the disk is full"])
        await until(feed, lambda: feed.health["troubles"] == ["the disk is full"])

    follow(endpoint, check)


def test_what_roles_do_not_allow_the_feed_is_not_logged_where_the_protocol_can_leave_it_out(endpoint: Path) -> None:
    """Each reading of the incidents gave a line about a rejection."""

    async def check(_feed: Feed, console: Console) -> None:
        quiet = {" ".join(request["command"].split()[1:3]): request.get("quiet", False) for request in console.requests}
        quiet.pop("")
        expected = {"sched list": True, "sched history": False, "sched incidents": True, "health": False}
        assert quiet == {**expected, "config status": False, "config show": True}

    follow(endpoint, check)


def test_the_feed_knows_when_the_last_attempt_of_a_run_began(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        console.runs = [RUN | {"took_ms": 42_000}]
        console.tell(kind="gap")
        await until(feed, lambda: bool(feed.live))
        began = feed.live["n-000000001/1"]["began_ms"]
        assert 42_000 <= SystemClock().moment().boot - began < 42_000 + PATIENCE_SECONDS * 1000
        before = [run.began_ms for run in feed.columns.live()]
        assert before[0] is not None and before[0] >= began, "it is from another answer"
        feed._take({"kind": "run", **RUN, "took_ms": 10})
        assert feed.live["n-000000001/1"]["began_ms"] == began, "the event is older than the list"
        feed._take({"kind": "run", **RUN, "attempts": 2, "took_ms": 10})
        assert feed.live["n-000000001/1"]["began_ms"] > began
        feed._take({"kind": "run", **RUN, "state": "succeeded", "ended_ms": 4500, "took_ms": 20})
        assert [run.began_ms for run in feed.columns.of("n-000000001")] == [None]

    follow(endpoint, check)


def test_a_reload_may_change_the_zone_in_which_the_appliance_writes(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        assert feed.zone is None
        console.zone = "Europe/Berlin"
        console.tell(kind="configuration")
        await until(feed, lambda: feed.zone == "Europe/Berlin")

    follow(endpoint, check)


@pytest.mark.parametrize(("seconds", "is_read"), [(0.0, True), (1e9, False)])
def test_overrides_let_the_list_of_jobs_be_read_now_and_then(
    endpoint: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, is_read: bool
) -> None:
    """Each of them could be that of the zone of all calendars."""
    monkeypatch.setattr("schedappliance.web.appliance.feed.LIST_SECONDS", seconds)

    async def check(feed: Feed, console: Console) -> None:
        console.jobs = [JOB, JOB | {"id": "n-000000002", "name": "other"}]
        console.zone = "Europe/Berlin"
        console.tell(kind="override", overrides=1)
        await until(feed, lambda: feed.zone == "Europe/Berlin")
        assert ("n-000000002" in feed.jobs) == is_read

    follow(endpoint, check)


def test_the_next_due_time_of_a_job_that_has_run_is_read_again(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        console.jobs = [JOB | {"next_run_ms": 6000}]
        console.tell(kind="run", **RUN)
        await until(feed, lambda: feed.jobs["n-000000001"]["next_run_ms"] == 6000)
        console.jobs = []
        await feed.read_again(["n-000000001"])
        assert feed.jobs == {}

    follow(endpoint, check)


def test_after_a_gap_everything_is_read_again(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        console.jobs = [JOB, JOB | {"id": "n-000000002", "name": "other"}]
        console.tell(kind="gap")
        await until(feed, lambda: list(feed.jobs) == ["n-000000001", "n-000000002"])

    follow(endpoint, check)


def test_the_feed_knows_since_when_the_appliance_does_not_answer_and_comes_back(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        for writer in console.connections:
            writer.close()
        await until(feed, lambda: feed.silent_since_ms is not None)
        await until(feed, lambda: feed.silent_since_ms is None)
        assert list(feed.jobs) == ["n-000000001"]

    follow(endpoint, check)


def test_an_event_that_comes_while_a_list_is_read_is_not_lost(endpoint: Path) -> None:
    """The list may be older than the event. Without the event, the run would go on for ever."""

    async def check(feed: Feed, console: Console) -> None:
        console.runs = [RUN]
        ended = {"kind": "run", **RUN, "state": "succeeded", "ended_ms": 4500}
        console.meanwhile["sched history active"] = lambda: feed._take(ended)
        console.tell(kind="gap")
        await until(feed, lambda: not console.meanwhile)
        await feed.read_again([])
        assert [run.state for run in feed.columns.of("n-000000001")] == ["succeeded"]
        assert not feed.live

    follow(endpoint, check)


def test_single_jobs_are_asked_for_together(endpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question that is asked alone waits for a turn of the appliance."""
    asked: list[list[str]] = []

    async def ask_together(self: AsyncSession, lines: Sequence[str], quiet: bool = False) -> list[Message]:
        asked.append([line for line in lines if line.startswith("json sched show")])
        return await AsyncSession.ask_together(self, lines, quiet)

    monkeypatch.setattr(feed_module._Questions, "ask_together", ask_together)

    async def check(feed: Feed, console: Console) -> None:
        console.jobs = [JOB | {"id": f"n-{number:09}", "next_run_ms": 7000} for number in range(1, 7)]
        await feed.read_again([job["id"] for job in console.jobs] + ["n-000000099"])
        assert {job: row["next_run_ms"] for job, row in feed.jobs.items()} == {job["id"]: 7000 for job in console.jobs}
        assert sorted(map(len, filter(None, asked))) == [1, 2, TOGETHER], "one is gone"

    follow(endpoint, check)


def test_a_job_that_is_deleted_while_it_is_read_is_gone(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        console.meanwhile["sched show"] = lambda: feed._take({"kind": "job", "id": "n-000000001", "state": "gone"})
        await feed.read_again(["n-000000001"])
        assert not console.meanwhile and not feed.jobs

    follow(endpoint, check)


def test_a_job_that_was_deleted_before_it_has_ever_run_is_no_trouble(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        asked: list[str] = []
        console.meanwhile["sched show n-000000002"] = lambda: asked.append("the job")
        console.tell(kind="job", id="n-000000002", state="waiting")
        await until(feed, lambda: bool(asked))
        await feed.read_again([])
        assert len(console.connections) == 2, "the feed has not begun again"
        assert list(feed.jobs) == ["n-000000001"] and feed.silent_since_ms is None

    follow(endpoint, check)


def test_each_of_two_actions_at_once_waits_for_its_own_job(endpoint: Path) -> None:
    async def check(feed: Feed, console: Console) -> None:
        second: list[asyncio.Task[None]] = []

        def act() -> None:
            console.jobs.append(JOB | {"id": "n-000000002"})
            second.append(asyncio.create_task(feed.read_again(["n-000000002"])))

        console.jobs = [JOB]
        console.meanwhile["sched show n-000000001"] = act
        await feed.read_again(["n-000000001"])
        await second[0]
        assert list(feed.jobs) == ["n-000000001", "n-000000002"]

    follow(endpoint, check)


def test_after_a_change_of_the_files_only_the_jobs_are_read_again(endpoint: Path) -> None:
    """The runs are many, and no file changes them."""

    async def check(feed: Feed, console: Console) -> None:
        asked: list[str] = []
        console.meanwhile["sched history"] = lambda: asked.append("the runs")
        console.jobs = [JOB | {"name": "other"}]
        console.tell(kind="configuration", outcome="accepted", digest="", diagnostics=[])
        await until(feed, lambda: feed.jobs["n-000000001"]["name"] == "other")
        await feed.read_again([])
        assert not asked

    follow(endpoint, check)


def test_a_stopped_daemon_is_noticed_before_its_connections_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy daemon looks the same. It is not asked everything again, and what has changed meanwhile is seen.

    The question of a viewer lets the feed look at once: its own next look would be years away.
    """
    monkeypatch.setattr(feed_module, "PATIENCE_SECONDS", 1e6)
    monkeypatch.setattr(gateway_module, "PATIENCE_SECONDS", 1e6)
    monkeypatch.setattr(feed_module, "CHECK_SECONDS", 1e6)
    for name in ("LATE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(feed_module, name, 0.2)

    async def check(daemon: Daemon) -> None:
        feed, gateway = (
            Feed(daemon.socket_path, SystemClock(), DAY_MS, lambda: None),
            Gateway(daemon.socket_path, SystemClock()),
        )
        following = asyncio.create_task(feed.run())
        await until(feed, lambda: feed.silent_since_ms is None)
        runs = feed.columns
        with daemon.frozen():
            with pytest.raises(Unavailable, match="has not answered in time"):
                await feed.unless_silent(gateway.data(Viewer(gateway.own_user, None, "socket"), "version"))
            await feed.read_again(["greeting"])
        await until(feed, lambda: feed.silent_since_ms is None)
        assert feed.columns is runs, "the runs were not read again"
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        gateway.close()

    with tempfile.TemporaryDirectory() as name:
        daemon = Daemon(Path(name)).start()
        try:
            asyncio.run(asyncio.wait_for(check(daemon), PATIENCE_SECONDS))
        finally:
            daemon.end()
