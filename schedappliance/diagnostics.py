"""Diagnostics, the places that they point at (Source, Span), and CODES, the list of all codes with their titles.

Also the exceptions Unusable and InvalidValue, and words for messages (did_you_mean, counted).

Rule: every mistake that a user can make is a Diagnostic with a code from CODES. Nothing here prints.
"""

from __future__ import annotations

import shlex
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from heapq import nlargest
from itertools import accumulate, pairwise
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

# Codes are stable and never reused. The first letter is the severity: E stops a load or a start, W does not.
CODES: dict[str, str] = {
    # E1xx: syntax
    "E101": "unexpected text",
    "E102": "unclosed bracket",
    "E103": "unterminated string",
    "E104": "mismatched closing bracket",
    "E105": "invalid UTF-8",
    "E106": "character not allowed here",
    "E107": "unterminated comment",
    "E108": "too large or nested too deeply",
    "E109": "incomplete command",
    "E110": "unknown command",
    "E111": "invalid YAML",
    "E112": "unsupported YAML feature",
    "E113": "missing or wrong opening bracket",
    "E114": "Momentum 2.x syntax",
    "E115": "missing `=` or name",
    "E116": "missing value",
    "E117": "no statement in the stanza file",
    "E118": "file of cron, systemd or at",
    # E2xx: names, types and values
    "E201": "unknown stanza",
    "E202": "unknown option",
    "E203": "wrong type of value",
    "E204": "value out of range",
    "E205": "missing required option",
    "E206": "duplicate name",
    "E207": "stanza name missing or not allowed",
    "E208": "invalid name",
    "E209": "unknown key",
    "E210": "duplicate key",
    "E211": "conflicting options",
    "E212": "invalid cron or calendar expression",
    "E213": "unknown time zone",
    "E214": "never due",
    "E215": "command of `notify` does not start a program",
    "E216": "two paths of the appliance are the same",
    # E3xx: references across stanzas, files and commands
    "E301": "program is not declared",
    "E302": "arguments do not match the program",
    "E303": "command cannot be scheduled",
    "E304": "command is not allowed in a drop",
    "E305": "included file cannot be read",
    "E306": "circular include",
    "E307": "file cannot be read",
    "E308": "spool without a backing store",
    "E309": "change requires a restart",
    "E310": "job is not declared",
    "E311": "days are not declared",
    "E312": "notify is not declared",
    # W4xx: probable mistakes
    "W401": "duplicate option or key",
    "W402": "option is not declared",
    "W403": "program cannot be executed here",
    "W404": "timeout is longer than the period",
    "W405": "unused ignore comment",
    "W406": "unknown user or group",
    "W407": "working directory does not exist here",
    "W408": "role without effect",
    "W409": "included directory contains a copy",
    "W410": "file id without an effect",
    "W411": "pattern matches no command",
    "W412": "pattern allows more than intended",
    "W414": "two day fields combine in an unusual way",
    "W415": "due times lost or doubled by a clock change",
    "W416": "uneven step",
    "W417": "six fields begin with the second",
    "W418": "weekdays as Quartz counts them",
    "W419": "dates of `days` end soon",
    "W420": "delay not shorter than the distance between due times",
    "W421": "day that some months lack",
    "W422": "environment file cannot be used here",
    "W423": "all due times have passed",
    "W424": "range of minutes that looks like times of day",
    "W425": "`argv` has words for a shell",
    "W426": "every minute of a single hour",
    "W427": "`each` counts from 1970",
    "W428": "pattern of `notify` matches nothing",
    "W429": "program of `notify` without a timeout",
    "W430": "alerts that wait long",
    "W431": "name of a job that means something else",
    # E5xx: rejected by the running appliance
    "E501": "no such job or run",
    "E502": "job is declared in a file",
    "E503": "time is in the past",
    "E504": "the store cannot be written",
    "E505": "the appliance is stopping",
    "E506": "line too long or not UTF-8",
    "E507": "invalid request",
    "E508": "option cannot be set here",
    "E509": "too many jobs",
    "E510": "no open transaction, or one already open",
    "E511": "no such generation",
    "E512": "not authorized",
    "E513": "no such drop",
    "E514": "the run has not ended in time",
    "E515": "the output cannot be read",
    "E516": "the preview failed",
    # x6xx: the machine, reported by `doctor`; E: the appliance cannot start or cannot keep a promise
    "E601": "a file is a mount point",
    "E602": "the store is on a network file system",
    "W603": "files or spool on a network file system",
    "W604": "a path depends on a symbolic link",
    "W605": "changes to files cannot be watched",
    "E606": "other users can write to files or directories",
    "W607": "a file or directory belongs to another user",
    "E608": "the appliance lacks a permission",
    "W609": "permissions are not those that the appliance gave",
    "E610": "the store cannot be opened",
    "W611": "little disk space, or few inodes, for the store",
    "E612": "SQLite is too old",
    "E613": "another appliance uses this path",
    "E614": "the console cannot be opened",
    "E615": "a directory of the spool is missing",
    "E616": "a file of the running appliance is gone",
    "E617": "the appliance is degraded",
    "W618": "a long read lets the log of the store grow",
    "E619": "a program cannot run as its user",
    "E620": "a part of the store's log was lost",
    "W621": "the appliance is held",
    "W622": "the boot id is hidden",
    "W623": "damaged time zone data",
    "E624": "a program cannot have its priority or its limits",
    "W625": "programs cannot outlive process 1",
    "W626": "a process belongs to a run that the store does not know",
    "W627": "an executable gains no privileges",
    "E628": "the appliance does not see a path of a program",
    "E629": "the spool cannot be used",
    "E630": "the page cannot start, cannot be reached, or has no tokens",
    "W631": "the running appliance does not say how it is",
}


