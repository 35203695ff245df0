"""Connects to Unix sockets, also by paths longer than a socket address, and asks the kernel who is at the other end.

Rule: it imports little, since every console command connects.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

# struct ucred: pid, uid, gid
_PEER = struct.Struct("iII")


def connect(path: Path, flags: int = 0, timeout: float | None = None, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Connects to a listening socket, by a short address below /proc/self/fd. Raises OSError.

    `flags`: of the new socket; with SOCK_NONBLOCK the call does not wait for a place in the backlog. `timeout`: how
    many seconds each operation of the socket may take; None: as long as it takes.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, kind | flags)
    try:
        if timeout is not None:
            connection.settimeout(timeout)
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException as error:
        connection.close()
        if lacks_proc(error):
            raise FileNotFoundError(errno.ENOENT, "/proc is not mounted here") from None
        raise
    finally:
        os.close(directory)
    return connection


def lacks_proc(error: BaseException) -> bool:
    """Whether an address below /proc/self/fd was not found since /proc is not mounted, as in a chroot."""
    return isinstance(error, FileNotFoundError) and not os.path.exists("/proc/self/fd")  # noqa: PTH110


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process at the other end, as the kernel reports it."""
    return _peer(connection)[1]


def peer_pid(connection: socket.socket) -> int:
    """The pid of the process that has connected, or that has called listen() last; 0 if it is not visible from here."""
    return _peer(connection)[0]


def _peer(connection: socket.socket) -> tuple[int, int, int]:
    pid, uid, gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return pid, uid, gid


def listener_pid(path: Path) -> int | None:
    """The pid of the process that listens on a socket; None if there is none, or if this user may not connect."""
    try:
        with connect(path) as connection:
            return peer_pid(connection)
    except OSError:
        return None
