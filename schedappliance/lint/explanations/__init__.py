"""The pages of `explain`, one for each code.

Rule: every page has a wrong and a right example, and the tests check that they are wrong and right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import CODES

_EXAMPLE = re.compile(r"^```(\w+) (wrong|right)( escaped)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Example:
    r"""One example of a page.

    `kind`: the language `conf`, `cmd` or `yaml`; `console` for lines that a running appliance answers; `machine` for
    a fact about a machine that has no other problem; `sh` for a command line of `when`. `text`: the example as the page
    shows it. `escaped`: whether `\xNN` in it stands for a byte, because the page itself is UTF-8.
    """

    kind: str
    right: bool
    text: str
    escaped: bool = False

    @property
    def data(self) -> bytes:
        """The content of the file that the example stands for."""
        data = self.text.encode()
        return _ESCAPE.sub(lambda match: bytes.fromhex(match.group(1).decode()), data) if self.escaped else data


def page(code: str) -> str:
    """The page of a code, as it is printed."""
    return f"{code}: {CODES[code]}\n\n{_page(code)}"


def examples(code: str) -> list[Example]:
    """The examples on the page of a code."""
    fences = _EXAMPLE.findall(_page(code))
    return [Example(kind, which == "right", text, bool(escaped)) for kind, which, escaped, text in fences]


def _page(code: str) -> str:
    return (Path(__file__).parent / f"{code}.md").read_text(encoding="utf-8")
