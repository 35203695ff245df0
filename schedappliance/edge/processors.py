"""How many processors this process may use. Rule: the smallest limit counts, and the answer is at least 1."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

from schedappliance.kinds import read_head

MOST_BYTES = 65_536


def usable_processors(
    own_groups: Path = Path("/proc/self/cgroup"), control_groups: Path = Path("/sys/fs/cgroup")
) -> int:
    """The processors that the affinity allows, or fewer if the quota of a control group is smaller, rounded up."""
    return max(1, min([len(os.sched_getaffinity(0)), *_quotas(own_groups, control_groups)]))


def _quotas(own_groups: Path, control_groups: Path) -> Iterator[int]:
    """The quotas of the control groups of this process and of all groups above them, in processors."""
    try:
        lines = read_head(own_groups, MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        # Version 2 has one tree, version 1 has one for each controller.
        if controllers and "cpu" not in controllers.split(","):
            continue
        tree = control_groups / controllers
        group = tree / name.lstrip("/")
        for directory in (group, *group.parents):
            if not directory.is_relative_to(tree):
                break
            # In a container, a group may not be visible under the name that the host gives it.
            with contextlib.suppress(OSError, ValueError):
                yield _quota(directory, is_version_2=not controllers)


def _quota(group: Path, is_version_2: bool) -> int:
    """Raises ValueError for a group without a quota, and OSError for one without the files."""
    if is_version_2:
        quota, period = map(int, read_head(group / "cpu.max", MOST_BYTES).split())
    else:
        quota, period = (int(read_head(group / f"cpu.cfs_{name}_us", MOST_BYTES)) for name in ("quota", "period"))
    if quota <= 0 or period <= 0:
        raise ValueError("no quota")
    return math.ceil(quota / period)
