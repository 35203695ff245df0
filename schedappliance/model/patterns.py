"""The regular expressions of a stanza file, and doubts about them: patterns that match nothing, or too much.

Rule: a search takes time linear in the text, whatever the pattern is, so it can never stop the deciding thread. The
syntax is that of RE2. A doubt is reported only if it is certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import re2

from schedappliance.diagnostics import Diagnostic, Source, shortened

if TYPE_CHECKING:
    from schedappliance.syntax.tree import Scalar

# RE2 rejects a nesting of more than 1,000 levels. The checks take a few stack frames for each level.
_MAX_DEPTH = 50
# Option names hold no `=`, and the canonical line has none after the name.
_EQUALS = re.compile(r'config set (?!(?:program|job) ?=)(?:(?:program|job) [^\s"]+ |sched )?[\w-]+ ?=')


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression; equal to another one with the same text."""

    text: str
    _compiled: Any = field(compare=False, repr=False)

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        return self._compiled.fullmatch(text) is not None

    def is_in(self, text: str) -> bool:
        """Whether the pattern matches somewhere in the text."""
        return self._compiled.search(text) is not None


def compile_pattern(text: str) -> Pattern:
    """Raises ValueError with the reason for a text that is not a pattern."""
    options = re2.Options()
    # RE2 would print the reason to the standard error too.
    options.log_errors = False
    try:
        return Pattern(text, re2.compile(text, options))
    except re2.error as error:
        (reason,) = error.args
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


def role_doubts(
    source: Source, items: Sequence[Scalar], patterns: Sequence[Pattern], verbs: Sequence[str]
) -> Iterator[Diagnostic]:
    """The first doubt about each pattern of a role; `items` are the strings that hold the patterns.

    A pattern is searched in the canonical lines of commands, which begin with one of the `verbs`.
    """
    for item, pattern in zip(items, patterns, strict=True):
        tree = parse(pattern.text)
        if tree and (doubt := _mistaken_role(tree, pattern, verbs)):
            code, message, remedy = doubt
            yield Diagnostic(code, f"`{shortened(item.value)}` {message}", remedy, source, item.span)


# The tree of a pattern. RE2 shows none; this parser reads only what the doubts need.


class Character(NamedTuple):
    """An expression for one character: a literal, an escape, a class or a dot. `flags`: the letters of its flags."""

    text: str
    flags: str

    def accepted(self) -> frozenset[str]:
        """The characters that the expression matches, among Latin-1 and the characters in the expression itself."""
        return _accepted(self.text, self.flags)


class Assertion(NamedTuple):
    """An anchor or a word boundary, as written."""

    text: str


class Repetition(NamedTuple):
    """An item that may follow itself."""

    item: Item


class Group(NamedTuple):
    """One or more alternatives."""

    branches: tuple[Items, ...]


Item = Character | Assertion | Repetition | Group
Items = tuple[Item, ...]

_TOKEN = re.compile(
    r"""
      (?P<flags> \(\?(?P<all_on>[imsU]*)(?:-(?P<all_off>[imsU]+))?\) )
    | (?P<opening> \(\?P?<\w+> | \(\?(?P<on>[imsU]*)(?:-(?P<off>[imsU]+))?: | \((?!\?) )
    | (?P<unknown> \(\? )
    | (?P<closing> \) )
    | (?P<choice> \| )
    | (?P<repeat> (?: [*+?] | \{[0-9]+(?:,[0-9]*)?\} )\?? )
    | (?P<assertion> [\^$] | \\[AbBz] )
    | \\Q(?P<literal> (?: (?!\\E). )* )(?:\\E)?
    | (?P<character>
        \[ \^? \]? (?: \[:\^?\w+:\] | \\. | [^\]\\] )* \]
      | \\(?: x\{[^}]*\} | x.{2} | [pP]\{[^}]*\} | [pP]. | [0-7]{1,3} | . )
      | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def parse(text: str) -> Group | None:
    """The tree of a pattern; None if it is nested too deeply, or uses syntax that this parser does not know."""
    position = 0
    # The open groups: the flags at this place, its finished alternatives, and the items of the present one.
    opened: list[tuple[str, list[Items], list[Item]]] = [("", [], [])]
    while position < len(text):
        flags, branches, items = opened[-1]
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup == "unknown" or len(opened) > _MAX_DEPTH:
            return None
        position = token.end()
        if token["flags"] is not None:
            opened[-1] = (_changed(flags, token["all_on"], token["all_off"]), branches, items)
        elif token["opening"] is not None:
            opened.append((_changed(flags, token["on"], token["off"]), [], []))
        elif token["closing"] is not None:
            opened.pop()
            opened[-1][-1].append(Group((*branches, tuple(items))))
        elif token["choice"] is not None:
            branches.append(tuple(items))
            items.clear()
        elif token["repeat"] is not None:
            items.append(Repetition(items.pop()))
        elif token["assertion"] is not None:
            items.append(Assertion(token.group()))
        elif token["literal"] is not None:
            items += [Character(re2.escape(character), flags) for character in token["literal"]]
        else:
            items.append(Character(token.group(), flags))
    _, branches, items = opened[0]
    return Group((*branches, tuple(items)))


def _changed(flags: str, on: str | None, off: str | None) -> str:
    """The flags after `(?i-s)` or inside a group such as `(?i-s:`. Only `i` and `s` change what a character matches."""
    return "".join(sorted(({*flags, *(on or "")} - {*(off or "")}) & {"i", "s"}))


@lru_cache(maxsize=1024)
def _accepted(text: str, flags: str) -> frozenset[str]:
    expression = compile_pattern(f"(?{flags}){text}" if flags else text)
    return frozenset(character for character in {*map(chr, range(256)), *text} if expression.matches(character))


def _inner(item: Item) -> tuple[Items, ...]:
    """The sequences inside an item."""
    if isinstance(item, Repetition):
        return ((item.item,),)
    return item.branches if isinstance(item, Group) else ()


def _flat(items: Items) -> Iterator[Item]:
    """The items of a sequence, with those of groups that have no choice."""
    for item in items:
        if isinstance(item, Group) and len(item.branches) == 1:
            yield from _flat(item.branches[0])
        else:
            yield item


# Patterns of roles


def _mistaken_role(tree: Group, pattern: Pattern, verbs: Sequence[str]) -> tuple[str, str, str] | None:
    """Code, message and remedy for a pattern that matches no canonical line, or more lines than intended."""
    is_bound = _is_bound(tree)
    if not _has_dot(tree) and all(map(pattern.is_in, verbs)):
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
    if not isinstance(item, Group):
        return False
    return all(any(map(_is_bound, list(_flat(branch))[:1])) for branch in item.branches)


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
