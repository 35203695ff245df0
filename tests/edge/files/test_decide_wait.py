"""How long contents in doubt wait, counted from the first look that found them so."""

from __future__ import annotations

from schedappliance.edge.files.watcher import Decision, Unsettled, decide_wait
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.model.unfinished import Doubt

SHORT = Doubt(2000, "it is short")
FOR_EVER = Doubt(None, "it is open", "close it")


def test_contents_wait_until_their_patience_ends() -> None:
    first = decide_wait(None, "a", SHORT, 100)
    assert first == Decision(Unsettled("a", 100, "it is short"), check_at=2100)
    second = decide_wait(first.unsettled, "a", SHORT, 2099)
    assert second == first
    assert decide_wait(second.unsettled, "a", SHORT, 2100).is_over


def test_other_contents_restart_the_wait() -> None:
    before = decide_wait(None, "a", SHORT, 100).unsettled
    assert decide_wait(before, "b", SHORT, 2100) == Decision(Unsettled("b", 2100, "it is short"), check_at=4100)


def test_files_that_never_hold_still_are_one_content() -> None:
    before = decide_wait(None, None, SHORT, 100).unsettled
    assert decide_wait(before, None, SHORT, 2100).is_over


def test_another_reason_does_not_prolong_the_wait() -> None:
    before = decide_wait(None, "a", FOR_EVER, 100).unsettled
    assert decide_wait(before, "a", SHORT, 2100).is_over


def test_contents_that_wait_without_end_are_warned_about_once() -> None:
    first = decide_wait(None, "a", FOR_EVER, 0)
    assert first == Decision(Unsettled("a", 0, "it is open"))
    assert decide_wait(first.unsettled, "a", FOR_EVER, AUDIT_MS - 1).warning is None
    late = decide_wait(first.unsettled, "a", FOR_EVER, AUDIT_MS)
    assert late.warning == "it is open: close it"
    assert not late.is_over
    assert decide_wait(late.unsettled, "a", FOR_EVER, 9 * AUDIT_MS) == Decision(late.unsettled)
