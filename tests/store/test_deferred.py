"""Writes that are put off are done before anything is asked, in their order where that can be told, and not at all after a rollback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from schedappliance.store.database import Database
from schedappliance.store.deferred import Deferred
from schedappliance.store.failures import StoreFailed

ONE, TWO = "INSERT INTO t (a) VALUES (?)", "INSERT INTO t (a, b) VALUES (?, ?)"
SET = "INSERT OR REPLACE INTO named (name, value) VALUES (?, ?)"


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, a UNIQUE, b)")
        connection.execute("CREATE TABLE named (name PRIMARY KEY, value)")
        yield Database(connection, None, None)


def rows(database: Database) -> list[object]:
    return [row[0] for row in database.rows("SELECT a FROM t ORDER BY n")]


def test_they_are_seen_by_the_next_question(database: Database) -> None:
    database.deferred.add(ONE, (1,))
    assert database.deferred
    assert rows(database) == [1]
    assert not database.deferred


def test_those_of_a_group_keep_their_order_whatever_their_statements(database: Database) -> None:
    for number in range(9):
        if number % 3 == 1:
            database.deferred.add(TWO, (number, "b"), "t")
        else:
            database.deferred.add(ONE, (number,), "t")
    assert rows(database) == list(range(9))


def test_of_a_row_that_is_written_over_and_over_the_last_write_counts(database: Database) -> None:
    before = database.deferred._connection.total_changes
    for number in range(5):
        database.deferred.put(SET, "x", ("x", number))
    database.deferred.put(SET, "y", ("y", 7))
    assert database.rows("SELECT * FROM named ORDER BY name") == [("x", 4), ("y", 7)]
    assert database.deferred._connection.total_changes - before == 2


def test_numbers_are_given_to_one_statement_together(database: Database) -> None:
    for number in range(9):
        database.execute(ONE, (number,))
    for number in (1, 3, 5, 77):
        database.deferred.collect("DELETE FROM t WHERE a IN (SELECT value FROM json_each(?))", number)
    assert rows(database) == [0, 2, 4, 6, 7, 8]


def test_they_are_part_of_their_transaction(database: Database) -> None:
    with database.transaction():
        database.deferred.add(ONE, (1,))
    with pytest.raises(ValueError, match="undone"), database.transaction():
        database.deferred.add(ONE, (2,))
        database.deferred.put(SET, "x", ("x", 1))
        database.deferred.collect("DELETE FROM t WHERE a IN (SELECT value FROM json_each(?))", 1)
        raise ValueError("undone")
    assert rows(database) == [1]
    assert database.rows("SELECT * FROM named") == []


def test_those_of_a_part_that_is_undone_are_not_done_before_it_is(database: Database) -> None:
    """One that fails would take the whole transaction with it."""
    with database.transaction():
        database.deferred.add(ONE, (1,))
        with pytest.raises(ValueError, match="undone"), database.savepoint():
            database.deferred.add(ONE, (2,))
            database.deferred.add(ONE, (1,))
            raise ValueError("undone")
        database.deferred.add(ONE, (3,))
    assert rows(database) == [1, 3]


@pytest.mark.parametrize("group", ["", "t"])
def test_one_that_fails_fails_the_transaction(database: Database, group: str) -> None:
    with pytest.raises(StoreFailed, match="UNIQUE"), database.transaction():
        for _ in range(2):
            database.deferred.add(ONE, (1,), group)
            database.deferred.add(TWO, (2, "b"), group)
    assert rows(database) == []


def test_there_is_nothing_to_do_at_first() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert not Deferred(connection)
