"""Tables and colours for people: aligned by display width, coloured on a terminal, in a pager if they are long.

Rule: nothing of others controls the terminal; a pipe or a file gets no colours.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from schedappliance.client.states import KINDS
from schedappliance.clock import local_text
from schedappliance.visible import visible, width_of, write_as_is

RED, GREEN, YELLOW, FAINT = "31", "32", "33", "2"
_COLOURS_OF_KINDS = {"bad": RED, "warn": YELLOW, "good": GREEN, "live": GREEN, "faint": FAINT}
# The colours of the states of runs and jobs. Other states have none.
COLOURS = {state: _COLOURS_OF_KINDS[kind] for state, kind in KINDS.items()}
GAP = "  "
# A terminal is never larger. COLUMNS and LINES may hold any number, and what fills the width would take that long.
MOST_COLUMNS, MOST_LINES = 1000, 1000


def is_coloured() -> bool:
    """Whether colours are shown: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def screen_size() -> os.terminal_size:
    """The columns and lines of the terminal, or those in COLUMNS and LINES, within limits."""
    size = shutil.get_terminal_size()
    return os.terminal_size((min(size.columns, MOST_COLUMNS), min(size.lines, MOST_LINES)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table. A cell that is the name of a state has its colour; the last column has no end."""
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(head, *cells, strict=True)]
    coloured = is_coloured()
    lines = [_line(head, widths, [FAINT] * len(head) if coloured else None)]
    for row in cells:
        lines.append(_line(row, widths, [COLOURS.get(cell, "") for cell in row] if coloured else None))
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], colours: Sequence[str] | None) -> str:
    parts = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        padding = "" if number == len(cells) - 1 else " " * (width - width_of(cell))
        colour = colours[number] if colours else ""
        parts.append(f"\x1b[{colour}m{cell}\x1b[0m{padding}" if colour and cell else cell + padding)
    return GAP.join(parts).rstrip()


def show(lines: Sequence[str]) -> None:
    """Prints lines, in a pager if stdout is a terminal that they do not fit: $PAGER, or less."""
    text = "".join(f"{line}\n" for line in lines)
    pager = os.environ.get("PAGER", "less") if sys.stdout.isatty() else ""
    if pager and len(lines) >= screen_size().lines and shutil.which(pager.split()[0]):
        import subprocess

        # As git does: quit if it fits one screen, keep colours, leave the text on the screen.
        environment = {"LESS": "FRX", **os.environ}
        subprocess.run(pager, shell=True, input=text.encode(errors="backslashreplace"), env=environment, check=False)
        return
    write_as_is(sys.stdout, text)


def time_text(milliseconds: int | None) -> str:
    """An instant in the zone of this machine, with its offset; empty for None."""
    return "" if milliseconds is None else local_text(milliseconds)
