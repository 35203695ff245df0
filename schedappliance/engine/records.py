"""Users and jobs, and the keys that name runs, attempts and processes. The rows of runs are in store/runs.py.

Rule: a run names its job by number, and may outlive it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from schedappliance.model.commands import Command

Origin = Literal["console", "spool", "stanza"]
# How the text of the due times begins for `at = boot`; the id of the boot follows.
AT_BOOT = "boot "
Kind = Literal["at", "in", "every", "run", "calendar"]


class User(NamedTuple):
    """Who gave a command: peer credentials, owner of a drop, or `@config` for the stanza files.

    A command of `on_failure` is of `@config` too, but with the uid of the user whose run failed, whose shares it takes.
    """

    uid: int
    name: str


CONFIG_USER = User(0, "@config")


def nameless(uid: int) -> str:
    """The name of a user whom the system does not name."""
    return f"uid-{uid}"


class Hold(NamedTuple):
    """Maintenance, during which nothing new starts. Instants are wall milliseconds; `reason` may be empty.

    `user` gave it, or changed it last. `until_ms`: when it ended; None while it lasts. `ends_ms`: its planned end; None: it
    lasts until its release.
    """

    since_ms: int
    user: User
    reason: str
    until_ms: int | None = None
    ends_ms: int | None = None

    def moved(self, by_ms: int) -> Hold:
        """The same hold after the clock was set forward by this many milliseconds."""
        until = None if self.until_ms is None else self.until_ms + by_ms
        ends = None if self.ends_ms is None else self.ends_ms + by_ms
        return self._replace(since_ms=self.since_ms + by_ms, until_ms=until, ends_ms=ends)

    def covers(self, instant_ms: int) -> bool:
        """Whether an instant lies within the hold."""
        return self.since_ms <= instant_ms and (self.until_ms is None or instant_ms < self.until_ms)


# The system gives this number to no user.
NO_UID = -1


class KnownUser(NamedTuple):
    """A user as the system knows them at one moment: the name, and the groups by name and by number.

    `uid`: NO_UID if the user was looked up by a name that the system does not know.
    `problem`: why the look-up failed, so that name and groups are not known; None if it did not fail.
    """

    uid: int
    name: str
    groups: frozenset[str] = frozenset()
    gids: frozenset[int] = frozenset()
    problem: str | None = None

    @property
    def user(self) -> User:
        return User(self.uid, self.name)


class RunKey(NamedTuple):
    """A run, named by job number and occurrence; prints as `NODE-%09d/OCCURRENCE`."""

    job: int
    occurrence: int


class AttemptKey(NamedTuple):
    """One start of a run's program; the first attempt is number 1."""

    run: RunKey
    attempt: int


class ProcessKey(NamedTuple):
    """A process of one boot. The kernel uses pids again, so the start time is a part of the key.

    `start_ticks`: clock ticks from boot to the start, field 22 of /proc/PID/stat; 0 if it is not known. `namespace`: the pid
    namespace in which the pid counts; empty for that of the daemon.
    """

    pid: int
    start_ticks: int
    namespace: str = ""


def job_id(node: str, number: int) -> str:
    return f"{node}-{number:09d}"


def run_id(node: str, key: RunKey) -> str:
    return f"{job_id(node, key.job)}/{key.occurrence}"


def job_number(node: str, text: str) -> int | None:
    """The number in a job id of this node; None for any other text."""
    prefix, dash, digits = text.rpartition("-")
    if prefix != node or not dash or not digits.isascii() or not digits.isdigit() or not 9 <= len(digits) <= 18:
        return None
    return int(digits) if job_id(node, int(digits)) == text else None


class NewJob(NamedTuple):
    """A job to be stored. The store gives it a number. `schedule`, `boot`: as in Job."""

    kind: Kind
    next_run_ms: int | None
    interval_ms: int | None
    command: Command
    user: User
    origin: Origin
    declared: str | None = None
    schedule: str | None = None
    enabled: bool = True
    on_failure_of: RunKey | None = None
    boot: str | None = None


class Job(NamedTuple):
    """A stored job. `occurrence`: the last one that was claimed or missed. `next_run_ms`: None if nothing more is planned.

    `interval_ms`: of kind `every`. `schedule`: of a declared job, a calendar and a timed alert, the text of their due times.
    `on_failure_of`: the failed run whose `on_failure` made the job, or made the job that made it; None for other jobs.
    `boot`: the last boot in which the job was due by `at = boot`, before its due times were changed; None if in none.
    """

    number: int
    kind: Kind
    next_run_ms: int | None
    interval_ms: int | None
    occurrence: int
    text: str
    command: Command | None
    user: User
    origin: Origin
    declared: str | None = None
    schedule: str | None = None
    enabled: bool = True
    paused: bool = False
    on_failure_of: RunKey | None = None
    boot: str | None = None

    @property
    def is_at_boot(self) -> bool:
        """Whether the job runs once in each boot of the machine."""
        return self.declared is not None and (self.schedule or "").startswith(AT_BOOT)

    @property
    def has_calendar(self) -> bool:
        """Whether a calendar decides its due times. A timed alert, a job of kind `run`, is due once."""
        return self.kind == "calendar" or (self.kind == "run" and self.schedule is not None)

    @property
    def recurrent(self) -> bool:
        return self.kind in ("every", "calendar")


class UnclaimableJobs(NamedTuple):
    """Jobs that are not claimed now, even if they are due: all jobs of these users, and the jobs with these numbers."""

    uids: list[int]
    numbers: list[int]


NONE_UNCLAIMABLE = UnclaimableJobs([], [])


def run_environment(node: str, store: str, key: AttemptKey, due_ms: int) -> tuple[tuple[str, str], ...]:
    """The variables that describe a run to its program. `store`: its identity, since two stores may have the same node."""
    return (
        ("SCHED_JOB_ID", job_id(node, key.run.job)),
        ("SCHED_RUN_ID", run_id(node, key.run)),
        ("SCHED_DUE_TIME", str(due_ms // 1000)),
        ("SCHED_ATTEMPT", str(key.attempt)),
        ("SCHED_NODE", node),
        ("SCHED_STORE", store),
    )


def reserve_of(number: int) -> int:
    """How many of a number of places are kept for root and the user of the appliance: an eighth, at least one of two."""
    return max(number // 8, int(number > 1))
