"""Opening a store: what is rejected unchanged, durability, transactions."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.kinds import other_kind
from schedappliance.lockfile import holders, lock_holder
from schedappliance.store import maintenance
from schedappliance.store import opening as module
from schedappliance.store.damage import Unfinished
from schedappliance.store.database import Database
from schedappliance.store.failures import StoreFailed
from schedappliance.store.files import lock_path_of
from schedappliance.store.loss import lost_pages
from schedappliance.store.maintenance import check_in_use
from schedappliance.store.opening import open_database, unopenable
from schedappliance.store.schema import APPLICATION_ID, migrations
from schedappliance.store.tables import open_store
from tests.support.size_limits import size_limit

NOBODY = 65_534
NEWEST = migrations()[-1][0]


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, except lock files and the index of a log, which any reader may rebuild."""
    paths = [path for path in directory.rglob("*") if path.suffix != ".lock" and not path.name.endswith("-shm")]
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in paths}


def write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def another_program(path: Path) -> None:
    write(path, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")


def another_program_with_wal(path: Path) -> None:
    write(path, "PRAGMA journal_mode = WAL", "PRAGMA application_id = 7", "CREATE TABLE theirs (a)")


def another_program_without_tables(path: Path) -> None:
    write(path, "PRAGMA application_id = 7")


def schema_of(version: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        open_database(path).close()
        write(path, f"PRAGMA user_version = {version}")

    return make


def changed_by(statement: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        open_database(path).close()
        write(path, statement)

    return make


def newer_schema(path: Path) -> None:
    open_database(path).close()
    write(path, "PRAGMA user_version = 1000", "CREATE TABLE invented_later (a)")


def damaged(path: Path) -> None:
    open_database(path).close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 3996 + path.read_bytes()[4096:])


def rooted_badly(path: Path) -> None:
    """Makes a table share its pages with another, which only a check of both shows."""
    open_database(path).close()
    write(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'runs') "
        "WHERE name = 'outputs'",
    )


def bytes_of(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


OTHER_TABLES = "the store PATH does not have the tables of its schema {}"

REJECTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (bytes_of(b"jobs: none\n" * 1000), "not a SQLite database: PATH"),
    "a short text": (bytes_of(b"jobs"), "not a SQLite database: PATH"),
    "a text of one page": (bytes_of(b"x" * 4096), "not a SQLite database: PATH"),
    "zeros": (bytes_of(bytes(4096)), "not a SQLite database: PATH"),
    "damaged": (damaged, "the store is damaged: PATH: database disk image is malformed"),
    "a directory": (lambda path: path.mkdir(), "the store is not a file: PATH"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "the store is not a file: PATH"),
    "a fifo": (os.mkfifo, "the store is not a file: PATH"),
    "another program": (another_program, "the database belongs to another program: PATH"),
    "another program with WAL": (another_program_with_wal, "the database belongs to another program: PATH"),
    "another empty program": (another_program_without_tables, "the database belongs to another program: PATH"),
    "no schema": (schema_of(0), "the store PATH has schema 0, which no version has written"),
    "negative schema": (schema_of(-3), "the store PATH has schema -3, which no version has written"),
    "a view less": (changed_by("DROP VIEW listed_jobs"), f"{OTHER_TABLES.format(NEWEST)}: `listed_jobs` is missing"),
    "a table less": (changed_by("DROP TABLE counters"), f"{OTHER_TABLES.format(NEWEST)}: `counters.labels` is missing"),
    "a column less": (
        changed_by("ALTER TABLE incidents RENAME COLUMN delivery TO x"),
        f"{OTHER_TABLES.format(NEWEST)}: `incidents.delivery` is missing",
    ),
    "tables of a later schema": (schema_of(3), f"{OTHER_TABLES.format(3)}: `alerts.event` is of a later schema"),
    "newer schema": (newer_schema, f"the store PATH has schema 1000, and this version knows schemas up to {NEWEST}"),
}


# What is made at a path, and how it is named.
OTHER_KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a directory": os.mkdir,
    "a symbolic link": lambda path: path.symlink_to("missing"),
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}


def test_a_store_file_whose_header_cannot_be_read_is_left_to_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with closing(open_database(tmp_path / "sched.db")) as database, monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with database.transaction():
            pass


