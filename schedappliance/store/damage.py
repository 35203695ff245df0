"""Whether the file of a store is damaged. Rule: what is found before the first use is refused, and nothing was written to it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

# Longest check at start, so that no job is late for it. A slower check continues in the background.
SECONDS_BEFORE_USE = 0.5
INTERRUPT_AGAIN_SECONDS = 0.01


class Unfinished(Exception):
    """The check took too long."""


def find_damage(connection: sqlite3.Connection, soon: bool = False) -> str | None:
    """What is wrong with the file, in one line; `soon`: raises Unfinished when it takes long.

    The structure first: the CHECK constraints take four times as long as all the rest.
    """
    try:
        with _not_long(connection) if soon else nullcontext():
            return _quick_check(connection, ignoring="ON") or _quick_check(connection, ignoring="OFF")
    finally:
        # Outside of what may be interrupted.
        connection.execute("PRAGMA ignore_check_constraints = OFF")


def _quick_check(connection: sqlite3.Connection, ignoring: str) -> str | None:
    connection.execute(f"PRAGMA ignore_check_constraints = {ignoring}")
    finding = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if finding == "ok" else " ".join(finding.split())


@contextmanager
def _not_long(connection: sqlite3.Connection) -> Iterator[None]:
    """Interrupts the statements within; what they found by then does not count."""
    ended, late = threading.Event(), threading.Event()

    def interrupt() -> None:
        if not ended.wait(SECONDS_BEFORE_USE):
            late.set()
            # One that begins after an interrupt is not ended by it.
            while not ended.wait(INTERRUPT_AGAIN_SECONDS):
                connection.interrupt()

    watch = threading.Thread(target=interrupt, name="check", daemon=True)
    watch.start()
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
