"""Counts how often each file and directory below a path is opened, and can call a function before each opening."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Openings:
    """`counts`: by the path below `place`. `before` is called with the number of all openings before each one."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.counts: Counter[str] = Counter()
        self.before: Callable[[int], None] = lambda _number: None
        for name in ("open", "scandir"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(self.place):
                self.before(self.counts.total())
                self.counts[str(Path(os.fsdecode(path)).relative_to(self.place))] += 1
            return call(path, *arguments, **options)

        return counted
