"""The pages of `explain`: one file per code, with a wrong and a right example that the tests run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import CODES

_EXAMPLE = re.compile(r"^```(\w+) (wrong|right)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """`kind`: `conf`, `cmd`, `yaml`, or `console` for what only a running appliance can refuse."""

    kind: str
    right: bool
    text: str


def page(code: str) -> str:
    """The page of a code, as it is printed."""
    return f"{code}: {CODES[code]}\n\n{_text(code)}"


def examples(code: str) -> list[Example]:
    """The examples on the page of a code."""
    return [Example(kind, which == "right", text) for kind, which, text in _EXAMPLE.findall(_text(code))]


def _text(code: str) -> str:
    return (Path(__file__).parent / f"{code}.md").read_text(encoding="utf-8")
