"""The console's listening socket: creates it, locks it for one appliance, and removes it at the end.

Rule: it removes no file except a socket on which no process listens.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.unix_socket import connect
from schedappliance.lockfile import LockHeld, is_in_place, lock_file


class ListeningSocket:
    """The console's socket. It replaces only a socket on which no process listens. Raises Unusable.

    `makes_directory`: a directory that was removed is made again. Not the store's: it may have been moved by mistake, and a
    new one of its name would stand in the way of the old one.
    """

    def __init__(self, path: Path, mode: int, group: int | None, makes_directory: bool = True) -> None:
        self.path, self._makes_directory = path, makes_directory
        self._mode, self._group = mode, group
        self._lock = _lock_path(path)
        try:
            self._listen()
        except BaseException:
            os.close(self._lock)
            raise

    def _listen(self) -> None:
        _make_way(self.path)
        self.socket = _listen(self.path, self._mode, self._group)
        self._file = _identity(self.path)

    def lost(self) -> str | None:
        """Which file was removed or replaced: the socket, or its lock file. None if both are in place."""
        if _identity(self.path) != self._file:
            return f"the console's socket {self.path}"
        lock_path = Path(f"{self.path}.lock")
        return None if is_in_place(self._lock, lock_path) else f"the lock file {lock_path}"

    def renew(self) -> None:
        """Creates the socket file, and the lock file, again if somebody removed them. Raises Unusable.

        The old `socket` stays open if the new one cannot be created. The caller closes the old one otherwise.
        """
        if self._makes_directory:
            _make_directory(self.path.parent)
        if not is_in_place(self._lock, Path(f"{self.path}.lock")):
            lock = _lock_path(self.path)
            os.close(self._lock)
            self._lock = lock
        if _identity(self.path) != self._file:
            self._listen()

    def close(self) -> None:
        """Removes the socket file unless another one has replaced it."""
        self.socket.close()
        if _identity(self.path) == self._file:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._lock)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None if it is missing or cannot be seen."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_directory(path: Path) -> None:
    """Creates a missing directory as at the start: other users may enter it."""
    with contextlib.suppress(OSError):
        path.mkdir()
        path.chmod(0o755)


def _lock_path(path: Path) -> int:
    """Locks the path of the socket. Without a lock, two appliances that start at once could remove each other's socket."""
    lock_path = Path(f"{path}.lock")
    try:
        return lock_file(lock_path)
    except OSError as error:
        remedy = "make its directory writable, or change `console.listen`"
        raise Unusable(f"cannot create {lock_path}: {error.strerror}", remedy) from error
    except LockHeld:
        raise _in_use(path) from None


def _in_use(path: Path) -> Unusable:
    return Unusable(f"another appliance listens on {path}", "stop it, or change `console.listen`")


def _make_way(path: Path) -> None:
    """Removes a stale socket; raises Unusable if something else is in the way."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unusable(f"cannot use the socket path {path}: {error.strerror}", "change `console.listen`") from error
    if not stat.S_ISSOCK(mode):
        raise Unusable(f"{path} exists and is not a socket", "move it away, or change `console.listen`")
    try:
        # Without waiting: somebody else's socket may have no place for another client.
        connect(path, socket.SOCK_NONBLOCK).close()
    except BlockingIOError:
        raise _in_use(path) from None
    except OSError as error:
        if error.errno != errno.ECONNREFUSED:
            raise Unusable(f"cannot use the socket path {path}: {error.strerror}", "remove it") from error
        path.unlink()
        return
    raise _in_use(path)


def _listen(path: Path, mode: int, group: int | None) -> socket.socket:
    """Creates the socket. At first nobody else may connect, since chmod(2) comes later than bind(2)."""
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise Unusable(f"cannot listen on {path}: {error.strerror}", "raise the limit of open files") from error
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The socket file gets the mode of the socket. The umask would also apply to the files of other threads.
            os.fchmod(listener.fileno(), 0o600 & mode)
            listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(mode)
        listener.listen(512)
    except OSError as error:
        listener.close()
        remedy = "use a shorter file name and a writable directory"
        raise Unusable(f"cannot listen on {path}: {error.strerror or error}", remedy) from error
    return listener
