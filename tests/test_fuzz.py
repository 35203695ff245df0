"""A bounded fuzz run, and tests that fuzzing detects failures."""

from __future__ import annotations

import pytest

from schedappliance.diagnostics import Diagnostic, Source
from tests import fuzz

COUNT = 1500


def test_no_random_or_mutated_input_breaks_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    tally = fuzz.run(seed=1, count=COUNT, seconds=None, max_seconds=None)
    with capsys.disabled():
        print(f"\n{fuzz.figures(tally)}")
    assert tally.failures == []
    assert tally.inputs.total() == COUNT and set(tally.inputs) == set(fuzz.KINDS)
    assert len(tally.codes) > 20 and tally.clean > 0


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second, other = (fuzz.run(seed, 80, None, None) for seed in (7, 7, 8))
    assert first.codes == second.codes != other.codes


def test_a_reader_that_raises_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(kind: str, data: bytes) -> list[Diagnostic]:
        raise ValueError(kind, data)

    monkeypatch.setattr(fuzz, "check", broken)
    tally = fuzz.run(1, 4, None, None)
    assert len(tally.failures) == 4 and "ValueError" in tally.failures[0][2]


def test_a_diagnostic_without_a_remedy_is_a_failure() -> None:
    with pytest.raises(AssertionError):
        fuzz._check_forms([Diagnostic("E101", "a cause", "", Source("x", ""))])
