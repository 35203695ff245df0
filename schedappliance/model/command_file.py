"""Command files, which are dropped into the spool: their lines, the meaning of each line, and the `#id:` line.

`#id: TOKEN` in the first line is the client's own id for the drop, so that a repeated drop is carried out only once.

Rule: this module reports only mistakes that can be found without a configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from schedappliance.diagnostics import Diagnostic, Source, Span, command_diagnostic
from schedappliance.model.command_words import OF_JOBS
from schedappliance.model.commands import MAX_LINE_BYTES, Command, ReadCommand, drop_mistakes, read_command
from schedappliance.model.listings import is_pattern

MAX_LINES = 20_000
# The remedy for a file that no setting makes acceptable.
SPLIT_DROP = "split it; a drop has at most 1,048,576 bytes unless `spool.max_bytes` is set"
# All lines of a drop are carried out in one turn, during which no job starts.
MAX_COSTLY = 100
SPLIT_COSTLY = f"they may count as {MAX_COSTLY}; split it"
COST_OF_PATTERN, COST_OF_WHOLE, DUE_TIMES_OF_COST = 8, 16, 25
# No valid number of due times has more.
MOST_DIGITS = 4
# The commands that read rows of jobs, runs, drops or generations, or list the configuration.
READING = frozenset(
    [
        "config_diff",
        "config_history",
        "config_show",
        "config_showrecurse",
        "config_status",
        "metrics",
        "sched_history",
        "sched_incidents",
        "sched_list",
        "sched_next",
        "sched_show",
        "sched_why",
        "spool_list",
        "spool_why",
        "summary",
    ]
)
SETTING = ("config_set", "config_unset")
# Other forms are never costly, so that most commands need no call of `cost_of`.
MAY_BE_COSTLY = READING | {*SETTING, *OF_JOBS}

_ID_LINE = re.compile(r"#id:[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
# A first line that somebody may take for an `#id:` line.
_ALMOST = re.compile(r"#id[ \t]*[:=]", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~]{1,128}")


def command_lines(source: Source) -> Iterator[tuple[int, str]]:
    """The lines of a file that hold a command, each with its offset: no blank lines, no `#` comments."""
    offset = 0
    for line in source.text.split("\n"):
        text = line.removesuffix("\r")
        if text.strip(" \t") and not text.startswith("#"):
            yield offset, text
        offset += len(line) + 1


def read_drop_line(line: str) -> ReadCommand:
    """The meaning of one line of a command file, with every mistake that can be found without the configuration."""
    # Only a line of this many characters can exceed the limit; encoding every line would take time.
    if len(line) > MAX_LINE_BYTES // 4 and len(line.encode()) > MAX_LINE_BYTES:
        remedy = f"shorten it to {MAX_LINE_BYTES:,} bytes"
        return ReadCommand(None, None, (command_diagnostic("E108", "the line is too long", remedy, line, Span(0, 1)),))
    read = read_command(line)
    if read.tree is None or not (mistakes := tuple(drop_mistakes(read.tree, Source.of_command(line)))):
        return read
    return ReadCommand(read.tree, None, (*read.diagnostics, *mistakes))


def wrong_number(source: Source, lines: int) -> Diagnostic | None:
    """The mistake of a file that holds no command, or too many."""
    if not lines:
        return Diagnostic("E109", "the file contains no command", "write one command on each line", source)
    if lines > MAX_LINES:
        remedy = f"a drop has at most {MAX_LINES:,} commands; split it"
        return Diagnostic("E108", f"the file holds {lines:,} commands", remedy, source)
    return None


def cost_of(command: Command) -> int:
    """As how many costly commands a command counts; 0 for one that takes no milliseconds.

    The work of a costly command grows with what is declared or stored: it reads rows, or it is about an option of a stanza or
    a pattern of jobs. A pattern takes up to 240 ms with 20,000 declared jobs, the whole configuration 100 ms with 10,000, and
    each due time of `sched next` up to 0.7 ms.
    """
    bare = command.bare
    form, words = bare.form, bare.words
    if form in SETTING:
        # First, since jobs give these commands most often.
        return 1 if words[0] else 0
    if form in OF_JOBS:
        return COST_OF_PATTERN if not words or is_pattern(words[0]) else 0
    if form == "config_showrecurse":
        return COST_OF_WHOLE
    if form == "sched_next" and len(words) > 1 and words[1].isdecimal():
        return 1 + int(words[1].lstrip("0")[:MOST_DIGITS] or "0") // DUE_TIMES_OF_COST
    return 1 if form in READING else 0


def too_costly(source: Source, cost: int) -> Diagnostic | None:
    """The mistake of a file whose commands cost too much together."""
    if cost <= MAX_COSTLY:
        return None
    message = (
        "the file holds too many commands that list or explain, set an option of a stanza, or pause or resume many jobs"
    )
    return Diagnostic("E108", f"{message}: they count as {cost:,}", SPLIT_COSTLY, source)


def token_of(source: Source) -> str | None:
    """The token of a command file; None when it has none, or an invalid one."""
    match = _ID_LINE.match(source.text)
    return match.group(1) if match and _TOKEN.fullmatch(match.group(1)) else None


def token_mistakes(source: Source) -> Iterator[Diagnostic]:
    """An invalid token, `#id:` lines that are not the first, and a first line that is almost one: both have no effect."""
    if (almost := _ALMOST.match(source.text)) and not _ID_LINE.match(source.text):
        remedy = "write `#id: TOKEN`, or `# id` for a comment"
        message = f"a line that begins with `{almost[0]}` is a comment, and gives the file no id"
        yield Diagnostic("W410", message, remedy, source, Span(0, almost.end()))
    for match in _ID_LINE.finditer(source.text):
        span = Span(match.start(), match.end(1) if match.group(1) else match.start() + len("#id:"))
        if match.start() and source.text[match.start() - 1] == "\n":
            remedy = "move it to the first line, or write `# id`"
            yield Diagnostic("W410", "an `#id:` line has an effect only as the first line", remedy, source, span)
        elif not match.start() and not _TOKEN.fullmatch(match.group(1)):
            remedy = "give 1 to 128 visible ASCII characters without blanks: `#id: deploy-4711`"
            yield Diagnostic("E208", "invalid id", remedy, source, span)
