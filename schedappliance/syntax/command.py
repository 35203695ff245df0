"""Console lines to trees.

Rule: the grammar alone decides what a command is. `_Forms` is built from the grammar, accepts the same lines, and is
faster than the parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, NoReturn, cast

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from schedappliance.diagnostics import Diagnostic, Source, Span, command_diagnostic, did_you_mean, shortened
from schedappliance.syntax.grammars import build_parser

MAX_NESTING = 16
# A remedy shows a whole line up to this length.
LONGEST_SHOWN = 120

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANKS = " \t"
_BLANK_OR_END = re.compile(r"[ \t]|$")
# The parts of a word: bare text, a double-quoted string, a single-quoted string.
_PARTS = re.compile(r"""[^ \t"'\\]+|\\|"((?:[^"\\]++|\\.)*+)"|'([^']*)'""")
_ESCAPE = re.compile(r'\\(["\\])')
_END = "$END"
_WORDS = frozenset({"WORD", "WORDS"})
# A terminal that is one word, with or without blanks.
_ONE_WORD = frozenset({"WORD", "MOMENT"})
_CAPTURED = _WORDS | _ONE_WORD | {"REST"}
_NO_KEYWORDS = _CAPTURED | {"WAITING", _END}
# The commands whose first word is an expression, which has blanks and so needs quotes.
_EXPRESSIONS = frozenset({"sched_cron", "sched_calendar"})

# What at(1) takes after a time, but `sched at` does not: a day, a time, or an amount that is added.
_AFTER_TIME = re.compile(
    r"today|tomorrow|next|(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?|[0-9+].*",
    re.ASCII | re.IGNORECASE,
)
_NOW_AND_WORD = re.compile(r"\b(now[ \t]*\+[ \t]*\d+)[ \t]+([a-z]+)\b", re.ASCII | re.IGNORECASE)
UNIT_REMEDY = "write seconds, minutes, hours, days or weeks, as in `now + 5 minutes`"
TIME_REMEDY = (
    "write a time of day (`08:00`, `0800`, `8am`, `noon`, `midnight`), with a day and a zone if needed"
    " (`tomorrow 08:00`, `08:00 tomorrow`, `2026-11-29 08:00 Europe/Berlin`); or `tomorrow`, `now + 5 minutes`,"
    " a Unix timestamp, or ISO 8601 with zone (`2026-11-22T18:01:00Z`)"
)


class Word(NamedTuple):
    """One word of a command, unquoted, with its place in the line."""

    value: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


class CommandTree(NamedTuple):
    """One command. `form` is the name of its grammar rule; `inner` is the command that it schedules or prefixes.

    `text` is the command as written without the blanks at both ends; places count from the start of the line.
    """

    form: str
    words: tuple[Word, ...]
    inner: CommandTree | None
    text: str
    start: int

    @property
    def span(self) -> Span:
        return Span(self.start, self.start + len(self.text))

    def nest(self) -> Iterator[CommandTree]:
        """The command and every command inside it, from the outside in."""
        tree: CommandTree | None = self
        while tree is not None:
            yield tree
            tree = tree.inner


class CommandError(Exception):
    """A line that is not a command; the diagnostic says why. `unfinished`: the text, if only words are missing."""

    def __init__(self, diagnostic: Diagnostic, unfinished: str = "") -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
        self.unfinished = unfinished


def parse_command(line: str) -> CommandTree:
    """The tree of a text that is one line; raises CommandError."""
    if control := _CONTROL.search(line):
        message = f"unexpected control character U+{ord(control.group()):04X}"
        span = Span(control.start(), control.end())
        raise CommandError(command_diagnostic("E106", message, "a command is one line of text", line, span))
    return _parse(line, len(line) - len(line.lstrip(_BLANKS)), 0)


def outer_form(line: str) -> str:
    """The form of the outermost command, even if the rest of the line is wrong; empty if the line begins with no command."""
    level = _forms().read(line, len(line) - len(line.lstrip(_BLANKS)))
    return level.form if level else ""


def _parse(text: str, start: int, depth: int) -> CommandTree:
    """The command that begins at an offset, `depth` commands inside the line."""
    if depth > MAX_NESTING:
        message = f"commands are nested more than {MAX_NESTING} levels deep"
        span = Span(start, len(text))
        raise CommandError(command_diagnostic("E108", message, "schedule a program instead", text, span))
    level = _forms().read(text, start) or _read_by_parser(text, start)
    words = tuple([_word(text[first:last], first, last) for first, last in level.words])
    if level.form == "sched_at":
        _check_unit(text, words[0])
    try:
        inner = None if level.rest is None else _parse(text, level.rest, depth + 1)
    except CommandError as error:
        raise (_unquoted(error, text, start, level) or _invalid_time(error, text, level) or error) from None
    return CommandTree(level.form, words, inner, text[start:].rstrip(_BLANKS), start)


def _check_unit(text: str, time: Word) -> None:
    """Raises CommandError for `now + 5` before a command, whose first word stands where the unit belongs."""
    if diagnostic := _no_unit(Source.of_command(text), time.start, time.end):
        raise CommandError(diagnostic)


def _no_unit(source: Source, start: int, end: int) -> Diagnostic | None:
    match = _NOW_AND_WORD.search(source.text, start, end)
    if match is None or match.end() != end or match[2].lower() not in first_words():
        return None
    return Diagnostic("E203", f"`{match[1]}` has no unit", UNIT_REMEDY, source, Span(*match.span(1)))


def _invalid_time(error: CommandError, text: str, level: _Level) -> CommandError | None:
    """The error for a time of several words that is none of the forms of `sched at`, such as `next monday`."""
    wrong, after = error.diagnostic, level.rest
    if level.form != "sched_at" or wrong.code != "E110" or after is None or wrong.span != _word_at(text, after):
        return None
    first, known = level.words[0][0], first_words()
    is_time = not text[first].isalpha() or _pattern_of("MOMENT").fullmatch(text, *level.words[0])
    if is_time and not _AFTER_TIME.fullmatch(text, wrong.span.start, wrong.span.end):
        return None
    rest = [word.span() for word in _pattern_of("WORD").finditer(text, after)]
    command = next((begin for begin, end in rest if text[begin:end].lower() in known), wrong.span.end)
    time = text[first:command].rstrip(_BLANKS)
    message = f"invalid time `{shortened(time)}`"
    return CommandError(Diagnostic("E203", message, TIME_REMEDY, wrong.source, Span(first, first + len(time))))


def _unquoted(error: CommandError, text: str, start: int, level: _Level) -> CommandError | None:
    """The error for an expression without quotes: what follows its first word is not a command. None for another mistake."""
    wrong, after = error.diagnostic, level.rest
    if level.form not in _EXPRESSIONS or wrong.code != "E110" or after is None or wrong.span != _word_at(text, after):
        return None
    first, known = level.words[0][0], first_words()
    rest = [word.span() for word in _pattern_of("WORD").finditer(text, after)]
    command = next((begin for begin, end in rest if text[begin:end].lower() in known), None)
    if command is None and not (text[after].isdigit() or text[after] in "*?"):
        return None
    written = text[first:command].rstrip(_BLANKS)
    words = [
        _word(word.group(), *word.span()).value
        for word in _pattern_of("WORD").finditer(text, first, first + len(written))
    ]
    expression = " ".join(" ".join(words).split())
    quoted = expression.replace("\\", "\\\\").replace('"', '\\"')
    line = f'{text[start:first]}"{quoted}" {"COMMAND" if command is None else text[command:].rstrip(_BLANKS)}'
    remedy = f"put the expression in quotes: `{line if len(line) <= LONGEST_SHOWN else shortened(line)}`"
    span = Span(first, first + len(written))
    message = f"`{shortened(expression)}` is several words"
    return CommandError(Diagnostic("E110", message, remedy, wrong.source, span))


def _word_at(text: str, start: int) -> Span:
    end = _BLANK_OR_END.search(text, start)
    return Span(start, end.start() if end else len(text))


def _word(text: str, start: int, end: int) -> Word:
    if '"' in text or "'" in text:
        text = "".join(_part(part) for part in _PARTS.finditer(text))
    return Word(text, start, end)


def _part(part: re.Match[str]) -> str:
    double, single = part.groups()
    if double is not None:
        return _ESCAPE.sub(r"\1", double)
    return single if single is not None else part.group()


class _Level(NamedTuple):
    """A command without the one inside it: its form, the places of its words, and where the inner command begins."""

    form: str
    words: list[tuple[int, int]]
    rest: int | None


def _read_by_parser(text: str, start: int) -> _Level:
    """Reads the command that begins at an offset; raises CommandError."""
    try:
        tree = _parser().parse(text[start:])
    except UnexpectedInput as error:
        _reject(Source.of_command(text), start, error)
    words: list[tuple[int, int]] = []
    rest = None
    for token in cast("list[Token]", tree.children):
        first, last = start + (token.start_pos or 0), start + (token.end_pos or 0)
        if token.type in _ONE_WORD:
            words.append((first, last))
        elif token.type in _WORDS:
            words += [word.span() for word in _pattern_of("WORD").finditer(text, first, last)]
        elif token.type == "REST":
            rest = first
    return _Level(str(tree.data), words, rest)


class _Forms:
    """All forms of command as one regular expression, made by asking the parser what it accepts next.

    A line takes 10 µs instead of 41 by the parser: `lint` reads 100,000 lines in 2.6 s instead of 6.5 (measure it
    with `benchmarks.lint_speed`), and a drop of 10,000 commands takes 0.6 s of processor time instead of 1.15.
    """

    def __init__(self, parser: Lark) -> None:
        self._parser = parser
        self._groups = 0
        # By the number of the empty group at the end of a form: its name, and its terminals with their groups.
        self._levels: dict[int, tuple[str, tuple[tuple[str, int], ...]]] = {}
        self._pattern = re.compile(self._following(parser.parse_interactive(""), ()))
        self._word = _pattern_of("WORD")

    def read(self, text: str, start: int) -> _Level | None:
        """The command that begins at an offset and fills the rest of the text, or None."""
        match = self._pattern.match(text, start)
        if match is None:
            return None
        form, groups = self._levels[match.lastindex or 0]
        words: list[tuple[int, int]] = []
        rest = None
        for name, group in groups:
            if name in _ONE_WORD:
                words.append(match.span(group))
            elif name == "WORDS":
                words += [word.span() for word in self._word.finditer(text, *match.span(group))]
            else:
                rest = match.start(group)
        return _Level(form, words, rest)

    def _following(self, parser: Any, groups: tuple[tuple[str, int], ...]) -> str:
        """The pattern of everything that may follow after the terminals in `groups`.

        As in Lark's lexer, blanks may stand before every terminal, and the text of a terminal is never split.
        """
        accepted: set[str] = parser.accepts()
        branches = []
        for name in sorted(accepted - {_END}):
            after = parser.copy()
            after.feed_token(Token(name, ""))
            text, groups_after = f"(?>{self._regexp(name)})", groups
            if name in _CAPTURED:
                self._groups += 1
                text, groups_after = f"({text})", (*groups, (name, self._groups))
            branches.append(self._unless(name, accepted) + text + self._following(after, groups_after))
        if _END in accepted:
            self._groups += 1
            self._levels[self._groups] = (str(parser.copy().feed_eof().data), groups)
            branches.append(r"\Z()")
        return f"(?>{self._regexp('BLANK')})?(?:{'|'.join(branches)})"

    def _unless(self, name: str, accepted: set[str]) -> str:
        """Where two terminals match, the lexer takes the one with the higher priority."""
        priority = self._parser.get_terminal(name).priority
        others = [other for other in sorted(accepted - {_END}) if self._parser.get_terminal(other).priority > priority]
        return "".join(f"(?!{self._regexp(other)})" for other in others)

    def _regexp(self, name: str) -> str:
        return self._parser.get_terminal(name).pattern.to_regexp()


@cache
def _parser() -> Lark:
    return build_parser("command", None)


@cache
def _forms() -> _Forms:
    return _Forms(_parser())


@cache
def _pattern_of(terminal: str) -> re.Pattern[str]:
    return re.compile(_parser().get_terminal(terminal).pattern.to_regexp())


def keywords() -> frozenset[str]:
    """Every word that the command grammar gives a meaning."""
    return frozenset(terminal.name.lower() for terminal in _parser().terminals if terminal.priority == 2)


def first_words() -> frozenset[str]:
    """The words that a command can begin with."""
    return _keywords(_parser().parse_interactive("").accepts())  # type: ignore[no-untyped-call]


def next_words(text: str) -> frozenset[str] | None:
    """The keywords that can follow a text. None if nothing can; empty if only words of another kind can."""
    parsing = _parser().parse_interactive(text)
    try:
        parsing.exhaust_lexer()
    except UnexpectedInput:
        return None
    accepted = parsing.accepts()  # type: ignore[no-untyped-call]
    if "REST" in accepted:
        return first_words()
    return _keywords(accepted) if accepted - {_END} else None


def _keywords(terminals: set[str] | frozenset[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in terminals - _NO_KEYWORDS)


def _reject(source: Source, start: int, error: UnexpectedInput) -> NoReturn:
    """Raises a CommandError that names what the grammar accepts. Only text and place of the error's token are reliable."""
    if isinstance(error, UnexpectedCharacters):
        at = start + (error.pos_in_stream or 0)
        accepted = frozenset(error.allowed or ())
    else:
        assert isinstance(error, UnexpectedToken)
        at = len(source.text) if error.token.type == _END else start + (error.token.start_pos or 0)
        accepted = frozenset(error.accepts or error.expected)
    if at >= len(source.text.rstrip(_BLANKS)):
        unfinished = source.text[start:].rstrip(_BLANKS) if accepted & _WORDS else ""
        raise CommandError(_incomplete(source, start, accepted), unfinished)
    raise CommandError(_unexpected(source, start, _word_at(source.text, at), accepted))


def _incomplete(source: Source, start: int, accepted: frozenset[str]) -> Diagnostic:
    end = len(source.text.rstrip(_BLANKS))
    span = Span(end, end)
    if end == 0:
        return Diagnostic("E109", "the line is empty", "type a command; `help` lists them", source, span)
    typed = shortened(source.text[start:end])
    if "REST" in accepted and (no_unit := _no_unit(source, start, end)):
        return no_unit
    if "REST" in accepted and typed:
        return Diagnostic("E109", f"the command to run is missing after `{typed}`", "add a command", source, span)
    keywords = _keywords(accepted)
    remedy = f"add one of: {_listed(keywords)}" if keywords else "`help` shows the usage"
    return Diagnostic("E109", f"incomplete command `{typed}`", remedy, source, span)


def _unexpected(source: Source, start: int, span: Span, accepted: frozenset[str]) -> Diagnostic:
    word = source.text[span.start : span.end]
    if ('"' in word or "'" in word) and not _pattern_of("WORD").match(source.text, span.start):
        at = span.start
        while part := _PARTS.match(source.text, at):
            at = part.end()
        return Diagnostic("E103", "unterminated string", "add the closing quote", source, Span(at, at + 1))
    keywords = _keywords(accepted)
    if span.start == start and (command := _quoted_command(source.text, start, keywords)):
        return Diagnostic("E110", "the command is in quotes", f"remove them: `{shortened(command)}`", source, span)
    if span.start == start:
        known = f"known commands: {_listed(keywords)}; `run NAME` starts a program"
        if word.startswith("/"):
            known = (
                f'declare a program, and `run` it by its name; a job may have `argv = ( "{shortened(word)}" )` instead'
            )
        remedy = did_you_mean(word, keywords, known)
        return Diagnostic("E110", f"unknown command `{shortened(word)}`", remedy, source, span)
    before = shortened(source.text[start : span.start].strip(_BLANKS))
    if keywords:
        remedy = did_you_mean(word, keywords, f"expected one of: {_listed(keywords)}")
        return Diagnostic("E110", f"`{before}` has no subcommand `{shortened(word)}`", remedy, source, span)
    return Diagnostic("E101", f"unexpected `{shortened(word)}` after `{before}`", "remove it", source, span)


def _quoted_command(text: str, start: int, keywords: frozenset[str]) -> str | None:
    """The command in a quoted word, as in `sched in 50 "run daily"`; None if the word is not quoted or no command."""
    if text[start] not in "\"'" or (match := _pattern_of("WORD").match(text, start)) is None:
        return None
    command = _word(match.group(), start, match.end()).value.strip(_BLANKS)
    return command if command.lower().split(" ")[0] in keywords else None


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))
