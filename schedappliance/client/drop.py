"""How a file gets into a spool: whole, on the disk, and under a name of its own, whoever else drops the same one.

It is written and synced in tmp/, then linked into new/: a link never takes the place of another file, and new/ never
shows a part of one. A kill between the steps leaves at most a file in tmp/.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.diagnostics import Unusable

# The rest of a name, which has 121 characters before `.cmd`, is its own: `-MILLISECONDS-TOKEN`.
LONGEST_BASE = 80

_UNFIT = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)


def base_of(name: str) -> str:
    """The first part of a drop's name, from the name of any file."""
    base = _UNFIT.sub("_", name.removesuffix(".cmd")).lstrip("._-")
    return base[:LONGEST_BASE] or "drop"


def drop(spool: Path, base: str, data: bytes) -> str:
    """Queues a file and returns its name in new/.

    Raises Unusable for what is not a spool, or not one that this user may write to; OSError, with the directory as its
    file name, when the file cannot be written now. Then nothing is queued.
    """
    try:
        aside, written_ms = _write(spool / "tmp", base, data)
    except OSError as error:
        raise _explained(spool / "tmp", error) from None
    try:
        name = _link(aside, spool / "new", f"{base}-{written_ms:013d}")
        return _settled(spool / "new", name)
    except OSError as error:
        raise _explained(spool / "new", error) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _write(folder: Path, base: str, data: bytes) -> tuple[Path, int]:
    """The file, closed, since one that has a writer is not taken; and when it was written, as the file system knows."""
    aside = folder / f"{base}-{_token()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(OSError):
                # The appliance may be another user: then it reads by the group of its directory.
                os.fchown(descriptor, -1, folder.stat().st_gid)
            os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
            return aside, os.fstat(descriptor).st_mtime_ns // 1_000_000
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def _link(aside: Path, new: Path, base: str) -> str:
    """Names hold the time, so that drops of one base are taken in their order."""
    while True:
        name = f"{base}-{_token()}.cmd"
        try:
            (new / name).hardlink_to(aside)
        except FileExistsError:
            continue
        return name


def _settled(new: Path, name: str) -> str:
    """Only a synced directory keeps the file over a power cut; without it nothing was queued, unless it is taken already."""
    try:
        descriptor = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            (new / name).unlink()
            raise
    return name


def _token() -> str:
    return os.urandom(6).hex()


def _explained(folder: Path, error: OSError) -> Unusable | OSError:
    from schedappliance.diagnostics import Unusable

    why = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        help = "give the directory of `spool.path`; if it is the one, start its appliance again, which makes what is missing"
        return Unusable(f"no spool at {folder.parent}: {folder}: {why}", help)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Unusable(f"you may not write to {folder}: {why}", _who_may(folder))
    if error.errno == errno.EXDEV:
        help = "tmp/ and new/ must be on one file system"
        return Unusable(f"cannot link into {folder}: {why}", help)
    return OSError(error.errno, why, str(folder))


def _who_may(folder: Path) -> str:
    """Whom the permissions let in."""
    import grp
    import pwd

    try:
        status = folder.stat()
        if status.st_mode & 0o020:
            return f"join the group `{grp.getgrgid(status.st_gid).gr_name}`"
        return f"do it as the user `{pwd.getpwuid(status.st_uid).pw_name}`"
    except (OSError, KeyError):
        return "do it as the appliance's user"
