"""The tree of a stanza file. Rule: every node is immutable and knows its place in the text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from schedappliance.diagnostics import Span


@dataclass(frozen=True, slots=True)
class Scalar:
    """A word or a string. `raw` is the text as written between its quotes."""

    value: str
    span: Span
    quote: str = ""
    raw: str = ""

    @property
    def missing(self) -> bool:
        """Whether the file has no such word: error recovery has inserted it."""
        return not self.value and not self.quote

    def shifted(self, by: int) -> Scalar:
        return replace(self, span=self.span.shifted(by))

    def inner(self, span: Span) -> Span:
        """The place in the file of a part of `value`, so that a caret can point into a string."""
        return Span(self._offset(span.start), max(self._offset(span.start) + 1, self._offset(span.end)))

    def _offset(self, index: int) -> int:
        start = self.span.start + len(self.quote)
        if self.quote != '"' or "\\" not in self.raw:
            return start + index
        position = 0
        for _ in range(index):
            position += 2 if self.raw[position : position + 2] in ('\\"', "\\\\") else 1
        return start + position


@dataclass(frozen=True, slots=True)
class ListValue:
    items: tuple[Scalar, ...]
    span: Span

    def shifted(self, by: int) -> ListValue:
        return ListValue(tuple(item.shifted(by) for item in self.items), self.span.shifted(by))


@dataclass(frozen=True, slots=True)
class Entry:
    key: Scalar
    value: Scalar | ListValue

    def shifted(self, by: int) -> Entry:
        return Entry(self.key.shifted(by), self.value.shifted(by))


@dataclass(frozen=True, slots=True)
class Dictionary:
    entries: tuple[Entry, ...]
    span: Span

    def shifted(self, by: int) -> Dictionary:
        return Dictionary(tuple(entry.shifted(by) for entry in self.entries), self.span.shifted(by))


Value = Scalar | ListValue | Dictionary


@dataclass(frozen=True, slots=True)
class Option:
    key: Scalar
    value: Value

    @property
    def span(self) -> Span:
        return Span(self.key.span.start, self.value.span.end)


@dataclass(frozen=True, slots=True)
class Include:
    keyword: Scalar
    path: Scalar


@dataclass(frozen=True, slots=True)
class Stanza:
    """`depth` is the number of nested levels of stanzas, including this one."""

    key: Scalar
    name: Scalar | None
    body: tuple[Statement, ...]
    span: Span
    depth: int

    @property
    def head(self) -> Span:
        """The place of key and name, at which a diagnostic about the whole stanza points."""
        return Span(self.key.span.start, (self.name or self.key).span.end)


Statement = Include | Stanza | Option
