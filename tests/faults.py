"""Valid stanza files with one typical fault each, and the lines where it may be reported.

`python -m tests.faults` prints figures for each kind of fault, and the faults without one diagnostic on their line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.model.files import read_regular
from schedappliance.model.loading import load
from schedappliance.syntax.recovery.lexer import CLOSERS, OPENERS, STRINGS, Lexeme, scan
from schedappliance.syntax.stanza import _parser, parse_stanzas

FOLDER = Path(__file__).parent / "files"
FILES = sorted(FOLDER.glob("*.conf"))
BLOCKS = ("LBRACE", "LANGLE")
SCALARS = ("WORD", *STRINGS)
# Wrong characters that are typed in place of each closing bracket.
MISTYPED = {"RPAR": "]}", "RSQB": ")}", "RBRACE": ")>", "RANGLE": "})"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A text with one fault, and the lines where the fault may be reported."""

    kind: str
    text: str
    lines: frozenset[int]


@dataclass(frozen=True, slots=True)
class Valid:
    """A valid file as lexemes. `pairs` maps the number of each bracket to that of its partner."""

    source: Source
    lexemes: list[Lexeme]
    pairs: dict[int, int]

    @staticmethod
    def of(text: str) -> Valid:
        source = Source("x.conf", text)
        lexemes, junk = scan(source, _parser())
        assert not junk and not parse_stanzas(source)[1], "the file is not valid"
        pairs: dict[int, int] = {}
        opened: list[int] = []
        for number, lexeme in enumerate(lexemes):
            if lexeme.type in OPENERS:
                opened.append(number)
            elif lexeme.type in CLOSERS:
                pairs[number] = opened.pop()
                pairs[pairs[number]] = number
        return Valid(source, lexemes, pairs)

    def values(self) -> Iterator[tuple[int, int, int]]:
        """Yields the number of each `=` before a value, and those of the first and last lexeme of the value."""
        for number, lexeme in enumerate(self.lexemes[:-1]):
            first = number + 1
            if lexeme.type == "EQUALS" and self.lexemes[first].type not in BLOCKS:
                yield number, first, self.pairs.get(first, first)

    def edited(self, kind: str, start: int, end: int, text: str, *places: int) -> Fault:
        """The fault that replaces a stretch of the text. The lines of the offsets `places` may report it."""
        whole = self.source.text
        lines = frozenset(self.source.position(place)[0] for place in places)
        return Fault(kind, whole[:start] + text + whole[end:], lines)


def faults(valid: Valid) -> Iterator[Fault]:
    """Every single fault of every kind."""
    yield from _of_options(valid)
    yield from _of_brackets(valid)
    yield from _of_strings(valid)
    yield from _stray_braces(valid)


def sample(valid: Valid, step: int) -> Iterator[Fault]:
    """Of the faults of each kind, the first five and then every `step`-th one."""
    seen = Counter[str]()
    for fault in faults(valid):
        if seen[fault.kind] < 5 or seen[fault.kind] % step == 0:
            yield fault
        seen[fault.kind] += 1


def _of_options(valid: Valid) -> Iterator[Fault]:
    for number, first, last in valid.values():
        name, sign = valid.lexemes[number - 1], valid.lexemes[number]
        opening, end = valid.lexemes[first], valid.lexemes[last].end
        if opening.type != "LSQB":
            yield valid.edited("missing =", sign.start, sign.end, " ", name.start, sign.start)
        yield valid.edited("missing value", opening.start, end, "", name.start, sign.start)
        yield valid.edited("missing name", name.start, name.end, "", sign.start)
        yield valid.edited("doubled =", sign.start, sign.end, "= =", sign.start)
        yield valid.edited("semicolon after a value", end, end, ";", end)
        if opening.type in SCALARS:
            yield valid.edited("two words as value", end, end, " more", end)
        following = valid.lexemes[last + 1] if last + 1 < len(valid.lexemes) else None
        if following and following.type in SCALARS and not _in_list(valid, number):
            yield valid.edited("comma between options", end, end, ",", end)


