"""Errors of a store in use. Rule: SQLite's result code decides whether the same work may succeed later, never its text."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.store.files import size_limit

REMEDY = "`schedappliance store check` checks the store"


class StoreFailed(Exception):
    """A statement or a commit failed; the transaction is rolled back.

    `path`: the store, if a limit on its size may be the cause. `passing`: the cause is the disk, a lock or the machine, so
    the same work may succeed later. `locked`: another process holds a lock. `full`: the disk has no room; smaller writes
    may still succeed. `is_explained`: the message says what to do.
    """

    def __init__(self, error: sqlite3.Error | UnicodeDecodeError, path: Path | None = None) -> None:
        undecoded = isinstance(error, UnicodeDecodeError)
        code = primary_code(error)
        limit = size_limit(path) if path and code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) else None
        super().__init__(limit or ("the store is damaged: its schema is not UTF-8" if undecoded else str(error)))
        self.passing = code in _PASSING
        self.full = is_full(error)
        self.locked = code in LOCKED
        self.is_explained = limit is not None or isinstance(error, Gone | _Rejected)

    def of_command(self, line: str, cannot_be: str) -> Diagnostic:
        """Why a command is rejected: the store cannot be `written` or `read`."""
        remedy = "nothing was changed; make sure that its disk has free space and is writable"
        if self.locked:
            remedy = "nothing was changed; another process is writing to it: `fuser` shows which"
        elif self.is_explained:
            remedy = "nothing was changed"
        elif not self.passing:
            remedy = f"nothing was changed; {REMEDY}"
        return Diagnostic("E504", f"the store cannot be {cannot_be}: {self}", remedy, Source.of_command(line))


# The text of an error that quotes a damaged schema may not be UTF-8.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def primary_code(error: Exception) -> int | None:
    """SQLite's primary result code; None for an error that Python's `sqlite3` raised itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_full(error: Exception) -> bool:
    """Whether the disk has no room."""
    return primary_code(error) == sqlite3.SQLITE_FULL


def is_damage(error: Exception) -> bool:
    """Whether the content of the file is damaged."""
    return isinstance(error, UnicodeDecodeError) or primary_code(error) == sqlite3.SQLITE_CORRUPT


def is_undecoded(error: Exception) -> bool:
    """Whether a value stored as text is not UTF-8. For this error, which it raises while fetching, `sqlite3` sets no code."""
    return isinstance(error, sqlite3.OperationalError) and primary_code(error) is None


class Gone(sqlite3.OperationalError):
    """A file of the store was moved, deleted or shortened."""

    sqlite_errorcode = sqlite3.SQLITE_CANTOPEN


class _Rejected(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT


def cannot_store(why: str) -> StoreFailed:
    """The error for rows that can never be stored, although the file and the disk are sound. `why` says what to do."""
    return StoreFailed(_Rejected(why))


class _Damaged(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def damaged(what: str) -> StoreFailed:
    """The error for rows that the appliance cannot have written, although the structure of the file is sound."""
    return StoreFailed(_Damaged(f"the store is damaged: {what}"))


_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
