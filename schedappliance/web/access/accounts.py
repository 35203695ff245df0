"""The users of this machine, by number and by name. Rule: a look-up may wait for a directory service, so it has a thread."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable
from typing import TypeVar

from schedappliance.clock import Clock
from schedappliance.edge.programs.accounts import PASSWD, LookUpFailed, check_missing

FRESH_MS = 60_000
# Names come from proxies: more are forgotten.
MOST = 1000

_Key = TypeVar("_Key", int, str)
_Value = TypeVar("_Value")


class Accounts:
    """Looks users up, and keeps each answer for a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._names: dict[int, tuple[int, str | None]] = {}
        self._uids: dict[str, tuple[int, int | None]] = {}

    async def name_of(self, uid: int) -> str | None:
        """None if the machine does not know the user. The user of this process always has a name."""
        name = await self._answer(self._names, uid, lambda: pwd.getpwuid(uid).pw_name, ("getpwuid_r", uid))
        return own_name() if name is None and uid == os.geteuid() else name

    async def uid_of(self, name: str) -> int | None:
        return await self._answer(
            self._uids, name, lambda: pwd.getpwnam(name).pw_uid, ("getpwnam_r", name.encode(errors="replace"))
        )

    async def _answer(
        self,
        answers: dict[_Key, tuple[int, _Value | None]],
        key: _Key,
        look_up: Callable[[], _Value],
        call: tuple[str, int | bytes],
    ) -> _Value | None:
        now = self._clock.moment().boot
        last_ms, last = answers.get(key, (None, None))
        if last_ms is not None and last_ms + FRESH_MS > now:
            return last
        if len(answers) >= MOST:
            answers.clear()
        if last is not None:
            # The streams of a user ask at the same time. One of them looks, and the others need no thread.
            answers[key] = (now, last)
        answer = await asyncio.to_thread(_or_none, look_up)
        if answer is None and last is not None and await asyncio.to_thread(_has_failed, call):
            answer = last
        answers[key] = (now, answer)
        return answer


def own_name() -> str:
    """The name of the user of this process. A container may run it as a number that has no name. The appliance calls such
    a user by the same word.
    """
    uid = os.geteuid()
    return _or_none(lambda: pwd.getpwuid(uid).pw_name) or f"uid-{uid}"


def _or_none(look_up: Callable[[], _Value]) -> _Value | None:
    try:
        return look_up()
    except (KeyError, ValueError):
        return None


def _has_failed(call: tuple[str, int | bytes]) -> bool:
    """Whether a look-up without an answer has failed. So a directory service that is away ends no streams."""
    try:
        check_missing(*call, PASSWD)
    except LookUpFailed:
        return True
    return False
