"""Values as text of the stanza language.

Rule: the parser reads the text back as the same value.
"""

from __future__ import annotations

import re

from schedappliance.syntax.tree import Dictionary, Scalar, Value

INDENT = " " * 8

_BARE = re.compile(r"[!$%&*+\-./0-9:?@A-Z\\^_a-z|~]+")


def word(text: str) -> str:
    """A text as a bare word if possible, otherwise quoted."""
    return text if _BARE.fullmatch(text) and "/*" not in text else quoted(text)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(value: Value, indent: str = "") -> str:
    """A value; each item of a list or dictionary has its own line."""
    if isinstance(value, Scalar):
        return word(value.value)
    if isinstance(value, Dictionary):
        lines = [f"{word(entry.key.value)} = {written(entry.value, indent + INDENT)}" for entry in value.entries]
        opening, closing = "[]"
    else:
        lines = [word(item.value) for item in value.items]
        opening, closing = "()"
    if not lines:
        return opening + closing
    return "\n".join([opening, *(f"{indent}{INDENT}{line}" for line in lines), f"{indent}{closing}"])


def as_data(value: Value) -> str | list[str] | dict[str, str | list[str]]:
    """A value as data for JSON."""
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, Dictionary):
        return {entry.key.value: _item(entry.value) for entry in value.entries}
    return [item.value for item in value.items]


def _item(value: Value) -> str | list[str]:
    data = as_data(value)
    assert not isinstance(data, dict), "a dictionary contains no dictionaries"
    return data
