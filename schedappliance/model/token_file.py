"""Reads the file of the API tokens of the page: a line for each, with its name, its user, its SHA-256 and when it was added.

Rule: whoever writes the file can act as any user on the page, so a file that others can have written is not believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.model.files import open_past_links_of

ROOT = 0
MOST_BYTES = 1024 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Token:
    """`added`: when, as a text."""

    name: str
    user: str
    sha256: str
    added: str

    @property
    def line(self) -> str:
        return f"{self.name} {self.user} {self.sha256} {self.added}\n"


def own_users() -> frozenset[int]:
    """The owners whose files the page believes: root, and the user of this process."""
    return frozenset((ROOT, os.geteuid()))


def users_of_directory(path: Path) -> frozenset[int]:
    """The owners whose files a command believes, which does not know the user of the page: also that of the directory."""
    with suppress(OSError):
        return own_users() | {path.parent.stat().st_uid}
    return own_users()


def read_tokens(path: Path, owners: Collection[int]) -> tuple[Token, ...]:
    """The tokens of a file that only these users can have written; none if there is no file. Raises Unusable."""
    try:
        directory = path.parent.stat()
        _check_directory(path.parent, directory)
        with open_past_links_of(owners, path) as file:
            status = os.fstat(file.fileno())
            text = file.read(MOST_BYTES).decode()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(
            f"cannot read the tokens in {path}: {_why(error)}", "change `web.tokens`, or its permissions"
        ) from None
    if status.st_uid not in owners:
        message = f"{path} belongs to user {status.st_uid}, who can add tokens; it must belong to root or the user of the page"
        raise Unusable(message, f"check its lines, then chown root {path}")
    if status.st_mode & _OTHERS_WRITE:
        raise Unusable(f"others may write to {path}, and so add tokens", f"chmod go-w {path}")
    return tuple(_tokens(path, text))


def _check_directory(path: Path, status: os.stat_result) -> None:
    """In a sticky directory others can make a file, which is theirs, but not replace one. Raises Unusable."""
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise Unusable(f"others may write to {path}, and so bring removed tokens back", f"chmod o-w {path}")


def _why(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "not a regular file" if isinstance(error, IsADirectoryError) else str(error.strerror)


def _tokens(path: Path, text: str) -> Iterator[Token]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 4:
            raise Unusable(f"{path}:{number}: not a token", "remove the line, and add the token again")
        yield Token(*words)
