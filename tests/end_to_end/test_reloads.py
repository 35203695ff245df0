"""Sixty changes of the files of a working appliance."""

from __future__ import annotations

import random
from pathlib import Path

from tests.end_to_end.reloads import JOBS, reload_again_and_again


def test_reloads_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    evidence = reload_again_and_again(tmp_path, 60, seed=random.SystemRandom().getrandbits(32))
    assert len({run.job for run in evidence.runs}) == JOBS
    assert len(evidence.lines) >= JOBS
