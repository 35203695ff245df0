"""The pages of `explain`: one file per code, with a wrong and a right example that the tests run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import CODES

_EXAMPLE = re.compile(r"^```(\w+) (wrong|right)( escaped)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Example:
    r"""`kind`: `conf`, `cmd`, `yaml`, or `console` for what only a running appliance can refuse,
    `machine` for what differs from a machine on which all is well.

    `text` is the example as the page shows it. `escaped`: `\xNN` in it stands for a byte that a page cannot hold.
    """

    kind: str
    right: bool
    text: str
    escaped: bool = False

    @property
    def data(self) -> bytes:
        """What a user's file would hold."""
        data = self.text.encode()
        return _ESCAPE.sub(lambda match: bytes.fromhex(match.group(1).decode()), data) if self.escaped else data


def page(code: str) -> str:
    """The page of a code, as it is printed."""
    return f"{code}: {CODES[code]}\n\n{_text(code)}"


def examples(code: str) -> list[Example]:
    """The examples on the page of a code."""
    found = _EXAMPLE.findall(_text(code))
    return [Example(kind, which == "right", text, bool(escaped)) for kind, which, escaped, text in found]


def _text(code: str) -> str:
    return (Path(__file__).parent / f"{code}.md").read_text(encoding="utf-8")
