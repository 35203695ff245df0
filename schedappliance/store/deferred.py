"""Writes that are put off, so that many are done together: before whatever else is asked, and before the commit.

Law: nobody can tell that they were put off, but by the time it takes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Hashable, Sequence
from typing import Any

Row = Sequence[Any]


class Deferred:
    """The writes of one transaction that are still to be done."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[tuple[str, list[Row]]]] = {}
        self._last: dict[str, dict[Hashable, Row]] = {}
        self._numbers: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows or self._last or self._numbers)

    def add(self, sql: str, row: Row, group: str = "") -> None:
        """For writes of which no one depends on another: to rows of different tables, or by the same statement.

        Those of one `group` are done in their order, whatever their statements.
        """
        parts = self._rows.setdefault(group or sql, [])
        if not parts or parts[-1][0] is not sql:
            parts.append((sql, []))
        parts[-1][1].append(row)

    def put(self, sql: str, key: Hashable, row: Row) -> None:
        """The same for a row that is written over and over: only the last write of a key is done."""
        self._last.setdefault(sql, {})[key] = row

    def collect(self, sql: str, number: int) -> None:
        """For a statement that takes all the numbers at once, as a JSON array: it is begun but once."""
        self._numbers.setdefault(sql, []).append(number)

    def do(self) -> None:
        """Raises sqlite3.Error."""
        rows, self._rows = self._rows, {}
        last, self._last = self._last, {}
        numbers, self._numbers = self._numbers, {}
        for sql, together in numbers.items():
            self._connection.execute(sql, (json.dumps(together),))
        for parts in rows.values():
            for sql, those in parts:
                self._connection.executemany(sql, those)
        for sql, by_key in last.items():
            self._connection.executemany(sql, by_key.values())

    def forget(self) -> None:
        """The transaction is rolled back."""
        self._rows.clear()
        self._last.clear()
        self._numbers.clear()
