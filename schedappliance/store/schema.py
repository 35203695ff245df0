"""Runs the numbered scripts in migrations/, which hold the schema.

Rule: all missing migrations of a store run in one transaction, or none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from schedappliance.diagnostics import Unusable

APPLICATION_ID = 0x53434844
FOLDER = Path(__file__).parent / "migrations"


def migrations() -> list[tuple[int, str]]:
    """The scripts of the migrations by number, in order."""
    files = {int(file.name.split("_")[0]): file for file in FOLDER.glob("[0-9]*.sql")}
    return [(number, file.read_text(encoding="utf-8")) for number, file in sorted(files.items())]


def check_schema(connection: sqlite3.Connection, path: Path) -> int:
    """Returns the schema version of a store, 0 for an empty file.

    Raises Unusable for a database of another program, and for what no migration leads to.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    has_tables = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None
    if application != APPLICATION_ID and (has_tables or version or application):
        raise Unusable(f"the database belongs to another program: {path}", "name another file in `backing_store`")
    newest = migrations()[-1][0]
    if version > newest:
        message = f"the store {path} has schema {version}, and this version knows schemas up to {newest}"
        raise Unusable(message, "install the newer version again, or restore a backup")
    if version < 0 or (version == 0 and has_tables):
        raise Unusable(f"the store {path} has schema {version}, which no version has written", "restore a backup")
    present, right = _tables(connection), _tables_of(version)
    # Those that nothing here has ever made do no harm.
    if wrong := sorted((present & (right | _tables_of(newest))) ^ right):
        what = "missing" if wrong[0] in right else "of a later schema"
        message = f"the store {path} does not have the tables of its schema {version}: `{wrong[0]}` is {what}"
        raise Unusable(
            message, "restore a backup, or use it with the version that made it, which may be one before 0.1.0"
        )
    return version


@lru_cache
def _tables_of(version: int) -> frozenset[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for _, script in (migration for migration in migrations() if migration[0] <= version):
            connection.executescript(script)
        return _tables(connection)


def _tables(connection: sqlite3.Connection) -> frozenset[str]:
    """The views by name, and the tables by name and column, such as `jobs.number`."""
    rows = connection.execute(
        "SELECT coalesce(s.name || '.' || c.name, s.name) FROM sqlite_schema s"
        " LEFT JOIN pragma_table_info(s.name) c ON s.type = 'table' WHERE s.type IN ('table', 'view')"
    )
    return frozenset(name for (name,) in rows)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Runs the migrations that a store of this version lacks. After a failure, the store still has its old schema."""
    wanted = [(number, script) for number, script in migrations() if number > version]
    if not wanted:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for _, script in wanted:
            for statement in statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {wanted[-1][0]}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one. `executescript` would commit the transaction before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in statement.splitlines()):
        yield statement