# Comparing two names takes up to 100 microseconds, and counting their equal pairs of letters takes two.
MOST_COMPARED, MOST_SCANNED, LONGEST_COMPARED = 50, 500, 40
# Of more names than MOST_COMPARED, this many are compared.
MOST_LIKELY = 20

# A longer line is not part of an answer.
LONGEST_LINE = 1000

# The source name of a command that is not in a file.
COMMAND = "<command>"


class Span(NamedTuple):
    """A part of a text, as offsets in code points from 0; `end` is exclusive."""

    start: int
    end: int

    def shifted(self, by: int) -> Span:
        """The span of the same part when the text begins `by` code points later."""
        return Span(self.start + by, self.end + by)


class Source:
    """A named text that diagnostics can point into."""

    __slots__ = ("_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts: list[int] | None = None

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {shortened(self.text)!r})"

    @classmethod
    def of_command(cls, line: str) -> Source:
        """The text of a command that is not in a file."""
        return cls(COMMAND, line)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1, columns in code points."""
        if self._starts is None:
            lines = self.text.split("\n")
            # The lengths of the lines before, with their line feeds.
            self._starts = list(map(add, accumulate(map(len, lines), initial=0), range(len(lines))))
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column, both from 1; clamped to the text."""
        self.position(0)
        assert self._starts is not None
        return min(self._starts[min(line, len(self._starts)) - 1] + column - 1, len(self.text))

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its line end."""
        self.position(0)
        assert self._starts is not None
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that a diagnostic shows, with a label."""

    source: Source
    span: Span
    label: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning: code, cause, remedy and place.

    `message` is the cause, in lower case without a full stop; `help` is the remedy, in the same form.
    Without a span the diagnostic is about the whole source.
    """

    code: str
    message: str
    help: str
    source: Source
    span: Span | None = None
    related: tuple[Related, ...] = ()

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code

    @property
    def is_error(self) -> bool:
        return self.code[0] == "E"

    @property
    def severity(self) -> str:
        return "error" if self.is_error else "warning"

    def place(self) -> tuple[int, int, int, int]:
        """Line, column, end line and end column, from 1."""
        span = self.span or Span(0, 0)
        return (*self.source.position(span.start), *self.source.position(max(span.start, span.end)))

    def moved(self, source: Source, locate: Callable[[Span], Span]) -> Diagnostic:
        """The same diagnostic for a source that contains the text; `locate` finds a span of the text in it."""
        return replace(self, source=source, span=locate(self.span or Span(0, 0)))

    @property
    def text(self) -> str:
        """Cause and remedy, without the place."""
        return f"{self.message}; {self.help}" if self.help else self.message

    def brief(self) -> str:
        """One line: place, code, cause and remedy."""
        line, column, _, _ = self.place()
        return f"{self.source.name}:{line}:{column}: {self.code} {self.text}"


def command_diagnostic(code: str, message: str, remedy: str, line: str, span: Span | None = None) -> Diagnostic:
    """A diagnostic about a command that is not in a file; without a span it points at the whole line."""
    return Diagnostic(code, message, remedy, Source.of_command(line), span or Span(0, len(line)))


def path_diagnostic(code: str, path: Path, message: str, remedy: str) -> Diagnostic:
    """A diagnostic about a file or directory as a whole."""
    return Diagnostic(code, message, remedy, Source(str(path), ""))


def as_argument(path: Path | str) -> str:
    """A path in a command that a message gives: one word for a shell, and never an option."""
    name = str(path)
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


class Unusable(Exception):
    """A file, directory, socket, store or configuration that cannot be used. Its text is cause and remedy on one line.

    `message` and `help` follow the rules of Diagnostic. `diagnostics` are shown first; if they say everything, `message`
    and `help` are empty. The code that raises it has changed nothing. `is_passing`: the cause may pass by itself, so that the
    same start may succeed later.
    """

    def __init__(
        self, message: str = "", remedy: str = "", diagnostics: Sequence[Diagnostic] = (), is_passing: bool = False
    ) -> None:
        super().__init__("; ".join(filter(None, (message, remedy))))
        self.message = message
        self.help = remedy
        self.diagnostics = diagnostics
        self.is_passing = is_passing


class InvalidValue(Exception):
    """A text that is invalid in its place. `span`: the part of the text that is wrong; None: all of it."""

    def __init__(self, message: str, remedy: str, code: str = "E203", span: Span | None = None) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.help = remedy
        self.code = code
        self.span = span

    @property
    def mistakes(self) -> Sequence[InvalidValue]:
        """All mistakes that it stands for."""
        return (self,)

    def at(self, span: Span) -> InvalidValue:
        """The same mistake at another place."""
        return InvalidValue(self.message, self.help, self.code, span)

    def diagnostic(self, source: Source, span: Span) -> Diagnostic:
        """The mistake as a diagnostic; `span` is the place of the whole text in the source."""
        return Diagnostic(self.code, self.message, self.help, source, self.span or span)


class InvalidItems(InvalidValue):
    """Several mistakes in one list or dictionary. Where only one can be shown, it is the first one."""

    def __init__(self, mistakes: Sequence[InvalidValue]) -> None:
        first = mistakes[0]
        super().__init__(first.message, first.help, first.code, first.span)
        self._mistakes = mistakes

    @property
    def mistakes(self) -> Sequence[InvalidValue]:
        return self._mistakes


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 error`, `2 errors`, `1,000 errors`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def joined(parts: Sequence[str], conjunction: str = "and") -> str:
    """One or more parts as a list in a sentence: `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {conjunction} {parts[-1]}"


def shortened(text: str) -> str:
    """A text of the user as a message shows it: cut off when it is long."""
    return text if len(text) <= 40 else f"{text[:37]}..."


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.is_error for diagnostic in diagnostics)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sorted by file, place and code, without duplicates: the order in which diagnostics are always shown."""
    unique = {(d.source.name, *d.place(), d.code, d.message): d for d in diagnostics}
    return [unique[key] for key in sorted(unique)]


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that a misspelt word most likely means; empty when none is similar.

    It takes a few milliseconds at most, whatever the number of candidates, since the deciding thread calls it too.
    """
    folded, names = word.casefold(), list(candidates)
    if len(folded) > LONGEST_COMPARED:
        return ""
    if len(names) > MOST_COMPARED:
        names = _likely(folded, names)
    by_folded = {name.casefold(): name for name in sorted(names, reverse=True)}
    near = get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else ""


def _likely(word: str, names: list[str]) -> list[str]:
    """A few of many names: those with the same beginning or end as the word, and the most equal pairs of letters.

    One mistake in the word leaves its first half or its second half as it should be.
    """
    if len(names) > MOST_SCANNED:
        half = len(word) // 2
        begin, end = word[:half], word[half:]
        folded = [(name.casefold(), name) for name in names]
        same_begin = [name for text, name in folded if text.startswith(begin)]
        same_end = [name for text, name in folded if text.endswith(end)]
        # The smaller group says more.
        names = [name for group in sorted((same_begin, same_end), key=len) for name in group]
    pairs = set(pairwise(word))
    shared = {name: len(pairs.intersection(pairwise(name.casefold()))) for name in names[:MOST_SCANNED]}
    return nlargest(MOST_LIKELY, shared, key=lambda name: shared[name])


def did_you_mean(word: str, candidates: Iterable[str], otherwise: str = "") -> str:
    """A remedy that suggests the candidate nearest to a misspelt word, or else the other remedy."""
    near = nearest(word, candidates)
    return f"did you mean `{near}`?" if near else otherwise


def as_data(diagnostics: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    """The diagnostics as JSON data; lines and columns count from 1."""
    return [_data(diagnostic) for diagnostic in diagnostics]


def with_lines(diagnostics: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    """The same, each with the line of its place; None for a line that is too long, and without a place."""
    return [_data(diagnostic) | {"line_text": _line_text(diagnostic)} for diagnostic in diagnostics]


def _line_text(diagnostic: Diagnostic) -> str | None:
    text = None if diagnostic.span is None else diagnostic.source.line(diagnostic.place()[0])
    return text if text is not None and len(text) <= LONGEST_LINE else None


def from_data(row: dict[str, Any], source: Source) -> Diagnostic:
    """The reverse of `as_data` for one diagnostic. The source may have another name than the one in the data."""
    start, end = (row["line"], row["column"]), (row["end_line"], row["end_column"])
    whole = start == end == (1, 1)
    span = None if whole else Span(source.offset(*start), source.offset(*end))
    return Diagnostic(row["code"], row["message"], row["help"], source, span)


def _data(diagnostic: Diagnostic) -> dict[str, Any]:
    line, column, end_line, end_column = diagnostic.place()
    return {
        "file": diagnostic.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "help": diagnostic.help,
    }
