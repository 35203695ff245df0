"""Who users are now. The system is asked at the edge; what needs the answer waits here, and everything else goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from schedappliance.engine.effects import LookUpUsers
from schedappliance.engine.events import ConnectionClosed, DropClaimed, LineTyped, UsersLookedUp
from schedappliance.engine.records import Job, KnownUser
from schedappliance.store.jobs import NONE_HELD, HeldJobs

# An answer counts for so long: many commands in a row are one question.
FRESH_MS = 1000

Uids = tuple[int, ...]
Given = LineTyped | DropClaimed
Held = Given | ConnectionClosed


@dataclass(slots=True)
class KnownUsers:
    """What is known, what is asked, and what waits for an answer: lines and drops in their order, and due jobs.

    What is known and asked is of the world outside, so a failed commit does not undo it.
    """

    _known: dict[int, tuple[KnownUser, int]] = field(default_factory=dict)
    wanted: dict[Uids, None] = field(default_factory=dict)
    _asked: set[Uids] = field(default_factory=set)
    jobs: dict[Uids, dict[int, Job]] = field(default_factory=dict)
    held: list[tuple[Uids, Held]] = field(default_factory=list)
    _waits: dict[int, Uids] = field(default_factory=dict)

    def last(self, uid: int) -> KnownUser | None:
        """Who a user was when the system was asked last."""
        found = self._known.get(uid)
        return found[0] if found else None

    def are_fresh(self, uids: Uids, boot_ms: int) -> bool:
        return all(uid in self._known and boot_ms - self._known[uid][1] <= FRESH_MS for uid in uids)

    def ask(self, uids: Uids) -> None:
        """All of them at once, so that all of them are fresh at once."""
        if uids not in self._asked:
            self.wanted[uids] = None

    def put_off(self, uids: Uids, event: Given) -> None:
        self.ask(uids)
        self.held.append((uids, event))
        self._waits[event.user.uid] = uids

    def put_closing_off(self, event: ConnectionClosed) -> bool:
        """The end of a connection does not overtake its lines."""
        for uids, held in reversed(self.held):
            if isinstance(held, LineTyped) and held.connection == event.connection:
                self.held.append((uids, event))
                return True
        return False

    def waits(self, event: Given) -> Uids | None:
        """What the last event of the same user waits for: nobody's commands overtake each other."""
        return self._waits.get(event.user.uid)

    def undo(self, count_held: int) -> None:
        """Only so many wait again: the others were held in a turn that failed, and come back."""
        self._keep(self.held[:count_held])

    def _keep(self, given: list[tuple[Uids, Held]]) -> None:
        self.held = given
        self._waits = {held.user.uid: uids for uids, held in given if not isinstance(held, ConnectionClosed)}

    def put_job_off(self, uids: Uids, job: Job) -> None:
        self.ask(uids)
        self.jobs.setdefault(uids, {})[job.number] = job

    def held_jobs(self) -> HeldJobs:
        """Of a user's jobs none is looked at while one of them waits; those of the files wait one by one."""
        if not self.jobs:
            return NONE_HELD
        jobs = [job for waiting in self.jobs.values() for job in waiting.values()]
        uids = sorted({job.user.uid for job in jobs if job.origin != "stanza"})
        return HeldJobs(uids, sorted(job.number for job in jobs if job.origin == "stanza"))

    def questions(self) -> list[LookUpUsers]:
        """What is to be asked now; each question once."""
        wanted, self.wanted = self.wanted, {}
        self._asked.update(wanted)
        return [LookUpUsers(uids) for uids in wanted]

    def learn(self, answer: UsersLookedUp, boot_ms: int) -> list[Held]:
        """Takes an answer; returns the events that waited for it."""
        uids = tuple(known.uid for known in answer.known)
        self._known.update({known.uid: (known, boot_ms) for known in answer.known})
        self._asked.discard(uids)
        self.jobs.pop(uids, None)
        released = [event for waited, event in self.held if waited == uids]
        self._keep([held for held in self.held if held[0] != uids])
        return released
