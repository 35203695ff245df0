"""Unified diffs of generations: they are true, and their cost is bounded."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.commands import differences as module
from schedappliance.commands.differences import differences

LINES = st.lists(st.sampled_from(["a", "b", "}", "x = 1", *"0123456789"]), max_size=40)


def patched(old: list[str], diff: list[str]) -> list[str]:
    """The lines that a unified diff makes of the old ones; every line that it shows is where it says."""
    new: list[str] = []
    at = 0
    for line in diff[2:]:
        if head := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            start, start_new = (int(head[k]) - (head[k + 1] != "0") for k in (1, 3))
            assert start >= at
            new += old[at:start]
            at = start
            assert len(new) == start_new
            continue
        if line[0] in " -":
            assert old[at] == line[1:]
            at += 1
        if line[0] in " +":
            new.append(line[1:])
    return [*new, *old[at:]]


@pytest.mark.parametrize(("compared", "anchored"), [(200, 20_000), (0, 20_000), (0, 0)])
@given(old=LINES, new=LINES)
def test_a_diff_leads_from_the_old_lines_to_the_new_ones(
    compared: int, anchored: int, old: list[str], new: list[str]
) -> None:
    with patch.multiple(module, MOST_COMPARED=compared, MOST_ANCHORED=anchored):
        diff = "".join(differences({"a": "\n".join(old)}, {"a": "\n".join(new)})).splitlines()
    assert patched(old, diff) == new


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


def stanzas(number: int, edit: int) -> list[str]:
    return [
        line
        for k in range(number)
        for line in (
            f'job "job-{k}" {{',
            "  enabled = yes",
            f"  every = {edit}d",
            f'  command = "run p {k} {edit}"',
            "}",
        )
    ]


def shuffled(lines: list[str]) -> list[str]:
    return random.Random(1).sample(lines, len(lines))


EDITS: dict[str, Callable[[list[str]], list[str]]] = {
    "every stanza": lambda _: stanzas(600, 2),
    "all lines in another order": shuffled,
    "all lines in the reverse order": lambda lines: lines[::-1],
    "no line with a name": lambda lines: [line.split(" ")[0] for line in lines],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_difflib_compares_no_long_texts(edit: Callable[[list[str]], list[str]]) -> None:
    """Its time grows with the square of the number of lines at least: 5,000 changed lines took seconds."""
    old = stanzas(600, 1)
    new = edit(old)
    compare = difflib.SequenceMatcher.find_longest_match
    with patch.object(difflib.SequenceMatcher, "find_longest_match", autospec=True, side_effect=compare) as compared:
        diff = "".join(differences({"a": "\n".join(old)}, {"a": "\n".join(new)})).splitlines()
    assert compared.call_count == 0
    assert patched(old, diff) == new


def test_a_changed_line_of_each_stanza_is_a_change_of_its_own() -> None:
    old, new = stanzas(600, 1), stanzas(600, 2)
    diff = [line[:-1] for line in differences({"a": "\n".join(old)}, {"a": "\n".join(new)})]
    assert sum(line[0] == "-" for line in diff[2:]) == sum(line[0] == "+" for line in diff[2:]) == 2 * 600


def test_changes_far_apart_are_hunks_of_their_own() -> None:
    old = stanzas(600, 1)
    new = ["# new", *old[:-1], "# last", "}"]
    assert [line[:-1] for line in differences({"a": "\n".join(old)}, {"a": "\n".join(new)}) if line[0] != " "] == [
        "--- a",
        "+++ a",
        "@@ -1,3 +1,4 @@",
        "+# new",
        "@@ -2997,4 +2998,5 @@",
        "+# last",
    ]


def test_very_long_files_are_compared_quickly() -> None:
    old = "".join(f"line {number % 7}\n" for number in range(20_000))
    lines = list(differences({"a": old}, {"a": old.replace("line 3", "line three")}))
    assert lines[0] == "--- a\n"
    assert sum(line.startswith("+line three") for line in lines) == 20_000 // 7
