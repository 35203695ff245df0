"""The table of docs/performance.md, made from a full run: `python -m benchmarks.markdown FIGURES.json PERFORMANCE.md`.

Rule: a figure that falls short appears like one that holds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import shown

BEGIN, END = "<!-- made by benchmarks.markdown -->\n", "<!-- end -->\n"


def table(data: dict[str, Any]) -> str:
    """A row for each figure that is wanted."""
    head = f"{data['machine']}; {_syncs(data)} `fdatasync` a second.\n\n"
    lines = ["| workload | figure | measured | wanted | |", "|---|---|---|---|---|"]
    for workload in data["workloads"].values():
        lines += _rows(workload)
    return head + "\n".join(lines) + "\n"


def _rows(workload: dict[str, Any]) -> Iterator[str]:
    title = workload["title"]
    for check in workload["checks"]:
        bound = "at least" if check["at_least"] else "at most"
        verdict = "" if check["holds"] else "short"
        measured, wanted = (f"{shown(check[which])} {check['unit']}" for which in ("measured", "wanted"))
        yield f"| {title} | {check['what']} | {measured} | {bound} {wanted} | {verdict} |"
        title = ""


def _syncs(data: dict[str, Any]) -> str:
    rates = sorted(rate for workload in data["workloads"].values() for rate in workload["fdatasync_per_second"])
    return f"{rates[0]:,.0f} to {rates[-1]:,.0f}"


def replaced(text: str, data: dict[str, Any]) -> str:
    """The text with its table replaced."""
    return re.sub(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: table(data), text, flags=re.DOTALL)


def main() -> None:
    figures, page = map(Path, sys.argv[1:])
    page.write_text(replaced(page.read_text(), json.loads(figures.read_text())))


if __name__ == "__main__":
    main()
