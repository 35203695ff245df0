"""The socket and the file of ends of a keeper, by which the next daemon finds it and how its programs have ended.

Rule: this file imports nothing of the package, and no module that takes much memory; see keeper.py.
"""

from __future__ import annotations

import os
import socket

# Their names, in the directory of the outputs.
SOCKET, ENDS = "keeper.sock", "keeper.ends"


def listen(directory: str) -> socket.socket:
    """A new socket that listens in a directory, however long its path is. Raises OSError, also if something has its name."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{parent}/{SOCKET}")
            os.chmod(SOCKET, 0o600, dir_fd=parent)
        finally:
            os.close(parent)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def open_ends(directory: str) -> int:
    """The file of ends, for reading and writing; it is made if it is missing. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(f"{directory}/{ENDS}", flags, 0o600)
