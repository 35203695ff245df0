"""Many hints cause one look: a quiet time after the last hint, at most the longest wait after the first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.edge.files.watcher import LONGEST_WAIT_MS, QUIET_MS, QuietWindow


def after(*hints: int) -> QuietWindow:
    window = QuietWindow()
    for hint in hints:
        window = window.hinted(hint)
    return window


@pytest.mark.parametrize(
    ("hints", "due"),
    [
        ((), None),
        ((0,), 200),
        ((1000,), 1200),
        ((1000, 1000), 1200),
        ((1000, 1199), 1399),
        ((1000, 1150, 1300, 1450), 1650),
        ((1000, 2799), 2999),
        ((1000, 2800), 3000),
        ((1000, 2801), 3000),
        ((1000, 9000), 3000),
    ],
)
def test_the_look_is_due_after_a_quiet_time_but_never_after_the_longest_wait(
    hints: tuple[int, ...], due: int | None
) -> None:
    assert after(*hints).due() == due


def test_a_window_is_immutable() -> None:
    window = after(1000)
    assert [window.due(), window.due()] == [1200, 1200]
    assert window.hinted(1100).due() == 1300
    assert window.due() == 1200


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50).map(sorted))
def test_endless_hints_do_not_delay_the_look_for_ever(hints: list[int]) -> None:
    due = after(*hints).due()
    assert due is not None
    assert due <= hints[0] + LONGEST_WAIT_MS
    assert due == hints[-1] + QUIET_MS or due == hints[0] + LONGEST_WAIT_MS
    dues = [after(*hints[: number + 1]).due() or 0 for number in range(len(hints))]
    assert dues == sorted(dues)
