"""How long contents in doubt wait, counted from the first look that found them so."""

from __future__ import annotations

from schedappliance.edge.files.watcher import Delay, Unsettled, delay
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.model.unfinished import Doubt

SHORT = Doubt(2000, "it is short")
FOR_EVER = Doubt(None, "it is open", "close it")


def test_contents_wait_until_their_patience_ends() -> None:
    first = delay(None, "a", SHORT, 100)
    assert first == Delay(Unsettled("a", 100, "it is short"), look_at=2100)
    second = delay(first.unsettled, "a", SHORT, 2099)
    assert second == first
    assert delay(second.unsettled, "a", SHORT, 2100).is_over


def test_other_contents_restart_the_wait() -> None:
    before = delay(None, "a", SHORT, 100).unsettled
    assert delay(before, "b", SHORT, 2100) == Delay(Unsettled("b", 2100, "it is short"), look_at=4100)


def test_files_that_never_hold_still_are_one_content() -> None:
    before = delay(None, None, SHORT, 100).unsettled
    assert delay(before, None, SHORT, 2100).is_over


def test_another_reason_does_not_prolong_the_wait() -> None:
    before = delay(None, "a", FOR_EVER, 100).unsettled
    assert delay(before, "a", SHORT, 2100).is_over


def test_contents_that_wait_without_end_are_warned_about_once() -> None:
    first = delay(None, "a", FOR_EVER, 0)
    assert first == Delay(Unsettled("a", 0, "it is open"))
    assert delay(first.unsettled, "a", FOR_EVER, AUDIT_MS - 1).warning is None
    late = delay(first.unsettled, "a", FOR_EVER, AUDIT_MS)
    assert late.warning == "it is open: close it"
    assert not late.is_over
    assert delay(late.unsettled, "a", FOR_EVER, 9 * AUDIT_MS) == Delay(late.unsettled)
