"""What changed between two generations of the stanza files, as a unified diff. Law: its time is bounded, for it is asked live."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

# Beyond this many lines the smallest difference would take too long to find; all that differs is shown as one change.
MOST_LINES = 20_000


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Lines of a unified diff, file by file; both map paths to texts."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
        if old == new and (path in before) == (path in after):
            continue
        names = (path if path in before else "/dev/null", path if path in after else "/dev/null")
        if len(old) + len(new) > MOST_LINES:
            lines = _as_one_change(old, new, *names)
        else:
            lines = difflib.unified_diff(old, new, *names, lineterm="")
        for line in lines:
            yield f"{line}\n"


def _as_one_change(old: Sequence[str], new: Sequence[str], name: str, new_name: str) -> Iterator[str]:
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    removed, added = old[head : len(old) - tail], new[head : len(new) - tail]
    yield f"--- {name}"
    yield f"+++ {new_name}"
    yield f"@@ -{head + 1},{len(removed)} +{head + 1},{len(added)} @@"
    yield from (f"-{line}" for line in removed)
    yield from (f"+{line}" for line in added)