def test_a_disk_that_cannot_be_read_is_the_fault_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill, the store is read before SQLite opens it. The error was said to be that of the output."""
    path = tmp_path / "sched.db"
    open_database(path).close()
    Path(f"{path}-wal").write_bytes(b"\0" * 100)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        wanted = f"cannot open the store {path}: Input/output error; check that its disk is healthy and writable"
        with pytest.raises(Unusable, match=f"^{re.escape(wanted)}$"):
            open_database(path)
    Path(f"{path}-wal").unlink()
    open_database(path).close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_kind_of_file_beside_a_store_is_named_and_never_opened(tmp_path: Path, kind: str, suffix: str) -> None:
    """SQLite waited for ever for the other end of a FIFO, and did not name any of them."""
    path = tmp_path / "sched.db"
    open_database(path).close()
    beside = Path(f"{path}{suffix}")
    beside.unlink(missing_ok=True)
    OTHER_KINDS[kind](beside)
    with pytest.raises(Unusable, match=f"^{re.escape(str(beside))} is {kind}, not a file; .*(move it away|remove)"):
        open_database(path)
    if suffix == ".lock":
        assert lock_holder(beside) is None
    else:
        with pytest.raises(Unusable, match=f"is {kind}, not a file"):
            maintenance.check(path)
    assert lost_pages(path) == 0
    assert other_kind(beside.lstat().st_mode) == kind


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_kind_of_file_beside_a_used_store_stops_writes_until_it_is_gone(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / "sched.db"
    beside = Path(f"{path}{suffix}")
    with closing(open_database(path)) as database:
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")
        beside.unlink(missing_ok=True)
        OTHER_KINDS[kind](beside)
        assert not database.is_in_place
        for _ in range(2):
            with pytest.raises(StoreFailed, match=f"{suffix} is {kind}, not a file") as raised, database.transaction():
                pass
            assert raised.value.passing
            assert raised.value.is_explained
            assert database.snapshot().row("SELECT value FROM meta WHERE key = 'a'") == (1,)
        beside.rename(tmp_path / "moved")
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('b', 1)")
        assert database.is_in_place
    with closing(open_database(path)) as database:
        assert database.row("SELECT count(*) FROM meta WHERE key IN ('a', 'b')") == (2,)


def test_a_store_that_was_moved_behind_a_link_is_gone(tmp_path: Path) -> None:
    """The next start would follow the link and miss the log, which stays beside the link."""
    path = tmp_path / "sched.db"
    with closing(open_database(path)) as database:
        path.rename(tmp_path / "moved.db")
        path.symlink_to("moved.db")
        with pytest.raises(StoreFailed, match="the store file was moved or deleted"), database.transaction():
            pass


@pytest.mark.parametrize("name", REJECTED)
def test_a_file_that_is_not_a_store_is_rejected_unchanged(tmp_path: Path, name: str) -> None:
    prepare, message = REJECTED[name]
    path = tmp_path / "sched.db"
    prepare(path)
    before = contents(tmp_path)
    with pytest.raises(Unusable) as raised:
        open_database(path)
    assert raised.value.message == message.replace("PATH", str(path))
    assert_one_line(raised.value)
    assert contents(tmp_path) == before


def crashed(directory: Path, prepare: Callable[[Path], object], statement: str) -> Path:
    """A store as a crash leaves it: the write of the statement is only in the log."""
    live, copy = directory / "live", directory / "copy"
    live.mkdir()
    copy.mkdir()
    prepare(live / "sched.db")
    with closing(sqlite3.connect(live / "sched.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(statement)
        for file in live.glob("sched.db*"):
            (copy / file.name).write_bytes(file.read_bytes())
    assert (copy / "sched.db-wal").stat().st_size > 0
    return copy / "sched.db"


@pytest.mark.parametrize(
    ("prepare", "statement", "message"),
    [
        (newer_schema, "INSERT INTO invented_later VALUES (1)", "has schema 1000"),
        (another_program, "INSERT INTO theirs VALUES (2)", "belongs to another program"),
    ],
)
@pytest.mark.parametrize("index", ["left", "gone"])
def test_a_foreign_store_is_left_as_its_crash_left_it(
    tmp_path: Path, prepare: Callable[[Path], object], statement: str, message: str, index: str
) -> None:
    path = crashed(tmp_path, prepare, statement)
    if index == "gone":
        Path(f"{path}-shm").unlink()
    before = contents(path.parent)
    with pytest.raises(Unusable, match=message):
        open_database(path)
    assert contents(path.parent) == before


def test_writes_in_the_log_after_a_crash_are_present(tmp_path: Path) -> None:
    path = crashed(tmp_path, lambda path: open_database(path).close(), "INSERT INTO meta VALUES ('a', 1)")
    with closing(open_database(path)) as database:
        assert database.rows("SELECT * FROM meta") == [("a", 1)]


def test_a_damaged_log_hides_no_checkpointed_write(tmp_path: Path) -> None:
    path = crashed(tmp_path, lambda path: open_database(path).close(), "INSERT INTO meta VALUES ('a', 1)")
    Path(f"{path}-wal").write_bytes(b"no log at all" * 1000)
    with closing(open_database(path)) as database:
        assert database.rows("SELECT * FROM meta") == []
        assert database.rows("PRAGMA integrity_check") == [("ok",)]


def test_the_check_at_the_opening_leaves_the_constraints_in_force(tmp_path: Path) -> None:
    open_database(tmp_path / "sched.db").close()
    with closing(open_database(tmp_path / "sched.db")) as database:
        assert not database.unchecked
        with pytest.raises(StoreFailed, match="CHECK constraint failed"):
            database.execute(
                "INSERT INTO drops (mark, name, uid, user, taken_ms, accepted, result) VALUES ('', '', 0, '', 0, 7, '')"
            )


def takes_long(_connection: sqlite3.Connection, soon: bool = False) -> str | None:
    assert soon
    raise Unfinished


def test_a_store_with_a_long_check_is_opened_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sched.db"
    rooted_badly(path)
    with pytest.raises(Unusable, match="the store is damaged"):
        open_database(path)
    monkeypatch.setattr(module, "find_damage", takes_long)
    with closing(open_database(path)) as database:
        assert database.unchecked
        with pytest.raises(Unusable, match=re.escape(f"the store is damaged: {path}: ")):
            check_in_use(path)


def test_a_healthy_store_passes_the_check_during_use(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "sched.db", "example.com", "0123", 5)) as store, store.transaction():
        store.settings.set_meta("a", 1)
        check_in_use(tmp_path / "sched.db")


def test_a_check_that_fails_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_connection: sqlite3.Connection) -> str | None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    open_database(tmp_path / "sched.db").close()
    monkeypatch.setattr(maintenance, "find_damage", broken)
    with pytest.raises(StoreFailed, match="disk I/O error"):
        check_in_use(tmp_path / "sched.db")


def assert_one_line(error: Unusable) -> None:
    assert "\n" not in error.message
    assert error.help
    assert "\n" not in error.help


def test_a_missing_directory_is_rejected_and_not_created(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "lib"
    with pytest.raises(Unusable) as raised:
        open_database(directory / "sched.db")
    assert raised.value.message == f"the directory of the store is missing: {directory}"
    assert raised.value.help == f"create it: mkdir -p {directory}"
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_directory_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(Unusable, match="/var is not a directory"):
        open_database(tmp_path / "var" / "sched.db")


def _error_for_nobody(path: Path, connection: Connection) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        open_database(path)
        connection.send("opened")
    except Unusable as error:
        connection.send(error.message)


def error_for_nobody(path: Path) -> str:
    """The error of another user who opens a store. Root would get none."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_error_for_nobody, args=(path, there))
    process.start()
    message = str(here.recv())
    process.join()
    return message


