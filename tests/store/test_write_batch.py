"""Deferred writes happen before any other statement, in the order of their table, and never after a rollback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from schedappliance.store.database import Database, WriteBatch
from schedappliance.store.failures import StoreFailed

ONE, TWO = "INSERT INTO t (a) VALUES (?)", "INSERT INTO t (a, b) VALUES (?, ?)"
SET = "INSERT OR REPLACE INTO named (name, value) VALUES (?, ?)"


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, a UNIQUE, b)")
        connection.execute("CREATE TABLE named (name PRIMARY KEY, value)")
        yield Database(connection, None)


def rows(database: Database) -> list[object]:
    return [row[0] for row in database.rows("SELECT a FROM t ORDER BY n")]


def test_the_next_query_sees_deferred_writes(database: Database) -> None:
    database.batch.add("t", ONE, (1,))
    assert database.batch
    assert rows(database) == [1]
    assert not database.batch


def test_writes_to_one_table_keep_their_order_whatever_their_statements(database: Database) -> None:
    for number in range(9):
        if number % 3 == 1:
            database.batch.add("t", TWO, (number, "b"))
        else:
            database.batch.add("t", ONE, (number,))
    assert rows(database) == list(range(9))


def test_the_last_write_of_a_key_replaces_earlier_ones(database: Database) -> None:
    before = database.batch._connection.total_changes
    for number in range(5):
        database.batch.add_last(SET, "x", ("x", number))
    database.batch.add_last(SET, "y", ("y", 7))
    assert database.rows("SELECT * FROM named ORDER BY name") == [("x", 4), ("y", 7)]
    assert database.batch._connection.total_changes - before == 2


def test_the_keys_of_one_statement_are_written_together(database: Database) -> None:
    for number in range(5):
        database.batch.add("t", ONE, (number,))
    assert rows(database) == list(range(5))
    for number in (1, 3):
        database.batch.add_key("DELETE FROM t WHERE a IN (SELECT value FROM json_each(?))", number)
    assert database.batch
    assert rows(database) == [0, 2, 4]
    assert not database.batch


def test_deferred_writes_belong_to_their_transaction(database: Database) -> None:
    with database.transaction():
        database.batch.add("t", ONE, (1,))
    with pytest.raises(ValueError, match="undone"), database.transaction():
        database.batch.add("t", ONE, (2,))
        database.batch.add_last(SET, "x", ("x", 1))
        database.batch.add_key("DELETE FROM t WHERE a IN (SELECT value FROM json_each(?))", 1)
        raise ValueError("undone")
    assert rows(database) == [1]
    assert database.rows("SELECT * FROM named") == []


def test_a_savepoint_that_is_rolled_back_discards_its_writes(database: Database) -> None:
    """A discarded write that failed would fail the whole transaction."""
    with database.transaction():
        database.batch.add("t", ONE, (1,))
        with pytest.raises(ValueError, match="undone"), database.savepoint():
            database.batch.add("t", ONE, (2,))
            database.batch.add("t", ONE, (1,))
            raise ValueError("undone")
        database.batch.add("t", ONE, (3,))
    assert rows(database) == [1, 3]


def test_a_write_that_fails_fails_the_transaction(database: Database) -> None:
    with pytest.raises(StoreFailed, match="UNIQUE"), database.transaction():
        for _ in range(2):
            database.batch.add("t", ONE, (1,))
            database.batch.add("t", TWO, (2, "b"))
    assert rows(database) == []


def test_a_new_batch_is_empty() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert not WriteBatch(connection)
