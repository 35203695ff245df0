"""A listening Unix socket: creates it, locks it for one process, accepts clients, and removes it at the end.

Rule: it removes no file except a socket on which no process listens.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.unix_socket import connect, lacks_proc, peer_uid
from schedappliance.edge.own_directory import OwnDirectory
from schedappliance.edge.user_namespace import stranger_uid
from schedappliance.kinds import FREE_ROOM, FULL, uncreatable, unseen
from schedappliance.lockfile import LockHeld, is_in_place, lock_file

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from schedappliance.edge.loop import Loop


# The most clients that are accepted before others have their turn.
ACCEPTED_AT_ONCE = 64
# The pause before the next accept when the process has no descriptor left.
REST_MS = 1000


CONSOLE = "console.listen"
STRANGER = "your user is not mapped into the user namespace of the appliance"


class NoRoom(Unusable):
    """The disk has no space, or no inode, for a socket."""


class ListeningSocket:
    """The socket of the console or of the page. It replaces only a socket on which no process listens. Raises Unusable.

    `key`: the key of the appliance file that holds its path.

    `makes_directory`: `renew` makes a removed directory again. Not for the directory of the store: it may have been moved by
    mistake, and a new one would be in the way when it is moved back.

    `waits`: on a full disk, nothing listens before a later `renew`. Otherwise this raises NoRoom.
    """

    def __init__(
        self,
        path: Path,
        mode: int,
        group: int | None,
        makes_directory: bool = True,
        key: str = CONSOLE,
        waits: bool = False,
    ) -> None:
        self.path, self._key = path, key
        self._name = "the console's socket" if key == CONSOLE else "the page's socket"
        self._above = None if makes_directory else OwnDirectory(path.parent)
        self._mode, self._group = mode, group
        is_new = not os.path.lexists(lock_path := Path(f"{path}.lock"))
        self._lock = _lock_socket(path, key)
        self.is_listening = False
        try:
            self._listen()
        except BaseException as error:
            if waits and isinstance(error, NoRoom):
                self.socket = socket.socket(socket.AF_UNIX)
                return
            # A wrong path may be in a directory of somebody else, or in one that stanza files include.
            if is_new:
                lock_path.unlink(missing_ok=True)
            os.close(self._lock)
            raise

    def _listen(self) -> None:
        _make_way(self.path, self._key)
        self.socket = _new_socket(self.path, self._mode, self._group, self._key)
        self._file = _identity(self.path)
        self.is_listening = True

    def lost(self) -> str | None:
        """Why the socket or its lock file is not in its place. None if both are in their places."""
        if not self.is_listening:
            return f"{self._name} {self.path} could not be created"
        if _identity(self.path) != self._file:
            return f"{self._name} {unseen(self.path) or f'{self.path} was removed or replaced'}"
        lock_path = Path(f"{self.path}.lock")
        return None if is_in_place(self._lock, lock_path) else f"the lock file {lock_path} was removed or replaced"

    def mend(self) -> str:
        """Makes removed files again. Returns what was found and done; empty if all is in its place."""
        lost = self.lost()
        if lost is None:
            return ""
        try:
            self.renew()
        except Unusable as unusable:
            return f"{lost}, and cannot be created again: {unusable}"
        return f"{lost}; it was created again"

    def renew(self) -> None:
        """Creates the socket file, and the lock file, again if somebody removed them. Raises Unusable.

        If this fails, the old `socket` stays open and in use. If it succeeds, the caller closes the old one.
        """
        if self._above is None:
            _make_directory(self.path.parent)
        elif self._above.is_other():
            raise Unusable(f"another directory has the name {self._above.path} now", "move the old one back")
        if not is_in_place(self._lock, Path(f"{self.path}.lock")):
            lock = _lock_socket(self.path, self._key)
            os.close(self._lock)
            self._lock = lock
        if not self.is_listening or _identity(self.path) != self._file:
            self._listen()

    def close(self) -> None:
        """Removes the socket file unless another one has replaced it."""
        self.socket.close()
        if self.is_listening and _identity(self.path) == self._file:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._lock)


class Acceptor:
    """Accepts the clients of a listening socket, on the deciding thread.

    `why_full`: why there is no place for another client of a user; empty if there is one. `welcome`: takes an accepted client.
    """

    def __init__(
        self,
        listener: ListeningSocket,
        loop: Loop,
        log: logging.Logger,
        why_full: Callable[[int], str],
        welcome: Callable[[socket.socket, int], None],
    ) -> None:
        self._listener, self._loop, self._log = listener, loop, log
        self._why_full, self._welcome = why_full, welcome
        self._stranger = stranger_uid()
        # What the last audit found.
        self._trouble = ""

    def open(self) -> None:
        if not self._listener.is_listening:
            self.audit()
            return
        self._loop.watch(self._listener.socket.fileno(), select.EPOLLIN, lambda _events: self._accept())

    def close(self) -> None:
        """Accepts no more clients, and removes the socket."""
        self._loop.unwatch(self._listener.socket.fileno())
        self._listener.close()

    def audit(self) -> None:
        """Creates the socket and its lock file again if somebody removed them."""
        old = self._listener.socket
        if self._listener.is_listening and self._listener.lost():
            # The clients that connected before the removal wait in the old socket.
            self._accept()
        trouble = self._listener.mend()
        is_new = self._listener.socket is not old
        if is_new:
            self._loop.unwatch(old.fileno())
            old.close()
            self.open()
        if trouble and (is_new or trouble != self._trouble):
            self._log.warning(trouble)
        self._trouble = trouble

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                client, _ = self._listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._pause()
                return
            client.setblocking(False)
            uid = peer_uid(client)
            if why := STRANGER if uid == self._stranger else self._why_full(uid):
                with contextlib.suppress(OSError):
                    client.send(f"error: {why}\n".encode())
                client.close()
            else:
                self._welcome(client, uid)

    def _pause(self) -> None:
        """Stops accepting for REST_MS, because no descriptor is left.

        A loop of failing accepts would use a whole core.
        """
        self._loop.unwatch(self._listener.socket.fileno())
        self._loop.alarms.at(self._loop.clock.moment().boot + REST_MS, self.open)


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


def _lock_socket(path: Path, key: str) -> int:
    """Locks the path of the socket.

    Without a lock, two appliances that start at once could remove each other's socket.
    """
    lock_path = Path(f"{path}.lock")
    try:
        return lock_file(lock_path)
    except OSError as error:
        cause = uncreatable(lock_path, error)
        raise Unusable(cause.message, f"{cause.help}, or change `{key}`") from error
    except LockHeld:
        raise _in_use(path, key) from None


def _in_use(path: Path, key: str) -> Unusable:
    return Unusable(f"another process listens on {path}", f"stop it, or change `{key}`")


def _make_way(path: Path, key: str) -> None:
    """Removes a stale socket; raises Unusable if something else is in the way."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unusable(f"cannot use the socket path {path}: {error.strerror}", f"change `{key}`") from error
    if not stat.S_ISSOCK(mode):
        raise Unusable(f"{path} exists and is not a socket", f"move it away, or change `{key}`")
    try:
        # Without waiting: somebody else's socket may have no place for another client.
        connect(path, socket.SOCK_NONBLOCK).close()
    except BlockingIOError:
        raise _in_use(path, key) from None
    except OSError as error:
        if error.errno != errno.ECONNREFUSED:
            raise Unusable(f"cannot use the socket path {path}: {error.strerror}", "remove it") from error
        path.unlink()
        return
    raise _in_use(path, key)


