"""Who users are now. The edge asks the system; the events and jobs that need the answer wait here.

Rule: nothing else waits, and the commands of one user keep their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schedappliance.engine.effects import LookUpUsers
from schedappliance.engine.events import ConnectionClosed, DropClaimed, LineTyped, UsersLookedUp
from schedappliance.engine.records import Job, KnownUser
from schedappliance.store.jobs import NONE_HELD, HeldJobs

# An answer is used for this long, so that many commands in a row cause one question.
FRESH_MS = 1000

Uids = tuple[int, ...]
# The events that carry commands of a user.
Input = LineTyped | DropClaimed
WaitingEvent = Input | ConnectionClosed


@dataclass(slots=True)
class KnownUsers:
    """The users that were looked up, the questions, and the events and jobs that wait for an answer.

    `events`: lines and drops that wait, in their order, with the users that they wait for. `jobs`: due jobs that wait,
    by their users. `wanted`: the questions to ask next. A failed commit undoes neither questions nor answers, since they
    have left the appliance or come from outside it.
    """

    events: list[tuple[Uids, WaitingEvent]] = field(default_factory=list)
    jobs: dict[Uids, dict[int, Job]] = field(default_factory=dict)
    wanted: dict[Uids, None] = field(default_factory=dict)
    _known: dict[int, tuple[KnownUser, int]] = field(default_factory=dict)
    _asked: set[Uids] = field(default_factory=set)
    _last: dict[int, Uids] = field(default_factory=dict)

    def last(self, uid: int) -> KnownUser | None:
        """The user as of the last answer of the system; None if the user was never looked up."""
        known = self._known.get(uid)
        return known[0] if known else None

    def are_fresh(self, uids: Uids, boot_ms: int) -> bool:
        return all(uid in self._known and boot_ms - self._known[uid][1] <= FRESH_MS for uid in uids)

    def ask(self, uids: Uids) -> None:
        """Asks for these users. One question names all of them, so that their answers have the same age."""
        if uids not in self._asked:
            self.wanted[uids] = None

    def put_off(self, uids: Uids, event: Input) -> None:
        """Lets a line or a drop wait until these users are known."""
        self.ask(uids)
        self.events.append((uids, event))
        self._last[event.user.uid] = uids

    def put_closing_off(self, event: ConnectionClosed) -> bool:
        """Defers the end of a connection until its lines have been handled. Returns False if none of its lines waits."""
        for uids, waiting in reversed(self.events):
            if isinstance(waiting, LineTyped) and waiting.connection == event.connection:
                self.events.append((uids, event))
                return True
        return False

    def put_job_off(self, uids: Uids, job: Job) -> None:
        """Lets a due job wait until these users are known."""
        self.ask(uids)
        self.jobs.setdefault(uids, {})[job.number] = job

    def awaited_by_last(self, event: Input) -> Uids | None:
        """The users that the last waiting event of the same user waits for: the next event must wait for them too."""
        return self._last.get(event.user.uid)

    def undo(self, count: int) -> None:
        """Keeps the first `count` waiting events. The turn that failed added the others, and handles them again."""
        self._keep(self.events[:count])

    def _keep(self, events: list[tuple[Uids, WaitingEvent]]) -> None:
        self.events = events
        self._last = {event.user.uid: uids for uids, event in events if not isinstance(event, ConnectionClosed)}

    def held_jobs(self) -> HeldJobs:
        """The jobs to skip: all jobs of a user while one of them waits, and each waiting job of the stanza files."""
        jobs = [job for waiting in self.jobs.values() for job in waiting.values()]
        if not jobs:
            return NONE_HELD
        uids = sorted({job.user.uid for job in jobs if job.origin != "stanza"})
        return HeldJobs(uids, sorted(job.number for job in jobs if job.origin == "stanza"))

    def questions(self) -> list[LookUpUsers]:
        """The new questions, as effects. Each question is asked once."""
        wanted, self.wanted = self.wanted, {}
        self._asked.update(wanted)
        return [LookUpUsers(uids) for uids in wanted]

    def learn(self, answer: UsersLookedUp, boot_ms: int) -> list[WaitingEvent]:
        """Stores an answer of the system and returns the events that waited for it."""
        uids = tuple(known.uid for known in answer.known)
        self._known.update({known.uid: (known, boot_ms) for known in answer.known})
        self._asked.discard(uids)
        self.jobs.pop(uids, None)
        released = [event for awaited, event in self.events if awaited == uids]
        self._keep([waiting for waiting in self.events if waiting[0] != uids])
        return released
