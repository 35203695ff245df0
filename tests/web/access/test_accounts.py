"""What the page knows about the users of this machine, and for how long."""

from __future__ import annotations

import asyncio
import pwd
import threading
from typing import NoReturn

import pytest

from schedappliance.clock import ManualClock
from schedappliance.web.access import accounts
from schedappliance.web.access.accounts import FRESH_MS, Accounts
from tests.support.waiting import PATIENCE_SECONDS

NOBODY = pwd.getpwnam("nobody")


def _no_entry(_key: object) -> NoReturn:
    raise KeyError


def test_a_user_who_is_gone_is_unknown_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0)
    users = Accounts(clock)
    assert asyncio.run(users.uid_of("nobody")) == NOBODY.pw_uid
    monkeypatch.setattr(pwd, "getpwnam", _no_entry)
    monkeypatch.setattr(accounts, "check_missing", lambda *_call: None)
    clock.advance(FRESH_MS - 1)
    assert asyncio.run(users.uid_of("nobody")) == NOBODY.pw_uid
    clock.advance(1)
    assert asyncio.run(users.uid_of("nobody")) is None


def test_a_look_up_that_fails_takes_no_user_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0)
    users = Accounts(clock)
    known = asyncio.run(users.uid_of("nobody")), asyncio.run(users.name_of(NOBODY.pw_uid))
    # Python reports an error of the C library as it reports that there is no such user.
    monkeypatch.setattr(pwd, "getpwnam", _no_entry)
    monkeypatch.setattr(pwd, "getpwuid", _no_entry)
    clock.advance(FRESH_MS)
    assert (asyncio.run(users.uid_of("nobody")), asyncio.run(users.name_of(NOBODY.pw_uid))) == known


def test_a_known_user_is_looked_up_by_one_of_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = ManualClock(0), list[str]()
    has_begun, gate = threading.Event(), threading.Event()
    users = Accounts(clock)
    asyncio.run(users.uid_of("nobody"))
    clock.advance(FRESH_MS)

    def slow(name: str) -> pwd.struct_passwd:
        asked.append(name)
        has_begun.set()
        assert gate.wait(PATIENCE_SECONDS)
        return NOBODY

    async def ask() -> list[int | None]:
        first = asyncio.create_task(users.uid_of("nobody"))
        assert await asyncio.to_thread(has_begun.wait, PATIENCE_SECONDS)
        others = [await users.uid_of("nobody") for _ in range(3)]
        gate.set()
        return [*others, await first]

    monkeypatch.setattr(pwd, "getpwnam", slow)
    assert asyncio.run(ask()) == [NOBODY.pw_uid] * 4
    assert asked == ["nobody"]
