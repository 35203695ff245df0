"""Unified diffs of generations; very long files take a shorter way to a coarser one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from schedappliance.model import diff
from schedappliance.model.diff import differences

LINES = st.lists(st.sampled_from(["a", "b", "}", "x = 1"]), max_size=12)


@given(LINES, LINES)
def test_the_short_way_gives_a_diff_too(old: list[str], new: list[str]) -> None:
    lines = list(diff._as_one_change(old, new, "a", "b"))
    removed, added = [x[1:] for x in lines[3:] if x[0] == "-"], [x[1:] for x in lines[3:] if x[0] == "+"]
    match = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", lines[2])
    assert match
    head = int(match[1]) - 1
    assert old[head : head + len(removed)] == removed
    assert [*old[:head], *added, *old[head + len(removed) :]] == new


def test_files_that_came_or_went_are_named() -> None:
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


def test_the_same_files_differ_in_nothing() -> None:
    assert list(differences({"a": "1"}, {"a": "1"})) == []


def test_very_long_files_are_compared_at_once() -> None:
    old = "".join(f"line {number % 7}\n" for number in range(20_000))
    lines = list(differences({"a": old}, {"a": old.replace("line 3", "line three")}))
    assert lines[0] == "--- a\n"
    assert sum(line.startswith("+line three") for line in lines) == 20_000 // 7
