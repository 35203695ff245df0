"""The rows of drops: each drop that was carried out or rejected, with its mark and its result.

Rule: marks only grow, and the last row always stays, so that no mark is used twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from schedappliance.engine.intake import from_the_largest
from schedappliance.engine.records import User
from schedappliance.store.database import Table


class FinishedDrop(NamedTuple):
    """A drop that was carried out (`accepted`) or rejected. `result`: JSON."""

    mark: str
    name: str
    uid: int
    user: str
    taken_ms: int
    accepted: bool
    result: str


class Drops(Table):
    file = "drops"

    def add(
        self, mark: str, name: str, user: User, now_ms: int, accepted: bool, result: str, token: str | None = None
    ) -> None:
        row = (mark, name, *user, now_ms, accepted, result, token)
        self._database.execute(self._sql["add_drop"], row)

    def get(self, mark: str) -> FinishedDrop | None:
        return _finished_or_none(self._database.row(self._sql["drop"], (mark,)))

    def by_token(self, user: User, token: str) -> FinishedDrop | None:
        """The drop of this user with this token. Users do not see the drops of others, so tokens belong to users."""
        return _finished_or_none(self._database.row(self._sql["drop_by_token"], (user.uid, token)))

    def named(self, name: str, limit: int) -> list[FinishedDrop]:
        """The last drops with this name, the newest first."""
        return [_finished(row) for row in self._database.rows(self._sql["drops_by_name"], (name, limit))]

    def newest(self, limit: int) -> list[FinishedDrop]:
        """The last drops, the newest first."""
        return [_finished(row) for row in self._database.rows(self._sql["last_drops"], (limit,))]

    def last_mark(self) -> str | None:
        row = self._database.row(self._sql["last_mark"])
        return str(row[0]) if row else None

    def counts(self) -> tuple[int, int]:
        """How many accepted and how many rejected drops are stored."""
        numbers = dict(self._database.rows(self._sql["count_drops"]))
        return numbers.get(1, 0), numbers.get(0, 0)

    def oldest_ms(self) -> int | None:
        row = self._database.row(self._sql["oldest_drop"])
        return int(row[0]) if row else None

    def prune(self, most: int) -> int:
        """Removes at most `most` drops, the oldest of the users with the most drops; returns how many it removed."""
        shares = from_the_largest(dict(self._database.rows(self._sql["count_drops_of_users"])), most)
        return sum(self._database.execute(self._sql["prune_drops"], share).rowcount for share in shares.items())

    def prune_before(self, oldest_ms: int, most: int) -> int:
        """Removes the drops among the `most` oldest that were finished before this time; returns how many it removed."""
        return self._database.execute(self._sql["prune_old_drops"], (most, oldest_ms)).rowcount


def _finished_or_none(row: Any) -> FinishedDrop | None:
    return _finished(row) if row else None


def _finished(row: Any) -> FinishedDrop:
    mark, name, user, taken_ms, accepted, result, uid, _token = row
    return FinishedDrop(mark, name, uid, user, taken_ms, bool(accepted), result)
