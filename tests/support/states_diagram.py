"""The diagram of a run's states in docs/architecture.md, made from the table of moves.

`python -m tests.support.states_diagram` writes it again. Read the difference before you commit it.
"""

from __future__ import annotations

import re
from pathlib import Path

from schedappliance.engine.states import BEGINNINGS, TRANSITIONS, RunState

PAGE = Path(__file__).parent.parent.parent / "docs" / "architecture.md"
BLOCK = re.compile(r"^```mermaid\n(stateDiagram-v2\n.*?)^```$", re.MULTILINE | re.DOTALL)


def diagram() -> str:
    """Mermaid: the first states, the moves and the last states, in the order of the states."""
    arrows = [f"[*] --> {state}" for state in RunState if state in BEGINNINGS]
    arrows += [f"{old} --> {new}" for old in RunState for new in RunState if new in TRANSITIONS.get(old, ())]
    arrows += [f"{state} --> [*]" for state in RunState if state not in TRANSITIONS]
    return "".join(["stateDiagram-v2\n", *(f"    {arrow}\n" for arrow in arrows)])


def documented(text: str) -> str:
    """The one diagram in a text."""
    (diagram,) = BLOCK.findall(text)
    return str(diagram)


def with_diagram(text: str) -> str:
    return text.replace(documented(text), diagram())


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text()))
