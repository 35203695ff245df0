"""Unified diffs of generations. Very long files are shown as one change."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from schedappliance.commands import config
from schedappliance.commands.config import differences

LINES = st.lists(st.sampled_from(["a", "b", "}", "x = 1"]), max_size=12)


@given(LINES, LINES)
def test_single_hunk_leads_from_the_old_lines_to_the_new_ones(old: list[str], new: list[str]) -> None:
    lines = list(config._single_hunk(old, new, "a", "b"))
    removed, added = [x[1:] for x in lines[3:] if x[0] == "-"], [x[1:] for x in lines[3:] if x[0] == "+"]
    match = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", lines[2])
    assert match
    head = int(match[1]) - 1
    assert old[head : head + len(removed)] == removed
    assert [*old[:head], *added, *old[head + len(removed) :]] == new


def test_added_and_removed_files_are_named() -> None:
    text = "".join(differences({"a": "1\n", "b": "2\n"}, {"a": "1\n", "c": "3\n"}))
    assert text.splitlines() == [
        "--- b",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-2",
        "--- /dev/null",
        "+++ c",
        "@@ -0,0 +1 @@",
        "+3",
    ]


def test_equal_files_have_no_differences() -> None:
    assert list(differences({"a": "1"}, {"a": "1"})) == []


def test_very_long_files_are_compared_quickly() -> None:
    old = "".join(f"line {number % 7}\n" for number in range(20_000))
    lines = list(differences({"a": old}, {"a": old.replace("line 3", "line three")}))
    assert lines[0] == "--- a\n"
    assert sum(line.startswith("+line three") for line in lines) == 20_000 // 7
