"""What is doubtful about a pattern, found in it as Python's own parser reads it.

Law: silent where it is not sure; a pattern that is told of is wrong, or can be written better.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from re import _constants as op
from re import _parser
from typing import Any

from schedappliance.diagnostics import Diagnostic, shortened
from schedappliance.model.commands import FORMS
from schedappliance.model.given import Given

Items = list[tuple[Any, Any]]

# So many repetitions are as bad as any number of them.
_MANY = 25
_ALPHABET = [chr(code) for code in range(256)]
_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_VERBS = sorted({form.name for form in FORMS.values() if form.name != "json"})
# The names of options hold no `=`, and the sign between name and value is left out.
_EQUALS = re.compile(r'config set (?!(?:program|job) ?=)(?:(?:program|job) [^\s"]+ |sched )?[\w-]+ ?=')


def pattern_doubts(given: Given | None, searched: bool) -> Iterator[Diagnostic]:
    """`searched`: in canonical lines; else each pattern must match a whole argument."""
    for item, pattern in zip(given.node.items, given.value, strict=True) if given and given.value else ():
        assert given is not None
        try:
            found = list(_doubts(_items(pattern.pattern), pattern, searched))
        except RecursionError:
            # What is nested too deeply to be looked through is not judged.
            continue
        for code, message, help in found:
            yield Diagnostic(code, f"`{shortened(item.value)}` {message}", help, given.source, item.span)


def _doubts(items: Items, pattern: re.Pattern[str], searched: bool) -> Iterator[tuple[str, str, str]]:
    if _is_slow(items, not searched):
        help = "let what is repeated end with a sign that the inner repetition does not take: `([a-z]+,)*`"
        yield "W413", "repeats a repetition: on some lines it may take for ever", help
    elif searched:
        is_bound, is_meant = _is_bound(items), bool(items) and _takes_any(items[0])
        if not _has(items, op.ANY) and all(pattern.search(verb) for verb in _VERBS):
            yield "W412", "is found in every line", "write `.` if everything is meant to be allowed"
        elif why := _never(items, pattern, is_bound):
            yield "W411", f"matches no command: {why}", "see `schedappliance explain W411` for what a canonical line is"
        elif not is_bound and not is_meant:
            help = "begin it with `^`, or with `.*` if that is meant"
            yield "W412", "is found anywhere in a line, also in an argument", help


def _items(pattern: str) -> Items:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(_parser.parse(pattern))


def _inner(item: tuple[Any, Any]) -> list[Items]:
    """The sequences inside an item."""
    kind, value = item
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        return [list(value[2])]
    if kind is op.SUBPATTERN:
        return [list(value[3])]
    if kind is op.BRANCH:
        return [list(branch) for branch in value[1]]
    if kind is op.ATOMIC_GROUP:
        return [list(value)]
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return [list(value[1])]
    return []


def _has(items: Items, kind: Any) -> bool:
    return any(item[0] is kind or any(_has(inner, kind) for inner in _inner(item)) for item in items)


def _is_bound(items: Items) -> bool:
    """Whether it can be found at the beginning only."""
    for kind, value in items:
        if kind is op.AT and value in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return True
        if kind in (op.SUBPATTERN, op.BRANCH, op.ATOMIC_GROUP, op.ASSERT) and all(
            map(_is_bound, _inner((kind, value)))
        ):
            return True
        if kind not in (op.ASSERT, op.ASSERT_NOT):
            return False
    return False


def _takes_any(item: tuple[Any, Any]) -> bool:
    """Whoever begins with `.` wants it to be found anywhere."""
    return item[0] is op.ANY or (item[0] in (op.MAX_REPEAT, op.MIN_REPEAT) and any(map(_takes_any, item[1][2])))


def _never(items: Items, pattern: re.Pattern[str], is_bound: bool) -> str:
    """Why no canonical line begins as the pattern does."""
    if is_bound and items[0][0] is not op.AT:
        return ""
    beginning = ""
    for kind, value in items[1:] if is_bound else items:
        if kind is not op.LITERAL:
            break
        beginning += chr(value)
    if pattern.flags & re.IGNORECASE:
        return ""
    first, blank, _ = beginning.partition(" ")
    if not is_bound and not (blank and any(verb.split(" ")[0] == first.lower() for verb in [*_VERBS, "json"])):
        # It may be meant to be found in the middle.
        return ""
    if first.lower() == "json" and blank:
        return "the canonical line has no `json`"
    if '"' not in beginning and ("  " in beginning or "\t" in beginning):
        return "one blank stands between words"
    if _EQUALS.match(beginning):
        return "the canonical line has no `=` after the name of an option"
    if any(verb.startswith(beginning) or f"{beginning} ".startswith(f"{verb} ") for verb in _VERBS):
        return ""
    if any(f"{beginning} ".lower().startswith(f"{verb} ") for verb in _VERBS):
        return "the words of a command are in lower case"
    return f"none begins with `{shortened(beginning)}`"


def _is_slow(items: Items, followed: bool) -> bool:
    """Whether a text that fits a repeated repetition can be divided in very many ways, all of them tried if the rest fails."""
    for number, item in enumerate(items):
        rest_may_fail = followed or number + 1 < len(items)
        if item[0] in (op.ATOMIC_GROUP, op.POSSESSIVE_REPEAT):
            continue
        inner = _inner(item)
        if _is_many(item) and rest_may_fail and any(_divides(sequence) for sequence in _sequences(inner[0])):
            return True
        if any(_is_slow(sequence, rest_may_fail or _is_many(item)) for sequence in inner):
            return True
    return False


def _is_many(item: tuple[Any, Any]) -> bool:
    return item[0] in (op.MAX_REPEAT, op.MIN_REPEAT) and item[1][1] >= _MANY


def _sequences(items: Items) -> Iterator[Items]:
    """What a sequence that is nothing but a group or a choice may be instead."""
    if len(items) == 1 and items[0][0] in (op.SUBPATTERN, op.BRANCH):
        for inner in _inner(items[0]):
            yield from _sequences(inner)
    else:
        yield items


def _divides(items: Items) -> bool:
    """Whether one repetition in it takes signs that all the rest can take too, or do without."""
    for number, item in enumerate(items):
        if _is_many(item) and (own := _signs(list(item[1][2]))):
            others = items[:number] + items[number + 1 :]
            if all(_may_be_empty(other) or _signs([other]) & own for other in others):
                return True
    return False


def _may_be_empty(item: tuple[Any, Any]) -> bool:
    return item[0] in (op.MAX_REPEAT, op.MIN_REPEAT) and item[1][0] == 0


def _signs(items: Items) -> set[str]:
    """The signs that a sequence of one sign takes; none for what is longer."""
    if len(items) != 1:
        return set()
    (kind, value) = items[0]
    if kind is op.SUBPATTERN:
        return _signs(list(value[3]))
    if _is_many(items[0]):
        return _signs(list(value[2]))
    if kind is op.ANY:
        return set(_ALPHABET) - {"\n"}
    if kind is op.LITERAL:
        return {chr(value)}
    if kind is op.NOT_LITERAL:
        return set(_ALPHABET) - {chr(value)}
    return _class(value) if kind is op.IN else set()


def _class(parts: Items) -> set[str]:
    taken: set[str] = set()
    for kind, value in parts:
        if kind is op.LITERAL:
            taken.add(chr(value))
        elif kind is op.RANGE:
            taken |= {sign for sign in _ALPHABET if value[0] <= ord(sign) <= value[1]}
        elif kind is op.CATEGORY:
            taken |= _category(str(value))
    return set(_ALPHABET) - taken if parts[0][0] is op.NEGATE else taken


def _category(name: str) -> set[str]:
    """The signs of `\\w` and its like; the parser calls them CATEGORY_WORD, CATEGORY_NOT_WORD and so on."""
    last = name.rsplit("_", 1)[1]
    found = {sign for sign in _ALPHABET if re.fullmatch(_CATEGORIES[last], sign)} if last in _CATEGORIES else set()
    return set(_ALPHABET) - found if "_NOT_" in name else found
