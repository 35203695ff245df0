"""What becomes of a run of a program when an earlier run of the same job has not ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Admission(StrEnum):
    """`HOLD`: waits for the job's earlier run; `REPLACE`: that one is ended first."""

    START = "start"
    SKIP = "skip"
    HOLD = "hold"
    REPLACE = "replace"


OVERLAP = "the job's last run has not ended"
ONE_WAITS = "the job's last run has not ended, and another one waits for it"
NEWER = "a newer run took its place"
AFTER_EARLIER = "it waits for the job's earlier run"
AFTER_REPLACED = "it waits for the run that it replaces to end"


@dataclass(frozen=True, slots=True)
class Siblings:
    """The job's other runs: how many run or wait for a place, and how many wait for those."""

    active: int
    held: int


def admit(overlap: str, siblings: Siblings, catching_up: bool) -> tuple[Admission, str | None]:
    """`catching_up`: one of several that are made up for; they run one after the other and none is skipped."""
    if overlap == "parallel" or not (siblings.active or siblings.held):
        return Admission.START, None
    if catching_up:
        return Admission.HOLD, AFTER_EARLIER
    if overlap == "queue":
        if siblings.held:
            return Admission.SKIP, ONE_WAITS
        return Admission.HOLD, AFTER_EARLIER
    if overlap == "replace":
        return Admission.REPLACE, AFTER_REPLACED
    return Admission.SKIP, OVERLAP
