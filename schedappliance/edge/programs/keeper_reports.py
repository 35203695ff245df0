"""The reports of the keeper, and what they say about attempts. keeper_link.py describes their lines.

Rule: a line that is damaged, or of a later version, is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from schedappliance.edge.programs.keeper_paths import read_ends
from schedappliance.edge.programs.start_failures import reason
from schedappliance.engine.attempts import Exit, NotStarted
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.kinds import EXHAUSTED

# No number in a report is longer.
MOST_DIGITS = 15


class RunsNow(NamedTuple):
    """A program runs. `pid`: 0 for a start that hangs. `why`: why it is being ended; None if it is not."""

    id: str
    pid: int
    ticks: int
    why: str | None


class Ended(NamedTuple):
    """A program has ended. `why`: why the keeper was ending it; None if it got no signal before its end.

    `lingers`: the keeper is still ending its descendants. `inode`: of its output; None if the keeper does not say it.
    """

    id: str
    pid: int
    exit: Exit
    why: str | None
    lingers: bool
    inode: int | None = None


class Unstarted(NamedTuple):
    """A program was not started.

    `part`: what failed: the `program`, its `directory`, or its `user` or a limit of it.
    """

    id: str
    number: int
    part: str
    text: str


class TreeGone(NamedTuple):
    """The descendants of a program are gone."""

    id: str


Report = RunsNow | Ended | Unstarted | TreeGone


def causes_of(known: Mapping[AttemptKey, Report]) -> dict[AttemptKey, Exit | NotStarted]:
    """How attempts ended: those whose end was reported."""
    causes: dict[AttemptKey, Exit | NotStarted] = {}
    for key, report in known.items():
        if isinstance(report, Ended):
            causes[key] = report.exit
        elif isinstance(report, Unstarted):
            text = reason(report.part, report.number, report.text, "the program", "its directory")
            causes[key] = NotStarted(text, report.number in EXHAUSTED)
    return causes


def endings_of(known: Mapping[AttemptKey, Report]) -> dict[AttemptKey, str]:
    """Why programs were being ended."""
    return {key: report.why for key, report in known.items() if isinstance(report, RunsNow | Ended) and report.why}


def attempt_id(key: AttemptKey, started_ms: int) -> str:
    return f"{key.run.job}-{key.run.occurrence}-{key.attempt}-{started_ms}"


def key_of(name: str) -> AttemptKey:
    job, occurrence, attempt, _ = map(int, name.split("-"))
    return AttemptKey(RunKey(job, occurrence), attempt)


def reports(text: str) -> Iterator[Report]:
    """The reports in lines of a keeper. Lines of another kind, or with more words, are those of a later version.

    A damaged line is left out.
    """
    for line in text.split("\n"):
        with contextlib.suppress(ValueError):
            if report := _report(line.split(" ")):
                yield report


def _report(words: list[str]) -> Report | None:
    """The report in the words of a line. Raises ValueError."""
    if words[0] in ("running", "ended", "unstarted"):
        key_of("".join(words[1:2]))
    match words:
        case ["running", name, pid, ticks, why, *_]:
            return RunsNow(name, int(pid), int(ticks), None if why == "-" else why)
        case ["ended", name, pid, status, ended_ms, cpu_ms, memory_kb, why, lingers, *rest]:
            code = _number(status)
            # A keeper of an earlier version does not say how long the program took, or where its output is.
            took_ms = _number(rest[0]) if rest else None
            inode = int(rest[1]) if rest[1:] else None
            figures = _number(ended_ms), _number(cpu_ms), _number(memory_kb) * 1024, took_ms
            status_of, signal_of = (code, None) if code >= 0 else (None, -code)
            cause = Exit(status_of, signal_of, *figures, by_itself=why == "-")
            return Ended(name, int(pid), cause, None if why == "-" else why, lingers == "1", inode)
        case ["unstarted", name, number, part, *rest]:
            return Unstarted(name, int(number), part, " ".join(rest))
        case ["gone", name]:
            return TreeGone(name)
    return None


def _number(word: str) -> int:
    """The number in a word. Raises ValueError, also for one that the store could not hold."""
    if len(word) > MOST_DIGITS:
        raise ValueError(word)
    return int(word)


def ends_in(directory: Path) -> list[Report]:
    """The ends in the file of a keeper, which may have ended itself. Raises OSError: an error is no answer."""
    return list(reports(read_ends(directory)))
