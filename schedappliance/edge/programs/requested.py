"""Attempts that were committed, but certainly never requested of a keeper: the daemon ended in between.

Rule: an attempt whose program may have begun is none of them. Its run is interrupted, and not started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.attempts import NotStarted

if TYPE_CHECKING:
    from schedappliance.engine.records import AttemptKey
    from schedappliance.store.runs import Attempt

UNREQUESTED = "the appliance ended before the start"


class Asked(NamedTuple):
    """The latest attempts that were requested of a keeper: `ids`, which started at `started_at` in boot time.

    An attempt that started later was certainly not requested, of this keeper or of an earlier one. This says nothing
    about attempts that started earlier.
    """

    started_at: int
    ids: frozenset[str]


def asked_in(text: str) -> Asked | None:
    """What the lines of a keeper say about requests; None for a keeper of an earlier version, which says nothing."""
    lines = [line.split(" ") for line in text.split("\n")]
    times = [int(words[3]) for words in lines if words[0] == "keeper" and len(words) > 3]
    return Asked(times[0], frozenset(words[1] for words in lines if words[0] == "asked")) if times else None


def never_requested(attempts: Mapping[str, Attempt], asked: Asked | None, boot: str) -> dict[AttemptKey, NotStarted]:
    """Those of the attempts that certainly never began: the last daemon ended between their commit and their requests.

    `attempts`: those that the keeper does not report, by their ids. `boot`: the id of this boot; empty if it is hidden.
    Times of other boots cannot be compared, and wall times never.
    """
    return {
        # As after a shortage, this counts as no attempt, and the run is queued again. Other programs may start meanwhile.
        attempt.key: NotStarted(UNREQUESTED, exhausted=True, is_alone=True)
        for name, attempt in attempts.items()
        if asked is not None and attempt.process is None and attempt.boot_id == boot and _is_later(name, attempt, asked)
    }


def _is_later(name: str, attempt: Attempt, asked: Asked) -> bool:
    """Whether an attempt is later than all that were requested. Those of one turn start at the same time."""
    if attempt.started_boot_ms == asked.started_at:
        return name not in asked.ids
    return attempt.started_boot_ms > asked.started_at
