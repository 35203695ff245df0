"""The parts of a screen that change, and the bytes that bring them to an open page.

Rule: the bytes that many viewers get are made once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any


def event(data: Any, kind: str = "", key: str = "") -> bytes:
    """One event. JSON has no line ends outside of escapes."""
    head = "".join(f"{name}: {value}\n" for name, value in (("event", kind), ("id", key)) if value)
    return f"{head}data: {json.dumps(data)}\n\n".encode()


# A row of a table that keeps its place among others by its id. Rows have no tables inside.
_ROW = re.compile(r'<tr id="([^"]*)">.*?</tr>', re.DOTALL)


@dataclass(frozen=True)
class Part:
    """A part of a screen. `key`: the id of its element."""

    key: str
    html: str

    @cached_property
    def _events(self) -> dict[str, bytes]:
        return {}

    def event_after(self, sent: str) -> bytes:
        """What replaces the part on the page of a viewer, which has `sent` of it. Rows that are the same come empty."""
        if sent not in self._events:
            rows = {match[0] for match in _ROW.finditer(sent)}
            html = _ROW.sub(lambda row: f'<tr id="{row[1]}" data-same></tr>' if row[0] in rows else row[0], self.html)
            self._events[sent] = event({"id": self.key, "html": html})
        return self._events[sent]
