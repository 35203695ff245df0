"""CHECKS finds mistakes in the words of a command when its line is read, though some words are used only when it is carried out.

Rule: a mistake is at the place of its word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.listings import (
    ALL,
    FILTERS,
    job_or_pattern,
    read_listing,
    read_wanted_details,
    read_wanted_incidents,
    read_wanted_output,
    read_wanted_preview,
)
from schedappliance.model.values import integer, positive_duration
from schedappliance.syntax.command import CommandTree, Word

# JSON numbers are exact up to this one.
MAX_EVENT = 2**53
# The word after `shutdown` that leaves the programs running.
KEEP = "--keep"
# The commands that also take a pattern of jobs, or all jobs.
OF_JOBS = ("sched_pause", "sched_resume")


def read_jobs(tree: CommandTree, line: str) -> tuple[str, ...]:
    """The job or the pattern of a command of OF_JOBS; nothing means all jobs. Raises InvalidValue at the place of the word."""
    (word,) = tree.words
    if line[word.start : word.end] == ALL:
        return ()
    try:
        return (job_or_pattern(word.value),)
    except InvalidValue as invalid:
        raise invalid.at(word.span) from None


def _check_wait(words: Sequence[Word]) -> None:
    for limit in words[1:]:
        try:
            positive_duration(limit.value)
        except InvalidValue as invalid:
            raise invalid.at(limit.span) from None


def _check_number(words: Sequence[Word]) -> None:
    for word in words:
        try:
            integer(word.value, 0, MAX_EVENT)
        except InvalidValue as invalid:
            raise invalid.at(word.span) from None


def _check_keep(words: Sequence[Word]) -> None:
    for word in words:
        if word.value != KEEP:
            raise InvalidValue(f"unexpected word `{word.value}`", f"expected `{KEEP}` or nothing", code="E109").at(
                word.span
            )


# Each row of due times that were missed in a hold stores the reason.
LONGEST_REASON = 200
# The word before the duration of a hold.
FOR = "for"


def read_hold(words: Sequence[Word]) -> tuple[int | None, str]:
    """How long `sched hold` holds the appliance, in milliseconds (None: until its release), and the reason.

    Raises InvalidValue at the place of a word.
    """
    for_ms = None
    if words and words[0].value.lower() == FOR:
        if len(words) == 1:
            raise InvalidValue("missing value of `for`", "write `for DURATION`", "E109", words[0].span)
        try:
            for_ms = positive_duration(words[1].value)
        except InvalidValue as invalid:
            raise invalid.at(words[1].span) from None
        words = words[2:]
    reason = " ".join(word.value for word in words)
    if len(reason) > LONGEST_REASON:
        raise InvalidValue(f"the reason has {len(reason)} characters", f"write at most {LONGEST_REASON}")
    return for_ms, reason


def spelled(form: str, words: Sequence[str]) -> tuple[str, ...]:
    """The canonical words of a command whose own words leave some out; none for other commands."""
    if form in OF_JOBS and not words:
        return (ALL,)
    if form == "sched_wait" and len(words) == 2:
        return words[0], "timeout", words[1]
    if form == "sched_hold" and words and words[0].lower() == FOR:
        return FOR, *words[1:]
    return ()


# For forms with words that are read when the command is carried out: what finds the mistakes in them.
CHECKS: dict[str, Callable[[Sequence[Word]], object]] = {
    **{form: partial(read_listing, form) for form in FILTERS},
    "sched_incidents": read_wanted_incidents,
    "sched_show": read_wanted_details,
    "sched_output": read_wanted_output,
    "preview": read_wanted_preview,
    "sched_wait": _check_wait,
    "watch": _check_number,
    "sched_hold": read_hold,
    "shutdown": _check_keep,
}
