"""Each form of command as one pattern, made from the grammar's own rules and terminals: a line is read in a tenth of the time.

Law: what a pattern takes the parser takes too, with the same words. It reads, and judges, all that no pattern takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lark import Lark

_HEAD = re.compile(r"[ \t]*([^ \t]+)[ \t]*([^ \t]*)")
_REPEATED = re.compile("__.*_plus_[0-9]+")
_KEYWORD = 2


class Level(NamedTuple):
    """One command without the one inside it: its form, where its words stand, and where the inner one begins."""

    form: str
    words: list[tuple[int, int]]
    rest: int | None


class _Atom(NamedTuple):
    """A terminal in a rule, once or again and again."""

    name: str
    repeated: bool


_Rule = tuple[str, tuple[_Atom, ...]]


class _Shape(NamedTuple):
    """`groups`: what the groups of the pattern hold, in their order."""

    form: str
    pattern: re.Pattern[str]
    groups: tuple[_Atom, ...]


class Shapes:
    """The forms by the one or two keywords with which they begin."""

    def __init__(self, parser: Lark) -> None:
        self._terminals = {terminal.name: terminal for terminal in parser.terminals}
        self._word = re.compile(self._regexp("WORD"))
        self._known: dict[tuple[str, ...], list[_Shape]] = {}
        rules = list(_rules(parser))
        for rule in rules:
            self._known.setdefault(self._keywords(rule), []).append(self._shape(rule, rules))

    def read(self, text: str, offset: int) -> Level | None:
        """The command that begins there; None when no form takes it as it stands."""
        head = _HEAD.match(text, offset)
        if head is None:
            return None
        one, two = head.groups()
        one = one.lower()
        for shape in self._known.get((one, two.lower())) or self._known.get((one,), []):
            if found := shape.pattern.fullmatch(text, offset):
                return self._level(shape, found)
        return None

    def _level(self, shape: _Shape, found: re.Match[str]) -> Level:
        words: list[tuple[int, int]] = []
        rest = None
        for number, atom in enumerate(shape.groups, 1):
            start, end = found.span(number)
            if atom.name == "REST":
                rest = start
            elif atom.repeated:
                words += [word.span() for word in self._word.finditer(found.string, start, end)]
            else:
                words.append((start, end))
        return Level(shape.form, words, rest)

    def _keywords(self, rule: _Rule) -> tuple[str, ...]:
        """Of `sched in WORD REST` the first two words, of `run WORD+` the first."""
        names = []
        for atom in rule[1][:2]:
            if self._terminals[atom.name].priority != _KEYWORD:
                break
            names.append(atom.name.lower())
        return tuple(names)

    def _shape(self, rule: _Rule, rules: list[_Rule]) -> _Shape:
        """As the lexer does it: blanks go before any terminal, and what a terminal has taken it does not give back."""
        form, atoms = rule
        blank = f"(?:{self._regexp('BLANK')})?+"
        parts, groups = [], []
        for place, atom in enumerate(atoms):
            one = f"(?>{self._regexp(atom.name)})"
            text = f"{one}(?:{blank}{one})*+" if atom.repeated else one
            if atom.name in ("WORD", "REST"):
                groups.append(atom)
                text = f"({text})"
            parts += [blank, *self._before(rule, place, rules), text]
        return _Shape(form, re.compile("".join([*parts, blank])), tuple(groups))

    def _before(self, rule: _Rule, place: int, rules: list[_Rule]) -> Iterator[str]:
        """Where another rule that began alike has a terminal of higher priority, that one is taken if it is there."""
        atoms = rule[1]
        others = {a[place].name for _, a in rules if len(a) > place and a[:place] == atoms[:place]}
        own = self._terminals[atoms[place].name].priority
        for name in sorted(others - {atoms[place].name}):
            if self._terminals[name].priority > own:
                yield f"(?!{self._regexp(name)})"

    def _regexp(self, name: str) -> str:
        return self._terminals[name].pattern.to_regexp()


def _rules(parser: Lark) -> Iterator[_Rule]:
    """The forms, each with every way to write it; what Lark makes of `WORD+` becomes a repeated terminal again."""
    repeated: dict[str, str] = {}
    for rule in parser.rules:
        if _REPEATED.fullmatch(rule.origin.name):
            repeated[rule.origin.name] = rule.expansion[-1].name
    for rule in parser.rules:
        names = [symbol.name for symbol in rule.expansion]
        if rule.origin.name == "start" or rule.origin.name in repeated:
            continue
        yield str(rule.origin.name), tuple(_Atom(repeated.get(name, name), name in repeated) for name in names)
