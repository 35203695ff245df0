"""What is said of histories: the figures of one, and the sum of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.simulation.history import Figures

# What is counted together under one name.
COUNTED = {
    "crashes": ("crash",),
    "starts": ("start",),
    "reboots": ("reboot",),
    "stops": ("stop",),
    "failed commits and statements": (
        "commit fails",
        "store is locked",
        "statement fails",
        "statement can never be done",
        "read fails",
    ),
    "outages": ("outage",),
    "clock steps": ("clock step", "clock set while down"),
    "suspends": ("suspend",),
    "reloads": ("edit", "hangup"),
    "lines": ("line", "burst"),
    "drops": ("drop",),
    "survivors": ("survives",),
    "failed starts": ("not started", "exhausted"),
    "slow starts": ("slow start",),
}


def told(figures: Iterable[Figures], seconds: float) -> str:
    """Three lines: the occurrences by how they ended, what happened meanwhile, and how long it took."""
    ends: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    occurrences = most = number = 0
    for one in figures:
        ends += one.ends
        counts += one.counts
        occurrences += one.occurrences
        most, number = max(most, one.occurrences), number + 1
    states = ", ".join(f"{state.replace('_', ' ')} {count:,}" for state, count in sorted(ends.items()))
    met = ", ".join(f"{name} {sum(counts[one] for one in ones):,}" for name, ones in COUNTED.items())
    each = f", {seconds / number:.2f} for each" if number > 1 else ""
    return (
        f"{number:,} histories, {occurrences:,} recorded occurrences, at most {most:,} in one\n"
        f"occurrences: {states}\nmet: {met}\nseconds: {seconds:.1f}{each}"
    )
