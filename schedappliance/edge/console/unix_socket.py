"""Unix sockets under paths of any length: connected through the descriptor of their directory.

Rule: it imports little, since every console command connects.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_PEER = struct.Struct("iII")


def connect(path: Path) -> socket.socket:
    """A connection to a listening socket; raises OSError."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows it."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(raw)[1])


def listener_pid(path: Path) -> int | None:
    """The process that listens on a socket; None when nobody does, or it may not be asked."""
    try:
        with connect(path) as connection:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError:
        return None
    return int(_PEER.unpack(raw)[0])
