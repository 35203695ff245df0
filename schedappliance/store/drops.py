"""The rows of drops: what was taken from the spool under which mark, and what it was answered."""

from __future__ import annotations

from typing import Any, NamedTuple

from schedappliance.engine.records import User
from schedappliance.store.database import Table


class FinishedDrop(NamedTuple):
    mark: str
    name: str
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
        return _drop(self._database.row(self._sql["drop"], (mark,)))

    def by_token(self, user: User, token: str) -> FinishedDrop | None:
        """What this user's drop with this token was answered; those of others are nobody's business."""
        return _drop(self._database.row(self._sql["drop_by_token"], (user.uid, token)))

    def named(self, name: str, limit: int) -> list[FinishedDrop]:
        """Those that had this name, the newest first."""
        return [_finished(row) for row in self._database.rows(self._sql["drops_by_name"], (name, limit))]

    def last(self, limit: int) -> list[FinishedDrop]:
        """The newest first."""
        return [_finished(row) for row in self._database.rows(self._sql["last_drops"], (limit,))]

    def last_mark(self) -> str | None:
        row = self._database.row(self._sql["last_mark"])
        return str(row[0]) if row else None

    def counts(self) -> tuple[int, int]:
        """How many results are kept: of accepted drops, of rejected ones."""
        numbers = dict(self._database.rows(self._sql["count_drops"]))
        return numbers.get(1, 0), numbers.get(0, 0)

    def oldest_ms(self) -> int | None:
        row = self._database.row(self._sql["oldest_drop"])
        return int(row[0]) if row else None

    def prune(self, most: int) -> int:
        """Removes so many of the oldest; how many that were."""
        return self._database.execute(self._sql["prune_drops"], (most,)).rowcount

    def prune_before(self, oldest_ms: int, most: int) -> int:
        """Removes those among so many of the oldest that were taken before this time."""
        return self._database.execute(self._sql["prune_old_drops"], (most, oldest_ms)).rowcount


def _drop(row: Any) -> FinishedDrop | None:
    return _finished(row) if row else None


def _finished(row: Any) -> FinishedDrop:
    mark, name, user, taken_ms, accepted, result, _uid, _token = row
    return FinishedDrop(mark, name, user, taken_ms, bool(accepted), result)
