"""Drops a file into a spool and waits for its result.

Rule: the file is written and synced in tmp/, then linked into new/. A link never replaces another file, and new/ never
shows a part of one. Where the file system has no links, the file is renamed. A kill between the steps leaves at most a
file in tmp/.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedappliance.fsync import fsync_path

if TYPE_CHECKING:
    from schedappliance.clock import Clock
    from schedappliance.diagnostics import Unusable

# A name has at most 121 characters before `.cmd`; the rest has room for `-MILLISECONDS-RANDOM`.
LONGEST_BASE = 80
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5, 250

Result = dict[str, Any]

# Errors of link(2) on a file system without hard links, or with too many of them.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)

_UNFIT = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)


def base_of(name: str) -> str:
    """The beginning of the name of a drop, made from the name of any file."""
    base = _UNFIT.sub("_", name.removesuffix(".cmd")).lstrip("._-")
    return base[:LONGEST_BASE] or "drop"


def drop(spool: Path, base: str, data: bytes) -> str:
    """Queues a file and returns its name in new/.

    Raises Unusable if `spool` is not a spool or this user cannot write to it. Raises OSError, with the directory as its
    file name, if the file cannot be written at the moment. After an exception, nothing is queued.
    """
    try:
        draft, written_ms = _write(spool / "tmp", base, data)
    except OSError as error:
        raise _failure(spool / "tmp", error) from None
    try:
        name = _link(draft, spool / "new", f"{base}-{written_ms:013d}")
        _sync(spool / "new", name)
        return name
    except OSError as error:
        raise _failure(spool / "new", error) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _write(folder: Path, base: str, data: bytes) -> tuple[Path, int]:
    """The file and its modification time in milliseconds. The file is closed, since the spool claims no open file."""
    draft = folder / f"{base}-{_random()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(OSError):
                # An appliance of another user reads the file by the group of its directory.
                os.fchown(descriptor, -1, folder.stat().st_gid)
            os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
            return draft, os.fstat(descriptor).st_mtime_ns // 1_000_000
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _link(draft: Path, new: Path, base: str) -> str:
    """The name holds the time, since the appliance claims files that arrive in one instant in the order of their names."""
    while True:
        name = f"{base}-{_random()}.cmd"
        try:
            try:
                (new / name).hardlink_to(draft)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                _rename(draft, new / name)
        except FileExistsError:
            continue
        return name


def _rename(draft: Path, target: Path) -> None:
    """Renames a file without replacing another one. Raises OSError."""
    from schedappliance.edge import linux

    try:
        linux.rename_without_replacing(str(draft), str(target))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        # Such a file system cannot do it in one step. Nobody chooses the random name of the target by accident.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        draft.rename(target)


def _sync(new: Path, name: str) -> None:
    """Syncs the directory, so that a power cut cannot lose the file. If that fails, unlinks the file.

    If the appliance has claimed the file meanwhile, it is queued all the same.
    """
    try:
        fsync_path(new, os.O_DIRECTORY)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            (new / name).unlink()
            raise


def _random() -> str:
    return os.urandom(6).hex()


def _failure(folder: Path, error: OSError) -> Unusable | OSError:
    from schedappliance.diagnostics import Unusable

    why = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        remedy = "give the directory of `spool.path`; the appliance creates missing directories when it starts"
        return Unusable(f"no spool at {folder.parent}: {folder}: {why}", remedy)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Unusable(f"cannot write to {folder}: {why}", _remedy(folder, error))
    if error.errno == errno.EXDEV:
        return Unusable(f"cannot link into {folder}: {why}", "put tmp/ and new/ on one file system")
    return OSError(error.errno, why, str(folder))


def _remedy(folder: Path, error: OSError) -> str:
    """Names the group or the user that may write to a directory, unless nobody may."""
    import grp
    import pwd

    if error.errno == errno.EROFS:
        return "mount its file system with permission to write"
    try:
        status = folder.stat()
        if os.geteuid() in (0, status.st_uid) and error.errno == errno.EPERM:
            return "`lsattr -d` shows whether it is immutable; `chattr -i` changes that"
        if status.st_mode & 0o020:
            return f"join the group `{grp.getgrgid(status.st_gid).gr_name}`"
        return f"run this as the user `{pwd.getpwuid(status.st_uid).pw_name}`"
    except (OSError, KeyError):
        return "run this as the appliance's user"


def check_results_readable(spool: Path) -> None:
    """Raises Unusable if this user may drop files but cannot read their results."""
    for folder in (spool / "done", spool / "failed"):
        if os.access(spool / "tmp", os.W_OK) and not os.access(folder, os.X_OK):
            from schedappliance.diagnostics import Unusable

            raise Unusable(f"cannot read results in {folder}", "submit without --wait, or check the permissions")


def _pause(milliseconds: int) -> None:
    select.select([], [], [], milliseconds / 1000)


def wait_for_result(
    spool: Path, name: str, clock: Clock, timeout_ms: int | None, pause: Callable[[int], None] = _pause
) -> Result | None:
    """The result of a drop, or None after `timeout_ms`. Raises Unusable if this user cannot read it.

    It polls. A poll needs no watch, works on every file system, and costs four failed opens.
    """
    start_ms, pause_ms = clock.moment().boot, FIRST_PAUSE_MS
    while True:
        if (result := _result(spool, name)) is not None:
            return result
        left_ms = LONGEST_PAUSE_MS if timeout_ms is None else start_ms + timeout_ms - clock.moment().boot
        if left_ms <= 0:
            return None
        pause(min(pause_ms, left_ms))
        pause_ms = min(pause_ms * 3 // 2, LONGEST_PAUSE_MS)


def _result(spool: Path, name: str) -> Result | None:
    """The result of this user's drop: in a shared spool, another user may choose the same name."""
    import json

    result_name = f"{name.removesuffix('.cmd')}.result"
    for path in (
        spool / folder / file
        for file in (f"{os.geteuid()}~{result_name}", result_name)
        for folder in ("done", "failed")
    ):
        try:
            result: Result = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except PermissionError as error:
            from schedappliance.diagnostics import Unusable

            raise Unusable(f"cannot read {path}: {error.strerror}", f"the commands are queued under {name}") from error
        return result
    return None
