"""The words of `sched list`, `sched history` and `sched incidents`, which say which rows are listed: an id, and filters.

The words of `sched show` and `sched output` are read in the same way: they say how much is shown.

Rule: each filter is a pair of words. Therefore an odd number of words begins with an id, even if it looks like a filter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from schedappliance.diagnostics import InvalidValue, did_you_mean, shortened
from schedappliance.model.moments import When, read_past
from schedappliance.model.values import choice, integer, positive_duration
from schedappliance.syntax.command import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LIMIT = 5000
# How many rows of the history and of the incidents are listed by default.
PAGE = 100
MAX_ATTEMPT, MAX_PLACE = 10**9, 10**17
# The states of a run (engine/states.py).
STATES = (
    *("queued", "started", "succeeded", "failed", "timed_out", "interrupted", "replaced", "cancelled", "skipped"),
    "missed",
)


@dataclass(frozen=True, slots=True)
class Listing:
    """Which rows are listed. None, or no state: any.

    `key`: the id or name of a job. `since`, `until`: the first and the last due time. `active`: runs that had not ended
    before. `before`: the id of a run; only
    earlier ones are listed. `after`: the id of a job; only later rows of the list are listed. `find`: a part of the text.
    """

    key: str | None = None
    state: tuple[str, ...] = ()
    since: When | None = None
    until: When | None = None
    active: When | None = None
    before: str | None = None
    find: str | None = None
    after: str | None = None
    limit: int | None = None

    @property
    def searches(self) -> bool:
        """Whether rows are examined that are not listed. That is done on the console only, which shares its time."""
        return bool(self.state) or (self.find, self.since, self.until, self.active) != (None,) * 4


@dataclass(frozen=True, slots=True)
class WantedDetails:
    """The job or the run that is shown, and whether its outputs are shown too."""

    key: str
    has_outputs: bool


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """Which part of an output is shown, of this attempt (None: of the last one). `as_base64`: as bytes, not as text."""

    run: str
    attempt: int | None
    begin: int
    as_base64: bool


@dataclass(frozen=True, slots=True)
class WantedIncidents:
    """Which incidents are listed: those after a number, at most so many."""

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class WantedPreview:
    """How far a preview looks ahead, how many rows it shows at most, and the job or the pattern of jobs; None: all jobs."""

    period_ms: int
    limit: int
    job: str | None


def read_wanted_preview(words: Sequence[Word]) -> WantedPreview:
    """The meaning of the words after `preview`. Raises InvalidValue at the place of a word."""
    period_ms = PREVIEW_MS
    has_period = bool(words) and words[0].value.lower() not in FILTERS["preview"]
    if has_period:
        try:
            period_ms = positive_duration(words[0].value)
        except InvalidValue as invalid:
            raise invalid.at(words[0].span) from None
    values = _read_filters(FILTERS["preview"], words[has_period:])
    return WantedPreview(period_ms, values.get("limit", PREVIEW_ROWS), values.get("job"))


def read_listing(form: str, words: Sequence[Word]) -> Listing:
    """The meaning of the words after `sched list` or `sched history`. Raises InvalidValue at the place of a word."""
    filters = FILTERS[form]
    has_key = bool(words) and form == "sched_history" and (len(words) % 2 == 1 or words[0].value.lower() not in filters)
    key = words[0].value if has_key else None
    return Listing(key, **_read_filters(filters, words[has_key:]))


def read_wanted_incidents(words: Sequence[Word]) -> WantedIncidents:
    """The meaning of the words after `sched incidents`. Raises InvalidValue at the place of a word."""
    values = _read_filters(FILTERS["sched_incidents"], words)
    return WantedIncidents(values.get("after", 0), values.get("limit", PAGE))


def read_wanted_details(words: Sequence[Word]) -> WantedDetails:
    """The meaning of the words after `sched show`. Raises InvalidValue at the place of a word."""
    values = _read_filters(FILTERS["sched_show"], words[1:])
    return WantedDetails(words[0].value, "output" not in values)


def read_wanted_output(words: Sequence[Word]) -> WantedOutput:
    """The meaning of the words after `sched output`. Raises InvalidValue at the place of a word."""
    values = _read_filters(FILTERS["sched_output"], words[1:])
    return WantedOutput(words[0].value, values.get("attempt"), values.get("from", 0), "as" in values)


def _read_filters(filters: Mapping[str, _Filter], words: Sequence[Word]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for position in range(0, len(words), 2):
        word = words[position]
        name = word.value.lower()
        if name not in filters:
            remedy = did_you_mean(name, filters, f"write one of: {', '.join(filters)}")
            raise InvalidValue(f"unknown filter `{shortened(word.value)}`", remedy, "E101", word.span)
        if position + 1 == len(words):
            raise InvalidValue(f"missing value of `{name}`", f"write `{filters[name].usage}`", "E109", word.span)
        if name in values:
            raise InvalidValue(f"`{name}` is given twice", "give it once", "E101", word.span)
        try:
            values[name] = filters[name].read(words[position + 1].value)
        except InvalidValue as invalid:
            raise invalid.at(words[position + 1].span) from None
    return values


def _states(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.lower().split(",")))
    for name in names:
        if name not in STATES:
            remedy = did_you_mean(name, STATES, f"write one or more of: {','.join(STATES)}")
            raise InvalidValue(f"unknown state `{shortened(name)}`", remedy)
    return names


def is_pattern(word: str) -> bool:
    """Whether a word that names jobs is a shell pattern."""
    return any(character in "*?[" for character in word)


# The word for all jobs after `sched pause` and `sched resume`. In quotes, it is the name of a job.
ALL = "--all"
# An id of a job or of a run (engine/records.py), of any node: a node may get another name.
_ID = re.compile(r".+-(?:[0-9]{9}|[1-9][0-9]{9,17})(?:/[0-9]+)?", re.ASCII | re.DOTALL)

# What the incidents of the appliance itself are about, as `sched ack` takes it.
OF_ITSELF = ("appliance", "configuration")


def other_meaning(name: str) -> str | None:
    """What a command may take the name of a job for; None: for nothing but the name."""
    if _ID.fullmatch(name):
        return "an id"
    if name.isascii() and name.isdecimal():
        return "the number of an incident"
    if name == ALL:
        return "an option"
    if name in OF_ITSELF:
        return "an incident of the appliance itself"
    return "a pattern" if is_pattern(name) else None


# Names of jobs have at most 200 characters. The translation of a pattern takes time that grows with the square of its
# length: `[` is searched for its `]` to the end, and each `[` begins another search.
LONGEST_PATTERN = 400


def job_or_pattern(word: str) -> str:
    """A word that names a job, or jobs by a shell pattern. Raises InvalidValue for a pattern that is too long."""
    if is_pattern(word) and len(word) > LONGEST_PATTERN:
        raise InvalidValue(f"the pattern has {len(word):,} characters", f"write at most {LONGEST_PATTERN}")
    return word


def _limit(text: str) -> int:
    return integer(text, 1, MAX_LIMIT)


# The most rows of one preview: their JSON has less than half a megabyte.
MAX_PREVIEW_ROWS = 1000
PREVIEW_ROWS, PREVIEW_MS = 100, 24 * 3600 * 1000


class _Filter(NamedTuple):
    usage: str
    read: Callable[[str], object]


# The filters whose values are keywords.
WITH_KEYWORDS = ("state", "as", "output")
# For each form: its filters. Those of a listing have the names of their fields.
FILTERS: Mapping[str, dict[str, _Filter]] = {
    "sched_history": {
        "state": _Filter("state STATE[,STATE...]", _states),
        "since": _Filter("since TIME", read_past),
        "until": _Filter("until TIME", read_past),
        "active": _Filter("active TIME", read_past),
        "before": _Filter("before RUN", str),
        "limit": _Filter("limit NUMBER", _limit),
    },
    "sched_list": {
        "find": _Filter("find TEXT", str),
        "limit": _Filter("limit NUMBER", _limit),
        "after": _Filter("after ID", str),
    },
    "sched_incidents": {
        "after": _Filter("after NUMBER", lambda text: integer(text, 0, MAX_PLACE)),
        "limit": _Filter("limit NUMBER", _limit),
    },
    "preview": {
        "job": _Filter("job ID|PATTERN", job_or_pattern),
        "limit": _Filter("limit NUMBER", lambda text: integer(text, 1, MAX_PREVIEW_ROWS)),
    },
    "sched_show": {"output": _Filter("output none", lambda text: choice(text, ("none",)))},
    "sched_output": {
        "attempt": _Filter("attempt NUMBER", lambda text: integer(text, 1, MAX_ATTEMPT)),
        "from": _Filter("from BYTE", lambda text: integer(text, 0, MAX_PLACE)),
        "as": _Filter("as base64", lambda text: choice(text, ("base64",))),
    },
}