def test_an_unwritable_directory_is_rejected(public_path: Path) -> None:
    directory = public_path / "var"
    directory.mkdir(mode=0o555)
    message = error_for_nobody(directory / "sched.db")
    assert message == f"the directory of the store is not writable: {directory}"
    assert list(directory.iterdir()) == []


def test_an_unreadable_file_in_a_writable_directory_is_rejected(public_path: Path) -> None:
    path = public_path / "sched.db"
    open_database(path).close()
    Path(f"{path}.lock").unlink()
    public_path.chmod(0o777)
    path.chmod(0)
    assert error_for_nobody(path) == f"the store is not readable and writable: {path}"
    assert [file.name for file in public_path.iterdir()] == ["sched.db"]
    path.chmod(0o600)


def test_a_second_holder_is_rejected_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    first = open_database(path)
    before = contents(tmp_path)
    with pytest.raises(Unusable) as raised:
        open_database(path)
    assert raised.value.message == f"another appliance holds the store {path} (pid {os.getpid()})"
    assert_one_line(raised.value)
    assert contents(tmp_path) == before
    first.close()
    open_database(path).close()


def test_a_store_is_locked_under_each_of_its_names(tmp_path: Path) -> None:
    path, other = tmp_path / "sched.db", tmp_path / "other" / "sched.db"
    with closing(open_database(path)) as database:
        other.parent.mkdir()
        path.rename(other)
        with pytest.raises(Unusable, match="another appliance holds the store"):
            open_database(other)
        assert not (other.parent / "sched.db-wal").exists()
        other.rename(path)
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")
    open_database(path).close()


