"""The unified diff that `config diff` shows.

Rule: its time grows with the number of lines, not with its square. The daemon answers no other command meanwhile.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

# difflib finds the smallest changes, but its time can grow with the cube of the number of lines. It compares at most so
# many lines of both texts together.
MOST_COMPARED = 200
# Among more lines than these, everything from the first to the last line that differs is one change.
MOST_ANCHORED = 20_000

Lines = Sequence[str]


class Block(NamedTuple):
    """Lines that two texts share: their places in the old and in the new text, and their number."""

    old: int
    new: int
    size: int


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """The lines of a unified diff, file by file; both map paths to texts."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
        if old == new and (path in before) == (path in after):
            continue
        yield f"--- {path if path in before else '/dev/null'}\n"
        yield f"+++ {path if path in after else '/dev/null'}\n"
        for group in _Matcher(old, new).get_grouped_opcodes():
            yield from _hunk(old, new, group)


class _Matcher(difflib.SequenceMatcher[str]):
    """Groups changes as difflib does, but finds the equal lines in a time that is bounded."""

    def __init__(self, old: Lines, new: Lines) -> None:
        # The index that difflib makes of the whole texts is not needed.
        super().__init__(None, (), ())
        self.a, self.b = old, new

    def get_matching_blocks(self) -> list[difflib.Match]:
        joined = [difflib.Match(0, 0, 0)]
        for block in filter(itemgetter(2), equal_lines(self.a, self.b)):
            last = joined[-1]
            if block[:2] == (last.a + last.size, last.b + last.size):
                joined[-1] = last._replace(size=last.size + block.size)
            else:
                joined.append(difflib.Match(*block))
        return [*joined, difflib.Match(len(self.a), len(self.b), 0)]


def equal_lines(old: Lines, new: Lines) -> list[Block]:
    """The lines that two texts share, in ascending order in both. All others count as removed or added."""
    head = _alike(old, new)
    old_rest, new_rest = old[head:], new[head:]
    tail = _alike(old_rest[::-1], new_rest[::-1])
    old_middle, new_middle = old_rest[: len(old_rest) - tail], new_rest[: len(new_rest) - tail]
    number = len(old_middle) + len(new_middle)
    inner: Iterable[tuple[int, int, int]] = ()
    if number <= MOST_COMPARED:
        inner = difflib.SequenceMatcher(None, old_middle, new_middle).get_matching_blocks()
    elif number <= MOST_ANCHORED:
        inner = _around(old_middle, new_middle, _anchors(old_middle, new_middle))
    blocks = [Block(head + i, head + j, size) for i, j, size in inner]
    return [Block(0, 0, head), *blocks, Block(len(old) - tail, len(new) - tail, tail)]


def _alike(one: Lines, other: Lines) -> int:
    """How many of the first lines of two texts are equal."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _anchors(old: Lines, new: Lines) -> list[tuple[int, int]]:
    """The lines that each text contains once, by their places, without those that have moved: most of them are in order."""
    often, often_new = Counter(old), Counter(new)
    place = {line: j for j, line in enumerate(new) if often_new[line] == often[line] == 1}
    pairs = [(i, place[line]) for i, line in enumerate(old) if line in place]

    # The longest sequence whose places ascend. `ends[n]`: the last pair of the best sequence of n + 1 pairs; `least[n]`: its
    # place in the new text.
    ends: list[tuple[int, int]] = []
    least: list[int] = []
    previous: dict[tuple[int, int], tuple[int, int]] = {}
    for pair in pairs:
        n = bisect_left(least, pair[1])
        if n:
            previous[pair] = ends[n - 1]
        ends[n : n + 1], least[n : n + 1] = [pair], [pair[1]]
    sequence = ends[-1:]
    while sequence and sequence[-1] in previous:
        sequence.append(previous[sequence[-1]])
    return sequence[::-1]


def _around(old: Lines, new: Lines, anchors: list[tuple[int, int]]) -> Iterator[Block]:
    """The anchors, with the equal lines directly after and directly before each of them."""
    i = j = 0
    for i_end, j_end in [*anchors, (len(old), len(new))]:
        after = _alike(old[i:i_end], new[j:j_end])
        yield Block(i, j, after)
        i, j = i + after, j + after
        before = _alike(old[i:i_end][::-1], new[j:j_end][::-1])
        yield Block(i_end - before, j_end - before, before + (i_end < len(old)))
        i, j = i_end + 1, j_end + 1


def _hunk(old: Lines, new: Lines, group: list[tuple[str, int, int, int, int]]) -> Iterator[str]:
    (_, i, _, j, _), (_, _, i_end, _, j_end) = group[0], group[-1]
    yield f"@@ -{_range(i, i_end)} +{_range(j, j_end)} @@\n"
    for tag, i, i_end, j, j_end in group:
        if tag == "equal":
            yield from (f" {line}\n" for line in old[i:i_end])
        else:
            yield from (f"-{line}\n" for line in old[i:i_end])
            yield from (f"+{line}\n" for line in new[j:j_end])


def _range(start: int, stop: int) -> str:
    """Lines as the head of a hunk names them: the first line, or the line before an empty range, and their number."""
    length = stop - start
    first = start + 1 if length else start
    return f"{first}" if length == 1 else f"{first},{length}"
