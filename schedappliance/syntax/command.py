"""Console lines to trees. A scheduled command is parsed by the same parser again, as often as it is nested."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NoReturn, cast

from lark import Lark, Token, Transformer, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from schedappliance.diagnostics import Diagnostic, Source, Span, did_you_mean, shortened
from schedappliance.syntax.grammars import build_parser
from schedappliance.syntax.shapes import Level, Shapes
from schedappliance.syntax.tree import CommandTree, Word

MAX_NESTING = 16

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANK_OR_END = re.compile(r"[ \t]|$")
_PIECES = re.compile(r"""[^ \t"'\\]+|\\|"((?:[^"\\]|\\.)*)"|'([^']*)'""")
_ESCAPE = re.compile(r'\\(["\\])')


class CommandError(Exception):
    """A line that is no command; the diagnostic says why. `begun`: the command after which a word is missing."""

    def __init__(self, diagnostic: Diagnostic, begun: str = "") -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
        self.begun = begun


def parse_command(line: str, name: str = "<command>") -> CommandTree:
    """The tree of one line; raises CommandError."""
    return parse_line(Source(name, line))


def parse_line(source: Source) -> CommandTree:
    """The tree of a text that is one line; raises CommandError."""
    line = source.text
    control = _CONTROL.search(line)
    if control:
        found = f"control character U+{ord(control.group()):04X}"
        raise CommandError(Diagnostic("E106", found, "a command is one line of text", source, _span(control)))
    return _parse(source, len(line) - len(line.lstrip(" \t")))


def _parse(source: Source, start: int) -> CommandTree:
    """Parses from the outside in, then builds from the inside out: no recursion, so no line can exhaust the stack."""
    text, read = source.text, _shapes().read
    flat: list[tuple[Level, int]] = []
    offset: int | None = start
    while offset is not None:
        if len(flat) > MAX_NESTING:
            found = f"commands are nested more than {MAX_NESTING} deep"
            span = Span(offset, len(text))
            raise CommandError(Diagnostic("E108", found, "schedule a program instead", source, span))
        level = read(text, offset) or _parse_level(source, offset)
        flat.append((level, offset))
        offset = level.rest
    end = len(text.rstrip(" \t"))
    tree: CommandTree | None = None
    for level, begin in reversed(flat):
        words = tuple([_word(text[first:last], first, last) for first, last in level.words])
        tree = CommandTree(level.form, words, tree, text[begin:end], begin)
    assert tree is not None
    return tree


def _parse_level(source: Source, offset: int) -> Level:
    """By the parser, which knows what is wrong with what it does not take."""
    try:
        form, tokens = cast("tuple[str, list[Token]]", _parser().parse(source.text[offset:]))
    except UnexpectedInput as error:
        _refuse(source, offset, error)
    places = [(token.type, offset + (token.start_pos or 0), offset + (token.end_pos or 0)) for token in tokens]
    rest = next((start for type, start, _ in places if type == "REST"), None)
    return Level(form, [(start, end) for type, start, end in places if type == "WORD"], rest)


@cache
def _parser() -> Lark:
    return build_parser("command", _Builder())


@cache
def _shapes() -> Shapes:
    return Shapes(_parser())


class _Builder(Transformer[Token, tuple[str, list[Token]]]):
    """Every rule becomes its name and its tokens; the rules that Lark makes for repetitions stay trees."""

    def __default__(self, data: str, children: list[Any], _meta: object) -> tuple[str, list[Token]] | Tree[Token]:
        return Tree(data, children) if data.startswith("_") else (str(data), children)


def _word(text: str, start: int, end: int) -> Word:
    if '"' in text or "'" in text:
        text = "".join(_piece(piece) for piece in _PIECES.finditer(text))
    return Word(text, start, end)


def _piece(piece: re.Match[str]) -> str:
    double, single = piece.groups()
    if double is not None:
        return _ESCAPE.sub(r"\1", double)
    return single if single is not None else piece.group()


@cache
def _word_pattern() -> re.Pattern[str]:
    return re.compile(next(t.pattern.to_regexp() for t in _parser().terminals if t.name == "WORD"))


def keywords() -> frozenset[str]:
    """Every word that the command grammar gives a meaning."""
    return frozenset(t.name.lower() for t in _parser().terminals if t.priority == 2)


def first_words() -> frozenset[str]:
    """The words that a command can begin with."""
    return _words(_parser().parse_interactive("").accepts())  # type: ignore[no-untyped-call]


def _words(terminals: set[str] | frozenset[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in terminals if name not in ("WORD", "REST", "WAIT", "$END"))


def _span(match: re.Match[str]) -> Span:
    return Span(match.start(), match.end())


def _refuse(source: Source, offset: int, error: UnexpectedInput) -> NoReturn:
    """Says what the grammar would have accepted instead. Of the token only text and position can be trusted."""
    if isinstance(error, UnexpectedCharacters):
        at = offset + (error.pos_in_stream or 0)
        accepted = frozenset(error.allowed or ())
    else:
        assert isinstance(error, UnexpectedToken)
        at = len(source.text) if error.token.type == "$END" else offset + (error.token.start_pos or 0)
        accepted = frozenset(error.accepts or error.expected)
    if at >= len(source.text.rstrip(" \t")):
        begun = source.text[offset:].rstrip(" \t") if "WORD" in accepted else ""
        raise CommandError(_incomplete(source, offset, accepted), begun)
    end = _BLANK_OR_END.search(source.text, at)
    span = Span(at, end.start() if end else len(source.text))
    raise CommandError(_unexpected(source, offset, span, accepted))


def _incomplete(source: Source, offset: int, accepted: frozenset[str]) -> Diagnostic:
    end = len(source.text.rstrip(" \t"))
    span = Span(end, end)
    if not source.text.strip(" \t"):
        return Diagnostic("E109", "the line is empty", "type a command; `help` lists them", source, span)
    typed = source.text[offset:end]
    if "REST" in accepted and offset < end:
        return Diagnostic("E109", f"the command to run is missing after `{shortened(typed)}`", "add it", source, span)
    if words := _words(accepted):
        return Diagnostic(
            "E109", f"`{shortened(typed)}` is not complete", f"add one of: {_listed(words)}", source, span
        )
    return Diagnostic("E109", f"`{shortened(typed)}` is not complete", "`help` shows what must follow", source, span)


def _unexpected(source: Source, offset: int, span: Span, accepted: frozenset[str]) -> Diagnostic:
    word = source.text[span.start : span.end]
    if ('"' in word or "'" in word) and not _word_pattern().match(source.text, span.start):
        quoting = source.text.find(word[0] if word[0] in "\"'" else ('"' if '"' in word else "'"), span.start)
        return Diagnostic(
            "E103", "this quote is not closed", "add the closing quote", source, Span(quoting, quoting + 1)
        )
    words = _words(accepted)
    if span.start == offset:
        remedy = did_you_mean(word, words, f"known commands: {_listed(words)}")
        return Diagnostic("E110", f"unknown command `{shortened(word)}`", remedy, source, span)
    before = source.text[offset : span.start].strip(" \t")
    if words:
        remedy = did_you_mean(word, words, f"expected one of: {_listed(words)}")
        return Diagnostic("E110", f"`{shortened(before)}` has no subcommand `{shortened(word)}`", remedy, source, span)
    return Diagnostic("E101", f"unexpected `{shortened(word)}` after `{shortened(before)}`", "remove it", source, span)


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))
