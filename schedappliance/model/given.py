"""Options as they were given in a stanza: what was read, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schedappliance.diagnostics import Source, Span
from schedappliance.model.programs import Account, Use
from schedappliance.model.templates import references
from schedappliance.syntax.tree import Dictionary, ListValue, Scalar, Value


@dataclass(frozen=True, slots=True)
class Given:
    """An option that was read. `parts`: a dictionary may be given in several."""

    value: Any
    source: Source
    span: Span
    node: Any
    parts: tuple[tuple[Source, Value], ...]


def uses(given: dict[str, Given]) -> Iterator[Use]:
    """The options that a program names, each at its own place in a string."""
    for name in ("argv", "env"):
        for source, value in given[name].parts if name in given else ():
            for text in _texts(value):
                for option, span in references(text.value):
                    yield Use(option, source, text.inner(span))


def accounts(given: dict[str, Given]) -> Iterator[Account]:
    """The users and groups that a program or a role names."""
    for kind in ("user", "group"):
        if kind in given:
            yield Account(kind, given[kind].value, given[kind].source, given[kind].node.span)
        for item in given[f"{kind}s"].node.items if f"{kind}s" in given else ():
            yield Account(kind, item.value, given[f"{kind}s"].source, item.span)


def _texts(value: Value) -> Iterator[Scalar]:
    if isinstance(value, ListValue):
        yield from value.items
    elif isinstance(value, Dictionary):
        yield from (entry.value for entry in value.entries if isinstance(entry.value, Scalar))


def executable(argv: Given | None) -> tuple[Source, Span] | None:
    return (argv.source, argv.node.items[0].span) if argv else None
