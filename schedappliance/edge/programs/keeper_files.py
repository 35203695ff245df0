"""The socket and the file of ends of a keeper, by which the next daemon finds it and how its programs have ended.

Rule: this file imports nothing of the package, and no module that takes much memory; see keeper.py.
"""

from __future__ import annotations

import itertools
import os
import socket

# Their names, in the directory of the outputs.
SOCKET, ENDS = "keeper.sock", "keeper.ends"
# Arguments of a keeper: whether the directory lasts longer than its appliance, or is that of an appliance without a store.
LASTING, TEMPORARY = "lasting", "temporary"
# A file of ends is never larger.
MOST_BYTES = 64 * 1024 * 1024
# The form of an id: so many numbers, with at most so many digits.
_NUMBERS, _DIGITS = 4, 18


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


def remove_directory(directory: str) -> None:
    """Removes the directory of an appliance without a store, in which nobody will look for anything."""
    try:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")  # noqa: PTH108
        os.rmdir(directory)  # noqa: PTH106
    except OSError:  # It is gone, or somebody has put a directory into it.
        return


def open_ends(directory: str) -> int:
    """The file of ends, for reading and writing; it is made if it is missing. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(f"{directory}/{ENDS}", flags, 0o600)


def ends_of(data: bytes) -> dict[str, bytes]:
    """The lines about ends in the bytes of the file, by the ids of their programs. Damaged and foreign lines are left out.

    A line end stands before and behind each line. If the disk was full, or the machine lost its power, a line may have been cut,
    perhaps within a number. Such a line is followed by another one at once, or by nothing.
    """
    lines = data.split(b"\n")
    ends = {}
    for line, after in itertools.pairwise(lines):
        words = line.split(b" ")
        if not after and len(words) > 2 and words[0] in (b"ended", b"unstarted") and _is_id(words[1]):
            ends[words[1].decode()] = line
    return ends


def _is_id(word: bytes) -> bool:
    numbers = word.split(b"-")
    return len(numbers) == _NUMBERS and all(number.isdigit() and len(number) <= _DIGITS for number in numbers)
