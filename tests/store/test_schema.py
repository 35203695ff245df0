"""The schema: created by the migrations, and upgraded from every earlier version as a whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.engine.records import AttemptKey, NewJob, RunKey, User
from schedappliance.engine.states import RunState
from schedappliance.model.commands import read_command
from schedappliance.store import schema
from schedappliance.store.failures import StoreFailed
from schedappliance.store.opening import open_database
from schedappliance.store.queries import queries
from schedappliance.store.runs import NewRun
from schedappliance.store.schema import FOLDER, migrations, statements
from schedappliance.store.tables import open_store

NEWEST = migrations()[-1][0]
SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"


@pytest.mark.parametrize("begin", ["nothing", "an empty file"])
@pytest.mark.parametrize("place", ["file", "memory"])
def test_the_migrations_give_the_schema(tmp_path: Path, place: str, begin: str) -> None:
    path = tmp_path / "sched.db"
    if begin == "an empty file":
        path.touch()
    with (
        closing(open_database(path if place == "file" else None)) as database,
        closing(sqlite3.connect(":memory:")) as plain,
    ):
        for _, script in migrations():
            plain.executescript(script)
        assert database.rows(SCHEMA) == plain.execute(SCHEMA).fetchall()
        assert database.row("PRAGMA user_version")[0] == migrations()[-1][0]
        assert database.rows("PRAGMA integrity_check") == [("ok",)]


def test_the_migrations_are_numbered_from_one() -> None:
    numbers = sorted(int(file.name[:4]) for file in FOLDER.glob("*.sql"))
    assert numbers == list(range(1, migrations()[-1][0] + 1)), "two scripts with one number: one would never run"


# What later versions may contain: a trigger, whose statements contain semicolons, and a table that is rebuilt.
LATER = {
    1: "CREATE TABLE added (a TEXT DEFAULT ';') STRICT;\nINSERT INTO added VALUES ('1;\n2');\n",
    2: """\
-- A comment with a semicolon; and nothing more.
CREATE TRIGGER counted AFTER INSERT ON added BEGIN
  UPDATE added SET a = a || ';';
  DELETE FROM added WHERE a = 'none;';
END;
ALTER TABLE added RENAME TO renamed;
""",
    3: "ALTER TABLE meta ADD COLUMN note TEXT;\n\nINSERT INTO renamed VALUES ('3')",
}
AFTER_LATER = [("1;\n2;",), ("3;",)]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A store with rows, as this version of the appliance leaves it."""
    path = tmp_path / "sched.db"
    command = read_command("run hello").command
    assert command is not None
    new = NewJob("every", 1_700_000_060_000, 60_000, command, User(1000, "operator"), "console")
    with closing(open_store(path, "example.com", "x", 1)) as store, store.transaction():
        for declared in ("nightly", None, None):
            job = store.jobs.get(store.jobs.add(new._replace(declared=declared), 1))
            assert job is not None
            key = RunKey(job.number, 1)
            store.runs.add(job, NewRun(key, 5, RunState.STARTED, attempts=1), 5)
            store.runs.add_attempt(AttemptKey(key, 1), "hello", "boot", 5, 5)
    return path


