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
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.gateway import CONNECTIONS, FRESH_MS, TOGETHER, VIEWERS, Gateway, _with_data

SYSTEM_CLOCK = SystemClock()
ALICE, BOB, OWN = (Viewer(name, None, "socket") for name in ("alice", "bob", "own"))


class Appliance:
    """A console that answers each command with the request itself, and notes what it has received."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self.allowed = True
        # The roles by the names of the viewers, and the digest of the stanza files.
        self.roles: dict[str, list[str]] = {}
        self.digest = "files"
        # Whether it rejects every question about rights, as for a user without a role.
        self.is_mute = False
        # What happens after an answer is made and before it is sent.
        self.meanwhile: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while line := await _line(reader):
            request = json.loads(line)
            self.requests.append(request)
            data: Any = request
            if request["command"].startswith("json authz may "):
                roles = self.roles.get(request.get("as", ""), ["staff"])
                data = {"allowed": self.allowed and bool(roles), "denied": None, "roles": roles}
                data |= {"delegate_roles": ["page"] if "as" in request else None, "digest": self.digest}
            data = None if self.is_mute else data
            ok = self.allowed and not self.is_mute
            answer = {"v": 1, "id": request["id"], "ok": ok, "transaction": False, "data": data}
            if not ok:
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


def test_the_rights_to_many_commands_are_asked_for_together_and_once(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        lines = [f"sched run {number}" for number in range(2 * TOGETHER + 1)]
        assert await gateway.may(ALICE, lines[3])
        await gateway.learn(ALICE, [*lines, *lines])
        assert len(appliance.requests) == len(lines)
        assert all([await gateway.may(viewer, line) for viewer in (ALICE, BOB) for line in lines])
        assert len(appliance.requests) == len(lines) + 1, "the ground of bob"
        appliance.allowed = False
        await gateway.learn(OWN, lines)
        appliance.allowed = True
        assert not any([await gateway.may(OWN, line) for line in lines]) and await gateway.may(ALICE, lines[0])

    with_gateway(directory, check)


def test_each_of_the_answers_that_come_together_counts_for_the_roles_that_it_names(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        def leave() -> None:
            appliance.roles["alice"] = [] if len(appliance.requests) >= 3 else ["staff"]

        appliance.meanwhile = leave
        await gateway.learn(ALICE, ["sched list", "sched history", "sched show a", "sched run a"])
        assert [await gateway.may(ALICE, line) for line in ("sched show a", "sched run a")] == [False, False]
        assert not await gateway.may(ALICE, "sched list")
        assert await gateway.may(BOB, "sched list") and await gateway.may(BOB, "sched show a")

    with_gateway(directory, check)


def test_the_answers_to_questions_that_are_sent_together_keep_their_order(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        lines = [f"sched show {number}" for number in range(TOGETHER + 1)]
        responses = await gateway.ask_all(ALICE, lines)
        assert [one["data"]["command"] for one in responses] == [f"json {line}" for line in lines]
        assert appliance.connections == 1 and await gateway.ask_all(ALICE, []) == []
        appliance.is_mute = True
        assert [one["data"] for one in await gateway.ask_all(ALICE, lines[:2])] == [None, None]

    with_gateway(directory, check)


def test_a_viewer_who_may_not_ask_has_no_right(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        appliance.is_mute = True
        for _ in range(2):
            await gateway.learn(ALICE, ["sched list", "sched history"])
            assert not await gateway.may(ALICE, "sched list") and not await gateway.may(ALICE, "sched history")
        assert len(appliance.requests) == 1, "that for the ground"

    with_gateway(directory, check)


def test_a_viewer_who_may_not_ask_is_asked_about_nothing_for_a_minute(directory: Path) -> None:
    """One look of a viewer without a role made thousands of questions, and as many lines in the log."""
    clock = ManualClock(0)

    async def check(gateway: Gateway, appliance: Appliance) -> None:
        appliance.is_mute = True
        lines = [f"sched show {number}" for number in range(3 * TOGETHER)]
        assert not any([await gateway.may(ALICE, line) for line in lines])
        await gateway.learn(ALICE, lines)
        assert len(appliance.requests) == 2, "the first one, and that for the ground"
        appliance.is_mute = False
        assert await gateway.may(BOB, lines[0]) and not await gateway.may(ALICE, lines[0])
        clock.advance(FRESH_MS)
        assert await gateway.may(ALICE, lines[0])

    with_gateway(directory, check, clock)


def test_one_question_a_minute_tells_whether_the_rights_of_a_viewer_are_the_same(directory: Path) -> None:
    clock = ManualClock(0)

    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for passed, asked in ((0, 2), (FRESH_MS - 1, 2), (1, 3)):
            clock.advance(passed)
            assert await gateway.may(ALICE, "sched list")
            assert await gateway.may(ALICE, "sched run a")
            assert len(appliance.requests) == asked

    with_gateway(directory, check, clock)


@pytest.mark.parametrize("line", ["sched list", "version"])
def test_a_viewer_who_has_left_a_group_loses_every_right_within_a_minute(directory: Path, line: str) -> None:
    """Whatever is asked first."""
    clock = ManualClock(0)

    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for one in ("sched list", "sched history"):
            assert await gateway.may(ALICE, one) and await gateway.may(BOB, one)
        appliance.roles["alice"] = []
        clock.advance(FRESH_MS)
        assert not await gateway.may(ALICE, line)
        assert not await gateway.may(ALICE, "sched list")
        assert not await gateway.may(ALICE, "sched history")
        assert await gateway.may(BOB, "sched list")
        appliance.roles["alice"] = ["staff"]
        clock.advance(FRESH_MS)
        assert await gateway.may(ALICE, line) and await gateway.may(ALICE, "sched history")

    with_gateway(directory, check, clock)


def test_an_answer_counts_for_the_roles_that_it_names(directory: Path) -> None:
    """The roles of alice have changed since they were asked for. Nobody with her earlier roles gets the later answer."""

    async def check(gateway: Gateway, appliance: Appliance) -> None:
        assert await gateway.may(ALICE, "sched list") and await gateway.may(BOB, "sched list")
        appliance.roles["alice"] = []
        assert not await gateway.may(ALICE, "sched history")
        assert await gateway.may(BOB, "sched history")
        assert not await gateway.may(ALICE, "sched list")

    with_gateway(directory, check)


def test_viewers_with_the_same_roles_share_the_answers_and_the_user_of_the_page_does_not(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for viewer in (ALICE, BOB, ALICE, BOB):
            for line in ("sched list", "sched history", "version"):
                assert await gateway.may(viewer, line)
        assert len(appliance.requests) == 4
        assert await gateway.may(OWN, "sched list") and await gateway.may(OWN, "sched history")
        assert len(appliance.requests) == 6

    with_gateway(directory, check)


def test_other_stanza_files_are_another_ground(directory: Path) -> None:
    """Also if the page misses the event that tells of them."""
    clock = ManualClock(0)

    async def check(gateway: Gateway, appliance: Appliance) -> None:
        assert await gateway.may(ALICE, "sched list") and await gateway.may(ALICE, "sched history")
        appliance.digest, appliance.allowed = "others", False
        clock.advance(FRESH_MS)
        assert not await gateway.may(ALICE, "version")
        assert not await gateway.may(ALICE, "sched history")

    with_gateway(directory, check, clock)


def test_an_answer_from_before_a_change_of_the_roles_is_not_kept(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        appliance.meanwhile = gateway.forget_rights
        assert await gateway.may(ALICE, "sched list")
        appliance.allowed = False
        assert not await gateway.may(ALICE, "sched list")

    with_gateway(directory, check)


def test_the_ground_is_asked_for_once_and_a_viewer_without_an_answer_shares_with_nobody(directory: Path) -> None:
    async def check(gateway: Gateway, appliance: Appliance) -> None:
        for viewer in (ALICE, BOB, ALICE):
            assert await gateway.ground(viewer) == ("files", ("staff",), ("page",))
        assert len(appliance.requests) == 2
        assert await gateway.ground(OWN) == ("files", ("staff",), ())
        appliance.is_mute = True
        gateway.forget_rights()
        for _ in range(2):
            assert await gateway.ground(ALICE) != await gateway.ground(BOB)
        assert len(appliance.requests) == 5

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
    monkeypatch.setattr("schedappliance.web.appliance.gateway.PATIENCE_SECONDS", 0.0)

    async def check(gateway: Gateway, _: Appliance) -> None:
        with pytest.raises(Unavailable):
            await gateway.data(OWN, "version")
        assert (await gateway.data(OWN, "preview 1h"))["command"] == "json preview 1h"
        with pytest.raises(Unavailable):
            await gateway.data(OWN, "version")

    with_gateway(directory, check)


def test_the_rejection_of_what_is_not_a_command_has_no_data() -> None:
    assert _with_data({"ok": False, "error": "no"})["data"] is None
    assert _with_data({"ok": True, "data": 1}) == {"ok": True, "data": 1}
