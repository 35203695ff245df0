"""When another attempt follows, and after which delay: doubled, capped, with a jitter that depends on a seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schedappliance.diagnostics import Source, Span
from schedappliance.engine.attempts import JITTER, LONGEST_DELAY_MS, delay_ms, is_tried_again
from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Program

HOUR = 3_600_000
ONCE = Program(
    name="p",
    argv=("/bin/true",),
    args=(),
    timeout_ms=None,
    kill_after_ms=10_000,
    env=(),
    cwd="/",
    output_limit=0,
    source=Source("sched.conf", ""),
    span=Span(0, 0),
)
TWICE = replace(ONCE, retries=2)
RERUN = replace(ONCE, on_interrupt="rerun")
SEEDS = [f"store/example.com-{number:09d}/1/1" for number in range(200)]
NEVER_AGAIN = set(RunState) - {RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED}


@pytest.mark.parametrize("how", [RunState.FAILED, RunState.TIMED_OUT])
@pytest.mark.parametrize(
    ("program", "failures", "again"),
    [(ONCE, 1, False), (TWICE, 1, True), (TWICE, 2, True), (TWICE, 3, False), (RERUN, 1, False)],
)
def test_a_failure_is_retried_as_often_as_its_program_allows(
    program: Program, failures: int, how: RunState, again: bool
) -> None:
    assert is_tried_again(program, how, failures) is again


@pytest.mark.parametrize("how", sorted(NEVER_AGAIN))
def test_only_a_failure_is_retried(how: RunState) -> None:
    assert not is_tried_again(replace(TWICE, on_interrupt="rerun"), how, 1)


@pytest.mark.parametrize("failures", [1, 2, 100])
@pytest.mark.parametrize(("program", "again"), [(ONCE, False), (TWICE, False), (RERUN, True)])
def test_an_interruption_is_rerun_only_if_on_interrupt_says_so(program: Program, failures: int, again: bool) -> None:
    assert is_tried_again(program, RunState.INTERRUPTED, failures) is again


@pytest.mark.parametrize(
    ("first", "failures", "least"),
    [
        (10_000, 1, 10_000),
        (10_000, 2, 20_000),
        (10_000, 3, 40_000),
        (10_000, 9, 2_560_000),
        (10_000, 10, HOUR),
        (10_000, 1000, HOUR),
        (1, 40, HOUR),
        (0, 5, 0),
        (2 * HOUR, 1, 2 * HOUR),
        (2 * HOUR, 7, 2 * HOUR),
    ],
)
@pytest.mark.parametrize("how", [RunState.FAILED, RunState.TIMED_OUT])
def test_the_delay_doubles_up_to_an_hour_and_up_to_a_tenth_is_added(
    first: int, failures: int, least: int, how: RunState
) -> None:
    program = replace(ONCE, retry_delay_ms=first)
    delays = [delay_ms(program, how, failures, seed) for seed in SEEDS]
    assert least <= min(delays) <= max(delays) <= least + least // 10
    assert (LONGEST_DELAY_MS, JITTER) == (HOUR, 0.1)


def test_the_jitter_is_spread_over_its_whole_width() -> None:
    jitters = [delay_ms(ONCE, RunState.FAILED, 1, seed) - 10_000 for seed in SEEDS]
    assert len(set(jitters)) > 100
    assert min(jitters) < 100 and max(jitters) > 900


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_one_seed_gives_one_delay(seed: str) -> None:
    assert len({delay_ms(TWICE, RunState.FAILED, 2, seed) for _ in range(5)}) == 1


def test_an_interrupted_run_does_not_wait() -> None:
    assert delay_ms(RERUN, RunState.INTERRUPTED, 3, "seed") == 0
