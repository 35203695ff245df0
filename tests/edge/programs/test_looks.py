"""The looks at the outputs of running programs: the more is written, the sooner the next one, and none without a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from schedappliance.clock import ManualClock
from schedappliance.edge.loop import Loop
from schedappliance.edge.programs.looks import HELD_MS, LOOK_MS, ROOM_BYTES, SOON_MS, Looks, Writer, pause_after
from schedappliance.edge.programs.output_lines import OutputLines
from schedappliance.edge.threads import Inbox, Worker
from schedappliance.engine.events import OutputFlooded
from schedappliance.engine.records import AttemptKey, RunKey

LOUD, CALM = AttemptKey(RunKey(1, 1), 1), AttemptKey(RunKey(2, 1), 1)
GIGABYTE = 2**30


@dataclass
class Running:
    """A running program."""

    output_limit: int = 1000
    inode: int | None = None
    lines: OutputLines | None = None


class AtOnce(Worker):
    """A worker without a thread."""

    def __init__(self) -> None:
        pass

    def submit(self, task: Callable[[], None]) -> None:
        task()


@dataclass
class Machine:
    """The disk, and the programs: how much each has written since the last look."""

    loop: Loop
    clock: ManualClock
    free: int = 100 * GIGABYTE
    written: dict[AttemptKey, int] = field(default_factory=dict)
    # How many bytes the look at the outputs of ended runs gives, and how many such looks there were.
    held: int | None = None
    looks_at_held: int = 0
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        self.looks = Looks(self.loop, self, AtOnce(), self.bound_held, self.running)

    def running(self) -> list[tuple[AttemptKey, Writer]]:
        return [(key, Running()) for key in self.written]

    def punch(self, key: AttemptKey, limit: int) -> int:
        assert limit == 1000
        return self.written[key]

    def bound_held(self) -> int | None:
        self.looks_at_held += 1
        return self.held

    def free_bytes(self) -> int:
        return self.free

    def begin(self, **written: int) -> None:
        self.written = {{"loud": LOUD, "calm": CALM}[name]: size for name, size in written.items()}
        self.looks.begin()

    def look(self) -> tuple[int | None, list[object]]:
        """The pause after the next look, None if there is none, and the events of that look."""
        at = self.loop.alarms.next()
        assert at is not None
        self.clock.advance(at - self.clock.moment().boot)
        self.loop.alarms.ring(at)
        events, _ = self.loop.wait(None, at)
        after = self.loop.alarms.next()
        return None if after is None else after - at, list(events)


@pytest.fixture
def machine() -> Iterator[Machine]:
    clock = ManualClock(1_700_000_000_000, 5000)
    loop = Loop(clock, Inbox())
    yield Machine(loop, clock)
    loop.close()


@pytest.mark.parametrize(
    ("written", "passed", "room", "pause"),
    [
        (0, 1000, ROOM_BYTES, LOOK_MS),
        (1, 1000, ROOM_BYTES, LOOK_MS),
        (ROOM_BYTES, 1000, ROOM_BYTES, 1000),
        (2 * ROOM_BYTES, 1000, ROOM_BYTES, 500),
        (ROOM_BYTES, 250, ROOM_BYTES, 250),
        (10**12, 1000, ROOM_BYTES, SOON_MS),
        (1000, 1000, 0, SOON_MS),
    ],
)
def test_the_next_look_comes_before_the_room_is_used(written: int, passed: int, room: int, pause: int) -> None:
    assert pause_after(written, passed, room) == pause


def test_a_program_that_floods_the_disk_is_named_once_and_looked_at_sooner(machine: Machine) -> None:
    machine.begin(loud=4 * ROOM_BYTES, calm=0)
    assert machine.look() == (250, [OutputFlooded(LOUD, 4 * ROOM_BYTES, LOOK_MS)])
    machine.written[LOUD] = ROOM_BYTES * 2
    assert machine.look() == (125, [])
    machine.written[LOUD] = 0
    assert machine.look() == (LOOK_MS, [])


def test_on_a_small_disk_less_is_much(machine: Machine) -> None:
    machine.free = 8_000_000
    machine.begin(loud=5_000_000, calm=1_000_000)
    assert machine.look() == (4_000_000 * LOOK_MS // 6_000_000, [OutputFlooded(LOUD, 5_000_000, LOOK_MS)])


def test_the_looks_end_with_the_last_program_and_begin_again_with_the_next(machine: Machine) -> None:
    machine.begin(calm=0)
    assert machine.look() == (LOOK_MS, [])
    machine.written.clear()
    assert machine.look() == (None, [])
    machine.clock.advance(60_000)
    machine.begin(loud=2 * ROOM_BYTES)
    assert machine.look() == (LOOK_MS // 2, [OutputFlooded(LOUD, 2 * ROOM_BYTES, LOOK_MS)])
    assert machine.looks_at_held == 0


def test_outputs_that_a_left_process_has_open_are_looked_at_seldom(machine: Machine) -> None:
    """A process that a run has left for months woke the appliance each second."""
    machine.held = 0
    machine.looks.begin_held()
    assert [machine.look()[0] for _ in range(3)] == [HELD_MS] * 3
    machine.held = 20_000_000
    assert [machine.look()[0] for _ in range(2)] == [LOOK_MS] * 2
    machine.held = None
    assert machine.look() == (None, [])
    assert machine.looks_at_held == 6


def test_running_programs_do_not_hasten_the_looks_at_outputs_of_ended_runs(machine: Machine) -> None:
    machine.held = 0
    machine.looks.begin_held()
    machine.begin(loud=ROOM_BYTES)
    assert [machine.look()[0] for _ in range(10)] == [LOOK_MS] * 10
    assert machine.looks_at_held == 1
    machine.look()
    assert machine.looks_at_held == 2


def test_a_program_does_not_wait_for_a_planned_look_at_outputs_of_ended_runs(machine: Machine) -> None:
    machine.held = 0
    machine.looks.begin_held()
    assert machine.look() == (HELD_MS, [])
    machine.clock.advance(3000)
    machine.begin(loud=2 * ROOM_BYTES)
    assert machine.look() == (LOOK_MS // 2, [OutputFlooded(LOUD, 2 * ROOM_BYTES, LOOK_MS)])
    assert machine.looks_at_held == 1
    machine.written.clear()
    assert machine.look() == (HELD_MS - 3000 - LOOK_MS - LOOK_MS // 2, [])


def test_new_outputs_of_ended_runs_are_looked_at_soon(machine: Machine) -> None:
    machine.held = 0
    machine.looks.begin_held()
    assert machine.look() == (HELD_MS, [])
    machine.looks.begin_held()
    assert machine.look() == (HELD_MS, [])
    assert (machine.looks_at_held, len(machine.loop.alarms)) == (2, 1)


def test_programs_that_start_together_share_the_looks(machine: Machine) -> None:
    for _ in range(5):
        machine.begin(calm=0)
    assert len(machine.loop.alarms) == 1
