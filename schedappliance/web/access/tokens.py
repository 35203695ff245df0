"""Makes and changes API tokens, and tells the user of one.

Rule: the token itself is printed once and kept nowhere. Without it, its hash is of no use, so anybody may read the file.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.drafts import draft_of
from schedappliance.fsync import fsync_path
from schedappliance.model.token_file import Token, own_users, read_tokens, users_of_directory

PREFIX = "sched_"
LONGEST_NAME = 64
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)
_HEAD = "# API tokens of the page: NAME USER SHA-256 ADDED. `schedappliance web token` changes this file.\n"


def new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    return sha256(secret.encode(errors="replace")).hexdigest()


def change_tokens(
    path: Path, change: Callable[[tuple[Token, ...]], tuple[Token, ...]], before: Callable[[], None] = lambda: None
) -> None:
    """Replaces the tokens in one step. `before`: is called when nothing but that step is left. Raises Unusable."""
    try:
        with _locked(path):
            lines = [token.line for token in change(read_tokens(path, users_of_directory(path)))]
            draft = path.with_name(f"{path.name}.new")
            # A kill has left it.
            draft.unlink(missing_ok=True)
            with draft_of(path, "".join([_HEAD, *lines]), 0o644, draft):
                before()
                draft.rename(path)
            fsync_path(path.parent, os.O_DIRECTORY)
    except OSError as error:
        raise Unusable(f"cannot write {path}: {error.strerror}", "run this as the owner of its directory") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two changes at once do not lose one another. The lock is on the directory, since the file is replaced."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


class TokenFile:
    """The tokens of a file, read again when the file has changed. A file that cannot be used holds none."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._seen: tuple[int, ...] | None = None
        self._users: dict[str, str] = {}

    def user_of(self, token: str) -> str | None:
        """The user of a token; None if it is not in the file."""
        self._refresh()
        return self._users.get(hash_of(token))

    def has_tokens(self) -> bool:
        self._refresh()
        return bool(self._users)

    def _refresh(self) -> None:
        seen: tuple[int, ...] = ()
        with suppress(OSError):
            seen = (self._path.parent.stat().st_mode,)
            status = self._path.stat()
            seen += (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid)
        if seen == self._seen:
            return
        self._seen, self._users = seen, {}
        try:
            self._users = {token.sha256: token.user for token in read_tokens(self._path, own_users())}
        except Unusable as unusable:
            self._warn(str(unusable))
