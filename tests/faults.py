"""Single faults put into valid stanza files, as people make them, each with the lines where it may be reported.

`python -m tests.faults` prints the figures by kind of fault, and every fault that is not one diagnostic on its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.model.files import read_regular
from schedappliance.model.loading import load
from schedappliance.syntax.pieces import CLOSERS, OPENERS, STRINGS, Piece, cut
from schedappliance.syntax.stanza import _parser, parse_stanzas

FOLDER = Path(__file__).parent / "files"
FILES = sorted(FOLDER.glob("*.conf"))
BLOCKS = ("LBRACE", "LANGLE")
SCALARS = ("WORD", *STRINGS)
# What is typed instead of each closing bracket.
MISTYPED = {"RPAR": "]}", "RSQB": ")}", "RBRACE": ")>", "RANGLE": "})"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A text with one fault in it, and the lines where it may be reported."""

    kind: str
    text: str
    lines: frozenset[int]


@dataclass(frozen=True, slots=True)
class Valid:
    """A valid file in pieces. `pairs`: by the number of each bracket that of its partner."""

    source: Source
    pieces: list[Piece]
    pairs: dict[int, int]

    @staticmethod
    def of(text: str) -> Valid:
        source = Source("x.conf", text)
        pieces, junk = cut(source, _parser())
        assert not junk and not parse_stanzas(source)[1], "the file is not valid"
        pairs: dict[int, int] = {}
        opened: list[int] = []
        for number, piece in enumerate(pieces):
            if piece.type in OPENERS:
                opened.append(number)
            elif piece.type in CLOSERS:
                pairs[number] = opened.pop()
                pairs[pairs[number]] = number
        return Valid(source, pieces, pairs)

    def values(self) -> Iterator[tuple[int, int, int]]:
        """The numbers of each `=` that stands before a value, and of the value's first and last piece."""
        for number, piece in enumerate(self.pieces[:-1]):
            first = number + 1
            if piece.type == "EQUALS" and self.pieces[first].type not in BLOCKS:
                yield number, first, self.pairs.get(first, first)

    def edited(self, kind: str, start: int, end: int, text: str, *places: int) -> Fault:
        """The fault that replaces a stretch of the text; it belongs to the lines of the places in the valid text."""
        whole = self.source.text
        lines = frozenset(self.source.position(place)[0] for place in places)
        return Fault(kind, whole[:start] + text + whole[end:], lines)


def faults(valid: Valid) -> Iterator[Fault]:
    """Every single fault of every kind."""
    yield from _of_options(valid)
    yield from _of_brackets(valid)
    yield from _of_strings(valid)
    yield from _stray_braces(valid)


def _of_options(valid: Valid) -> Iterator[Fault]:
    for number, first, last in valid.values():
        name, sign = valid.pieces[number - 1], valid.pieces[number]
        opening, end = valid.pieces[first], valid.pieces[last].end
        if opening.type != "LSQB":
            yield valid.edited("missing =", sign.start, sign.end, " ", name.start, sign.start)
        yield valid.edited("missing value", opening.start, end, "", name.start, sign.start)
        yield valid.edited("missing name", name.start, name.end, "", sign.start)
        yield valid.edited("doubled =", sign.start, sign.end, "= =", sign.start)
        yield valid.edited("semicolon after a value", end, end, ";", end)
        if opening.type in SCALARS:
            yield valid.edited("two words as value", end, end, " more", end)
        following = valid.pieces[last + 1] if last + 1 < len(valid.pieces) else None
        if following and following.type in SCALARS and not _in_list(valid, number):
            yield valid.edited("comma between options", end, end, ",", end)


def _in_list(valid: Valid, number: int) -> bool:
    """Whether a piece stands in a list or a dictionary, or closes one."""
    around = [opener for opener, closer in valid.pairs.items() if opener < number <= closer]
    return bool(around) and valid.pieces[max(around)].type not in BLOCKS


