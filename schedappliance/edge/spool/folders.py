"""The directories of a spool: created with their modes at start, and locked for one appliance.

Rule: all of them are on one file system, since drops are claimed and published by renaming. A directory with other contents
is left alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.edge.users import group_number
from schedappliance.kinds import not_a_directory
from schedappliance.lockfile import LockHeld, has_pid, lock_file
from schedappliance.store.files import is_mount_point

PRIVATE = {"tmp": 0o700, "new": 0o700, "work": 0o700, "done": 0o700, "failed": 0o700}
# Sticky: users cannot remove each other's drops. Set-group-id: a dropped file gets the group. Users can open a result whose
# name they know, but cannot list the drops and results of others.
SHARED = {"tmp": 0o3770, "new": 0o3770, "work": 0o700, "done": 0o2710, "failed": 0o2710}
# The most names in a directory with other contents that are shown.
MOST_NAMED = 3

UNMOUNT = "unmount it, or mount the whole spool instead"


def modes(shared: bool) -> dict[str, int]:
    return SHARED if shared else PRIVATE


def lock_spool(path: Path) -> int:
    """Creates the spool's directory and locks it for this process; returns the lock. Raises OSError, Unusable."""
    if unusable := not_a_directory(path):
        raise unusable
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    if unusable := in_the_way(path):
        raise unusable
    try:
        return lock_file(lock_path_in(path))
    except LockHeld as held:
        remedy = "stop it, or give this one a `spool.path` of its own"
        raise Unusable(f"another appliance uses the spool {path} (pid {held.holder})", remedy) from None


def in_the_way(path: Path) -> Unusable | None:
    """The exception for a directory with other contents than those of a spool. Raises OSError.

    A new file system has `lost+found`. A directory in Git has hidden files. Neither counts.
    """
    names = sorted(name for name in os.listdir(path) if not name.startswith(".") and name != "lost+found")
    if not names or _is_spool(path) or all(_is_empty_folder(path, name) for name in names):
        return None
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    holds = ", ".join(map(ascii, names[:MOST_NAMED]))
    copy = f"in a copy of a spool, `chmod 0700 {' '.join(PRIVATE)}`"
    return Unusable(
        f"{path} is not a spool: it holds {holds}{more}", f"name an empty directory in `spool.path`; {copy}"
    )


def _is_empty_folder(path: Path, name: str) -> bool:
    """Whether an entry is a directory of a spool that was being made: it is empty, and belongs to the owner of the spool."""
    status = os.lstat(f"{path}/{name}")
    is_own = name in PRIVATE and stat.S_ISDIR(status.st_mode) and status.st_uid == path.stat().st_uid
    return is_own and not os.listdir(f"{path}/{name}")


def _is_spool(path: Path) -> bool:
    """Whether a directory has the lock file of a spool, or all directories of one, with the modes that they get."""
    if has_pid(lock_path_in(path)):
        return True
    try:
        mode_of = {name: stat.S_IMODE(os.lstat(f"{path}/{name}").st_mode) for name in PRIVATE}
    except FileNotFoundError:
        return False
    return mode_of in (PRIVATE, SHARED)


def lock_path_in(path: Path) -> Path:
    """The lock file of a spool."""
    return path / ".lock"


def make_folders(path: Path, group: str | None) -> None:
    """Creates the directories, and corrects their modes and groups. Raises OSError, Unusable."""
    gid = group_number(group, "spool.group") if group is not None else -1
    device = path.stat().st_dev
    for name, mode in modes(group is not None).items():
        folder = path / name
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if problem := _kind_problem(folder, status):
            raise Unusable(problem, "make it a plain directory of the spool")
        if problem := _mount_problem(folder, status.st_dev != device):
            raise Unusable(problem, UNMOUNT)
        if group is not None and name != "work" and status.st_gid != gid:
            _change_group(folder, gid, group)
        if stat.S_IMODE(folder.lstat().st_mode) != mode:
            folder.chmod(mode)


def folder_problem(path: Path) -> str | None:
    """Why files in the spool must not be touched: a directory was replaced.

    A missing directory is not such a problem.
    """
    for name in PRIVATE:
        with contextlib.suppress(OSError):
            if problem := _kind_problem(path / name, os.lstat(f"{path}/{name}")):
                return without_spool(f"{problem}; make it a plain directory of the spool")
    return None


def mount_problem(path: Path) -> str | None:
    """Why no file can be renamed to or from a directory of the spool: something is mounted there.

    None if nothing is.
    """
    for name in PRIVATE:
        if problem := _mount_problem(path / name):
            return without_spool(f"{problem}; {UNMOUNT}")
    return None


def _mount_problem(folder: Path, is_elsewhere: bool = False) -> str | None:
    is_mounted = is_elsewhere or is_mount_point(folder)
    return (
        f"{folder} is a mount of its own: drops cannot be claimed or published by renaming them" if is_mounted else None
    )


def without_spool(problem: str) -> str:
    """The reason of a degraded appliance."""
    return f"no drop is taken and no result is published: {problem}"


def missing_folders(path: Path) -> list[Path]:
    """The directories that were removed: the spool itself, or some of those in it."""
    if not os.path.lexists(path):
        return [path]
    return [path / name for name in PRIVATE if not os.path.lexists(f"{path}/{name}")]


def make_spool_again(path: Path, before: os.stat_result) -> int:
    """Makes a spool that was removed as it was `before`, and locks it; returns the lock. Raises OSError, Unusable.

    The directory above it is not made again: it may be the mount point of a missing file system.
    """
    path.mkdir(mode=0o700)
    status = path.lstat()
    if (status.st_uid, status.st_gid) != (before.st_uid, before.st_gid):
        os.chown(path, before.st_uid, before.st_gid, follow_symlinks=False)
    path.chmod(stat.S_IMODE(before.st_mode))
    return lock_spool(path)


def _kind_problem(folder: Path, status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return f"{folder} is a symbolic link, which is not followed"
    return None if stat.S_ISDIR(status.st_mode) else f"{folder} is not a directory"


def _change_group(folder: Path, gid: int, group: str) -> None:
    try:
        os.chown(folder, -1, gid)
    except PermissionError:
        remedy = f"make the appliance's user a member of `{group}`, or start as root"
        raise Unusable(f"{folder} cannot be given to the group {group}", remedy) from None
