"""Who looks at the page. Rule: the appliance decides what a viewer may do; this is only a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Viewer:
    """A user of the machine. `uid`: None if only the name is known. `way`: how the viewer is known."""

    name: str
    uid: int | None
    way: Literal["socket", "proxy", "link", "token"]
