"""The check of the store's file: what it finds, and that it never takes long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.store import damage
from schedappliance.store import opening as module
from schedappliance.store.damage import NoMemory, Unfinished, _not_long, find_damage
from schedappliance.store.opening import open_database

WITHOUT_END = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE numbers (n INTEGER NOT NULL CHECK (n > 0)) STRICT")
        yield connection


@pytest.mark.parametrize("soon", [True, False])
def test_a_healthy_store_passes_and_keeps_its_constraints(connection: sqlite3.Connection, soon: bool) -> None:
    assert find_damage(connection, soon) is None
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
        connection.execute("INSERT INTO numbers VALUES (0)")


@pytest.mark.parametrize("soon", [True, False])
def test_damage_is_reported_in_one_line(connection: sqlite3.Connection, soon: bool) -> None:
    connection.execute("CREATE TABLE others (n)")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET rootpage = 2")
    connection.execute("PRAGMA writable_schema = RESET")
    damage = find_damage(connection, soon)
    assert damage is not None
    assert "2nd reference to page 2" in damage
    assert "\n" not in damage


class Forgetful(sqlite3.Connection):
    """A connection that has no memory for a page when it checks the file: SQLite says so, or Python does."""

    finding: str | None = "*** in database main ***\nPage 3183: unable to get the page. error code=7"

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if not sql.startswith("PRAGMA quick_check"):
            return super().execute(sql, *parameters)
        if self.finding is None:
            raise MemoryError
        return super().execute("SELECT ?", (self.finding,))


@pytest.mark.parametrize("finding", [Forgetful.finding, None])
def test_a_lack_of_memory_is_not_damage(finding: str | None) -> None:
    with closing(sqlite3.connect(":memory:", factory=Forgetful)) as connection:
        connection.finding = finding
        with pytest.raises(NoMemory):
            find_damage(connection)


def test_a_start_that_lacks_memory_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=Forgetful)

    open_database(tmp_path / "sched.db").close()
    monkeypatch.setattr(module, "connect", forgetful)
    with pytest.raises(Unusable, match=r"sched\.db: out of memory; give the appliance more memory$") as raised:
        open_database(tmp_path / "sched.db")
    assert raised.value.is_passing


def test_an_upgrade_that_lacks_memory_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack_memory(_connection: sqlite3.Connection, _version: int) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "migrate", lack_memory)
    with pytest.raises(Unusable, match=r"sched\.db: out of memory; give the appliance more memory$") as raised:
        open_database(tmp_path / "sched.db")
    assert raised.value.is_passing


def test_a_long_check_is_interrupted_and_the_connection_stays_usable(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "SECONDS_BEFORE_USE", 0.01)
    with pytest.raises(Unfinished), _not_long(connection):
        connection.execute(WITHOUT_END)
    assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_a_failed_check_is_not_taken_for_a_long_one(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"), _not_long(connection):
        connection.execute("SELECT * FROM nowhere")
