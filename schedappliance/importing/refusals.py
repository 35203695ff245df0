"""Why cron does not read a file: its name, its owner, its mode, its links and its end.

Rule: only a directory that nobody but root may change says who owned a file there; in a copy, owner and mode mean nothing.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from pathlib import Path

# No cron reads what editors and package managers leave behind.
LEFT_BEHIND = re.compile(r"[.#].*|.*(~|\.rpm(save|orig|new)|\.dpkg-\w+|\.swp|\.cfsaved)")
_DEBIAN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_USERS_MODE = 0o600


def refusals(path: Path, owner: str | None) -> list[str]:
    """Notes on why cron does not read a file. `owner`: the user whose crontab it is; None if it has a user column."""
    reasons = [] if owner else _by_name(path.name)
    try:
        folder, status = path.parent.stat(), path.stat()
    except OSError:
        return reasons
    is_of_cron = folder.st_uid == 0 and not folder.st_mode & stat.S_IWOTH
    return reasons + (_by_status(status, owner) if is_of_cron else [])


def without_end(text: str) -> list[str]:
    """A note on a last line that does not end with a newline, unless it is blank or a comment."""
    last = text[text.rfind("\n") + 1 :].strip(" \t\r")
    if not last or last.startswith("#"):
        return []
    return ["the last line of the file has no newline: cronie leaves it out, and Debian's cron does not read the file"]


def _by_name(name: str) -> list[str]:
    if LEFT_BEHIND.fullmatch(name):
        return ["cron does not read a file with such a name"]
    if not _DEBIAN_NAME.fullmatch(name):
        return ["Debian's cron reads no file whose name has more than letters, digits, `_` and `-`; cronie reads it"]
    return []


def _by_status(status: os.stat_result, owner: str | None) -> list[str]:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid and (user := _name_of(status.st_uid)) != owner:
        return [f"cron does not read this file, because it belongs to `{user}`"]
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ["cron does not read this file, because others than its owner may write it"]
    if status.st_nlink > 1:
        return ["Debian's cron does not read this file, because it has a second link"]
    if owner and mode != _USERS_MODE:
        return [f"Debian's cron does not read this file, because its mode is {mode:04o} and not {_USERS_MODE:04o}"]
    return []


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
