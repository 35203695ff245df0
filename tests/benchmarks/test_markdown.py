"""The table of docs/performance.md shows the figures that are stored beside the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.__main__ import WORKLOADS
from benchmarks.markdown import BEGIN, END, replaced, table

ROOT = Path(__file__).resolve().parent.parent.parent
FIGURES = ROOT / "benchmarks" / "figures.json"
DATA = {
    "machine": "a machine",
    "workloads": {
        "one": {
            "title": "work",
            "fdatasync_per_second": [900.0, 1000.0],
            "checks": [
                {"what": "speed", "measured": 2.0, "wanted": 1.0, "unit": "times", "at_least": True, "holds": True},
                {"what": "delay", "measured": 3.0, "wanted": 2.5, "unit": "ms", "at_least": False, "holds": False},
            ],
        }
    },
}


def test_a_missed_target_is_marked() -> None:
    assert table(DATA) == (
        "a machine; 900 to 1,000 `fdatasync` a second.\n\n"
        "| workload | figure | measured | wanted | |\n"
        "|---|---|---|---|---|\n"
        "| work | speed | 2.00 times | at least 1.00 times |  |\n"
        "|  | delay | 3.00 ms | at most 2.50 ms | short |\n"
    )


def test_the_table_stands_between_its_marks() -> None:
    text = f"before\n{BEGIN}old\n{END}after\n"
    assert replaced(text, DATA) == f"before\n{BEGIN}{table(DATA)}{END}after\n"


def test_the_page_shows_the_figures_of_a_full_run() -> None:
    data = json.loads(FIGURES.read_text())
    assert (data["scale"], tuple(data["workloads"])) == ("full", WORKLOADS)
    page = (ROOT / "docs" / "performance.md").read_text()
    assert replaced(page, data) == page and table(data) in page
