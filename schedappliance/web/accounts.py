"""The users of this machine, by number and by name. Rule: a look-up may wait for a directory service, so it has a thread."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Callable
from typing import TypeVar

from schedappliance.clock import Clock

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
        return await self._answer(self._names, uid, lambda: pwd.getpwuid(uid).pw_name)

    async def uid_of(self, name: str) -> int | None:
        return await self._answer(self._uids, name, lambda: pwd.getpwnam(name).pw_uid)

    async def _answer(
        self, answers: dict[_Key, tuple[int, _Value | None]], key: _Key, look_up: Callable[[], _Value]
    ) -> _Value | None:
        now = self._clock.moment().boot
        if key in answers and answers[key][0] + FRESH_MS > now:
            return answers[key][1]
        if len(answers) >= MOST:
            answers.clear()
        answer = await asyncio.to_thread(_or_none, look_up)
        answers[key] = (now, answer)
        return answer


def _or_none(look_up: Callable[[], _Value]) -> _Value | None:
    try:
        return look_up()
    except (KeyError, ValueError):
        return None
