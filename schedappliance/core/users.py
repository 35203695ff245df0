"""The names and groups of users: asks the edge for them, keeps the answers, and lets the lines, drops and jobs that need one wait.

Rule: nothing else waits, and the commands of one user keep their order. An error of a look-up is no answer: it is repeated
for a bounded time, and the last answer stands meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schedappliance.engine.effects import LookUpUser
from schedappliance.engine.events import ConnectionClosed, DropClaimed, LineTyped, UserLookedUp
from schedappliance.engine.intake import WaitingDrop
from schedappliance.engine.records import NO_UID, Job, KnownUser
from schedappliance.store.jobs import NONE_UNCLAIMABLE, UnclaimableJobs

# An answer is used for this long, so that many commands in a row cause one question.
FRESH_MS = 1000
# A question is waited for this long. From then on the last answer stands, if it is not too old: a directory service that
# hangs must not stop the users that it knew, and a user that was removed from a group must not keep its roles forever.
GRACE_MS = 1000
STANDS_MS = 600_000
# A look-up that failed is repeated at this interval. Without any answer for this time, the user is treated as unknown.
AGAIN_MS = 1000
PATIENCE_MS = 120_000

# Users by number, or by the name that a client gives.
Who = int | str
Uids = tuple[Who, ...]
# The events that carry commands of a user.
Input = LineTyped | DropClaimed
WaitingEvent = Input | ConnectionClosed


@dataclass(slots=True)
class _Question:
    """A question without an answer yet. `since`: when it was first asked. `problem`, `again_at`: why the look-up failed
    the last time, and when it is repeated; None while it is under way."""

    since: int
    problem: str | None = None
    again_at: int | None = None


@dataclass(slots=True)
class KnownUsers:
    """The users that were looked up, the questions, and the events and jobs that wait for an answer.

    `events`: lines and drops that wait, in their order, with the users that they wait for. `jobs`: due jobs that wait,
    by their users. `wanted`: the questions to ask next. A failed commit undoes neither questions nor answers, since they
    have left the appliance or come from outside it.
    """

    events: list[tuple[Uids, WaitingEvent]] = field(default_factory=list)
    jobs: dict[Uids, dict[int, Job]] = field(default_factory=dict)
    wanted: dict[Who, None] = field(default_factory=dict)
    _known: dict[Who, tuple[KnownUser, int]] = field(default_factory=dict)
    asked: dict[Who, _Question] = field(default_factory=dict)
    _last: dict[int, Uids] = field(default_factory=dict)

    def last(self, uid: Who) -> KnownUser | None:
        """The user as of the last answer of the system; None if the user was never looked up."""
        known = self._known.get(uid)
        return known[0] if known else None

    def are_usable(self, uids: Uids, boot_ms: int) -> bool:
        """Whether all of these users can be judged: by a fresh answer, or by the last one if a new one does not come."""
        return all(self._is_fresh(uid, boot_ms) or self._stands(uid, boot_ms) for uid in uids)

    def _is_fresh(self, uid: Who, boot_ms: int) -> bool:
        return uid in self._known and boot_ms - self._known[uid][1] <= FRESH_MS

    def _stands(self, uid: Who, boot_ms: int) -> bool:
        question = self.asked.get(uid)
        if question is None or uid not in self._known:
            return False
        return (question.problem is not None or boot_ms - question.since >= GRACE_MS) and not self._is_old(uid, boot_ms)

    def _is_old(self, uid: Who, boot_ms: int) -> bool:
        return boot_ms - self._known[uid][1] > STANDS_MS

    def ask(self, uids: Uids, boot_ms: int) -> None:
        """Asks for those of the users that were not looked up a moment ago, each by a question of its own."""
        for uid in uids:
            if uid not in self.asked and not self._is_fresh(uid, boot_ms):
                self.wanted[uid] = None

    def put_off(self, uids: Uids, event: Input, boot_ms: int) -> None:
        """Lets a line or a drop wait until these users can be judged."""
        self.ask(uids, boot_ms)
        self.events.append((uids, event))
        self._last[event.user.uid] = uids

    def put_closing_off(self, event: ConnectionClosed) -> bool:
        """Defers the end of a connection until its lines have been handled. Returns False if none of its lines waits."""
        for uids, waiting in reversed(self.events):
            if isinstance(waiting, LineTyped) and waiting.connection == event.connection:
                self.events.append((uids, event))
                return True
        return False

    def put_job_off(self, uids: Uids, job: Job, boot_ms: int) -> None:
        """Lets a due job wait until these users can be judged."""
        self.ask(uids, boot_ms)
        self.jobs.setdefault(uids, {})[job.number] = job

    def awaited_by_last(self, event: Input) -> Uids | None:
        """The users that the last waiting event of the same user waits for: the next event must wait for them too."""
        return self._last.get(event.user.uid)

    def waiting_drops(self) -> list[WaitingDrop]:
        """The drops among the events that wait."""
        return [
            WaitingDrop(event.name, f"waits for the look-up of {_named(uids)}", event.arrived_ms)
            for uids, event in self.events
            if isinstance(event, DropClaimed)
        ]

    def undo_events(self, count: int) -> None:
        """Keeps the first `count` waiting events. The turn that failed added the others, and handles them again."""
        self._keep(self.events[:count])

    def _keep(self, events: list[tuple[Uids, WaitingEvent]]) -> None:
        self.events = events
        self._last = {event.user.uid: uids for uids, event in events if not isinstance(event, ConnectionClosed)}

    def unclaimable_jobs(self) -> UnclaimableJobs:
        """The jobs to skip: all jobs of a user while one of them waits, and each waiting job of the stanza files."""
        jobs = [job for waiting in self.jobs.values() for job in waiting.values()]
        if not jobs:
            return NONE_UNCLAIMABLE
        uids = sorted({job.user.uid for job in jobs if job.origin != "stanza"})
        return UnclaimableJobs(uids, sorted(job.number for job in jobs if job.origin == "stanza"))

    def take_questions(self, boot_ms: int) -> list[LookUpUser]:
        """Returns the new questions as effects, and notes them as asked. Each user is asked for once at a time."""
        wanted, self.wanted = self.wanted, {}
        for uid in wanted:
            question = self.asked.setdefault(uid, _Question(boot_ms))
            question.again_at = None
        return [LookUpUser(uid) for uid in wanted]

    def learn(self, answers: list[UserLookedUp], boot_ms: int) -> list[WaitingEvent]:
        """Stores answers of the system. Returns the events whose users can be judged now; jobs of such users wait no more."""
        for known, name in [(answer.known, answer.asked) for answer in answers]:
            who = known.uid if name is None else name
            if known.problem is None:
                if known.uid == NO_UID:
                    self._forget_names(boot_ms)
                self._known |= dict.fromkeys({who, known.uid} - {NO_UID}, (known, boot_ms))
                self.asked.pop(who, None)
            elif question := self.asked.get(who):
                question.problem, question.again_at = known.problem, boot_ms + AGAIN_MS
        self._follow_questions(boot_ms)
        self.jobs = {uids: jobs for uids, jobs in self.jobs.items() if not self.are_usable(uids, boot_ms)}
        released = self._release(boot_ms)
        # An answer may have become too old while the look-up of another user took long.
        for uids in [*self.jobs, *(uids for uids, _ in self.events)]:
            self.ask(uids, boot_ms)
        return released

    def _forget_names(self, boot_ms: int) -> None:
        """Forgets names that no user has: a client could ask for a new one with each line."""
        for who, (known, _) in list(self._known.items()):
            if known.uid == NO_UID and not self._is_fresh(who, boot_ms):
                del self._known[who]

    def _follow_questions(self, boot_ms: int) -> None:
        """Repeats look-ups that failed. After PATIENCE_MS, a user without a usable answer counts as unknown."""
        for uid, question in list(self.asked.items()):
            if boot_ms - question.since < PATIENCE_MS:
                if question.again_at is not None and question.again_at <= boot_ms:
                    self.wanted[uid] = None
                continue
            if uid not in self._known or self._is_old(uid, boot_ms):
                problem = question.problem or "the system does not answer"
                number, name = (NO_UID, uid) if isinstance(uid, str) else (uid, f"uid-{uid}")
                self._known[uid] = KnownUser(number, name, problem=problem), boot_ms
            # A look-up that hangs stays asked, so that no other one hangs beside it.
            if question.again_at is not None:
                del self.asked[uid]

    def _release(self, boot_ms: int) -> list[WaitingEvent]:
        """Takes out the events whose users can be judged. None overtakes an earlier one of its user or its connection."""
        released: list[WaitingEvent] = []
        waiting: list[tuple[Uids, WaitingEvent]] = []
        users, connections = set[int](), set[int]()
        for uids, event in self.events:
            if isinstance(event, ConnectionClosed):
                waits = event.connection in connections
            else:
                waits = event.user.uid in users or not self.are_usable(uids, boot_ms)
                users |= {event.user.uid} if waits else set()
            if waits:
                waiting.append((uids, event))
                connections |= {event.connection} if isinstance(event, LineTyped) else set()
            else:
                released.append(event)
        self._keep(waiting)
        return released

    def next_step(self, boot_ms: int) -> int | None:
        """The next instant at which a user can be judged, or is looked up again, without an answer of the system."""
        steps: list[int] = []
        for uid, question in self.asked.items():
            steps += [question.since + GRACE_MS, question.since + PATIENCE_MS, question.again_at or 0]
            steps.append(self._known[uid][1] + STANDS_MS + 1 if uid in self._known else 0)
        return min((step for step in steps if step > boot_ms), default=None)


def _named(uids: Uids) -> str:
    return ", ".join(f"user {uid}" for uid in uids)
