"""Doubts about the regular expressions of a stanza file: patterns that match nothing, too much, or too slowly.

Rule: a doubt is reported only if it is certain. A pattern that is nested too deeply gets none.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, shortened
from schedappliance.syntax.tree import Scalar

# A repetition with this maximum or more is as slow as an unlimited one.
_MANY = 25
# Python itself fails at about 200 levels. The checks take a few stack frames for each level.
_MAX_DEPTH = 50
# Option names hold no `=`, and the canonical line has none after the name.
_EQUALS = re.compile(r'config set (?!(?:program|job) ?=)(?:(?:program|job) [^\s"]+ |sched )?[\w-]+ ?=')


def pattern_doubts(
    source: Source, items: Sequence[Scalar], patterns: Sequence[re.Pattern[str]], verbs: Sequence[str]
) -> Iterator[Diagnostic]:
    """The first doubt about each pattern; `items` are the strings that hold the patterns.

    A pattern is searched in the canonical lines of commands, which begin with one of the `verbs`; without verbs, it must
    match a whole argument.
    """
    for item, pattern in zip(items, patterns, strict=True):
        tree = parse(pattern)
        doubt = tree and (
            _slowness(tree, searched=bool(verbs)) or (_mistaken_role(tree, pattern, verbs) if verbs else None)
        )
        if doubt:
            code, message, remedy = doubt
            yield Diagnostic(code, f"`{shortened(item.value)}` {message}", remedy, source, item.span)


# The tree of a pattern. Python's own parser is private to `re`; this one reads only what the doubts need.


class Character(NamedTuple):
    """An expression for one character: a literal, an escape, a class or a dot."""

    text: str
    flags: int

    def accepted(self) -> frozenset[str]:
        """The characters that the expression matches, among Latin-1 and the characters in the expression itself."""
        return _accepted(self.text, self.flags)


class Assertion(NamedTuple):
    """An anchor or a word boundary, as written."""

    text: str


class Reference(NamedTuple):
    """A reference to the text of an earlier group, as written."""

    text: str


class Repetition(NamedTuple):
    """An item that may follow itself. `possessive`: it never tries fewer when the rest of the pattern fails."""

    item: Item
    least: int
    most: float
    possessive: bool


class Group(NamedTuple):
    """One or more alternatives. `opening` is how the group begins: `(`, `(?:`, `(?P<name>`, `(?=`, `(?>`, ..."""

    opening: str
    branches: tuple[Items, ...]

    @property
    def looks_around(self) -> bool:
        return self.opening in ("(?=", "(?!", "(?<=", "(?<!")

    @property
    def is_plain(self) -> bool:
        """Whether the group is only its alternatives, without a condition, a look-around or an atomic group."""
        return not self.looks_around and self.opening != "(?>" and not self.opening.startswith("(?(")


Item = Character | Assertion | Reference | Repetition | Group
Items = tuple[Item, ...]

_TOKEN = re.compile(
    r"""
      (?P<ignored> \(\?\# [^)]* \) | \(\?[aimsux]+\) )
    | (?P<reference> \(\?P=\w+\) | \\(?!0|[0-3][0-7]{2})[0-9]{1,2} )
    | (?P<opening> \(\?[=!>] | \(\?<[=!] | \(\?P<\w+> | \(\?\(\w+\) | \(\?(?P<on>[aimsux]*)(?:-(?P<off>[imsx]+))?: | \((?!\?) )
    | (?P<unknown> \(\? )
    | (?P<closing> \) )
    | (?P<choice> \| )
    | (?P<repeat> (?: [*+?] | \{(?=[0-9,])(?P<least>[0-9]*)(?P<comma>,?)(?P<most>[0-9]*)\} )(?P<manner>[?+]?) )
    | (?P<assertion> [\^$] | \\[AbBzZ] )
    | (?P<character>
        \[ \^? \]? (?: \\. | [^\]\\] )* \]
      | \\(?: x.{2} | u.{4} | U.{8} | N\{[^}]*\} | 0[0-7]{0,2} | [0-3][0-7]{2} | . )
      | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_VERBOSE_BLANK = re.compile(r"(?:\s|#[^\n]*)+")
_FLAGS = {"a": re.ASCII, "i": re.IGNORECASE, "s": re.DOTALL, "x": re.VERBOSE}
_LIMITS = {"*": (0, float("inf")), "+": (1, float("inf")), "?": (0, 1.0)}


def parse(pattern: re.Pattern[str]) -> Group | None:
    """The tree of a pattern; None if it is nested too deeply, or uses syntax that this parser does not know."""
    text, position = pattern.pattern, 0
    # The open groups: how each begins, its flags, its finished alternatives, and the items of the present one.
    opened: list[tuple[str, int, list[Items], list[Item]]] = [("(?:", pattern.flags, [], [])]
    while position < len(text):
        opening, flags, branches, items = opened[-1]
        if flags & re.VERBOSE and (blank := _VERBOSE_BLANK.match(text, position)):
            position = blank.end()
            continue
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup == "unknown" or len(opened) > _MAX_DEPTH:
            return None
        position = token.end()
        if token.lastgroup == "opening":
            opened.append((token.group(), _changed(flags, token["on"], token["off"]), [], []))
        elif token.lastgroup == "closing":
            opened.pop()
            opened[-1][-1].append(Group(opening, (*branches, tuple(items))))
        elif token.lastgroup == "choice":
            branches.append(tuple(items))
            items.clear()
        elif token.lastgroup == "repeat":
            items.append(_repetition(items.pop(), token))
        elif token.lastgroup == "reference":
            items.append(Reference(token.group()))
        elif token.lastgroup == "assertion":
            items.append(Assertion(token.group()))
        elif token.lastgroup == "character":
            items.append(Character(token.group(), flags & (re.ASCII | re.DOTALL | re.IGNORECASE)))
    opening, _, branches, items = opened[0]
    return Group(opening, (*branches, tuple(items)))


def _changed(flags: int, on: str | None, off: str | None) -> int:
    """The flags inside a group such as `(?i-s:`."""
    for letter in on or "":
        flags |= _FLAGS.get(letter, 0)
    for letter in off or "":
        flags &= ~_FLAGS.get(letter, 0)
    return flags


def _repetition(item: Item, token: re.Match[str]) -> Repetition:
    least, comma, most, manner = token.group("least", "comma", "most", "manner")
    if comma is None:
        low, high = _LIMITS[token.group()[0]]
    else:
        low, high = int(least or 0), float(most or "inf") if comma else int(least)
    return Repetition(item, low, high, possessive=manner == "+")


@lru_cache(maxsize=1024)
def _accepted(text: str, flags: int) -> frozenset[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accepts = re.compile(text, flags).fullmatch
    return frozenset(character for character in {*map(chr, range(256)), *text} if accepts(character))


def _inner(item: Item) -> tuple[Items, ...]:
    """The sequences inside an item."""
    if isinstance(item, Repetition):
        return ((item.item,),)
    return item.branches if isinstance(item, Group) else ()


def _flat(items: Items) -> Iterator[Item]:
    """The items of a sequence, with those of plain groups that have no choice."""
    for item in items:
        if isinstance(item, Group) and item.is_plain and len(item.branches) == 1:
            yield from _flat(item.branches[0])
        else:
            yield item


def _alternatives(items: Items) -> Iterator[Items]:
    """The sequences that may stand for a sequence that is a single group."""
    if len(items) == 1 and isinstance(items[0], Group) and items[0].is_plain:
        for branch in items[0].branches:
            yield from _alternatives(branch)
    else:
        yield items


# Patterns of roles


def _mistaken_role(tree: Group, pattern: re.Pattern[str], verbs: Sequence[str]) -> tuple[str, str, str] | None:
    """Code, message and remedy for a pattern that matches no canonical line, or more lines than intended."""
    is_bound = _is_bound(tree)
    if not _has_dot(tree) and all(pattern.search(verb) for verb in verbs):
        return "W412", "matches every command", "write `.` to allow every command"
    if reason := _why_never(tree, is_bound, verbs):
        remedy = "`schedappliance explain W411` describes the canonical lines that patterns are searched in"
        return "W411", f"matches no command: {reason}", remedy
    if not is_bound and not all(map(_begins_with_dot, tree.branches)):
        remedy = "begin it with `^`, or with `.*` to match anywhere"
        return "W412", "may match anywhere in a line, even in an argument", remedy
    return None


def _has_dot(item: Item) -> bool:
    if isinstance(item, Character):
        return item.text == "."
    return any(_has_dot(inner) for sequence in _inner(item) for inner in sequence)


def _begins_with_dot(items: Items) -> bool:
    """Whether a pattern begins with `.` or `.*`, which shows that it is meant to match anywhere."""
    item = next(_flat(items), None)
    if isinstance(item, Repetition):
        return _begins_with_dot((item.item,))
    return isinstance(item, Character) and item.text == "."


def _is_bound(item: Item) -> bool:
    """Whether the item matches at the beginning of a line only."""
    if isinstance(item, Assertion):
        return item.text in ("^", r"\A")
    if not isinstance(item, Group) or item.opening in ("(?!", "(?<!"):
        return False
    return all(any(map(_is_bound, _beginning(branch))) for branch in item.branches)


def _beginning(items: Items) -> Iterator[Item]:
    """The items of a sequence up to the first that matches characters."""
    for item in _flat(items):
        yield item
        if not (isinstance(item, Group) and item.looks_around):
            return


def _why_never(tree: Group, is_bound: bool, verbs: Sequence[str]) -> str:
    """The reason why no canonical line begins like one of the alternatives; empty if a line may."""
    reasons = [_why_unknown(_literal_beginning(branch, is_bound), is_bound, verbs) for branch in tree.branches]
    return reasons[0] if all(reasons) else ""


def _literal_beginning(items: Items, is_bound: bool) -> str | None:
    """The characters with which every match begins; None if they are not known."""
    flat = list(_flat(items))
    if is_bound and not (flat and isinstance(flat[0], Assertion)):
        return None
    text = ""
    for item in flat[1:] if is_bound else flat:
        if not isinstance(item, Character) or len(accepted := item.accepted()) != 1:
            break
        text += next(iter(accepted))
    return text


def _why_unknown(beginning: str | None, is_bound: bool, verbs: Sequence[str]) -> str:
    """The reason why no canonical line begins with these characters; empty if a line may."""
    if beginning is None:
        return ""
    first, blank, _ = beginning.partition(" ")
    if not is_bound and not (blank and any(verb.split(" ")[0] == first.lower() for verb in [*verbs, "json"])):
        # It may be meant to match in the middle of a line.
        return ""
    if first.lower() == "json" and blank:
        return "canonical lines have no `json`"
    if '"' not in beginning and ("  " in beginning or "\t" in beginning):
        return "canonical lines have single blanks between words"
    if _EQUALS.match(beginning):
        return "canonical lines have no `=` after an option"
    if any(verb.startswith(beginning) or f"{beginning} ".startswith(f"{verb} ") for verb in verbs):
        return ""
    if any(f"{beginning} ".lower().startswith(f"{verb} ") for verb in verbs):
        return "canonical lines have commands in lower case"
    return f"no canonical line begins with `{shortened(beginning)}`"


# Slow patterns


def _slowness(tree: Group, searched: bool) -> tuple[str, str, str] | None:
    """Code, message and remedy for a pattern that repeats a repetition."""
    if not _is_slow((tree,), rest_may_fail=not searched):
        return None
    remedy = "end the repeated part with a character that the inner repetition does not match, as in `([a-z]+,)*`"
    return "W413", "may take exponential time: it repeats a repetition", remedy


def _is_slow(items: Items, rest_may_fail: bool) -> bool:
    """Whether repetitions can divide a text in exponentially many ways. If the rest fails, all of them are tried."""
    for number, item in enumerate(items):
        may_fail = rest_may_fail or number + 1 < len(items)
        is_many = _is_many(item)
        if (isinstance(item, Repetition) and item.possessive) or (isinstance(item, Group) and item.opening == "(?>"):
            continue
        if is_many and may_fail and any(map(_divides, _alternatives(*_inner(item)))):
            return True
        if any(_is_slow(sequence, may_fail or is_many) for sequence in _inner(item)):
            return True
    return False


def _is_many(item: Item) -> bool:
    return isinstance(item, Repetition) and item.most >= _MANY and not item.possessive


def _divides(items: Items) -> bool:
    """Whether a repetition and every other item that cannot be empty match common characters."""
    flat = list(_flat(items))
    for number, item in enumerate(flat):
        if isinstance(item, Repetition) and _is_many(item) and (own := _characters((item.item,))):
            others = flat[:number] + flat[number + 1 :]
            if all(_may_be_empty(other) or _characters((other,)) & own for other in others):
                return True
    return False


def _may_be_empty(item: Item) -> bool:
    return isinstance(item, Repetition) and item.least == 0


def _characters(items: Items) -> frozenset[str]:
    """The characters of a sequence that matches one or many of a set of characters; empty for any other sequence."""
    if len(items) != 1:
        return frozenset()
    item = items[0]
    if isinstance(item, Character):
        return item.accepted()
    if _is_many(item) or (isinstance(item, Group) and item.is_plain):
        sets = [_characters(sequence) for sequence in _inner(item)]
        return frozenset().union(*sets) if all(sets) else frozenset()
    return frozenset()
