"""The gateway: whose command it is, and how often it asks about rights."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from schedappliance.client.errors import Rejected, Unavailable
from schedappliance.clock import Clock, ManualClock, SystemClock
from schedappliance.web.gateway import CONNECTIONS, FRESH_MS, VIEWERS, Gateway
from schedappliance.web.viewer import Viewer

SYSTEM_CLOCK = SystemClock()
ALICE, BOB, OWN = (Viewer(name, None, "socket") for name in ("alice", "bob", "own"))


class Appliance:
    """A console that answers each command with the request itself, and notes what it has received."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self.allowed = True
        # What happens after an answer is made and before it is sent.
        self.meanwhile: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while line := await _line(reader):
            request = json.loads(line)
            self.requests.append(request)
            data: Any = request
            if request["command"].startswith("json authz may "):
                data = {"allowed": self.allowed, "denied": None}
            elif request["command"] == "json authz id":
                data = {"roles": ["staff"]}
            answer = {"v": 1, "id": request["id"], "ok": self.allowed, "transaction": False, "data": data}
            if not self.allowed:
                answer |= {"error": "no", "verbatim": False, "diagnostics": []}
            self.meanwhile()
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty at the end of the connection, and at the end of the test."""
    try:
        return await reader.readline()
    except (ConnectionError, asyncio.CancelledError):
        return b""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def with_gateway(
    directory: Path, check: Callable[[Gateway, Appliance], Awaitable[None]], clock: Clock = SYSTEM_CLOCK
) -> None:
    @asynccontextmanager
    async def both() -> Any:
        appliance = Appliance()
        async with await asyncio.start_unix_server(appliance.serve, directory / "console.sock"):
            gateway = Gateway(directory / "console.sock", clock, "own")
            yield gateway, appliance
            gateway.close()

    async def run() -> None:
        async with both() as (gateway, appliance):
            await check(gateway, appliance)

    asyncio.run(run())


def test_a_command_is_on_behalf_of_its_viewer(directory: Path) -> None:
    async def check(gateway: Gateway, _: Appliance) -> None:
        assert (await gateway.data(ALICE, "version"))["as"] == "alice"
        assert (await gateway.data(BOB, "version"))["as"] == "bob"
        assert "as" not in await gateway.data(OWN, "version")

    with_gateway(directory, check)


def test_rights_are_asked_for_once_until_the_roles_may_have_changed(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for _ in range(3):
            assert await gateway.may(ALICE, "sched list")
        assert len(appliance.requests) == 1
        appliance.allowed = False
        gateway.forget_rights()
        assert not await gateway.may(ALICE, "sched list")
        assert [request["as"] for request in appliance.requests] == ["alice", "alice"]

    with_gateway(directory, check)


def test_rights_are_asked_for_again_after_a_minute(directory: Path) -> None:
    """A user may have left a group."""
    clock = ManualClock(0)

    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for passed, asked in ((0, 1), (FRESH_MS - 1, 1), (1, 2)):
            clock.advance(passed)
            assert await gateway.may(ALICE, "sched list")
            assert len(appliance.requests) == asked

    with_gateway(directory, check, clock)


def test_an_answer_from_before_a_change_of_the_roles_is_not_kept(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        appliance.meanwhile = gateway.forget_rights
        assert await gateway.may(ALICE, "sched list")
        appliance.allowed = False
        assert not await gateway.may(ALICE, "sched list")

    with_gateway(directory, check)


def test_roles_are_asked_for_once_and_a_viewer_without_an_answer_shares_with_nobody(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for viewer in (ALICE, BOB, ALICE):
            assert await gateway.roles(viewer) == ("staff",)
        assert [request["command"] for request in appliance.requests] == ["json authz id"] * 2
        appliance.allowed = False
        gateway.forget_rights()
        assert await gateway.roles(ALICE) != await gateway.roles(BOB)

    with_gateway(directory, check)


def test_a_rejected_command_is_an_error(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        appliance.allowed = False
        with pytest.raises(Rejected):
            await gateway.data(ALICE, "version")

    with_gateway(directory, check)


def test_the_viewers_that_looked_last_keep_few_connections(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        await asyncio.gather(*(gateway.ask(ALICE, "version") for _ in range(20)))
        assert appliance.connections <= CONNECTIONS
        for number in range(2 * VIEWERS):
            await gateway.ask(Viewer(f"user{number}", None, "socket"), "version")
        before = appliance.connections
        await gateway.ask(Viewer(f"user{2 * VIEWERS - 1}", None, "socket"), "version")
        assert appliance.connections == before
        await gateway.ask(ALICE, "version")
        assert appliance.connections == before + 1

    with_gateway(directory, check)


def test_without_an_appliance_a_question_fails_and_the_next_one_connects_again(directory: Path) -> None:
    async def check() -> None:
        gateway = Gateway(directory / "console.sock", SYSTEM_CLOCK, "own")
        with pytest.raises(Unavailable):
            await gateway.ask(ALICE, "version")
        async with await asyncio.start_unix_server(Appliance().serve, directory / "console.sock"):
            assert (await gateway.ask(ALICE, "version"))["ok"]
            gateway.close()

    asyncio.run(check())


def test_a_preview_may_take_longer_than_another_answer(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schedappliance.web.gateway.PATIENCE_SECONDS", 0.0)

    async def check(gateway: Gateway, _: Appliance) -> None:
        with pytest.raises(Unavailable):
            await gateway.data(OWN, "version")
        assert (await gateway.data(OWN, "preview 1h"))["command"] == "json preview 1h"
        with pytest.raises(Unavailable):
            await gateway.data(OWN, "version")

    with_gateway(directory, check)
