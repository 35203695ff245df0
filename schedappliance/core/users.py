"""The names and groups of users: asks the edge for them, keeps the answers, and lets the lines, drops and jobs that need one wait.

Rule: nothing else waits, and the commands of one user keep their order. A look-up that fails gives no answer. It is repeated
for a bounded time, and meanwhile the last answer is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from schedappliance.engine.effects import LookUpUser
from schedappliance.engine.events import ConnectionClosed, DropClaimed, LineTyped, UserLookedUp
from schedappliance.engine.intake import WaitingDrop
from schedappliance.engine.records import NO_UID, NONE_UNCLAIMABLE, Job, KnownUser, UnclaimableJobs, nameless

# A line of user 1000 arrives, and it needs the user's groups. What happens, by the milliseconds since the line arrived:
#
#        0   The last answer of the system is older than FRESH_MS. The line waits in `events`, and LookUpUser asks the edge.
#       10   The usual case: UserLookedUp brings the answer. `learn` releases the line, and the turn carries it out.
#     1000   No answer has come. From GRACE_MS on, the last answer is used, unless it is older than STANDS_MS.
#  120,000   Still none, and no answer that may be used. From PATIENCE_MS on, the user counts as unknown, without name and groups.
#
# If the look-up fails (UserLookedUp has a problem), the last answer is used at once, and the question is asked again every
# AGAIN_MS. Without a last answer that may be used, the line waits, at most until PATIENCE_MS.

# A younger answer than this is used without a new question, so that many commands in a row cause one.
FRESH_MS = 1000
# After this time without an answer, the last one is used: a directory service that hangs must not stop users whom it knew.
GRACE_MS = 1000
# An older answer than this is never used: a user who was removed from a group must not keep its roles forever.
STANDS_MS = 600_000
# The pause before a look-up that has failed is repeated.
AGAIN_MS = 1000
# After this time without an answer that may be used, the user counts as unknown.
PATIENCE_MS = 120_000

# Users by number, or by the name that a client gives.
Who = int | str
Users = tuple[Who, ...]
# The events that carry commands of a user.
Input = LineTyped | DropClaimed
WaitingEvent = Input | ConnectionClosed


class _Known(NamedTuple):
    """The last answer about a user, and the boot instant at which it came."""

    user: KnownUser
    at_ms: int


@dataclass(slots=True)
class _Question:
    """A question without an answer yet."""

    # When it was first asked.
    since: int
    # Why the last look-up failed, and when it is repeated; None while a look-up is under way.
    problem: str | None = None
    again_at: int | None = None


@dataclass(slots=True)
class KnownUsers:
    """The users that were looked up, the questions, and the events and jobs that wait for an answer.

    A failed commit undoes neither questions nor answers, since they have left the appliance or come from outside it. It
    undoes only the events that the turn has put off. The jobs stay: they are still due, and the answers release them.
    """

    # Lines and drops that wait, in their order, with the users that they wait for.
    events: list[tuple[Users, WaitingEvent]] = field(default_factory=list)
    # Due jobs that wait, by the users that they wait for.
    jobs: dict[Users, dict[int, Job]] = field(default_factory=dict)
    # The questions that the next `take_questions` returns, and those that have no answer yet.
    wanted: dict[Who, None] = field(default_factory=dict)
    asked: dict[Who, _Question] = field(default_factory=dict)
    _known: dict[Who, _Known] = field(default_factory=dict)
    # What the last waiting event of each user waits for.
    _awaited: dict[int, Users] = field(default_factory=dict)

    def last_answer(self, who: Who) -> KnownUser | None:
        """The user as of the last answer of the system; None if the user was never looked up."""
        known = self._known.get(who)
        return known.user if known else None

    def are_usable(self, users: Users, boot_ms: int) -> bool:
        """Whether all of these users can be judged: by a fresh answer, or by the last one if a new one does not come."""
        return all(self._is_fresh(who, boot_ms) or self._may_use_last(who, boot_ms) for who in users)

    def _is_fresh(self, who: Who, boot_ms: int) -> bool:
        return who in self._known and boot_ms - self._known[who].at_ms <= FRESH_MS

    def _may_use_last(self, who: Who, boot_ms: int) -> bool:
        question = self.asked.get(who)
        if question is None or who not in self._known:
            return False
        return (question.problem is not None or boot_ms - question.since >= GRACE_MS) and not self._is_old(who, boot_ms)

    def _is_old(self, who: Who, boot_ms: int) -> bool:
        return boot_ms - self._known[who].at_ms > STANDS_MS

    def ask(self, users: Users, boot_ms: int) -> None:
        """Asks for those of the users that were not looked up a moment ago, each by a question of its own."""
        for who in users:
            if who not in self.asked and not self._is_fresh(who, boot_ms):
                self.wanted[who] = None

    def put_off(self, users: Users, event: Input, boot_ms: int) -> None:
        """Lets a line or a drop wait until these users can be judged."""
        self.ask(users, boot_ms)
        self.events.append((users, event))
        self._awaited[event.user.uid] = users

    def put_closing_off(self, event: ConnectionClosed) -> bool:
        """Defers the end of a connection until its lines have been handled.

        Returns False if none of its lines waits.
        """
        for users, waiting in reversed(self.events):
            if isinstance(waiting, LineTyped) and waiting.connection == event.connection:
                self.events.append((users, event))
                return True
        return False

    def put_job_off(self, users: Users, job: Job, boot_ms: int) -> None:
        """Lets a due job wait until these users can be judged."""
        self.ask(users, boot_ms)
        self.jobs.setdefault(users, {})[job.number] = job

    def awaited_by_last(self, event: Input) -> Users | None:
        """What the last waiting event of the same user waits for; None if none waits.

        The next event must wait for the same, or it would overtake.
        """
        return self._awaited.get(event.user.uid)

    def waiting_drops(self) -> list[WaitingDrop]:
        """The drops among the events that wait."""
        return [
            WaitingDrop(event.name, f"waits for the look-up of {_named(users)}", event.arrived_ms)
            for users, event in self.events
            if isinstance(event, DropClaimed)
        ]

    def undo_events(self, count: int) -> None:
        """Keeps the first `count` waiting events. The turn that failed added the others; the next try handles them."""
        self._keep(self.events[:count])

    def _keep(self, events: list[tuple[Users, WaitingEvent]]) -> None:
        self.events = events
        self._awaited = {event.user.uid: users for users, event in events if not isinstance(event, ConnectionClosed)}

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
        for who in wanted:
            question = self.asked.setdefault(who, _Question(boot_ms))
            question.again_at = None
        return [LookUpUser(who) for who in wanted]

    def learn(self, answers: list[UserLookedUp], boot_ms: int) -> list[WaitingEvent]:
        """Keeps answers of the system.

        Returns the events whose users can be judged now; jobs of such users wait no more.
        """
        for answer in answers:
            self._keep_answer(answer, boot_ms)
        self._follow_questions(boot_ms)
        self.jobs = {users: jobs for users, jobs in self.jobs.items() if not self.are_usable(users, boot_ms)}
        released = self._release(boot_ms)
        # An answer may have become too old while the look-up of another user took long.
        for users in [*self.jobs, *(users for users, _ in self.events)]:
            self.ask(users, boot_ms)
        return released

    def _keep_answer(self, answer: UserLookedUp, boot_ms: int) -> None:
        user = answer.known
        who = user.uid if answer.asked is None else answer.asked
        if user.problem is None:
            if user.uid == NO_UID:
                self._forget_names(boot_ms)
            # By the name that was asked for and by the number. A name that no user has gives no number.
            for key in {who, user.uid} - {NO_UID}:
                self._known[key] = _Known(user, boot_ms)
            self.asked.pop(who, None)
        elif question := self.asked.get(who):
            question.problem = user.problem
            question.again_at = boot_ms + AGAIN_MS

    def _forget_names(self, boot_ms: int) -> None:
        """Forgets names that no user has: a client could ask for a new one with each line."""
        for who, known in list(self._known.items()):
            if known.user.uid == NO_UID and not self._is_fresh(who, boot_ms):
                del self._known[who]

    def _follow_questions(self, boot_ms: int) -> None:
        """Repeats look-ups that failed, and gives questions up after PATIENCE_MS."""
        for who, question in list(self.asked.items()):
            if boot_ms - question.since >= PATIENCE_MS:
                self._give_up(who, question, boot_ms)
            elif question.again_at is not None and question.again_at <= boot_ms:
                self.wanted[who] = None

    def _give_up(self, who: Who, question: _Question, boot_ms: int) -> None:
        """Ends a question. A user without an answer that may be used counts as unknown, as long as look-ups fail."""
        if who not in self._known or self._is_old(who, boot_ms) or self._known[who].user.problem is not None:
            problem = question.problem or "the system does not answer"
            number, name = (NO_UID, who) if isinstance(who, str) else (who, nameless(who))
            self._known[who] = _Known(KnownUser(number, name, problem=problem), boot_ms)
        # A look-up that hangs stays asked, so that no other one hangs beside it.
        if question.again_at is not None:
            del self.asked[who]

    def _release(self, boot_ms: int) -> list[WaitingEvent]:
        """Takes out the events whose users can be judged.

        None overtakes an earlier one of its user or its connection.
        """
        released: list[WaitingEvent] = []
        waiting: list[tuple[Users, WaitingEvent]] = []
        waiting_users, waiting_connections = set[int](), set[int]()
        for users, event in self.events:
            if isinstance(event, ConnectionClosed):
                waits = event.connection in waiting_connections
            else:
                waits = event.user.uid in waiting_users or not self.are_usable(users, boot_ms)
                if waits:
                    waiting_users.add(event.user.uid)
            if waits:
                waiting.append((users, event))
                if isinstance(event, LineTyped):
                    waiting_connections.add(event.connection)
            else:
                released.append(event)
        self._keep(waiting)
        return released

    def next_step(self, boot_ms: int) -> int | None:
        """When to look again if the system answers nothing: a user can be judged then, or is looked up once more."""
        steps: list[int] = []
        for who, question in self.asked.items():
            steps += [question.since + GRACE_MS, question.since + PATIENCE_MS]
            if question.again_at is not None:
                steps.append(question.again_at)
            if who in self._known:
                steps.append(self._known[who].at_ms + STANDS_MS + 1)
        return min((step for step in steps if step > boot_ms), default=None)


def _named(users: Users) -> str:
    return ", ".join(f"user {who}" for who in users)
