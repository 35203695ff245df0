"""The files that programs write to, one for each attempt, so that their output outlives a killed daemon.

Rule: a file exists from before the start until the store holds what is kept of it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from schedappliance.edge import linux
from schedappliance.engine.records import AttemptKey

SPARE_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Outputs:
    """The files of one directory. Its path is made absolute, since the launcher changes its working directory."""

    directory: Path

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()

    def path(self, key: AttemptKey) -> str:
        # Not a Path: to make one takes longer than to open the file.
        return f"{self.directory}/{key.run.job}-{key.run.occurrence}-{key.attempt}"

    def open(self, key: AttemptKey) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_TRUNC | os.O_NOFOLLOW
        return os.open(self.path(key), flags, 0o600)

    def is_empty(self, key: AttemptKey) -> bool:
        """Whether nothing was written; asks only for the size, which takes a sixth of the time of reading the file."""
        try:
            return os.stat(self.path(key)).st_size == 0  # noqa: PTH116
        except OSError:
            return False

    def read(self, key: AttemptKey, limit: int) -> tuple[bytes, int]:
        """An output and its size; of a longer one than the limit its head and its tail, with a line between them.

        The rest is removed at once: the row that records the end may need its disk space.
        """
        try:
            with Path(self.path(key)).open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                if size <= limit:
                    return file.read(), size
                head = file.read(limit // 2)
                file.seek(size - (limit - limit // 2))
                tail = file.read(limit - limit // 2)
                file.truncate(0)
                return head + b"\n[... %d bytes left out ...]\n" % (size - limit) + tail, size
        except OSError:
            return b"", 0

    def remove(self, keys: Iterable[AttemptKey]) -> None:
        for key in keys:
            with contextlib.suppress(OSError):
                os.unlink(self.path(key))  # noqa: PTH108

    def remove_unknown(self, known: Collection[AttemptKey]) -> None:
        """Removes the files of all other attempts."""
        known_paths = set(map(self.path, known))
        for path in self.directory.iterdir():
            if str(path) not in known_paths and not path.is_dir():
                path.unlink(missing_ok=True)

    def punch(self, key: AttemptKey, limit: int) -> None:
        punch(Path(self.path(key)), limit)


def punch(path: Path, limit: int) -> None:
    """Frees the disk space between the head and the tail of a file, if the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            # Not less: what is written meanwhile only moves the tail away from the hole.
            if size > 2 * limit + SPARE_BYTES:
                linux.punch_hole(descriptor, limit, size - 2 * limit)
        finally:
            os.close(descriptor)
