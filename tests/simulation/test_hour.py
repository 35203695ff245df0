"""One simulated hour of mixed jobs on real stores, twice with equal results; and very many jobs in one second."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from schedappliance.engine.effects import Reply, StartProgram
from tests.simulation.world import FailingWorld, World
from tests.support.core import SECOND, START_MS
from tests.support.random_seeds import random_seeds

HOUR = 3600 * SECOND
MANY = 5000

LINES = [
    (0, "sched every 60 run work 10"),
    (500, "sched every 45 run work 70"),
    (1000, "sched every 600 run deaf"),
    (1500, "sched in 90.5 config set message_expiration 300"),
    (2000, f"sched at {START_MS // 1000 + 1800} config set message_expiration 7200"),
    (2500, "sched every 120 sched in 5 run expire"),
    (3000, "sched every 700 sched in 10 sched in 10 run work 1"),
    (3500, "sched every 333 run fail"),
    (4000, "sched every 400 run unknown"),
    (4500, "sched every 400 config get nothing"),
    (5000, f"sched at {START_MS // 1000 + 2000} sched delete example.com-000000003"),
    (6000, "sched at 1800000000 pid"),
    (7000, "sched in 1000 config reload"),
    (600_000, "run work 30"),
    (600_000, "run work 30"),
    (900_000, "config set message_expiration 1"),
    (1_200_000, "config reload"),
    (1_500_000, "sched delete example.com-000000004"),
    (2_400_000, "summary"),
    (3_000_000, "sched history"),
]


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "sched.db" if request.param == "file" else None


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    """Worlds to be closed after the test."""
    worlds: list[World] = []
    yield worlds
    for world in worlds:
        world.close()


def lived(place: Path | None, lines: list[tuple[int, str]], worlds: list[World]) -> World:
    world = World(place)
    worlds.append(world)
    world.type(lines)
    world.run(HOUR)
    return world


def assert_every_run_is_one(world: World) -> None:
    """Checks that no occurrence runs twice, that starts and attempts correspond, and that the limit is kept."""
    keys = [run.key for run in world.appliance.history()]
    assert len(keys) == len(set(keys))
    assert len(world.started) == len(set(world.started))
    assert set(world.started) == {(row[0], row[1]) for row in world.rows()["attempts"]}
    assert 0 < world.busiest <= world.appliance.state.max_running


def check(world: World) -> None:
    """Checks an hour in which nothing was late."""
    assert_every_run_is_one(world)
    appliance = world.appliance
    history = appliance.history()
    by_job: dict[int, list[int]] = {}
    for run in history:
        by_job.setdefault(run.key.job, []).append(run.key.occurrence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_job.values())
    for run in history:
        assert run.claimed_ms == run.due_ms or run.key.occurrence == 1
        assert run.state in ("succeeded", "failed", "timed_out", "skipped", "started", "queued")
    wall, boot = appliance.core.wake()
    now = appliance.clock.moment()
    assert wall is not None
    assert wall > now.wall
    assert boot is None or boot > now.boot


@pytest.mark.slow
def test_the_same_hour_twice_gives_equal_results(place: Path | None, worlds: list[World]) -> None:
    first = lived(place, LINES, worlds)
    rows, log = first.rows(), first.log()
    check(first)
    if place:
        worlds.pop().close()
        for path in place.parent.iterdir():
            path.unlink()
    second = lived(place, LINES, worlds)
    assert second.rows() == rows
    assert second.log() == log


@pytest.mark.slow
def test_a_store_in_a_file_and_one_in_memory_give_equal_results(tmp_path: Path, worlds: list[World]) -> None:
    first, second = lived(tmp_path / "sched.db", LINES, worlds).rows(), lived(None, LINES, worlds).rows()
    for rows in (first, second):
        del rows["generations"]
    assert first == second


def test_every_period_of_the_hour_was_kept(place: Path | None, worlds: list[World]) -> None:
    world = lived(place, LINES, worlds)
    appliance = world.appliance
    first_job = 3  # the stanzas declare two
    for number, begun_ms, interval in ((first_job, 0, 60), (first_job + 7, 3500, 333)):
        dues = [run.due_ms for run in appliance.history(number)]
        end = 2000 if number == first_job else 3600
        expected = range(START_MS + begun_ms + interval * SECOND, START_MS + end * SECOND + 1, interval * SECOND)
        assert dues[: len(expected)] == list(expected)
    tidy = [run.due_ms for run in appliance.history(1)]
    assert all(due % (300 * SECOND) == 30 * SECOND for due in tidy)
    assert {later - earlier for earlier, later in pairwise(tidy)} == {300 * SECOND}
    assert len(tidy) == 12
    assert {run.state for run in appliance.history(5)} == {"timed_out"}
    assert {run.state for run in appliance.history(1)} <= {"succeeded", "skipped"}


def test_an_hour_takes_no_more_turns_than_there_are_events(worlds: list[World]) -> None:
    """The loop does not poll: it is woken by a due time, a deadline or an event."""
    world = lived(None, [(0, "sched every 600 run work 10")], worlds)
    per_program = 3
    dues = len(world.appliance.history())
    assert world.turns <= dues + per_program * len(world.started) + 1


def random_lines(seed: int) -> list[tuple[int, str]]:
    chance = random.Random(seed)
    commands: list[Callable[[], str]] = [
        lambda: f"run work {chance.randint(0, 120)}",
        lambda: "run deaf",
        lambda: "run fail",
        lambda: "run expire",
        lambda: f"config set message_expiration {chance.randint(1, 99)}",
        lambda: f"sched delete example.com-{chance.randint(1, 40):09d}",
        lambda: "config reload",
        lambda: "sched list",
    ]

    def command(depth: int = 0) -> str:
        choice = chance.random()
        if depth < 3 and choice < 0.3:
            return f"sched in {chance.randint(1, 900)} {command(depth + 1)}"
        if depth < 3 and choice < 0.4:
            return f"sched at {START_MS // 1000 + chance.randint(0, 3600)} {command(depth + 1)}"
        return chance.choice(commands)()

    lines = []
    for _ in range(60):
        at = chance.randint(0, HOUR)
        recurrent = chance.random() < 0.3
        lines.append((at, f"sched every {chance.randint(20, 600)} {command(1)}" if recurrent else command()))
    return lines


@pytest.mark.parametrize("seed", [1, 2, *random_seeds(2)])
def test_the_same_random_hour_twice_gives_equal_results(seed: int, worlds: list[World]) -> None:
    print(f"seed {seed}")
    lines = random_lines(seed)
    first, second = lived(None, lines, worlds), lived(None, lines, worlds)
    assert (first.rows(), first.log()) == (second.rows(), second.log())
    assert_every_run_is_one(first)
    assert len([effect for _, effect in first.effects if isinstance(effect, Reply)]) >= len(lines) - 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, *random_seeds(2)])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_an_hour_of_failing_commits_loses_nothing_and_repeats_nothing(
    place: Path | None, share: float, seed: int, worlds: list[World]
) -> None:
    """Only the due times of declared jobs are all known in advance."""
    print(f"seed {seed}")
    world = FailingWorld(place, seed, share)
    worlds.append(world)
    lines = random_lines(seed)
    world.type(lines)
    world.run(HOUR)
    world.recover()
    assert world.failures > 0
    assert_every_run_is_one(world)
    replies = [effect.reply_to for _, effect in world.effects if isinstance(effect, Reply)]
    assert (len(replies), len(set(replies))) == (len(lines), len(lines))
    starts = [effect.key for _, effect in world.effects if isinstance(effect, StartProgram)]
    assert len(starts) == len(set(starts))
    for number, interval, offset in ((1, 300 * SECOND, 30 * SECOND), (2, 420 * SECOND, 0)):
        runs = world.appliance.history(number)
        now = world.clock.moment().wall
        first = START_MS + interval - (START_MS - offset) % interval
        due = list(range(first, now + 1, interval))
        assert sum(run.missed_count or 1 for run in runs) == len(due)
        assert runs[-1].key.occurrence == len(due)
        assert [run.due_ms for run in runs][-1] == due[-1]


@pytest.mark.slow
@pytest.mark.parametrize("line", ["sched in 60 config set a 1", "sched in 60 run work 1"])
def test_many_jobs_of_one_second_all_run_once_and_in_order(place: Path | None, line: str, worlds: list[World]) -> None:
    world = World(place, max_running=64)
    worlds.append(world)
    world.appliance.turn(*[world.appliance.typed(line) for _ in range(MANY)])
    world.run(HOUR)
    history = [run for run in world.appliance.history() if run.key.job > 2 and run.command == line.split(" ", 3)[3]]
    assert [run.key for run in history] == [(number, 1) for number in range(3, MANY + 3)]
    assert {run.state for run in history} == {"succeeded"}
    assert {run.due_ms for run in history} == {START_MS + 60 * SECOND}
    if "run" in line:
        started = [key for key in world.started if key.job > 2]
        assert started == [(number, 1) for number in range(3, MANY + 3)]
        assert world.busiest == 64
