"""The directories of a spool: made with their modes at start, and held for one appliance alone."""

from __future__ import annotations

import fcntl
import grp
import os
import stat
from pathlib import Path

from schedappliance.diagnostics import Unusable

PRIVATE = {"tmp": 0o700, "new": 0o700, "work": 0o700, "done": 0o755, "failed": 0o755}
# Sticky: nobody removes what another one dropped. Set-group-id: what is dropped has the group.
SHARED = {"tmp": 0o3770, "new": 0o3770, "work": 0o700, "done": 0o2750, "failed": 0o2750}


def modes(shared: bool) -> dict[str, int]:
    return SHARED if shared else PRIVATE


def hold(path: Path) -> int:
    """Makes the spool's directory and takes it for this process; the lock. Raises OSError, Unusable."""
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        found = f"another appliance takes from the spool {path} (pid {holder})"
        raise Unusable(found, "stop it, or give this one a `spool.path` of its own") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def make_folders(path: Path, group: str | None) -> None:
    """Raises OSError, Unusable."""
    number = _number(group) if group is not None else -1
    device = path.stat().st_dev
    for name, mode in modes(group is not None).items():
        folder = path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_dev != device:
            help = "a file is claimed and answered by renaming it; make it a plain directory of the spool"
            raise Unusable(f"{folder} is a link, or on another file system than the spool", help)
        if group is not None and name != "work" and status.st_gid != number:
            _give(folder, number, group)
        folder.chmod(mode)


def _number(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise Unusable(f"there is no group {group}", "correct `spool.group`") from None


def _give(folder: Path, number: int, group: str) -> None:
    try:
        os.chown(folder, -1, number)
    except PermissionError:
        help = f"let the appliance's user be a member of `{group}`, or start as root"
        raise Unusable(f"{folder} cannot be given to the group {group}", help) from None
