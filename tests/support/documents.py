"""The documents and their parts: blocks, examples with their output, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent.parent
README = CHECKOUT / "README.md"
DOCS = CHECKOUT / "docs"
DOCUMENTS = (README, *sorted(DOCS.glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Example(NamedTuple):
    """A command as the reader types it, and what the document shows below it."""

    command: str
    output: str


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in their order; `` for those without one."""
    return [body for name, body in _BLOCK.findall(text) if name == language]


def shell_functions() -> str:
    """The functions `drop` and `answer` of docs/spool.md."""
    (functions,) = [block for block in blocks((DOCS / "spool.md").read_text(), "sh") if "mktemp" in block]
    return functions


def prose(text: str) -> str:
    """The text without its blocks."""
    return _BLOCK.sub("", text)


def examples(text: str) -> Iterator[Example]:
    """The commands of the console blocks, in their order."""
    for block in blocks(text, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Example(command, output)


def links(text: str) -> list[str]:
    """The targets of the links and pictures."""
    return _LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The headings as a forge turns them into anchors."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pattern(output: str) -> re.Pattern[str]:
    """What a document shows, with times, generated names, the user and the directory left open."""
    return re.compile("".join(map(_line_pattern, output.splitlines(keepends=True))))


# What varies from run to run: its form after `re.escape`, and the pattern that replaces it.
_VARYING = (
    (r"…", r".*"),
    (r"\b1[0-9]{9}\b", r"[0-9]{10}"),
    (r"\b1[0-9]{12}\b", r"[0-9]{13}"),
    (
        r"\b20\d\d\\-\d\d\\-\d\dT\d\d:\d\d:\d\d(\\\.\d{3}\\\+00:00)?",
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}[+-]\d\d:\d\d)?",
    ),
    (r"\b[0-9a-f]{12}\b", r"[0-9a-f]{12}"),
    (r"/home/alice/(schedappliance/)?", r"/(?:.*/)?"),
    (r"\balice\b", r"[\w.@-]+"),
    # A job may be due at this instant.
    (r"Programs\\ running:\\ \\ 0", r"Programs running:  [0-9]"),
)


def _line_pattern(line: str) -> str:
    if line == "…\n":
        return "(?:.*\n)*"
    text = re.escape(line)
    for shown, meant in _VARYING:
        text = re.sub(shown, lambda _, meant=meant: meant, text)  # type: ignore[misc]  # mypy knows no such default
    return text
