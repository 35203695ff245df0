"""Text of others as a terminal may show it, with escapes for control and other invisible characters.

Rule: a file name, a job or an output never controls the terminal, and never hides a part of itself.
"""

from __future__ import annotations

from typing import Any, TextIO


def visible(text: str, keep: str = "") -> str:
    """The text with invisible characters as escapes such as `\\u{1b}`. The characters in `keep` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else f"\\u{{{ord(c):x}}}" for c in text)


def visible_lines(text: str) -> str:
    """The same for text of many lines, whose tabs stay too."""
    return "\n".join([visible(line, "\t") for line in text.split("\n")])


def width_of(text: str) -> int:
    """How many columns of a terminal visible text takes: East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    # Every subcommand imports this module, and most print no table.
    from unicodedata import category, east_asian_width

    return sum(2 if east_asian_width(one) in "WF" else 1 for one in text if category(one) not in ("Mn", "Me", "Cf"))


def json_text(data: Any) -> str:
    """The data as JSON on one line, with invisible characters as the escapes of JSON."""
    # Every subcommand imports this module, and most need no JSON.
    import json

    text = json.dumps(data, ensure_ascii=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def write_as_is(stream: TextIO, text: str) -> None:
    """Writes text that contains control characters on purpose, and nothing of others that is not visible."""
    getattr(stream, "write_as_is", stream.write)(text)
