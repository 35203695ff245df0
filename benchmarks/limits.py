"""What the machine itself can do with the same rows and programs: raw SQLite, and C that starts programs."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from time import perf_counter

from benchmarks.appliances import DAY_MS, OWNER
from schedappliance.engine.records import pack
from schedappliance.model.commands import read_command
from schedappliance.store.queries import queries
from schedappliance.syntax.grammars import GRAMMAR_VERSION

RAW = "raw SQLite"
BATCH = 1000
SPAWN_SOURCE = Path(__file__).parent / "spawn.c"


def _connect(path: Path) -> sqlite3.Connection:
    """As durable as the store: a write-ahead log and a sync for each commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def raw_burn_down(path: Path, now_ms: int) -> float:
    """Due jobs a second on a store of ours: the same reads, deletes and inserts in batches as large, and nothing else."""
    jobs, runs = queries("jobs"), queries("runs")
    with closing(_connect(path)) as connection:
        began, count = perf_counter(), 0
        while rows := connection.execute(jobs["due_jobs"], (now_ms, BATCH)).fetchall():
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(jobs["delete_job"], [(row[0],) for row in rows])
            connection.executemany(runs["add_run"], [_run(row, now_ms) for row in rows])
            connection.execute("COMMIT")
            count += len(rows)
        return count / (perf_counter() - began)


def _run(row: tuple[int, str, int, int | None, int, str, str, int, int, str, str], now_ms: int) -> tuple[object, ...]:
    number, _, due_ms, _, occurrence, command, _, _, uid, user, origin = row[:11]
    before = (number, occurrence + 1, due_ms, "succeeded", None, None, None, command, None, None, uid, user, origin)
    return (*before, 0, now_ms, now_ms, None, None, None)


def raw_accept(path: Path, count: int, now_ms: int) -> float:
    """Jobs a second stored in a store of ours, one in each commit."""
    text = "config set message_expiration 300"
    command = read_command(text).command
    assert command is not None
    packed, add = pack(command), queries("jobs")["add_job"]
    with closing(_connect(path)) as connection:
        began = perf_counter()
        for number in range(count):
            what = ("in", now_ms + DAY_MS + number, None, text, packed, GRAMMAR_VERSION)
            connection.execute(add, (*what, *OWNER, "console", None, None, True, now_ms, None, None))
        return count / (perf_counter() - began)


class Spawning:
    """The C program, compiled where it may lie; `absent` says why it could not be."""

    def __init__(self, folder: Path) -> None:
        self._program = folder / "spawn"
        self.absent: str | None = None
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            self.absent = "C posix_spawn: no C compiler here"
        else:
            subprocess.run([compiler, "-O2", "-o", self._program, SPAWN_SOURCE], check=True)

    def rate(self, count: int, at_once: int, program: str) -> float | None:
        """Starts a second; None without a compiler."""
        if self.absent:
            return None
        command = [str(self._program), str(count), str(at_once), program]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
