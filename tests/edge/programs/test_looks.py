"""The looks at the outputs of running programs: the more is written, the sooner the next one, and none without a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from schedappliance.clock import ManualClock
from schedappliance.edge.loop import Loop
from schedappliance.edge.programs.looks import LOOK_MS, ROOM_BYTES, SOON_MS, Looks, Writer, pause_after
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
    held: bool = False
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        self.looks = Looks(self.loop, self, AtOnce(), lambda: self.held, self.running)

    def running(self) -> list[tuple[AttemptKey, Writer]]:
        return [(key, Running()) for key in self.written]

    def punch(self, key: AttemptKey, limit: int) -> int:
        assert limit == 1000
        return self.written[key]

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


@pytest.mark.parametrize("held", [False, True])
def test_the_looks_end_with_the_last_program_and_begin_again_with_the_next(machine: Machine, held: bool) -> None:
    """Outputs that the processes of ended runs hold are still looked at."""
    machine.begin(calm=0)
    assert machine.look() == (LOOK_MS, [])
    machine.written.clear()
    machine.held = held
    assert machine.look() == (LOOK_MS if held else None, [])
    machine.clock.advance(0 if held else 60_000)
    machine.begin(loud=2 * ROOM_BYTES)
    assert machine.look() == (LOOK_MS // 2, [OutputFlooded(LOUD, 2 * ROOM_BYTES, LOOK_MS)])


def test_programs_that_start_together_share_the_looks(machine: Machine) -> None:
    for _ in range(5):
        machine.begin(calm=0)
    assert len(machine.loop.alarms) == 1
