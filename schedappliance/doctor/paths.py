"""The way to a path, with the properties that the kernel checks: owners, modes and access lists.

Rule: a path that cannot be examined counts as missing.
"""

from __future__ import annotations

import os
from pathlib import Path

from schedappliance.doctor.facts import Step, Way
from schedappliance.edge.files.directories import walk_to

ACCESS_LIST = "system.posix_acl_access"


def step_at(path: Path) -> Step | None:
    """The file of this name, without following a symbolic link; None if it does not exist or cannot be examined."""
    try:
        return _step(path, path.lstat())
    except OSError:
        return None


def _step(path: Path, status: os.stat_result) -> Step:
    return Step(path, status.st_mode, status.st_uid, status.st_gid, _has_access_list(path))


def _has_access_list(path: Path) -> bool:
    try:
        return ACCESS_LIST in os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False


def way_to(path: Path) -> Way:
    """The way to a path, as far as it exists."""
    walk = walk_to(path)
    # The end is last, even if a link led back to a directory that is already on the way.
    ordered = [*(passed for passed in walk.passed if passed != walk.end), walk.end]
    steps = tuple(_step(passed, walk.passed[passed]) for passed in ordered)
    return Way(path, steps, walk.exists, tuple((link.path, link.target) for link in walk.links if link.in_directory))


def is_closed(path: Path) -> bool:
    """Whether this user may not read what is at a path, or may not even see whether something is there."""
    try:
        path.lstat()
    except OSError as error:
        return isinstance(error, PermissionError)
    return not os.access(path, os.R_OK)