def _in_list(valid: Valid, number: int) -> bool:
    """Whether a lexeme is in a list or a dictionary, or closes one."""
    around = [opener for opener, closer in valid.pairs.items() if opener < number <= closer]
    return bool(around) and valid.lexemes[max(around)].type not in BLOCKS


def _of_brackets(valid: Valid) -> Iterator[Fault]:
    for number, partner in valid.pairs.items():
        lexeme, other = valid.lexemes[number], valid.lexemes[partner]
        if lexeme.type in OPENERS:
            before = valid.lexemes[number - 1]
            yield valid.edited(f"missing {lexeme.text}", lexeme.start, lexeme.end, "", before.start, lexeme.start)
        else:
            yield valid.edited(f"missing {lexeme.text}", lexeme.start, lexeme.end, "", other.start)
            for wrong in MISTYPED[lexeme.type]:
                yield valid.edited("wrong closing bracket", lexeme.start, lexeme.end, wrong, lexeme.start)


def _of_strings(valid: Valid) -> Iterator[Fault]:
    for lexeme in valid.lexemes:
        if lexeme.type in STRINGS:
            yield valid.edited("unterminated string", lexeme.end - 1, lexeme.end, "", lexeme.start)
            if lexeme.type != "MULTI_LINE" and len(lexeme.text) > 2:
                quotes = "“”" if lexeme.text[0] == '"' else "‘’"
                curly = f"{quotes[0]}{lexeme.text[1:-1]}{quotes[1]}"
                yield valid.edited("curly quotes", lexeme.start, lexeme.end, curly, lexeme.start)


def _stray_braces(valid: Valid) -> Iterator[Fault]:
    """A brace on a line of its own, indented like the line below, or behind the value at the end of a line.

    Of two equal lines, either may be reported.
    """
    text = valid.source.text
    for number, lexeme in enumerate(valid.lexemes):
        start = text.rfind("\n", 0, lexeme.start) + 1
        indent = text[start : lexeme.start]
        if (
            lexeme.first
            and number
            and lexeme.type not in OPENERS
            and not indent.strip()
            and not _in_list(valid, number)
        ):
            fault = valid.edited("stray closing brace", start, start, f"{indent}}}\n", start)
            line = valid.source.position(start)[0]
            yield replace(fault, lines=frozenset({line, line + (lexeme.type == "RBRACE")}))
    for number, _, last in valid.values():
        end = valid.lexemes[last].end
        if text[end : end + 1] in ("\n", "\r") and not _in_list(valid, number):
            yield valid.edited("stray closing brace", end, end, " }", end)


Judge = Callable[[str], list[Diagnostic]]


def judge_of(path: Path) -> Judge:
    """The function that checks a file: as lint does if all its names are declared, otherwise by syntax alone."""
    if load(path).diagnostics:
        return lambda text: parse_stanzas(Source("x.conf", text))[1]

    def judge(text: str) -> list[Diagnostic]:
        return load(path, lambda p: text.encode() if p == path else read_regular(p)).diagnostics

    return judge


@dataclass(slots=True)
class Figures:
    """The number of faults of each kind, and the faults that did not give one diagnostic on the right line."""

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


def measure(paths: list[Path], step: int = 1) -> Figures:
    """The figures of the faults that `sample` gives."""
    figures = Figures(Counter(), [])
    for path in paths:
        judge = judge_of(path)
        for fault in sample(Valid.of(path.read_bytes().decode()), step):
            figures.all[fault.kind] += 1
            diagnostics = judge(fault.text)
            if len(diagnostics) != 1 or diagnostics[0].place()[0] not in fault.lines:
                figures.missed.append((path, fault, diagnostics))
    return figures


if __name__ == "__main__":
    measured = measure(FILES)
    for where, fault, diagnostics in measured.missed:
        print(f"{fault.kind} in line {sorted(fault.lines)} of {where.name}: {[d.brief() for d in diagnostics]}")
    print(*measured.lines(), sep="\n")
