"""Reads the stanza files as of one instant. Rule: only their content counts, never their times."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import path_diagnostic
from schedappliance.edge.files.filesystems import on_network
from schedappliance.edge.files.leases import writer_of
from schedappliance.model.closure import Closure
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import DISK, open_regular
from schedappliance.model.loading import Loaded, load
from schedappliance.model.unfinished import changed_texts
from schedappliance.syntax.text import MAX_BYTES

MOST_TRIES = 4
HASHED_AT_ONCE = 32 * 1024
# Errors that say nothing about a file.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a path cannot be read. `exists`: whether the name exists, even as a link that leads nowhere."""

    number: int
    reason: str
    exists: bool


# The bytes of a file, the names in a directory, or neither.
Content = bytes | tuple[str, ...] | Unreadable


class Snapshot:
    """The files that a configuration is loaded from. Each path is opened once, when its content is first needed.

    `contents`: every path that was needed. The loaded configuration depends on these and no others.
    `known`: the contents of an earlier reading; these paths are not opened again.
    """

    def __init__(self, known: Mapping[Path, Content]) -> None:
        self._known = known
        self.contents: dict[Path, Content] = {}

    def _content(self, path: Path) -> Content:
        if path not in self.contents:
            self.contents[path] = self._known[path] if path in self._known else read_content(path)
        return self.contents[path]

    def read(self, path: Path) -> bytes:
        """The bytes of a file. Raises OSError."""
        match self._content(path):
            case bytes(data):
                return data
            case Unreadable(number, reason):
                raise OSError(number, reason, str(path))
            case tuple():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))

    def exists(self, path: Path) -> bool:
        content = self._content(path)
        return content.exists if isinstance(content, Unreadable) else True

    def is_dir(self, path: Path) -> bool:
        """Whether a path is a directory that can be listed. For any other path, `read` raises the reason."""
        return isinstance(self._content(path), tuple)

    def visible_files(self, directory: Path) -> list[str]:
        """The names in a directory. Call it only for a path for which `is_dir` is true."""
        names = self._content(directory)
        assert isinstance(names, tuple)
        return list(names)


class Reading(NamedTuple):
    """The stanza files, read and checked."""

    loaded: Loaded
    digest: str
    # The paths that were needed.
    paths: tuple[Path, ...]
    # False if the files have changed during each try.
    is_settled: bool
    # The first changed file that a process may still be writing.
    open_for_writing: Path | None = None
    # The first changed file for which only events tell that a process may still be writing it.
    perhaps_open: Path | None = None
    # What the machine lacks to read one of the files.
    shortage: str | None = None


def read_content(path: Path) -> Content:
    """Opens a path once. It reads at most one byte more than the largest accepted size."""
    return _content_and_writer(path)[0]


def _content_and_writer(path: Path, lease: bool = False) -> tuple[Content, bool | None]:
    """The content, and whether another process has the file open for writing.

    The second value is None if the kernel does not tell, and the file may have a writer, as far as its status shows. It is
    False if nobody asked (`lease`).
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
            # On a network file system, a denied lease does not mean a writer.
            has_writer = lease and not on_network(path) and writer_of(file.fileno())
            if has_writer is None:
                # A change of its mode or owner, which is reported as one of its content is, sets only one of these times.
                status = os.fstat(file.fileno())
                has_writer = None if status.st_ctime_ns == status.st_mtime_ns else False
            return data, has_writer
    except IsADirectoryError:
        return _listing(path), False
    except OSError as error:
        return _read_error(path, error), False


def _listing(directory: Path) -> Content:
    try:
        return tuple(DISK.visible_files(directory))
    except OSError as error:
        return _read_error(directory, error)


def _read_error(path: Path, error: OSError) -> Unreadable:
    return Unreadable(error.errno or 0, error.strerror or str(error), os.path.lexists(path))


def digest_of(contents: Mapping[Path, Content]) -> str:
    """The digest of the contents of all these paths. The reason why a path is absent does not change the digest."""
    digest = hashlib.sha256()
    for path in sorted(contents):
        match contents[path]:
            case bytes(data):
                kind = "file"
            case Unreadable(number, _, exists):
                kind, data = ("unreadable", str(number).encode()) if exists else ("absent", b"")
            case names:
                kind, data = "directory", "\0".join(names).encode(errors="surrogateescape")
        digest.update(f"{path}\0{kind}\0{len(data)}\0".encode(errors="surrogateescape"))
        # In pieces, between which other threads get the interpreter: the digest may keep it.
        for begin in range(0, len(data), HASHED_AT_ONCE):
            digest.update(memoryview(data)[begin : begin + HASHED_AT_ONCE])
    return digest.hexdigest()


def read_files(
    root: Path,
    known: Mapping[Path, Content] | None = None,
    active: Mapping[str, str] | None = None,
    written: Container[str] = (),
) -> Reading:
    """Loads the files from a snapshot. Then opens each of them a second time, to exclude a change during the reading.

    If all contents are still the same, all files had these contents at an instant between the two readings. Therefore no
    configuration mixes files from before and after an edit. Times and inode numbers are not sufficient: many writes share
    one tick of the kernel's clock, and a write through a memory mapping sets no time. If a content differs, the second
    reading is the snapshot of the next try.

    `known`: contents that were read a moment ago. `active`: the active texts; the second reading checks whether a file
    that differs from them is still open for writing. `written`: the real paths of files that nobody has closed since they
    were changed, as far as events report it. They count where the kernel does not tell whether a file has a writer: it tells
    nobody but its owner, without CAP_LEASE.
    """
    contents = known or {}
    for _ in range(MOST_TRIES):
        snapshot = Snapshot(contents)
        loaded = _load(root, snapshot)
        changed = changed_texts(loaded.closure, active) if active is not None else ()
        contents, writing, uncertain = _read_again(snapshot.contents, changed)
        if contents == snapshot.contents:
            break
    is_settled = contents == snapshot.contents
    unread = (content for content in contents.values() if isinstance(content, Unreadable))
    shortage = next((content.reason for content in unread if content.number in SHORTAGES), None)
    perhaps = next((path for path in uncertain if os.path.realpath(path) in written), None)
    digest = digest_of(snapshot.contents)
    return Reading(loaded, digest, tuple(snapshot.contents), is_settled, writing, perhaps, shortage)


def _load(root: Path, snapshot: Snapshot) -> Loaded:
    """Loads the files. Nothing in them can end the appliance: any exception, also MemoryError, is a rejected reload."""
    try:
        return load(root, snapshot.read, snapshot)
    except Exception as error:
        logging.getLogger(__name__).exception("the stanza files cannot be checked")
        message = f"the stanza files cannot be checked: {_why(error)}"
        mistake = path_diagnostic("E307", root, message, "undo the last change of the files, and report it with them")
        return Loaded(Closure(root), Configuration(), [mistake])


def _why(error: Exception) -> str:
    match error:
        case MemoryError():
            return "the memory is not sufficient"
        case RecursionError():
            return "something in them is nested too deeply"
        case OSError(strerror=str(reason)):
            return reason
    return "the check itself failed, as the log shows"


def _read_again(
    paths: Collection[Path], changed: Collection[Path]
) -> tuple[dict[Path, Content], Path | None, list[Path]]:
    """The contents, the first changed file that has a writer, and the changed files for which that is not known."""
    contents: dict[Path, Content] = {}
    writers: dict[Path, bool | None] = {}
    for path in paths:
        contents[path], writers[path] = _content_and_writer(path, lease=path in changed)
    writing = next((path for path, has_writer in writers.items() if has_writer), None)
    return contents, writing, [path for path, has_writer in writers.items() if has_writer is None]
