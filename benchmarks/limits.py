"""The limits of the machine with the same rows and programs: raw SQLite, and C that starts programs."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.appliances import ADD_JOB, DAY_MS, OWNER
from schedappliance.model.commands import pack, read_command
from schedappliance.syntax.grammars import GRAMMAR_VERSION

RAW = "raw SQLite"
BATCH = 1000
DUE = """
SELECT number, next_run_ms, occurrence, command, parsed, grammar, uid, user, origin, kind, interval_ms, declared, schedule
FROM jobs WHERE next_run_ms IS NOT NULL AND enabled = 1 AND paused = 0 AND next_run_ms <= ?
ORDER BY next_run_ms, number LIMIT ?
"""
DELETE = "DELETE FROM jobs WHERE number = ?"
ADD_RUN = """
INSERT INTO runs (job, occurrence, due_ms, state, command, uid, user, origin, claimed_ms, ended_ms)
VALUES (?, ?, ?, 'succeeded', ?, ?, ?, ?, ?, ?)
"""
SOURCES = Path(__file__).parent
NO_COMPILER = "C: no C compiler here"


def _connect(path: Path) -> sqlite3.Connection:
    """Opens a database as durable as the store: a write-ahead log and a sync for each commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def raw_burn_down(path: Path, now_ms: int) -> float:
    """Due jobs a second on our schema: only the same reads, deletes and inserts, in batches of the same size."""
    with closing(_connect(path)) as connection:
        began, count = perf_counter(), 0
        while rows := connection.execute(DUE, (now_ms, BATCH)).fetchall():
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(DELETE, [(row[0],) for row in rows])
            connection.executemany(ADD_RUN, [_run(row, now_ms) for row in rows])
            connection.execute("COMMIT")
            count += len(rows)
        return count / (perf_counter() - began)


def _run(row: tuple[Any, ...], now_ms: int) -> tuple[Any, ...]:
    number, due_ms, occurrence, command, _, _, uid, user, origin = row[:9]
    return number, occurrence + 1, due_ms, command, uid, user, origin, now_ms, now_ms


def raw_accept(path: Path, count: int, now_ms: int) -> float:
    """Jobs a second stored in our schema, one in each commit."""
    text = "config set message_expiration 300"
    command = read_command(text).command
    assert command is not None
    packed = pack(command)
    with closing(_connect(path)) as connection:
        began = perf_counter()
        for number in range(count):
            what = ("in", now_ms + DAY_MS + number, None, text, packed, GRAMMAR_VERSION)
            connection.execute(ADD_JOB, (*what, *OWNER, now_ms))
        return count / (perf_counter() - began)


def compiled(name: str, folder: Path) -> Path | None:
    """The program made of one of the C files here, in the given folder; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    subprocess.run([compiler, "-O2", "-o", folder / name, SOURCES / f"{name}.c"], check=True)
    return folder / name


def spawned(spawn: Path, count: int, at_once: int, program: str, second: int = 0) -> list[str]:
    """What the programs print, and then the starts a second. `second`: when the starts begin, as a Unix timestamp."""
    command = [str(spawn), str(count), str(at_once), program, str(second)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
