"""The waiting runs, by the cause of the wait: no free place, their program's limit, an earlier run, an instant, a user look-up.

Runs of trusted users (root and the user of the appliance) and of guests (all others) wait for a place in two lanes, since
some places are kept for trusted users. Guests take turns. Where runs wait for the limit of their program, all users do; there
the delivery of an alert takes the turn of the user whose runs the alert is about.

Rule: this is a mirror of the queued rows, which are read at start. It decides the order and nothing else. A turn that fails
undoes its changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from schedappliance.engine.records import RunKey
from schedappliance.engine.rotation import Rotation

if TYPE_CHECKING:
    from schedappliance.store.runs import QueuedRun

# In a longer lane, nobody is told behind how many runs one waits. Counting those of 100,000 runs takes 17 ms.
MOST_COUNTED = 1000

Key = TypeVar("Key")
Where = Literal["ready", "guests", "limited", "blocked", "delayed", "unidentified"]


class Waiter(NamedTuple):
    """A run that waits. `sequence`: the order of the claims. `guest`: the uid of its user; None for a trusted user.

    `alert_turn`: whose turn the delivery of an alert takes, see `turn_about`; None for any other run.
    """

    sequence: int
    key: RunKey
    program: str
    guest: int | None = None
    alert_turn: int | None = None

    @property
    def turn(self) -> int | None:
        """The user whose turn it takes."""
        return self.guest if self.alert_turn is None else self.alert_turn


# The turn of alerts that are about runs of trusted users. It comes before all others. No guest has this uid.
FIRST = 0


def turn_about(users: Sequence[int], trusted: Set[int]) -> int | None:
    """Whose turn the delivery of an alert takes, if it is about runs of these users; None if it is about none."""
    if not users:
        return None
    return FIRST if trusted & set(users) else users[0]


def waiter_of(run: QueuedRun, users: Sequence[int], trusted: Set[int]) -> Waiter:
    """A queued run as it waits. `users`: those whose runs it tells, if it delivers an alert."""
    program = run.command.words[0] if run.command else ""
    guest = None if run.uid in trusted else run.uid
    return Waiter(run.sequence, run.key, program, guest, turn_about(users, trusted))


class LaneName(NamedTuple):
    """What the runs of a lane wait for.

    `ready`: a free place. `guests`: a free place that is not kept for trusted users. `limited`: the limit of the program
    `of`. `blocked`: the earlier runs of the job `of`. `delayed`: an instant. `unidentified`: the look-up of the user whose
    uid is `of`.
    """

    where: Where
    of: int | str | None = None


READY, GUESTS, DELAYED = LaneName("ready"), LaneName("guests"), LaneName("delayed")


class Position(NamedTuple):
    """The position of a run in a lane. Positions compare as tuples: by the instant, then by the order of the claims.

    `not_before`: the boot instant that a delayed run waits for, in milliseconds; 0 in all other lanes.
    """

    not_before: int
    waiter: Waiter
    lane: LaneName


class Delayed(NamedTuple):
    """The run waits for an instant, in boot milliseconds."""

    boot_ms: int


class Behind(NamedTuple):
    """The run waits behind `number` other runs. None: nobody can tell behind how many."""

    where: Where
    number: int | None
    program: str
    is_of_guest: bool = False


class Lane:
    """A heap. A removed position stays in it until it reaches the front, or until half of the positions are removed ones.

    Removing a position from the middle of a heap at once would take a search.
    """

    def __init__(self) -> None:
        self._heap: list[Position] = []
        self._gone: set[Position] = set()

    def __len__(self) -> int:
        return len(self._heap) - len(self._gone)

    def __iter__(self) -> Iterator[Position]:
        return (position for position in self._heap if position not in self._gone)

    def add(self, position: Position) -> None:
        if position in self._gone:
            # Its removal is undone: it is still in the heap.
            self._gone.remove(position)
        else:
            heappush(self._heap, position)

    def first(self) -> Position:
        """The position at the front. Raises IndexError for an empty lane."""
        while self._gone and self._heap[0] in self._gone:
            self._gone.remove(heappop(self._heap))
        return self._heap[0]

    def pop(self) -> Position:
        self.first()
        return heappop(self._heap)

    def before(self, position: Position) -> int:
        """How many positions come before this one."""
        return sum(other < position for other in self)

    def remove(self, position: Position) -> None:
        self._gone.add(position)
        if 2 * len(self._gone) > len(self._heap):
            self._heap = list(self)
            self._gone.clear()
            heapify(self._heap)


class SharedLane:
    """A lane whose users take turns, after all that is FIRST. The runs of one user keep their order."""

    def __init__(self, rotation: Rotation) -> None:
        self._rotation = rotation
        self._lanes: dict[int | None, Lane] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Position]:
        return chain.from_iterable(self._lanes.values())

    def add(self, position: Position) -> None:
        user = position.waiter.turn
        if user not in self._lanes:
            self._lanes[user] = Lane()
        self._lanes[user].add(position)
        self._number += 1

    def first(self) -> Position:
        """The first position of the user who is next. Raises ValueError for an empty lane."""
        return self._lanes[self._next()].first()

    def firsts(self) -> list[Position]:
        """The first position of each user, in the order of their turns."""
        users = sorted(self._lanes, key=lambda user: (user != FIRST, self._order(user)))
        return [self._lanes[user].first() for user in users]

    def pop(self) -> Position:
        user = self._next()
        if user != FIRST:
            self._rotation.take(user)
        position = self._lanes[user].pop()
        self._leave(user)
        return position

    def remove(self, position: Position) -> None:
        user = position.waiter.turn
        self._lanes[user].remove(position)
        self._leave(user)

    def before(self, position: Position) -> int:
        """How many positions come before this one, if no further ones enter."""
        user = position.waiter.turn
        earlier = self._lanes[user].before(position)
        if user == FIRST:
            return earlier
        own = self._order(user)
        return earlier + sum(
            len(lane) if other == FIRST else min(len(lane), earlier + (self._order(other) < own))
            for other, lane in self._lanes.items()
            if other != user
        )

    def _next(self) -> int | None:
        if len(self._lanes) == 1:
            return next(iter(self._lanes))
        return FIRST if FIRST in self._lanes else min(self._lanes, key=self._order)

    def _order(self, user: int | None) -> tuple[int, Position]:
        """The user with the least one is next."""
        return self._rotation.last(user), self._lanes[user].first()

    def _leave(self, user: int | None) -> None:
        self._number -= 1
        if not self._lanes[user]:
            del self._lanes[user]


@dataclass(slots=True)
class WaitingRuns:
    """The waiting runs in their lanes. A lane that becomes empty is removed.

    `number`: how many runs wait. It is a field, since most turns only ask whether any run waits. `of_guests`: how many of
    them each guest has. `at_limit`: how many wait for the limit of each program. `released`: how many runs of each program
    and guest wait for a place only; None stands for all trusted users.
    `changes`: the changes that can be undone, each as a position and whether a run has entered it.
    """

    number: int = 0
    of_guests: Counter[int] = field(default_factory=Counter)
    at_limit: Counter[str] = field(default_factory=Counter)
    released: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    lanes: dict[LaneName, Lane | SharedLane] = field(default_factory=dict)
    # A turn that is undone stays noted here. It only decides an order.
    _rotation: Rotation = field(default_factory=Rotation)
    _positions: dict[int, dict[RunKey, Position]] = field(default_factory=dict)
    changes: list[tuple[Position, bool]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.number

    @property
    def has_ready(self) -> bool:
        """Whether a run waits for nothing but a free place."""
        return READY in self.lanes or GUESTS in self.lanes

    def has_ready_for(self, guests_fit: bool) -> bool:
        """The same, if guests get a place or not."""
        return READY in self.lanes or (guests_fit and GUESTS in self.lanes)

    def add(self, waiter: Waiter) -> None:
        """Lets a run wait for a free place."""
        self._enter(Position(0, waiter, READY if waiter.guest is None else GUESTS))

    def block(self, waiter: Waiter) -> None:
        """Lets a run wait until the job's earlier runs have ended."""
        self._enter(Position(0, waiter, LaneName("blocked", waiter.key.job)))

    def delay(self, boot_ms: int, waiter: Waiter) -> None:
        """Lets a run wait for an instant, in boot milliseconds."""
        self._enter(Position(boot_ms, waiter, DELAYED))

    def wait_for_user(self, uid: int, waiter: Waiter) -> None:
        """Lets a run wait until its user has been looked up."""
        self._enter(Position(0, waiter, LaneName("unidentified", uid)))

    def _enter(self, position: Position) -> None:
        self.changes.append((position, True))
        self._put(position)

    def _put(self, position: Position) -> None:
        key = position.waiter.key
        self._positions.setdefault(key.job, {})[key] = position
        lane = self.lanes.get(position.lane)
        if lane is None:
            is_shared = position.lane.where in ("guests", "limited")
            lane = self.lanes[position.lane] = SharedLane(self._rotation) if is_shared else Lane()
        lane.add(position)
        self._count(position, 1)

    def _pop(self, name: LaneName) -> Waiter | None:
        """Removes and returns the first run of a lane; None if no run waits in it."""
        lane = self.lanes.get(name)
        if lane is None:
            return None
        position = lane.pop()
        if not lane:
            del self.lanes[name]
        self._forget(position)
        self.changes.append((position, False))
        return position.waiter

    def _take_out(self, position: Position) -> None:
        lane = self.lanes[position.lane]
        lane.remove(position)
        if not lane:
            del self.lanes[position.lane]
        self._forget(position)

    def _forget(self, position: Position) -> None:
        key = position.waiter.key
        of_job = self._positions[key.job]
        del of_job[key]
        if not of_job:
            del self._positions[key.job]
        self._count(position, -1)

    def _count(self, position: Position, change: int) -> None:
        _, _, program, guest, _ = position.waiter
        self.number += change
        if guest is not None:
            _add(self.of_guests, guest, change)
        if position.lane.where in ("ready", "guests"):
            _add(self.released, (program, guest), change)
        elif position.lane.where == "limited":
            _add(self.at_limit, program, change)

    def blocked_of(self, job: int) -> int:
        """How many runs of a job wait for its earlier runs."""
        return len(self.lanes.get(LaneName("blocked", job), ()))

    def number_of(self, job: int) -> int:
        """How many runs of a job wait."""
        return len(self._positions.get(job, ()))

    def next_blocked(self) -> list[RunKey]:
        """The first run of each job that waits for the job's earlier runs."""
        return [lane.first().waiter.key for name, lane in self.lanes.items() if name.where == "blocked"]

    def delays(self) -> dict[RunKey, int]:
        """The instants of all delayed runs, in boot milliseconds."""
        return {position.waiter.key: position.not_before for position in self.lanes.get(DELAYED, ())}

    def find(self, key: RunKey) -> Delayed | Behind:
        """What a run waits for. A run that waits for nothing any more counts as ready, with no other before it."""
        position = self._positions.get(key.job, {}).get(key)
        if position is None:
            return Behind("ready", 0, "")
        where = position.lane.where
        if where == "delayed":
            return Delayed(position.not_before)
        return Behind(where, self._number_before(position), position.waiter.program, position.waiter.guest is not None)

    def _number_before(self, position: Position) -> int | None:
        """How many runs go before one; None if that cannot be told, or if a long lane had to be looked through."""
        lane = self.lanes[position.lane]
        # Where two lanes wait for the same places, what each of them has does not tell how many go first.
        are_two = position.lane in (READY, GUESTS) and READY in self.lanes and GUESTS in self.lanes
        return None if are_two or len(lane) > MOST_COUNTED else lane.before(position)

    def next_attempt(self) -> int | None:
        """The boot instant of the next delayed attempt; None if no run is delayed."""
        lane = self.lanes.get(DELAYED)
        return lane.first().not_before if lane else None

    def release_delayed(self, boot_ms: int) -> None:
        """Releases the delayed runs whose instant has come: from now on, they wait for a free place."""
        while (instant := self.next_attempt()) is not None and instant <= boot_ms:
            self._release(DELAYED)

    def take(self, has_room: Callable[[str], bool], guests_fit: bool) -> Waiter | None:
        """Removes and returns the next run to start. Runs whose program has no room move to the lane of its limit.

        `guests_fit`: whether guests get a place.
        """
        while waiter := self._pop(self._first_ready(guests_fit)):
            if has_room(waiter.program):
                return waiter
            self._enter(Position(0, waiter, LaneName("limited", waiter.program)))
        return None

    def _first_ready(self, guests_fit: bool) -> LaneName:
        """The lane whose first run was claimed earlier."""
        if not guests_fit or GUESTS not in self.lanes:
            return READY
        return GUESTS if READY not in self.lanes else min(READY, GUESTS, key=lambda name: self.lanes[name].first())

    def release_program(self, program: str) -> None:
        """Releases one run that waits for the program's limit, after a run has ended or the limit was raised."""
        self._release(LaneName("limited", program))

    def pass_guests(self, has_room: Callable[[str], bool]) -> bool:
        """Lets runs pass those of guests that `release_program` has released, but that got no place. Returns whether any does.

        Otherwise one guest would keep a program from all others while it has room. One run of each other guest passes,
        and one of the trusted users. They take no turn: runs that come too late at their places wait for the limit again.
        """
        if GUESTS not in self.lanes:
            # Thousands of programs may be at their limits, and each turn asks.
            return False
        return sum(self._pass_guests_of(program) for program in list(self.at_limit) if has_room(program)) > 0

    def _pass_guests_of(self, program: str) -> int:
        lane = self.lanes[LaneName("limited", program)]
        assert isinstance(lane, SharedLane)
        passed = 0
        for position in lane.firsts():
            if (program, None) in self.released:
                break
            if (program, position.waiter.guest) not in self.released:
                self._take_out(position)
                self.changes.append((position, False))
                self.add(position.waiter)
                passed += 1
        return passed

    def release_job(self, job: int) -> None:
        """Releases the next run that waits for the job's earlier runs, after they have ended."""
        self._release(LaneName("blocked", job))

    def awaited_users(self) -> list[int]:
        """The users whose look-up some run waits for."""
        return [name.of for name in self.lanes if name.where == "unidentified" and isinstance(name.of, int)]

    def release_user(self, uid: int) -> None:
        """Releases all runs that wait for the look-up of a user."""
        while self._release(LaneName("unidentified", uid)):
            pass

    def _release(self, name: LaneName) -> bool:
        """Moves the first run of a lane to those that wait for a free place. Returns False if no run waits in it."""
        waiter = self._pop(name)
        if waiter is None:
            return False
        self.add(waiter)
        return True

    def jobs(self) -> list[int]:
        """The jobs with waiting runs."""
        return list(self._positions)

    def remove_job(self, job: int, before: RunKey | None = None) -> list[RunKey]:
        """Removes the waiting runs of a job, all or those before one, and returns them in their order."""
        waiting = self._positions.get(job, {})
        return self._remove(waiting[key] for key in waiting if before is None or key < before)

    def remove(self, key: RunKey) -> bool:
        """Removes a run. Returns False if it does not wait."""
        position = self._positions.get(key.job, {}).get(key)
        return bool(self._remove([] if position is None else [position]))

    def change_turn(self, key: RunKey, turn: int | None) -> None:
        """Gives the delivery of an alert the turn of another user, if it waits."""
        position = self._positions.get(key.job, {}).get(key)
        if position is not None and position.waiter.alert_turn != turn:
            self._take_out(position)
            self.changes.append((position, False))
            self._enter(position._replace(waiter=position.waiter._replace(alert_turn=turn)))

    def _remove(self, removed: Iterable[Position]) -> list[RunKey]:
        positions = sorted(removed, key=lambda position: position.waiter)
        for position in positions:
            self._take_out(position)
            self.changes.append((position, False))
        # A removed run may be the one that `release_program` has released. Then the next one of its program may go on.
        for position in positions:
            if position.lane.where in ("ready", "guests", "unidentified"):
                self.release_program(position.waiter.program)
        return [position.waiter.key for position in positions]

    def undo(self, down_to: int) -> None:
        """Undoes the last changes, until `down_to` of them are left."""
        while len(self.changes) > down_to:
            position, has_entered = self.changes.pop()
            if has_entered:
                self._take_out(position)
            else:
                self._put(position)


def _add(counter: Counter[Key], key: Key, change: int) -> None:
    """Adds to a count. One that becomes zero is removed."""
    counter[key] += change
    if not counter[key]:
        del counter[key]
