"""What becomes of a run of a program when an earlier run of the same job has not ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schedappliance.engine.reasons import AFTER_EARLIER, AFTER_REPLACED, ONE_WAITS, OVERLAP, OVERLAP_WAITING, Reason


class Admission(StrEnum):
    """`BLOCK`: waits for the job's earlier run; `REPLACE`: that one is ended first."""

    START = "start"
    SKIP = "skip"
    BLOCK = "block"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Siblings:
    """The job's other runs: how many run or wait for a place, and how many wait for those; whether one runs."""

    active: int
    blocked: int
    running: bool = True


def admit(overlap: str, siblings: Siblings, catching_up: bool) -> tuple[Admission, Reason | None]:
    """`catching_up`: one of several that are made up for; they run one after the other and none is skipped."""
    if overlap == "parallel" or not (siblings.active or siblings.blocked):
        return Admission.START, None
    if catching_up:
        return Admission.BLOCK, AFTER_EARLIER
    if overlap == "queue":
        if siblings.blocked:
            return Admission.SKIP, ONE_WAITS
        return Admission.BLOCK, AFTER_EARLIER
    if overlap == "replace":
        return Admission.REPLACE, AFTER_REPLACED
    return Admission.SKIP, OVERLAP if siblings.running else OVERLAP_WAITING
