"""Previews of random appliances come true, both while they run and after they were killed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import SignalProgram, StartProgram
from schedappliance.engine.events import ProgramEnded, Remains
from schedappliance.engine.records import ProcessKey
from tests.simulation.world import World
from tests.support.core import NODE, SECOND, START_MS
from tests.support.preview_checks import After, Before, assert_came_true
from tests.support.previews import previewed
from tests.support.random_seeds import random_seeds

HOUR = 3600 * SECOND
PROGRAMS = 5
ARGUMENTS = (0, 1, 7, 40, 130)
UNSET = 'program "unset" { argv = ( "/bin/work" "%{nowhere_set}" ) }\n'


class PlainWorld(World):
    """Programs run exactly as long as their argument says, and end at TERM."""

    def _begin(self, start: StartProgram) -> None:
        self.started.append(start.key.run)
        self._alive.add(start.key.run)
        self.plan(int(start.argv[1]) * SECOND, ProgramEnded(start.key, Exit(0), b"", 0))

    def _signal(self, effect: SignalProgram) -> None:
        self.plan(0, ProgramEnded(effect.key, Exit(signal=effect.signal), b"", 0))

    def reload(self, stanzas: str) -> None:
        self._stanzas = stanzas
        read = self.appliance.read(stanzas)
        assert read.configuration, [d.brief() for d in read.diagnostics if d.is_error]
        self.appliance.turn(read)


def program(number: int, policy: str) -> str:
    return f'program "p{number}" {{ argv = ( "/bin/work" ) args = ( "[0-9]+" ) {policy} }}\n'


def random_stanzas(chance: random.Random) -> str:
    """Programs of every policy, and jobs for them."""
    policies = []
    for _ in range(PROGRAMS):
        policy = f"overlap = {chance.choice(['skip', 'queue', 'parallel', 'replace'])}"
        policy += f" max_running = {chance.randint(1, 3)}" if chance.random() < 0.3 else ""
        policy += f" timeout = {chance.choice([5, 30, 100])}" if chance.random() < 0.5 else ""
        policy += f" retries = {chance.randint(1, 2)} retry_delay = 20" if chance.random() < 0.5 else ""
        policy += " on_interrupt = rerun" if chance.random() < 0.5 else ""
        policy += f' on_failure = "run p{chance.randrange(PROGRAMS)} 7"' if chance.random() < 0.3 else ""
        policies.append(policy)
    jobs = "".join(
        f'job "j{number}" {{ every = {chance.randint(5, 900)} offset = {chance.randint(0, 60)} '
        f'command = "{random_command(chance)}" }}\n'
        for number in range(chance.randint(1, 5))
    )
    within = f" catch_up_within = {chance.choice(['60', '10m', '1h'])}" if chance.random() < 0.5 else ""
    sched = f"max_running = {chance.randint(1, 6)} catch_up = {chance.choice(['once', 'none', 'all'])}{within}"
    return f"sched {{ {sched} }}\n" + UNSET + "".join(program(n, policy) for n, policy in enumerate(policies)) + jobs


def random_command(chance: random.Random, depth: int = 0) -> str:
    choice = chance.random()
    if choice < 0.15 and depth < 3:
        return f"sched in {chance.randint(1, 900)} {random_command(chance, depth + 1)}"
    if choice < 0.2 and depth < 3:
        return f"sched at {START_MS // 1000 + chance.randint(0, 30_000)} {random_command(chance, depth + 1)}"
    if choice < 0.7:
        return f"run p{chance.randrange(PROGRAMS)} {chance.choice(ARGUMENTS)}"
    if choice < 0.8:
        return random_setting(chance)
    number = f"{NODE}-{chance.randint(1, 60):09d}"
    others = ["delete", "pause", "resume", "run", "show"]
    return chance.choice([*(f"sched {other} {number}" for other in others), "run unset"])


def random_setting(chance: random.Random) -> str:
    program = f"program p{chance.randrange(PROGRAMS)}"
    return chance.choice(
        [
            "config reload",
            "config set a 1",
            f"config set {program} timeout {chance.choice([3, 20])}",
            f"config unset {program} timeout",
            f"config set sched max_running {chance.randint(1, 8)}",
            f"config set job j0 every {chance.randint(10, 500)}",
        ]
    )


def random_lines(chance: random.Random) -> Iterator[tuple[int, str]]:
    for _ in range(30):
        at, command = chance.randint(0, HOUR), random_command(chance, 1)
        recurrent = chance.random() < 0.5 and "sched every" not in command
        yield at, f"sched every {chance.randint(5, 900)} {command}" if recurrent else command
    if chance.random() < 0.2:
        yield HOUR // 2, f"sched in {chance.randint(4000, 9000)} shutdown"


@pytest.fixture
def worlds() -> Iterator[list[PlainWorld]]:
    worlds: list[PlainWorld] = []
    yield worlds
    for world in worlds:
        world.close()


def lived_in(path: Path, chance: random.Random) -> PlainWorld:
    """An appliance in its second hour. Every command has succeeded once before its policies were set."""
    world = PlainWorld(
        path, "".join(program(number, "overlap = parallel") for number in range(PROGRAMS)), max_running=16
    )
    world.type((0, f"run p{number} {seconds}") for number in range(PROGRAMS) for seconds in ARGUMENTS)
    world.run(HOUR)
    assert {run.state for run in world.appliance.history()} == {"succeeded"}
    world.reload(random_stanzas(chance))
    world.type(random_lines(chance))
    world.run(HOUR + chance.randint(0, 600 * SECOND))
    return world


# The third seed: after a start, a waiting run took the place of a lost program only when something else happened.
# The fourth seed: a command changed a job that the same tick had read, and the tick claimed its due times again.
# The fifth seed: a program got a timeout while it ran, and only the preview applied it to the running attempt.
SEEDS = [1, 2, 686924723, 739487194, 12862331, *random_seeds(2)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_preview_of_a_running_appliance_comes_true(seed: int, tmp_path: Path, worlds: list[PlainWorld]) -> None:
    print(f"seed {seed}")
    world = lived_in(tmp_path / "sched.db", random.Random(seed))
    worlds.append(world)
    appliance = world.appliance
    before = Before(appliance)
    attempts = appliance.store.runs.live_attempts()
    remains = Remains({a.key: ProcessKey(1, 1) for a in attempts}, {})
    rows = previewed(appliance, 2 * HOUR, remains=remains)
    world.run(2 * HOUR)
    assert_came_true(rows, After(appliance, before))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_preview_of_a_killed_appliance_comes_true(seed: int, tmp_path: Path, worlds: list[PlainWorld]) -> None:
    """The appliance starts again at the instant of the preview. All its programs have ended by then."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    world = lived_in(tmp_path / "sched.db", chance)
    worlds.append(world)
    appliance = world.appliance
    before = Before(appliance)
    appliance.close()
    world.clock.advance(chance.choice([0, 10 * SECOND, HOUR, 30 * HOUR]))
    rows = previewed(appliance, 2 * HOUR, in_use=False)
    appliance.restart(stanzas=world._stanzas)
    world.run(2 * HOUR)
    assert_came_true(rows, After(appliance, before))
