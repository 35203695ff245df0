"""A start parses the command of each declared job once: twice took 6 s for 20,000 jobs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from schedappliance.model import commands
from schedappliance.syntax.command import CommandTree, parse_command
from tests.support import core
from tests.support.core import STANZAS, Appliance

JOBS = 500
DECLARED = "".join(f'job "j{n}" {{ every = 60 command = "config set a {n}" }}\n' for n in range(JOBS))


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each line was parsed."""
    counts = Counter[str]()

    def counted(line: str) -> CommandTree:
        counts[line] += 1
        return parse_command(line)

    monkeypatch.setattr(commands, "parse_command", counted)
    return counts


def restarted(path: Path, stanzas: str, counts: Counter[str]) -> Appliance:
    """An appliance that has started with other files than the last time, or the same."""
    appliance = Appliance(path, STANZAS + DECLARED)
    core.judged.cache_clear()
    counts.clear()
    appliance.restart(stanzas=stanzas)
    return appliance


@pytest.mark.parametrize("more", ["", 'job "new" { every = 60 command = "pid" }\n'])
def test_a_start_parses_each_declared_command_once(tmp_path: Path, counts: Counter[str], more: str) -> None:
    appliance = restarted(tmp_path / "sched.db", STANZAS + DECLARED + more, counts)
    assert appliance.store.jobs.count() == JOBS + ("new" in more)
    appliance.close()
    declared = {line: number for line, number in counts.items() if line.startswith("config set a ")}
    assert (len(declared), set(declared.values())) == (JOBS, {1})


def test_a_first_start_parses_each_declared_command_once(tmp_path: Path, counts: Counter[str]) -> None:
    core.judged.cache_clear()
    Appliance(tmp_path / "sched.db", STANZAS + DECLARED).close()
    assert set(counts.values()) == {1} and counts.total() == JOBS
