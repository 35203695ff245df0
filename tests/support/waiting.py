"""Waiting for a condition. Rule: no test sleeps; it waits for what it needs, with one generous deadline.

A deadline only ends a test that would hang. Where promptness is the promise, a test compares instants that the
appliance recorded.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TypeVar

# On an idle machine nothing takes 10 s. Beside six busy loops on two cores everything takes ten times as long.
PATIENCE_SECONDS = 120.0

Value = TypeVar("Value")


def eventually(
    condition: Callable[[], Value | None], what: str = "the condition", seconds: float = PATIENCE_SECONDS
) -> Value:
    """The first true value of the condition; raises AssertionError when none comes before the deadline."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        if value := condition():
            return value
        # Less often after a fifth of a second: some conditions start a process, which took half of a processor.
        select.select([], [], [], min(max(0.01, waited / 20), 0.1))
    raise AssertionError(f"{what} did not come true within {seconds:g} seconds")
