"""The priorities and limits of a program in the words of the spawner.

Rule: the spawner sets them as they are, so every decision about them is made here.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.model.resources import IDLE

if TYPE_CHECKING:
    from schedappliance.model.resources import Resources

RLIMITS = {
    "nofile": resource.RLIMIT_NOFILE,
    "memory": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "nproc": resource.RLIMIT_NPROC,
    "fsize": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
}
# The classes of ioprio_set(2), in their place.
_BEST_EFFORT, _IDLE = 2 << 13, 3 << 13


class Limit(NamedTuple):
    """A limit as setrlimit(2) takes it."""

    name: str
    number: int
    soft: int
    hard: int


def limits_of(resources: Resources, kill_after_ms: int) -> list[Limit]:
    """The limits of a program, in the units of setrlimit(2)."""
    limits = [Limit(name, RLIMITS[name], most, most) for name, most in resources.limits]
    return [_cpu_limit(limit, kill_after_ms) if limit.name == "cpu" else limit for limit in limits]


def _cpu_limit(limit: Limit, kill_after_ms: int) -> Limit:
    """The kernel sends SIGXCPU at the soft limit, and SIGKILL at the hard one."""
    seconds = -(-limit.soft // 1000)
    return limit._replace(soft=seconds, hard=seconds + max(1, -(-kill_after_ms // 1000)))


def restraints_of(resources: Resources, kill_after_ms: int) -> list[str]:
    """What the spawner sets for a program before it starts."""
    texts = [] if resources.nice is None else [f"nice {resources.nice}"]
    if resources.ionice is not None:
        texts.append(f"ionice {_IDLE if resources.ionice == IDLE else _BEST_EFFORT | resources.ionice}")
    return [*texts, *(" ".join(map(str, limit)) for limit in limits_of(resources, kill_after_ms))]