def test_a_rejected_second_holder_keeps_the_locks_of_sqlite(tmp_path: Path) -> None:
    """Closing any descriptor of a file releases the POSIX locks of the process on it."""
    path = tmp_path / "sched.db"
    with closing(open_database(path)):
        with pytest.raises(Unusable):
            open_database(path)
        assert holders("POSIX", "READ", path.stat()) == [os.getpid()]


def test_the_file_of_another_program_gets_no_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    another_program(path)
    with pytest.raises(Unusable):
        open_database(path)
    assert os.listdir(tmp_path) == [path.name]
    lock = lock_path_of(path)
    lock.touch(0o600)
    with pytest.raises(Unusable):
        open_database(path)
    assert lock.exists(), "it was there before"


def test_a_rejected_store_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    another_program(path)
    with pytest.raises(Unusable):
        open_database(path)
    path.unlink()
    open_database(path).close()


@pytest.mark.parametrize("place", ["file", "memory"])
def test_every_commit_is_durable(tmp_path: Path, place: str) -> None:
    with closing(open_database(tmp_path / "sched.db" if place == "file" else None)) as database:
        assert database.row("PRAGMA journal_mode")[0] == ("wal" if place == "file" else "memory")
        assert database.row("PRAGMA synchronous")[0] == 2
        assert database.row("PRAGMA application_id")[0] == APPLICATION_ID


def test_commits_are_durable_also_after_a_reopen(tmp_path: Path) -> None:
    open_database(tmp_path / "sched.db").close()
    with closing(open_database(tmp_path / "sched.db")) as database:
        assert (database.row("PRAGMA journal_mode")[0], database.row("PRAGMA synchronous")[0]) == ("wal", 2)


def test_a_transaction_is_atomic() -> None:
    with closing(open_database(None)) as database:
        with pytest.raises(KeyError), database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")
            raise KeyError
        assert database.rows("SELECT * FROM meta") == []
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")
        assert database.rows("SELECT * FROM meta") == [("a", 1)]


def test_a_savepoint_is_rolled_back_alone() -> None:
    with closing(open_database(None)) as database:
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")
            with pytest.raises(KeyError), database.savepoint():
                database.execute("INSERT INTO meta VALUES ('b', 1)")
                raise KeyError
            with database.savepoint():
                database.execute("INSERT INTO meta VALUES ('c', 1)")
        assert database.rows("SELECT key FROM meta ORDER BY key") == [("a",), ("c",)]


@pytest.mark.parametrize("call", [Database.execute, Database.rows, Database.row])
def test_every_sqlite_error_becomes_a_store_failure(call: Callable[[Database, str], object]) -> None:
    with closing(open_database(None)) as database, pytest.raises(StoreFailed, match="no such table: nowhere"):
        call(database, "SELECT * FROM nowhere")


@pytest.mark.parametrize("call", [Database.execute, Database.rows, Database.row])
def test_a_message_of_sqlite_that_is_not_utf_8_is_a_failure_too(
    call: Callable[[Database, str], object],
) -> None:
    with closing(open_database(None)) as database:
        database.execute("CREATE TABLE spoilt (text CHECK (text <> 'a'))")
        database.execute("PRAGMA writable_schema = ON")
        schema = b"CREATE TABLE spoilt (text CHECK (text <> '\xff'))"
        database.execute("UPDATE sqlite_schema SET sql = CAST(? AS TEXT) WHERE name = 'spoilt'", (schema,))
        database.execute("PRAGMA schema_version = 1000")
        with pytest.raises(StoreFailed, match="the store is damaged: its schema is not UTF-8") as failed:
            call(database, "INSERT INTO spoilt VALUES (CAST(x'ff' AS TEXT))")
        assert not failed.value.passing


