"""Server-sent events as they are written to a stream.

Rule: an event that many viewers get is made once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any


def event(data: Any, kind: str = "", key: str = "") -> bytes:
    """One event. JSON has no line ends outside of escapes."""
    head = "".join(f"{name}: {value}\n" for name, value in (("event", kind), ("id", key)) if value)
    return f"{head}data: {json.dumps(data)}\n\n".encode()


@dataclass(frozen=True)
class Part:
    """A part of a screen. `key`: the id of its element."""

    key: str
    html: str

    @cached_property
    def event(self) -> bytes:
        """What replaces the part on the page of a viewer."""
        return event({"id": self.key, "html": self.html})
