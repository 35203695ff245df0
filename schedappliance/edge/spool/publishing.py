"""Publishing: writes the results of drops, which are copies of rows, and moves the claimed files to done/ or failed/.

Rule: a claimed file leaves work/ only after its result is on the disk. Paths are strings wherever drops are claimed or
published, since creating a `Path` takes longer than renaming the file.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from schedappliance.edge import linux
from schedappliance.edge.spool.entries import is_of_the_spool
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.intake import Keep, aside_name, is_published, owner_in, published_name, result_name
from schedappliance.fsync import fsync_path

# The most old files that are removed after each publication, and the most directories that are looked into.
MOST_REMOVED = 200
# With O_NONBLOCK, a FIFO at this path is an error.
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# For more files than this, one sync of the whole file system takes less time than one sync for each file.
FEW = 8


@dataclass(slots=True)
class Publisher:
    """Publishes results on the worker. `shared`: several users drop files, and the names in done/ and failed/ begin with
    their uids. `reached`: see Claimer.
    """

    path: Path
    shared: bool
    keep: Keep
    log: logging.Logger
    reached: Callable[[str], None] = lambda _boundary: None
    # Why the last call could publish no result, whatever its drop; None if it could.
    trouble: str | None = None
    _unpublished: dict[str, PublishResult] = field(default_factory=dict)
    # The published files of each owner, the oldest first, with the times of their last change.
    _published: dict[int, deque[tuple[int, str]]] = field(default_factory=dict)
    _published_number: int = 0
    # Old directories by their owners, the one to remove next at the end. The first owner is the next one.
    _directories: dict[int, list[str]] = field(default_factory=dict)

    def list_published(self) -> None:
        """Lists the files that an earlier daemon published, the oldest first. Others are never removed. Raises OSError."""
        files: list[tuple[int, str, int]] = []
        for folder in ("done", "failed"):
            with os.scandir(self.path / folder) as entries:
                for entry in entries:
                    if is_published(entry.name):
                        status = entry.stat(follow_symlinks=False)
                        owner = owner_in(entry.name) if self.shared else None
                        files.append(
                            (status.st_ctime_ns, f"{folder}/{entry.name}", status.st_uid if owner is None else owner)
                        )
        for file in sorted(files):
            self._note_published(*file)

    def _note_published(self, changed_ns: int, name: str, owner: int) -> None:
        # Only one user drops files into a private spool.
        self._published.setdefault(owner if self.shared else 0, deque()).append((changed_ns, name))
        self._published_number += 1

    def publish(self, effects: Iterable[PublishResult], now_ms: int) -> None:
        """Writes the results, syncs them together, then moves the files.

        Failed ones are tried again with the next results.
        """
        failed_before = set(self._unpublished)
        self.trouble = None
        self._unpublished |= {effect.mark: effect for effect in effects}
        while self._publish_next(failed_before):
            pass
        self.prune(now_ms)

    def _publish_next(self, failed_before: set[str]) -> bool:
        """Publishes the first result of each name. Returns whether results are left for the next call.

        One name at a time: a result replaces that of an earlier drop, and would be removed with it.
        """
        written: list[tuple[PublishResult, str]] = []
        names, names_with_more, published = set[str](), set[str](), set[str]()
        for effect in list(self._unpublished.values()):
            if effect.name in names:
                names_with_more.add(effect.name)
                continue
            if not os.path.lexists(f"{self.path}/work/{effect.mark}"):
                # This result was published before a crash, and the core answered the drop again after it.
                self._unpublished.pop(effect.mark)
                continue
            names.add(effect.name)
            try:
                written.append((effect, self._write_result(effect)))
                self.reached("result written")
            except OSError as error:
                self._failed(effect, error, failed_before)
        try:
            sync_files(self.path / "done", [path for _, path in written])
        except OSError as error:
            self.log.error("spool: cannot sync the results in %s: %s", self.path, error.strerror)
            self.trouble = f"no result is published: {self.path} cannot be synced: {error.strerror}"
            return False
        for effect, _ in written:
            try:
                self._move(effect)
            except OSError as error:
                self._failed(effect, error, failed_before)
            else:
                self._unpublished.pop(effect.mark)
                published.add(effect.name)
        # A result that could not be published blocks the later ones of its name.
        return bool(names_with_more & published)

    def _write_result(self, effect: PublishResult) -> str:
        """Writes a result under another name, then renames it, so that a reader sees a whole result or none."""
        uid = os.lstat(f"{self.path}/work/{effect.mark}").st_uid
        folder = f"{self.path}/{_folder(effect)}"
        name = result_name(effect.name, self._owner(uid))
        result, aside = f"{folder}/{name}", f"{folder}/{aside_name(name)}"
        descriptor = os.open(aside, _WRITE, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(effect.result.encode())
            if self.shared:
                _give(descriptor, uid)
        os.rename(aside, result)  # noqa: PTH104
        return result

    def _owner(self, uid: int) -> int | None:
        return uid if self.shared else None

    def _move(self, effect: PublishResult) -> None:
        """Moves a claimed file. Its result and file replace older ones of the same name.

        Anything but a regular file keeps its mark as name, since it cannot be retried.
        """
        claimed = f"{self.path}/work/{effect.mark}"
        folder = _folder(effect)
        status = os.lstat(claimed)
        owner = self._owner(status.st_uid)
        name = published_name(effect.name, owner)
        result = result_name(effect.name, owner)
        body = name if stat.S_ISREG(status.st_mode) else effect.mark
        other = "failed" if effect.accepted else "done"
        for stale in (result, name):
            if os.path.lexists(path := f"{self.path}/{other}/{stale}"):
                os.unlink(path)  # noqa: PTH108
        os.rename(claimed, f"{self.path}/{folder}/{body}")  # noqa: PTH104
        self.reached("moved")
        for published in (result, body):
            changed_ns = os.lstat(f"{self.path}/{folder}/{published}").st_ctime_ns
            self._note_published(changed_ns, f"{folder}/{published}", status.st_uid)

    def prune(self, now_ms: int) -> None:
        """Removes published files that are too old or exceed the limit, at most MOST_REMOVED of them."""
        oldest_ns = (now_ms - self.keep.age_ms) * 1_000_000
        for _ in range(MOST_REMOVED):
            owner = self._next_owner(oldest_ns)
            if owner is None:
                break
            changed_ns, name = self._published[owner].popleft()
            self._published_number -= 1
            if not self._published[owner]:
                del self._published[owner]
            with contextlib.suppress(OSError):
                status = os.lstat(f"{self.path}/{name}")
                if stat.S_ISDIR(status.st_mode):
                    self._directories.setdefault(status.st_uid, []).append(name)
                elif status.st_ctime_ns <= changed_ns:
                    # A newer file of the same name must stay.
                    os.unlink(f"{self.path}/{name}")  # noqa: PTH108
        self._remove_directories()

    def _next_owner(self, oldest_ns: int) -> int | None:
        """Whose oldest file is removed next: that of the owner with the most files, or one that is too old; None: nobody's."""
        files = self._published
        if self._published_number > 2 * self.keep.number:
            return max(files, key=lambda owner: len(files[owner]))
        oldest = min(files, key=lambda owner: files[owner][0], default=None)
        return None if oldest is None or files[oldest][0][0] >= oldest_ns else oldest

    def _remove_directories(self) -> None:
        """Removes rejected directories, one step for each owner in turn. So a deep directory does not delay those of others."""
        for _ in range(MOST_REMOVED):
            if not self._directories:
                return
            owner = next(iter(self._directories))
            names = self._directories.pop(owner)
            name = names.pop()
            with contextlib.suppress(OSError):
                names += self._remove_directory(name, owner)
            if names:
                self._directories[owner] = names

    def _remove_directory(self, name: str, owner: int) -> list[str]:
        """Removes a part of a rejected directory: a user may have filled it with any number of files, at any depth.

        Its directories are moved to failed/. Returns the directories that are left, the one to remove next at the end. Files of
        other users stay, since the owner of the directory may move them, but may not remove them. Raises OSError.
        """
        descriptor = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        removed, left = 0, list[str]()
        try:
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, 0o700)
            with os.scandir(descriptor) as entries:
                children = list(islice(entries, MOST_REMOVED))
            for child in children:
                # Its owner may remove it meanwhile. A file that cannot be removed keeps no others.
                with contextlib.suppress(OSError):
                    if child.stat(follow_symlinks=False).st_uid != owner:
                        continue
                    if child.is_dir(follow_symlinks=False):
                        aside = f"{name.partition('~')[0]}~{child.inode()}"
                        os.rename(child.name, f"{self.path}/{aside}", src_dir_fd=descriptor)
                        left.append(aside)
                    else:
                        os.unlink(child.name, dir_fd=descriptor)
                    removed += 1
        finally:
            os.close(descriptor)
        if removed and len(children) == MOST_REMOVED:
            return [name, *left]
        with contextlib.suppress(OSError):  # Files of other users may be left.
            os.rmdir(f"{self.path}/{name}")  # noqa: PTH106
        return left

    def _failed(self, effect: PublishResult, error: OSError, failed_before: set[str]) -> None:
        """Notes that a result could not be published, and logs it once."""
        folder = f"{self.path}/{_folder(effect)}"
        if is_of_the_spool(error, f"{self.path}/work", folder):
            self.trouble = f"no result is published: {folder} cannot be written: {error.strerror}"
        if effect.mark not in failed_before:
            self.log.error("spool: cannot publish the result of %s: %s", effect.name, error.strerror)


def sync_files(directory: Path, files: Sequence[str]) -> None:
    """Syncs files and their names to the disk. All of them are on the file system of `directory`. Raises OSError."""
    if len(files) <= FEW:
        for path in [*files, *{os.path.dirname(file) for file in files}]:  # noqa: PTH120
            fsync_path(path, os.O_NOFOLLOW)
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        linux.syncfs(descriptor, str(directory))
    finally:
        os.close(descriptor)


def _give(descriptor: int, uid: int) -> None:
    """Lets the owner of a drop in a shared spool read its result. As root, it gives the file to him; else the group can read it."""
    if os.geteuid() == 0:
        try:
            os.fchown(descriptor, uid, -1)
        except OSError as error:
            # The user namespace does not map the owner, so nobody can be given the file.
            if error.errno != errno.EINVAL:
                raise
    else:
        os.fchmod(descriptor, 0o640)


def _folder(effect: PublishResult) -> str:
    return "done" if effect.accepted else "failed"