@pytest.fixture
def later(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the migrations of three later versions. The appliance has them, so `earlier` is outdated."""
    folder = earlier.parent / "migrations"
    folder.mkdir()
    for file in FOLDER.glob("*.sql"):
        (folder / file.name).write_text(file.read_text())
    for step, script in LATER.items():
        (folder / f"{NEWEST + step:04d}_later.sql").write_text(script)
    monkeypatch.setattr(schema, "FOLDER", folder)
    return folder


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, and the schema."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {t: sorted(connection.execute(f'SELECT * FROM "{t}"').fetchall(), key=repr) for t in tables}
        return rows | {"schema": connection.execute(f"{SCHEMA}").fetchall(), "version": [version_of(connection)]}


def version_of(connection: sqlite3.Connection) -> tuple[int]:
    row: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
    return row


@pytest.mark.usefixtures("later")
def test_an_upgraded_store_has_the_new_schema_and_every_row(earlier: Path) -> None:
    path = earlier
    before = contents(path)
    assert {len(before[name]) for name in ("jobs", "runs", "attempts")} == {3}
    open_database(path).close()
    after = contents(path)
    for table in before.keys() - {"schema", "version"}:
        width = len(before[table][0]) if before[table] else 0
        # New columns follow the old ones.
        assert sorted((row[:width] for row in after[table]), key=repr) == before[table]
    with closing(sqlite3.connect(path)) as connection, closing(open_database(None)) as new:
        assert version_of(connection) == (NEWEST + len(LATER),)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute(SCHEMA).fetchall() == new.rows(SCHEMA)
    with closing(open_store(path, "another", "another", 5)) as store:
        assert (store.node, len(store.runs.history(None, 9)), store.jobs.count()) == ("example.com", 3, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE jobs SET kind = 'sometimes'",
        "UPDATE jobs SET origin = 'mail'",
        "UPDATE jobs SET paused = 2",
        "UPDATE runs SET state = 'lost'",
        "UPDATE attempts SET state = 'skipped'",
    ],
)
def test_a_value_outside_its_set_is_rejected(earlier: Path, wrong: str) -> None:
    with closing(open_database(earlier)) as opened:
        with pytest.raises(StoreFailed, match="CHECK constraint failed"):
            opened.execute(wrong)
        for state in RunState:
            opened.execute("UPDATE runs SET state = ?", (state.value,))


@contextmanager
def of_version(number: int, path: Path) -> Iterator[sqlite3.Connection]:
    """A new and empty store of a version of the schema."""
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        for _, script in migrations()[:number]:
            plain.executescript(script)
        plain.executescript(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {number};")
        yield plain


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A store of version 1 with an operator's own index, trigger and view, whose newest job was deleted."""
    path = tmp_path / "sched.db"
    with of_version(1, path) as plain:
        jobs = (
            "INSERT INTO jobs (kind, next_run_ms, interval_ms, command, parsed, grammar, uid, user, origin, created_ms)"
        )
        for kind, interval in (("at", None), ("in", None), ("every", 60_000), ("run", None), ("at", None)):
            values = (kind, 5, interval, "pid", "[]", 0, 1000, "operator", "console", 1)
            plain.execute(f"{jobs} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        plain.execute(
            "INSERT INTO runs VALUES (1, 3, 1, 5, 'missed', NULL, 2, 1, 'pid', NULL, NULL, 1, 'o', 'console',"
            " 0, 5, 5, NULL, NULL, NULL, NULL)"
        )
        plain.executescript(
            "DELETE FROM jobs WHERE number = 5;"
            "INSERT INTO meta VALUES ('node', 'example.com'), ('identity', 'x'), ('created_ms', 1);"
            "CREATE INDEX by_user ON jobs (user);"
            "CREATE VIEW late AS SELECT job, count(*) AS times FROM runs JOIN jobs ON number = job GROUP BY job;"
            "CREATE TRIGGER noted AFTER DELETE ON jobs BEGIN DELETE FROM meta WHERE key = 'note'; END;"
        )
    return path


def test_a_store_of_the_first_version_takes_calendars_and_keeps_everything(first_version: Path) -> None:
    before = contents(first_version)
    open_database(first_version).close()
    after = contents(first_version)
    old = before.keys() - {"schema", "version"}
    # New columns are empty.
    before["jobs"] = [(*row, None) for row in before["jobs"]]
    assert {table: after[table] for table in old} == {table: before[table] for table in old}
    assert after.pop("rows_of_users") == [(1, 0, 1), (1000, 4, 0)], "those of users are counted"
    assert not any(after[table] for table in after.keys() - before.keys())
    with closing(open_store(first_version, "another", "another", 5)) as store, store.transaction():
        command = read_command("run hello").command
        assert command is not None
        user = User(1000, "operator")
        number = store.jobs.add(NewJob("calendar", 5, None, command, user, "console", schedule="{}"), 1)
        assert number == 6, "the number of a deleted job is not used again"
        (listed,) = [job for job in store.listed_here(9) if job.recurrent and job.number == number]
        assert (listed.calendar, listed.interval_ms) == ("{}", None)
        assert [job.number for job in store.listed_here(9) if job.recurrent] == [3, 6]
    with closing(sqlite3.connect(first_version)) as plain, closing(open_database(None)) as new:
        names = ("by_user", "late", "noted")
        assert plain.execute("SELECT count(*) FROM sqlite_schema WHERE name IN (?, ?, ?)", names).fetchone() == (3,)
        ours = [row for row in plain.execute(SCHEMA) if row[1] not in names]
        assert ours == new.rows(SCHEMA)
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert plain.execute("SELECT * FROM late").fetchall() == [(3, 1)]


def test_an_upgrade_from_the_first_version_that_fails_changes_nothing(
    first_version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, folder = contents(first_version), tmp_path / "migrations"
    folder.mkdir()
    for file in FOLDER.glob("*.sql"):
        (folder / file.name).write_text(file.read_text())
    (folder / f"{NEWEST + 1:04d}_wrong.sql").write_text("this is no statement;")
    monkeypatch.setattr(schema, "FOLDER", folder)
    with pytest.raises(Unusable, match="syntax error"):
        open_database(first_version)
    assert contents(first_version) == before


def test_alerts_that_wait_during_the_upgrade_are_not_told_yet(tmp_path: Path) -> None:
    """Until version 10, an incident was told when its alert was made. What was delivered since then stays told."""
    path = tmp_path / "sched.db"
    with of_version(10, path) as plain:
        for number in (1, 2, 3):
            incident = (number, "ops", f"j{number}", number, "failed", 1, 1, 1, 5)
            columns = "number, notify, subject, job, kind, since_ms, count, last_ms, told_ms"
            plain.execute(f"INSERT INTO incidents ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", incident)
        for job, event_of, is_reminder in ((7, "1", "false"), (8, "2", "true"), (9, "null", "false")):
            event = f'{{"incident": {event_of}, "reminder": {is_reminder}}}'
            plain.execute("INSERT INTO alerts (job, notify, event) VALUES (?, 'ops', ?)", (job, event))
    with closing(open_database(path)) as database:
        rows = database.rows("SELECT number, told_ms, delivery FROM incidents ORDER BY number")
    assert rows == [(1, None, 7), (2, 5, 8), (3, 5, None)]


def test_rejected_files_that_an_earlier_version_told_stay_told(tmp_path: Path) -> None:
    """Until version 24, an incident did not say which troubles of the appliance it had told. A refusal is always one."""
    path = tmp_path / "sched.db"
    with of_version(24, path) as plain:
        for number, kind in ((1, "degraded"), (2, "reload_refused"), (3, "failed")):
            columns = "number, notify, subject, job, kind, since_ms, count, last_ms"
            plain.execute(
                f"INSERT INTO incidents ({columns}) VALUES (?, 'ops', ?, -1, ?, 1, 1, 1)", (number, kind, kind)
            )
    with closing(open_database(path)) as database:
        assert database.rows("SELECT troubles FROM incidents ORDER BY number") == [("",), ("reload_refused",), ("",)]


def test_what_an_attempt_of_an_earlier_version_was_started_with_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    with of_version(20, path) as plain:
        plain.execute(
            "INSERT INTO runs (sequence, job, occurrence, due_ms, state, command, uid, user, origin, attempts, claimed_ms)"
            " VALUES (1, 1, 1, 5, 'started', 'run hello', 0, 'root', 'console', 1, 5)"
        )
        columns = "job, occurrence, attempt, program, state, boot_id, started_ms, started_boot_ms"
        plain.execute(f"INSERT INTO attempts ({columns}) VALUES (1, 1, 1, 'hello', 'started', 'boot', 5, 5)")
    with closing(open_store(path, "example.com", "x", 1)) as store:
        (attempt,) = store.runs.live_attempts()
    assert (attempt.program, attempt.policy) == ("hello", None)


def test_rows_of_users_that_were_counted_wrongly_are_counted_again(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    with of_version(22, path) as plain:
        plain.execute(
            "INSERT INTO runs (sequence, job, occurrence, due_ms, state, command, uid, user, origin, attempts, claimed_ms)"
            " VALUES (1, 1, 1, 5, 'started', 'run hello', 1000, 'operator', 'console', 1, 5)"
        )
        plain.execute("INSERT INTO rows_of_users (uid, jobs, runs) VALUES (1000, 0, 0), (2000, 20, 7)")
    with closing(open_database(path)) as database:
        assert database.rows("SELECT * FROM rows_of_users") == [(1000, 0, 1), (2000, 0, 0)]


def test_another_connection_sees_the_new_schema(first_version: Path) -> None:
    with closing(sqlite3.connect(first_version, isolation_level=None)) as other:
        assert other.execute("SELECT count(*) FROM jobs").fetchone() == (4,)
        open_database(first_version).close()
        other.execute("UPDATE jobs SET kind = 'calendar' WHERE number = 1")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            other.execute("UPDATE jobs SET kind = 'sometimes'")


@pytest.mark.parametrize("statement", ["add_run", "add_whole_run", "end_run", "add_attempt", "end_attempt", "add_job"])
def test_no_check_constraint_builds_a_table_for_each_row(statement: str) -> None:
    """`IN` with more than two values does, and took as long as the rest of a row."""
    sql = next(queries(name)[statement] for name in ("runs", "jobs") if statement in queries(name))
    with closing(sqlite3.connect(":memory:")) as plain:
        for _, script in migrations():
            plain.executescript(script)
        steps = [row[1] for row in plain.execute(f"EXPLAIN {sql}", [None] * plain_parameters(sql))]
    assert "OpenEphemeral" not in steps and ("MakeRecord" in steps or "Insert" in steps)


@pytest.mark.parametrize(
    ("table", "statement", "place"),
    [
        ("incidents", "page_of_incidents", "rank"),
        ("incidents", "count_incidents_after", "rank"),
        ("jobs", "list_jobs", "next_run_ms"),
        ("jobs", "list_paused", "next_run_ms"),
    ],
)
def test_a_page_begins_at_its_place(table: str, statement: str, place: str) -> None:
    """A page after 100,000 incidents of one rank, or jobs that are due at one time, read them all before it."""
    sql = queries(table)[statement]
    with closing(sqlite3.connect(":memory:")) as plain:
        for _, script in migrations():
            plain.executescript(script)
        plan = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * plain_parameters(sql))]
    bounds = [step.partition(" (")[2] for step in plan if step.startswith("SEARCH")]
    assert bounds == [f"{place}=? AND number>?)", f"{place}>?)"], plan
    assert not [step for step in plan if step.startswith(("USE TEMP", f"SCAN {table}"))], plan


def plain_parameters(sql: str) -> int:
    """The number of values that a statement takes."""
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    return max(numbered, default=sql.count("?"))


def test_several_migrations_are_applied_at_once(earlier: Path, later: Path) -> None:
    path = earlier
    before = contents(path)
    with closing(open_database(path)) as database:
        assert database.row("PRAGMA user_version") == (NEWEST + 3,)
        assert database.rows("SELECT a FROM renamed") == AFTER_LATER
        assert sorted(database.rows("SELECT key, value FROM meta"), key=repr) == before["meta"]
    with closing(open_database(path)) as again:
        assert again.rows("SELECT a FROM renamed") == AFTER_LATER, "each is applied once"
    (later / f"{NEWEST + 4:04d}_one_more.sql").write_text("DELETE FROM renamed WHERE a = '3;';")
    with closing(open_database(path)) as database:
        assert database.rows("SELECT a FROM renamed") == AFTER_LATER[:1]


@pytest.mark.usefixtures("later")
def test_a_migration_keeps_what_an_operator_added(earlier: Path) -> None:
    """An operator may add a table, a view, an index or a trigger."""
    path = earlier
    with closing(sqlite3.connect(path, isolation_level=None)) as operator:
        operator.executescript(
            "CREATE TABLE notes (job INTEGER, note TEXT); INSERT INTO notes VALUES (1, 'mine');"
            "CREATE VIEW late AS SELECT job, count(*) AS times FROM runs GROUP BY job;"
            "CREATE INDEX by_user ON jobs (user);"
            "CREATE TRIGGER noted AFTER DELETE ON jobs BEGIN DELETE FROM notes WHERE job = old.number; END;"
        )
        views = operator.execute("SELECT * FROM late ORDER BY job").fetchall()
    with closing(open_database(path)) as database:
        assert database.row("PRAGMA user_version") == (NEWEST + 3,)
        assert database.rows("SELECT * FROM notes") == [(1, "mine")]
        assert database.rows("SELECT * FROM late ORDER BY job") == views
        assert database.row("SELECT count(*) FROM sqlite_schema WHERE name IN ('by_user', 'noted')") == (2,)
        database.execute("DELETE FROM jobs WHERE number = 1")
        assert database.rows("SELECT * FROM notes") == []


@pytest.mark.parametrize(
    ("step", "fault", "message"),
    [
        (1, "CREATE TABLE jobs (a);\n", "table jobs already exists"),
        (2, "CREATE TABLE half (a);\nINSERT INTO nowhere VALUES (1);\n", "no such table: nowhere"),
        (3, "CREATE TABLE half (a);\nthis is no statement;\n", 'near "this": syntax error'),
    ],
)
def test_a_migration_that_fails_leaves_the_store_unchanged(
    earlier: Path, later: Path, step: int, fault: str, message: str
) -> None:
    path = earlier
    before = contents(path)
    (script,) = later.glob(f"{NEWEST + step:04d}_*.sql")
    script.write_text(fault)
    with pytest.raises(Unusable, match=re.escape(f"cannot open the store {path}: {message}")):
        open_database(path)
    assert contents(path) == before
    script.write_text(LATER[step])
    with closing(open_database(path)) as database:
        assert database.rows("SELECT a FROM renamed") == AFTER_LATER


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(("journal", "begin"), [("WAL", "BEGIN IMMEDIATE"), ("DELETE", "BEGIN")])
def test_a_lock_at_the_start_passes(earlier: Path, journal: str, begin: str) -> None:
    """Another process writes during the upgrade, or reads a backup that was restored. systemd must start the daemon again."""
    before = contents(earlier)
    with closing(sqlite3.connect(earlier, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}")
        other.execute(begin)
        other.execute("SELECT count(*) FROM jobs").fetchone()
        with pytest.raises(Unusable, match="database is locked; another process uses it") as raised:
            open_database(earlier)
    assert raised.value.is_passing
    assert contents(earlier) == before
    open_database(earlier).close()


@pytest.mark.usefixtures("later")
def test_a_newer_schema_is_rejected_unchanged(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = earlier
    open_database(path).close()
    before = contents(path)
    monkeypatch.setattr(schema, "FOLDER", FOLDER)
    with pytest.raises(Unusable) as raised:
        open_database(path)
    message = f"the store {path} has schema {NEWEST + 3}, and this version knows schemas up to {NEWEST}"
    assert raised.value.message == message
    assert contents(path) == before


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("", 0),
        ("-- nothing;\n\n", 0),
        ("SELECT 1;\n-- the end", 1),
        ("SELECT 1;\nSELECT 2", 2),
        ("SELECT ';\n';\n/* ; */ SELECT 2;\n", 2),
        ("CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\nSELECT 3;\n", 2),
    ],
)
def test_a_script_is_split_into_statements(script: str, count: int) -> None:
    assert len(list(statements(script))) == count
