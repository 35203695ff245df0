"""The console's listening socket: creates it, locks it for one appliance, and removes it at the end.

Rule: it removes no file except a socket on which no process listens.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.unix_socket import connect
from schedappliance.lockfile import LockHeld, lock_file


class ListeningSocket:
    """The console's socket. It replaces only a socket on which no process listens. Raises Unusable."""

    def __init__(self, path: Path, mode: int, group: int | None) -> None:
        self.path = path
        self._lock = _lock_path(path)
        try:
            _make_way(path)
            self.socket = _listen(path, mode, group)
        except BaseException:
            os.close(self._lock)
            raise
        self._inode = path.lstat().st_ino

    def close(self) -> None:
        """Removes the socket file unless another one has replaced it."""
        self.socket.close()
        try:
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        except OSError:
            pass
        os.close(self._lock)


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
        connect(path).close()
    except OSError as error:
        if error.errno != errno.ECONNREFUSED:
            raise Unusable(f"cannot use the socket path {path}: {error.strerror}", "remove it") from error
        path.unlink()
        return
    raise _in_use(path)


def _listen(path: Path, mode: int, group: int | None) -> socket.socket:
    """Creates the socket. The umask sets its mode from the first instant: before a chmod(2), others could connect."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(mode)
        listener.listen(512)
    except OSError as error:
        listener.close()
        remedy = "use a shorter file name and a writable directory"
        raise Unusable(f"cannot listen on {path}: {error.strerror or error}", remedy) from error
    finally:
        os.umask(before)
        os.close(directory)
    return listener