def _new_socket(path: Path, mode: int, group: int | None, key: str) -> socket.socket:
    """Creates the socket under another name and renames it: who sees the file can connect.

    At first nobody else may connect, since chmod(2) comes later than bind(2).
    """
    aside = path.with_name(f"{path.name}.new")
    _make_way(aside, key)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise Unusable(f"cannot listen on {path}: {error.strerror}", "raise the limit of open files") from error
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The socket file gets the mode of the socket. The umask would also apply to the files of other threads.
            os.fchmod(listener.fileno(), 0o600 & mode)
            listener.bind(f"/proc/self/fd/{directory}/{aside.name}")
        finally:
            os.close(directory)
        listener.listen(512)
        if group is not None:
            os.chown(aside, -1, group)
        aside.chmod(mode)
        aside.rename(path)
    except OSError as error:
        listener.close()
        if error.errno in FULL:
            raise NoRoom(f"cannot listen on {path}: {error.strerror}", FREE_ROOM) from error
        if lacks_proc(error):
            remedy = "mount /proc in this chroot or container"
            raise Unusable(f"cannot listen on {path}: /proc is not mounted here", remedy) from error
        remedy = "use a shorter file name and a writable directory"
        raise Unusable(f"cannot listen on {path}: {error.strerror or error}", remedy) from error
    return listener
