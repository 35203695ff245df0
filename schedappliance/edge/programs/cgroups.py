"""Cgroups of programs, one for each start: in the cgroup of the service, beside that of the daemon.

Rule: nothing is changed in a cgroup that systemd has not delegated to the appliance, even as root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge.programs.spawner import Unfit
from schedappliance.kinds import read_head

if TYPE_CHECKING:
    from schedappliance.model.resources import Resources

MOUNT = Path("/sys/fs/cgroup")
NOT_DELEGATED = "the cgroup of the service is not delegated to the appliance (`Delegate=`, `DelegateSubgroup=`)"
_PREFIX = "program-"
_MOST_READ = 65_536


def service_of(pid: int | str = "self", mount: Path = MOUNT) -> Path:
    """The cgroup of the service of a process, in which it may make others. Raises Unfit.

    With `DelegateSubgroup=`, the process is in a child of that cgroup: a cgroup can divide its resources only if it holds no
    process itself. systemd marks a cgroup that it delegates by an attribute.
    """
    with contextlib.suppress(OSError):
        lines = read_head(Path(f"/proc/{pid}/cgroup"), _MOST_READ).decode(errors="surrogateescape").splitlines()
        for name in (line.removeprefix("0::/") for line in lines if line.startswith("0::/")):
            service = (mount / name).parent
            if name and any(_attribute(service, mark) == b"1" for mark in ("user.delegate", "trusted.delegate")):
                return service
    raise Unfit(NOT_DELEGATED)


def _attribute(path: Path, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""


def make_cgroup(service: Path, name: str, resources: Resources) -> Path:
    """Makes the cgroup of a program. Raises Unfit."""
    values: dict[str, str] = {}
    if resources.memory_max is not None:
        # If the memory is used up, the whole program is killed.
        values |= {"memory.max": str(resources.memory_max), "memory.oom.group": "1"}
    if resources.cpu_weight is not None:
        values["cpu.weight"] = str(resources.cpu_weight)
    directory = service / f"{_PREFIX}{name}"
    try:
        for controller in {file.partition(".")[0] for file in values}:
            if controller not in (service / "cgroup.subtree_control").read_text().split():
                (service / "cgroup.subtree_control").write_text(f"+{controller}")
        directory.mkdir(exist_ok=True)
        for file, value in values.items():
            (directory / file).write_text(value)
    except OSError as error:
        raise Unfit(f"cannot make the cgroup of the program: {error.filename}: {error.strerror}") from None
    return directory


def remove_cgroups(service: Path, used: Collection[str]) -> None:
    """Removes the cgroups of programs that have ended. One that still has processes stays until the next call."""
    for directory in service.glob(f"{_PREFIX}*"):
        if directory.name.removeprefix(_PREFIX) not in used:
            with contextlib.suppress(OSError):
                directory.rmdir()
