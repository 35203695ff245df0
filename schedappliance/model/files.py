"""Reads files that users name, lists included directories, and finds the interpreter of a script.

Rule: a FIFO or a device never blocks, and at most one byte more than the limit is read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol

from schedappliance.syntax.text import MAX_BYTES

ReadFile = Callable[[Path], bytes]


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file, at most one more than MAX_BYTES; raises OSError."""
    with open_regular(path) as file:
        return file.read(MAX_BYTES + 1)


_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# The kernel rejects a path with more symbolic links than this; see path_resolution(7).
MOST_LINKS = 40


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading; raises OSError for anything else."""
    return _checked(os.open(path, _READ), path)


def open_past_links_of(owners: Container[int], path: Path) -> BinaryIO:
    """Opens a regular file for reading, and follows only symbolic links that belong to these users. Raises OSError.

    Another user who may write to a directory on the way could lead the reader to any file. Each step starts from the
    directory that the step before has opened, so a link that appears meanwhile is not followed either.
    """
    parts, links, place = list(path.absolute().parts), 0, None
    with ExitStack() as steps:
        while parts:
            name = parts.pop(0)
            step = os.open(name, _LOOK, dir_fd=place)
            steps.callback(os.close, step)
            status = os.fstat(step)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                if status.st_uid not in owners:
                    raise OSError(errno.EPERM, f"its symbolic link `{name}` belongs to user {status.st_uid}", str(path))
                parts = [*Path(os.readlink("", dir_fd=step)).parts, *parts]
            elif parts:
                place = step
            else:
                return _checked(os.open(name, _READ | os.O_NOFOLLOW, dir_fd=place), path)
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _checked(descriptor: int, path: Path) -> BinaryIO:
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode) or _is_made_by_kernel(descriptor):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _is_made_by_kernel(descriptor: int) -> bool:
    """Whether a file has content but no size, as those of /proc have. Reading /proc/kmsg waits for the next message."""
    if os.fstat(descriptor).st_size:
        return False
    try:
        is_empty = not os.read(descriptor, 1)
    except BlockingIOError:
        return True
    os.lseek(descriptor, 0, os.SEEK_SET)
    # A file that was empty may be written just now.
    return not is_empty and not os.fstat(descriptor).st_size


def real_path(path: Path | str) -> Path:
    """The absolute path without links. A relative path stays as it is if the working directory was deleted."""
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError:
        return Path(path)


def link_to(path: Path) -> Path | None:
    """An absolute path, without `..` if that is the same; None if no link is on its way."""
    if not path.is_absolute():
        return None
    real, plain = real_path(path), Path(os.path.normpath(path))
    if real_path(plain) != real:
        return path
    return None if plain == real else plain


def ends_with(path: Path, *names: str) -> bool:
    """Whether a path ends with these names: as it is written, seen from the root, or without links."""
    places = (path, real_path(path.parent) / path.name, real_path(path))
    return any(place.parts[-len(names) :] == names for place in places)


class Folders(Protocol):
    """The directories with the included files: on the disk, in a snapshot, or among the texts of a generation."""

    def exists(self, path: Path) -> bool: ...

    def is_dir(self, path: Path) -> bool: ...

    def visible_files(self, directory: Path) -> list[str]: ...


class Disk:
    """The directories of the disk as they are now."""

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def is_dir(self, path: Path) -> bool:
        return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises PermissionError below a closed directory

    def visible_files(self, directory: Path) -> list[str]:
        """The files that an include of a directory reads, in lexical order, without dot files; raises OSError."""
        with os.scandir(directory) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and not _is_directory(e))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """False for a link that leads to itself or to a closed directory. Reading it tells the reason."""
    try:
        return entry.is_dir()
    except OSError:
        return False


DISK = Disk()


# The kernel reads this many bytes.
LONGEST = 256


def interpreter(path: Path) -> str | None:
    """The interpreter after `#!`; None if the file is not a script or cannot be read. A FIFO or device never blocks it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        head = os.read(descriptor, LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    line = head[2:].split(b"\n")[0].replace(b"\t", b" ").strip(b" ")
    return os.fsdecode(line.split(b" ")[0]) if head.startswith(b"#!") and line else None