def _of_brackets(valid: Valid) -> Iterator[Fault]:
    for number, partner in valid.pairs.items():
        piece, other = valid.pieces[number], valid.pieces[partner]
        if piece.type in OPENERS:
            before = valid.pieces[number - 1]
            yield valid.edited(f"missing {piece.text}", piece.start, piece.end, "", before.start, piece.start)
        else:
            yield valid.edited(f"missing {piece.text}", piece.start, piece.end, "", other.start)
            for wrong in MISTYPED[piece.type]:
                yield valid.edited("wrong closing bracket", piece.start, piece.end, wrong, piece.start)


def _of_strings(valid: Valid) -> Iterator[Fault]:
    for piece in valid.pieces:
        if piece.type in STRINGS:
            yield valid.edited("unterminated string", piece.end - 1, piece.end, "", piece.start)
            if piece.type != "MULTI_LINE" and len(piece.text) > 2:
                quotes = "“”" if piece.text[0] == '"' else "‘’"
                curly = f"{quotes[0]}{piece.text[1:-1]}{quotes[1]}"
                yield valid.edited("curly quotes", piece.start, piece.end, curly, piece.start)


def _stray_braces(valid: Valid) -> Iterator[Fault]:
    """A brace on a line of its own, indented like the line below, or behind the value at the end of a line.

    Of two equal lines nobody can tell which one is too many.
    """
    text = valid.source.text
    for number, piece in enumerate(valid.pieces):
        start = text.rfind("\n", 0, piece.start) + 1
        indent = text[start : piece.start]
        if piece.first and number and piece.type not in OPENERS and not indent.strip() and not _in_list(valid, number):
            fault = valid.edited("stray closing brace", start, start, f"{indent}}}\n", start)
            line = valid.source.position(start)[0]
            yield replace(fault, lines=frozenset({line, line + (piece.type == "RBRACE")}))
    for number, _, last in valid.values():
        end = valid.pieces[last].end
        if text[end : end + 1] in ("\n", "\r") and not _in_list(valid, number):
            yield valid.edited("stray closing brace", end, end, " }", end)


Judge = Callable[[str], list[Diagnostic]]


def judge_of(path: Path) -> Judge:
    """How a file is judged: as lint does if all its names are known here, by its syntax alone otherwise."""
    if load(path).diagnostics:
        return lambda text: parse_stanzas(Source("x.conf", text))[1]

    def judge(text: str) -> list[Diagnostic]:
        return load(path, lambda p: text.encode() if p == path else read_regular(p)).diagnostics

    return judge


@dataclass(slots=True)
class Figures:
    """How many faults of each kind there were, and those that were not one diagnostic on the right line."""

    all: Counter[str]
    missed: list[tuple[Path, Fault, list[Diagnostic]]]

    def of(self, kind: str) -> float:
        return 1 - sum(fault.kind == kind for _, fault, _ in self.missed) / self.all[kind]

    @property
    def overall(self) -> float:
        return 1 - len(self.missed) / self.all.total()

    def lines(self) -> Iterator[str]:
        for kind in sorted(self.all):
            yield f"{kind:<26} {self.all[kind]:>5} faults {self.of(kind):>7.1%}"
        yield f"{'overall':<26} {self.all.total():>5} faults {self.overall:>7.1%}"


def measure(paths: list[Path]) -> Figures:
    figures = Figures(Counter(), [])
    for path in paths:
        judge = judge_of(path)
        for fault in faults(Valid.of(path.read_bytes().decode())):
            figures.all[fault.kind] += 1
            said = judge(fault.text)
            if len(said) != 1 or said[0].place()[0] not in fault.lines:
                figures.missed.append((path, fault, said))
    return figures


if __name__ == "__main__":
    measured = measure(FILES)
    for where, fault, found in measured.missed:
        print(f"{fault.kind} in line {sorted(fault.lines)} of {where.name}: {[d.brief() for d in found]}")
    print(*measured.lines(), sep="\n")
