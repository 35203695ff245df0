"""Detects damage in the file of a store. Rule: a store whose damage is found at start is rejected before any write to it."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

# Longest check at start, so that no job is late for it. A slower check continues in the background.
SECONDS_BEFORE_USE = 0.5
INTERRUPT_AGAIN_SECONDS = 0.01
# SQLite tells why it could not read a page only in the text of its finding.
_WITHOUT_MEMORY = re.compile(rf"error code[= ]{sqlite3.SQLITE_NOMEM}\b")


class Unfinished(Exception):
    """The check was stopped because it took too long."""


class NoMemory(sqlite3.OperationalError):
    """The check had no memory for a page, which says nothing about the page."""

    sqlite_errorcode = sqlite3.SQLITE_NOMEM

    def __init__(self) -> None:
        super().__init__("out of memory")


def find_damage(connection: sqlite3.Connection, soon: bool = False) -> str | None:
    """The first damage of the file, in one line; None if it is sound. `soon`: raises Unfinished if the check takes long.

    The structure is checked first, since the CHECK constraints take four times as long as everything else. Raises
    sqlite3.Error for a file that cannot be checked.
    """
    try:
        with _not_long(connection) if soon else nullcontext():
            return _quick_check(connection, ignoring="ON") or _quick_check(connection, ignoring="OFF")
    except MemoryError:
        raise NoMemory from None
    finally:
        # This follows `_not_long`, which could interrupt this statement too.
        connection.execute("PRAGMA ignore_check_constraints = OFF")


def _quick_check(connection: sqlite3.Connection, ignoring: str) -> str | None:
    connection.execute(f"PRAGMA ignore_check_constraints = {ignoring}")
    finding = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if _WITHOUT_MEMORY.search(finding):
        raise NoMemory
    return None if finding == "ok" else " ".join(finding.split())


@contextmanager
def _not_long(connection: sqlite3.Connection) -> Iterator[None]:
    """Interrupts the statements of the block after SECONDS_BEFORE_USE, and raises Unfinished."""
    ended, late = threading.Event(), threading.Event()

    def interrupt() -> None:
        if not ended.wait(SECONDS_BEFORE_USE):
            late.set()
            # The interrupt is repeated, since it does not stop a statement that begins after it.
            while not ended.wait(INTERRUPT_AGAIN_SECONDS):
                connection.interrupt()

    watch = threading.Thread(target=interrupt, name="check", daemon=True)
    try:
        watch.start()
    except RuntimeError:
        raise Unfinished from None
    try:
        yield
    except sqlite3.Error:
        if not late.is_set():
            raise
    finally:
        ended.set()
        watch.join()
    if late.is_set():
        raise Unfinished
