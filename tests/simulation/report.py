"""Reports on histories: the figures of one, and the sum of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from schedappliance.engine.states import BEGINNINGS, TRANSITIONS, RunState
from tests.simulation.history import Figures
from tests.simulation.view import Move

# Every move that a run may make.
LEGAL: list[Move] = [(None, state) for state in RunState if state in BEGINNINGS]
LEGAL += [(old, new) for old, news in TRANSITIONS.items() for new in RunState if new in news]

# The counts that are added up under one name.
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
    "failed starts": ("not started", "exhausted", "no output", "user not looked up"),
    "slow starts": ("slow start",),
}


def summary(figures: Iterable[Figures], seconds: float) -> str:
    """One line each: occurrences by state, moves of runs, events, and the time that it took."""
    ends: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    moves: Counter[Move] = Counter()
    occurrences = most = number = pruned = 0
    for one in figures:
        ends += one.ends
        counts += one.counts
        moves += one.moves
        pruned += one.pruned
        occurrences += one.occurrences
        most, number = max(most, one.occurrences), number + 1
    states = ", ".join(f"{state.replace('_', ' ')} {count:,}" for state, count in sorted(ends.items()))
    met = ", ".join(f"{name} {sum(counts[one] for one in ones):,}" for name, ones in COUNTED.items())
    moved = ", ".join(f"{_named(move)} {moves[move]:,}" for move in LEGAL)
    never = ", ".join(_named(move) for move in LEGAL if not moves[move]) or "none"
    each = f", {seconds / number:.2f} for each" if number > 1 else ""
    return (
        f"{number:,} histories, {occurrences:,} recorded occurrences, at most {most:,} in one, {pruned:,} pruned\n"
        f"occurrences: {states}\nmoves: {moved}\nnever: {never}\nmet: {met}\nseconds: {seconds:.1f}{each}"
    )


def _named(move: Move) -> str:
    old, new = (state and state.replace("_", " ") for state in move)
    return f"{old} to {new}" if old else f"to {new}"
