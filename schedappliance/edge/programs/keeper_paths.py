"""The socket and the file of ends of a keeper, as the daemon opens them by their names.

Rule: what has one of these names and cannot be used is moved aside, and nothing in it is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from schedappliance.edge.console.unix_socket import connect
from schedappliance.edge.programs.keeper_files import ENDS, MOST_BYTES, SOCKET, ends_of, listen, open_ends
from schedappliance.kinds import EXHAUSTED, closed, not_a_file, read_head

# The device and the inode of a file.
Identity = tuple[int, int]
# Takes a warning.
Warn = Callable[[str], None]


class KeeperUnreachable(OSError):
    """No keeper takes starts. This is a trouble of the appliance, and no failure of a program."""


def unreachable(error: OSError) -> KeeperUnreachable:
    """The exception for an error of the start of a keeper, with the path and the remedy if they are known."""
    path = Path(error.filename) if isinstance(error.filename, str) else None
    why = f"{path}: {error.strerror}" if path else error.strerror
    if path and (unusable := closed(path, error)):
        why = f"{unusable.message}; {unusable.help}"
    return KeeperUnreachable(error.errno, f"cannot reach the keeper: {why}")


def read_ends(directory: Path) -> str:
    """The lines of the file of ends; none if it is missing, or is no file of a keeper of this user. Raises OSError."""
    try:
        status = (directory / ENDS).lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            return ""
        data = read_head(directory / ENDS, status.st_size)
    except (FileNotFoundError, PermissionError):
        return ""
    return b"\n".join(ends_of(data).values()).decode(errors="replace")


def ends_file(directory: Path, warn: Warn) -> int:
    """The file of ends, for a keeper. Raises OSError."""
    path = directory / ENDS
    try:
        return _usable_ends(path)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        try:
            aside = _move_aside(path)
        except OSError:
            raise error from None
        warn(f"{path} cannot be used ({error.strerror}); it was moved to {aside}, and is made again")
    return open_ends(str(directory))


def _usable_ends(path: Path) -> int:
    """The file of ends, if it can be read and written. Raises OSError."""
    if not_a_file(path):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    ends = open_ends(str(path.parent))
    try:
        if os.fstat(ends).st_size > MOST_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        os.pread(ends, MOST_BYTES, 0)
    except OSError:
        os.close(ends)
        raise
    return ends


def free_socket_name(directory: Path) -> None:
    """Removes what has the name of the socket. A directory is moved aside. Raises OSError."""
    path = directory / SOCKET
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        _move_aside(path)


def _move_aside(path: Path) -> Path:
    """Gives a file a name that no other file of its directory has had. Raises OSError."""
    return path.rename(path.with_name(f"{path.name}.{path.lstat().st_ino}"))


def sockets_in(directory: Path) -> tuple[socket.socket, socket.socket]:
    """The socket on which a keeper listens, and a connection with it. Raises OSError.

    On a file system that holds no sockets, both are ends of a connection, and no later daemon can take the keeper over.
    """
    for _ in range(2):  # An earlier keeper may have made its socket again, just before this one.
        with contextlib.suppress(OSError), contextlib.ExitStack() as after_failure:
            free_socket_name(directory)
            listener = after_failure.enter_context(listen(str(directory)))
            control = connect(directory / SOCKET, kind=socket.SOCK_SEQPACKET)
            after_failure.pop_all()
            return listener, control
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def identities_in(directory: Path) -> tuple[Identity | None, Identity | None]:
    """The socket and the file of ends that have the names now."""
    return identity(directory / SOCKET), identity(directory / ENDS)


def identity(path: Path, follow: bool = False) -> Identity | None:
    """The device and the inode of a file; None if it cannot be seen."""
    try:
        status = path.stat(follow_symlinks=follow)
    except OSError:
        return None
    return status.st_dev, status.st_ino
