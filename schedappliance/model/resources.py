"""What a program may take of the machine: its priorities, its limits, and how much of its output is kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from schedappliance.diagnostics import InvalidValue, did_you_mean, shortened
from schedappliance.model import values
from schedappliance.model.items import read_each, read_text
from schedappliance.syntax.tree import Dictionary, Entry, Scalar, Value

MAX_OUTPUT_LIMIT = 16 * 1024 * 1024
LEAST_MEMORY = 1024 * 1024
# Descriptors 0, 1 and 2, and one with which the program opens its libraries.
LEAST_DESCRIPTORS = 4
MOST = 2**40
IDLE = 8
_NICE = re.compile(r"-?\d{1,3}", re.ASCII)

Limits = tuple[tuple[str, int | None], ...]


class Resources(NamedTuple):
    """What a program gets; None and an absent limit: what the appliance has.

    `ionice`: from 0 to 7, or IDLE. `limits`: in bytes and milliseconds. `memory_max`, in bytes, and
    `cpu_weight`: of all its processes together, in a cgroup.
    """

    nice: int | None = None
    ionice: int | None = None
    limits: tuple[tuple[str, int], ...] = ()
    memory_max: int | None = None
    cpu_weight: int | None = None

    @property
    def has_cgroup(self) -> bool:
        return self.memory_max is not None or self.cpu_weight is not None


NO_RESOURCES = Resources()


def nice(text: str) -> int:
    """A nice value: 19 is the lowest priority."""
    remedy = "give a whole number from -20 to 19; 19 is the lowest priority"
    if not _NICE.fullmatch(text):
        raise InvalidValue(f"invalid number `{shortened(text)}`", remedy)
    if not -20 <= int(text) <= 19:
        raise InvalidValue(f"number `{text}` is out of range", remedy, "E204")
    return int(text)


def ionice(text: str) -> int:
    """A priority for the disk: `idle`, or one of the class best-effort."""
    if text.lower() == "idle":
        return IDLE
    if not re.fullmatch(r"[0-7]", text):
        remedy = "write `idle`, or a number from 0 to 7; 7 is the lowest priority"
        raise InvalidValue(f"invalid priority for the disk `{shortened(text)}`", remedy)
    return int(text)


def memory(text: str) -> int:
    """The bytes of a limit on memory, without which no program starts."""
    size = values.size(text)
    if size < LEAST_MEMORY:
        remedy = "give at least `1m`; a number without a unit counts bytes"
        raise InvalidValue(f"size `{text}` is less than 1m", remedy, "E204")
    return size


def output_limit(text: str) -> int:
    size = values.size(text)
    if size > MAX_OUTPUT_LIMIT:
        limit = f"{MAX_OUTPUT_LIMIT // 1024 // 1024}m"
        raise InvalidValue(f"size `{text}` is greater than {limit}", f"give at most `{limit}`", "E204")
    return size


def _whole(least: int) -> Callable[[str], int]:
    return lambda text: values.integer(text, least, MOST)


# The limits by the names that setrlimit(2) gives them, except `memory` for the address space.
LIMITS: dict[str, Callable[[str], int]] = {
    "nofile": _whole(LEAST_DESCRIPTORS),
    "memory": memory,
    "cpu": values.positive_duration,
    "nproc": _whole(1),
    "fsize": values.size,
    "core": values.size,
}


def limits(value: Value) -> Limits:
    """Limits by name. `none` stands for the limit of the appliance, in place of the one of `defaults`."""
    if not isinstance(value, Dictionary):
        raise InvalidValue("expected a dictionary", "write it as `[ nofile = 1024 memory = 512m ]`")
    entries = [entry for entry in value.entries if not entry.key.missing]
    return tuple(dict(read_each(entries, _limit)).items())


def _limit(entry: Entry) -> tuple[str, int | None]:
    name = read_text(entry.key, _limit_name)
    if not isinstance(entry.value, Scalar):
        raise InvalidValue("expected one value, not a list", "give one value", span=entry.value.span)
    return name, None if entry.value.value.lower() == "none" else read_text(entry.value, LIMITS[name])


def _limit_name(text: str) -> str:
    name = text.lower()
    if name not in LIMITS:
        remedy = did_you_mean(name, LIMITS, f"known limits: {', '.join(LIMITS)}")
        raise InvalidValue(f"unknown limit `{shortened(name)}`", remedy, "E202")
    return name
