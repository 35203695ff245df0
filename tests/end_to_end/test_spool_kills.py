"""Twenty kills at boundaries and at random instants, and two thousand files whose events are lost. Runs by hand do more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.end_to_end.spool_flood import flood
from tests.end_to_end.spool_kills import BOUNDARIES, SpoolKills, kill_again_and_again

FILES = 2_000


def test_twenty_kills_lose_no_file_and_repeat_none(tmp_path: Path) -> None:
    where = kill_again_and_again(tmp_path, 20, seed=random.SystemRandom().getrandbits(32))
    assert sum(where.values()) == 20
    assert where.keys() & set(BOUNDARIES), "some kills hit a boundary"


def test_files_whose_events_were_lost_are_all_taken_once(tmp_path: Path) -> None:
    seen = flood(tmp_path, FILES)
    print(seen)
    assert seen.answers > 0


@pytest.fixture
def killed(tmp_path: Path) -> SpoolKills:
    """An appliance that has done all its files."""
    appliance = SpoolKills(tmp_path, seed=7)
    try:
        appliance.begin()
        appliance.drop()
        appliance.rest()
    finally:
        appliance.daemon.kill()
        appliance.daemon.end()
    assert appliance.broken(at_rest=True) == []
    return appliance


def test_every_broken_promise_is_detected(killed: SpoolKills) -> None:
    done = sorted((killed.spool / "done").glob("*.result"))[0]
    text = done.read_text()
    done.unlink()
    assert [what for what in killed.broken(at_rest=True) if "has no result" in what]
    (killed.spool / "failed" / done.name).write_text(text)
    assert [what for what in killed.broken() if "no row" in what]
    done.write_text(text)
    assert [what for what in killed.broken() if "two results" in what]
    killed.daemon.change(
        "INSERT INTO jobs (kind, next_run_ms, command, parsed, grammar, uid, user, origin, created_ms, program)"
        " SELECT kind, next_run_ms, command, parsed, grammar, uid, user, origin, created_ms, program FROM jobs LIMIT 1"
    )
    assert [what for what in killed.broken() if "done 2 times" in what]
    killed.daemon.change("DELETE FROM jobs", "DELETE FROM drops")
    assert {what.split()[-1] for what in killed.broken(at_rest=True)} >= {"lost", "done"}
