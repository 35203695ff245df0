"""The states of runs and jobs as people see them, in a terminal and on the page: a kind, a shape and a rank.

Rule: each surface has colours for the kinds and drawings for the shapes. Which state has which is decided here.
"""

from __future__ import annotations

# The states of runs that failed, as `on_failure` understands it.
FAILED = ("failed", "timed_out", "interrupted")
LIVE = ("started", "queued")
# The shape of each state, from the least to the most important. Of states in one place, the most important one is shown.
SHAPES = {
    "planned": "dot",
    "succeeded": "bar",
    "cancelled": "diamond",
    "replaced": "diamond",
    "skipped": "ring",
    "missed": "ring",
    "queued": "dashed",
    "started": "triangle",
    "overlap": "double",
    "interrupted": "cross",
    "timed_out": "cross",
    "failed": "cross",
}
RANKS = {state: rank for rank, state in enumerate(SHAPES)}
# The kinds decide the colours. Other states of jobs have none.
KINDS = {
    **dict.fromkeys(FAILED, "bad"),
    **dict.fromkeys(("missed", "skipped", "queued", "paused", "replaced", "cancelled", "overlap"), "warn"),
    "succeeded": "good",
    "started": "live",
    "planned": "faint",
}
# One state for each shape.
LEGEND = ("succeeded", "failed", "started", "queued", "overlap", "missed", "cancelled", "planned")
