"""A crash at every boundary between a file in new/ and its result: its commands happen once, and there is one result."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.clock import SystemClock
from schedappliance.edge.spool.claiming import Claimer
from schedappliance.edge.spool.folders import make_folders
from schedappliance.edge.spool.publishing import Publisher
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.intake import Keep, Rules
from tests.support.core import Appliance, some
from tests.support.random_seeds import random_seeds

FILES = {
    "a.cmd": "sched in 900 config set a 1\nsched in 900 config set a 2\n",
    "b.cmd": "sched in 900 config set b 1\nsched in soon version\n",
    "c.cmd": "#id: work\nsched in 900 config set c 1\n",
    "d.cmd": "#id: work\nsched in 900 config set c 1\n",
}
ACCEPTED = {"a.cmd": True, "b.cmd": False, "c.cmd": True, "d.cmd": True}
COMMANDS = ["config set a 1", "config set a 2", "config set c 1"]
BOUNDARIES = ("claimed", "synced", "read", "committed", "result written", "moved")


class Crash(BaseException):
    """A crash, which no code under test may catch."""


class Life:
    """One appliance with its spool, from its start until a crash at boundary number `crash_at`, or until all is done."""

    def __init__(self, spool: Path, appliance: Appliance, crash_at: int | None) -> None:
        self.spool, self.appliance, self.crash_at = spool, appliance, crash_at
        self.seen: list[str] = []
        rules, log = Rules(os.geteuid(), None, 10_000, 100), logging.getLogger("test")
        self.claimer = Claimer(spool, rules, log, self.reached)
        self.publisher = Publisher(spool, False, Keep(), log, self.reached)

    def reached(self, boundary: str) -> None:
        if len(self.seen) == self.crash_at:
            raise Crash(boundary)
        self.seen.append(boundary)

    def live(self) -> bool:
        """Runs; whether it ended without a crash."""
        clock = SystemClock()
        try:
            self.claimer.resume(self.appliance.store.drops.last_mark())
            self.publisher.list_published()
            while drops := self.claimer.look(clock.moment()):
                self.reached("read")
                self.appliance.turn(*drops)
                self.reached("committed")
                self.publisher.publish(some(PublishResult, self.appliance.effects), clock.moment().wall)
        except Crash:
            return False
        return True


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    appliance = Appliance(tmp_path / "sched.db")
    yield appliance
    appliance.close()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    spool = tmp_path / "spool"
    spool.mkdir()
    make_folders(spool, None)
    for name, text in FILES.items():
        (spool / "new" / name).write_text(text)
    return spool


def check(spool: Path, appliance: Appliance) -> None:
    assert [os.listdir(spool / name) for name in ("new", "work")] == [[], []]
    done = [name for name, accepted in ACCEPTED.items() if accepted]
    wanted = sorted([*done, *(name.replace(".cmd", ".result") for name in done)])
    assert sorted(os.listdir(spool / "done")) == wanted
    assert sorted(os.listdir(spool / "failed")) == ["b.cmd", "b.result"]
    assert sorted(row[0] for row in appliance.database.rows("SELECT command FROM jobs")) == COMMANDS
    assert sorted(appliance.database.rows("SELECT name, accepted FROM drops")) == sorted(ACCEPTED.items())
    for name, accepted in ACCEPTED.items():
        path = spool / ("done" if accepted else "failed") / name.replace(".cmd", ".result")
        assert appliance.store.drops.named(name, 9)[0].result == path.read_text()
        assert json.loads(path.read_text())["file"] == name


def boundaries(spool: Path, appliance: Appliance) -> list[str]:
    """The boundaries of a life without a crash."""
    life = Life(spool, appliance, None)
    assert life.live()
    check(spool, appliance)
    return life.seen


def test_every_boundary_is_passed(spool: Path, appliance: Appliance) -> None:
    seen = boundaries(spool, appliance)
    assert set(seen) == set(BOUNDARIES)
    assert [seen.count(name) for name in BOUNDARIES] == [4, 1, 1, 1, 4, 4]


@pytest.mark.parametrize("number", range(15))
def test_a_crash_at_each_boundary_loses_nothing_and_repeats_nothing(
    spool: Path, appliance: Appliance, number: int
) -> None:
    assert not Life(spool, appliance, number).live()
    appliance.restart()
    assert Life(spool, appliance, None).live()
    check(spool, appliance)


@pytest.mark.parametrize("seed", random_seeds(3))
def test_crashes_again_and_again_lose_nothing_and_repeat_nothing(spool: Path, appliance: Appliance, seed: int) -> None:
    """Each life gets a little further, or nowhere."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(12):
        if not Life(spool, appliance, dice.randint(0, 6)).live():
            appliance.restart()
    assert Life(spool, appliance, None).live()
    check(spool, appliance)


def test_a_result_that_was_half_written_is_written_again(spool: Path, appliance: Appliance) -> None:
    """A power cut may leave the name of a result without its text; then the claimed file is still there."""
    committed = [*["claimed"] * 4, "synced", "read", "committed"]
    life = Life(spool, appliance, len(committed) + 3)
    assert not life.live()
    assert life.seen[-3:] == ["result written"] * 3
    for result in (spool / "done").glob("*.result"):
        result.write_text("")
    appliance.restart()
    assert Life(spool, appliance, None).live()
    check(spool, appliance)
