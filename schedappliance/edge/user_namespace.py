"""The user namespace of this process: by which number the kernel names users whom it does not know.

Rule: such a number tells nobody who the user is, so it gets no roles, and no jobs of the user who has the number.
"""

from __future__ import annotations

import os
from pathlib import Path

from schedappliance.kinds import LARGEST_OF_KERNEL, read_head

# What the first user namespace maps.
ALL = 2**32 - 1
# The number of the kernel, unless root has changed it.
USUAL = 65534


def stranger_uid(process: Path = Path("/proc/self"), kernel: Path = Path("/proc/sys/kernel")) -> int | None:
    """The uid that the kernel reports for every user whom this user namespace does not map.

    None if it maps all users. Also None if the user of this process has this number in it, or nobody could use the appliance.
    """
    try:
        text = read_head(process / "uid_map", LARGEST_OF_KERNEL).decode()
        rows = [tuple(map(int, line.split())) for line in text.splitlines()]
    except (OSError, ValueError):
        # A kernel without user namespaces.
        return None
    if sum(count for _, _, count in rows) >= ALL:
        return None
    try:
        uid = int(read_head(kernel / "overflowuid", 32))
    except (OSError, ValueError):
        uid = USUAL
    is_mapped = any(first <= uid < first + count for first, _, count in rows)
    return None if is_mapped and uid == os.geteuid() else uid
