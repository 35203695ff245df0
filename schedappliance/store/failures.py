"""What the store says when it cannot be used, or cannot do something now.

Law: whether the same may succeed later is told by SQLite's own code of the error.
"""

from __future__ import annotations

import sqlite3

from schedappliance.diagnostics import Unusable


class StoreRefused(Unusable):
    """The store cannot be used; the message says why in one line, `help` what to do. Nothing was created or changed."""


class StoreFailed(Exception):
    """A statement or a commit failed; the transaction is rolled back.

    `passing`: the disk, a lock or the machine is to blame, so that the same may succeed later. `locked`: another
    process holds the store. `full`: there is no room for so much; there may be room for less.
    """

    def __init__(self, error: sqlite3.Error | UnicodeDecodeError) -> None:
        no_text = isinstance(error, UnicodeDecodeError)
        super().__init__("the store is damaged: its schema is no text" if no_text else str(error))
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        self.passing = code in _PASSING
        self.full = code == sqlite3.SQLITE_FULL
        self.locked = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


# What SQLite says of a schema that is damaged may be no text.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)


class Gone(sqlite3.OperationalError):
    sqlite_errorcode = sqlite3.SQLITE_CANTOPEN


class _Damaged(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def damaged(what: str) -> StoreFailed:
    """Rows that cannot have been written like this, though the structure of the file is well."""
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