@pytest.mark.parametrize("word", ["malformed", "locked", "file is not a database", "Could not decode to UTF-8"])
def test_the_code_of_an_error_decides_not_its_message(tmp_path: Path, word: str) -> None:
    """The message contains the name of a table. Only SQLite's code says what is wrong."""
    path = tmp_path / "sched.db"
    with closing(open_database(path)) as database, pytest.raises(StoreFailed) as failed:
        database.rows(f'SELECT * FROM "{word}"')
    assert not (failed.value.passing or failed.value.locked or failed.value.full)
    cause = failed.value.__cause__
    assert isinstance(cause, sqlite3.Error) and word in str(cause)
    assert unopenable(path, cause).message == f"cannot open the store {path}: no such table: {word}"
    assert "fuser" not in unopenable(path, cause).help


@pytest.mark.parametrize("call", [Database.rows, Database.row])
def test_a_text_that_is_not_utf_8_is_shown_with_replacements(call: Callable[[Database, str], object]) -> None:
    with closing(open_database(None)) as database:
        assert "\ufffd" in str(call(database, "SELECT CAST(x'ff61' AS TEXT)"))


def test_a_full_disk_fails_the_transaction_and_does_not_damage_the_store(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "sched.db")) as database:
        database.execute(f"PRAGMA max_page_count = {database.row('PRAGMA page_count')[0]}")
        with pytest.raises(StoreFailed, match="full"), database.transaction():
            database.execute("INSERT INTO meta VALUES ('small', 1)")
            database.execute("INSERT INTO meta VALUES ('large', zeroblob(100000))")
        assert database.rows("SELECT * FROM meta") == []
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('small', 1)")


@pytest.mark.parametrize("place", ["new", "in use"])
def test_a_limit_on_the_size_of_files_is_no_full_disk(tmp_path: Path, place: str) -> None:
    path = tmp_path / "sched.db"
    text = r"the limit on the size of files is 60,000 bytes: raise `ulimit -f`, or `LimitFSIZE=` of systemd$"
    database = open_database(path) if place == "in use" else None
    with size_limit(60_000):
        if database is None:
            with pytest.raises(Unusable, match=text):
                open_database(path)
        else:
            with pytest.raises(StoreFailed, match=text) as raised, closing(database), database.transaction():
                database.execute("INSERT INTO meta VALUES ('large', zeroblob(200000))")
            assert raised.value.passing
            assert raised.value.is_explained


def test_another_writer_causes_a_failure_not_a_hang(tmp_path: Path) -> None:
    with (
        closing(open_database(tmp_path / "sched.db")) as database,
        closing(sqlite3.connect(tmp_path / "sched.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="locked"), database.transaction():
            pytest.fail("the transaction began")
        other.execute("ROLLBACK")
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")


def test_a_snapshot_does_not_see_what_is_committed_later_and_cannot_write(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "sched.db")) as database, closing(database.snapshot()) as snapshot:
        assert snapshot.row("SELECT count(*) FROM meta") == (0,)
        with database.transaction():
            database.execute("INSERT INTO meta VALUES ('a', 1)")
        assert snapshot.row("SELECT count(*) FROM meta") == (0,)
        with pytest.raises(StoreFailed, match="readonly"):
            snapshot.execute("INSERT INTO meta VALUES ('b', 1)")


def test_the_node_of_a_store_never_changes(tmp_path: Path) -> None:
    open_store(tmp_path / "sched.db", "first.example.com", "0123", 5).close()
    with closing(open_store(tmp_path / "sched.db", "second.example.com", "4567", 6)) as store:
        assert (store.node, store.identity, store.settings.meta("created_ms")) == ("first.example.com", "0123", 5)


def test_the_log_is_cut_after_it_was_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader kept SQLite from starting it again, and it kept its size until the daemon ended."""
    path, limit = tmp_path / "sched.db", 200_000
    log = Path(f"{path}-wal")
    monkeypatch.setattr("schedappliance.store.database.LOG_LIMIT_BYTES", limit)
    with closing(open_database(path)) as database:
        database.execute("CREATE TABLE t (a)")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM t").fetchall()
            for _ in range(10):
                database.execute("INSERT INTO t VALUES (zeroblob(100000))")
            assert log.stat().st_size > 2 * limit
        for _ in range(3):
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            database.execute("INSERT INTO t VALUES (1)")
        assert log.stat().st_size <= limit
