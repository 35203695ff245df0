"""What happens in the appliance: one connection with `watch` for all viewers of the page.

Rule: it only repeats what the appliance says. A page asks first whether its viewer may see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from schedappliance.client import schemas, shapes
from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.errors import Error, NotAuthorized, Rejected, Unavailable
from schedappliance.client.events import EVENTS, Event
from schedappliance.client.questions import error_in
from schedappliance.client.states import FAILED, LIVE
from schedappliance.client.wire import Message, lost, quoted
from schedappliance.clock import Clock
from schedappliance.web.appliance.columns import RunColumns, RunRow
from schedappliance.web.appliance.gateway import TOGETHER

Row = dict[str, Any]
T = TypeVar("T")
# The first jobs by their due time. A page that shows more asks the appliance.
MOST_JOBS = 20_000
PAGE = 1000
# While no appliance answers, and at most between two questions whether it still does.
RETRY_SECONDS, CHECK_SECONDS = 0.5, 10.0
# Between two readings, and the longest wait of an action for the next one.
PAUSE_SECONDS, ACTION_SECONDS = 1.0, 2.0
# A list of many jobs takes long, and is read again at most this often. Jobs that it does not hold may become the next ones.
LIST_SECONDS, LIST_AGAIN_SECONDS = 30.0, 300.0
# An answer that takes so long is awaited, but viewers are told. Until then, their own questions are looked after this often.
LATE_SECONDS, LOOK_SECONDS = 5.0, 1.0
PATIENCE_SECONDS = 30.0
# After more changes than this, the whole list takes less time than single rows.
MOST_SINGLE_ROWS = 50
# Each filling sorts all runs, and each row takes a kilobyte until then.
FILLED_AT_ONCE = 20_000
# Runs that are too old are forgotten this often.
FORGET_SECONDS = 3600.0
MOST_RUNS, MOST_PICTURES = 200_000, 20
FAILED_SHOWN = 20
NOT_DONE = (*FAILED, "missed")
# The questions of the feed that may be `quiet` (see docs/protocol.md): nobody has typed them.
QUIET = ("sched list", "sched incidents", "config show")


class Feed:
    """The jobs, the live runs, the last failures and the troubles of an appliance, and since when it does not answer."""

    def __init__(self, endpoint: Path, clock: Clock, history_ms: int, on_configuration: Callable[[], None]) -> None:
        self._endpoint, self._clock, self._on_configuration = endpoint, clock, on_configuration
        self._history_ms = history_ms
        self.columns = RunColumns()
        # Pictures that viewers share, and the due times of calendars in them.
        self.pictures: dict[Any, Any] = {}
        # The cells of jobs as they were drawn last, with the runs that they show, by the job and the zone.
        self.cells: dict[tuple[str, str], tuple[list[RunRow], Any]] = {}
        self.planned: dict[str, list[int]] = {}
        # The rows of `sched next` of the jobs that viewers look at, by the job and its next due time.
        self.due_times: dict[tuple[str, int], list[Row]] = {}
        # What calendars mean, by their job.
        self.words: dict[str, str] = {}
        self.jobs: dict[str, Row] = {}
        self.has_more_jobs = False
        self.live: dict[str, Row] = {}
        self.failed: dict[str, Row] = {}
        self.incidents: dict[int, Row] = {}
        self.health: Row = {"troubles": [], "held": None, "ready": False}
        self.refused: Row | None = None
        # The zone of `sched`, in which the appliance writes instants; None: that of the machine.
        self.zone: str | None = None
        self.silent_since_ms: int | None = clock.moment().wall
        # Empty: the page has just started.
        self.silent_reason = ""
        # Whether the silence is a question without an answer. The questions of viewers may then have none either.
        self._is_unanswered = False
        # Grows with each change that a page may show.
        self.version = 0
        # The version for which it was counted which jobs fail, and these jobs.
        self._failing: tuple[int, set[str]] = (-1, set())
        self._changed = asyncio.Event()
        # What must be read again: everything, the list of jobs (at once, or soon), the health, or some jobs; first those that
        # an action has changed.
        self._is_stale = self._are_jobs_stale = self._may_jobs_differ = self._is_health_stale = False
        self._stale: set[str] = set()
        self._acted_on: set[str] = set()
        # How many actions have asked for a reading, and how many of them have got it.
        self._asked = self._answered = 0
        # The events that have come since the reading of a list began; None: no list is being read.
        self._waiting: list[Row] | None = None
        # Boot times of the last reads.
        self._jobs_read_ms = self._health_read_ms = self._runs_read_ms = 0

    async def run(self) -> None:
        """Follows the appliance until it is cancelled."""
        while True:
            try:
                await self._follow()
            except Error as error:
                self._be_silent(str(error), isinstance(error, Unavailable) and error.unanswered)
            except Exception as error:
                # A bug must not leave a page that shows old facts as present ones.
                traceback.print_exc()
                self._be_silent(f"the page has failed: {error!r}")
            await asyncio.sleep(RETRY_SECONDS)

    async def wait_after(self, version: int, seconds: float) -> int:
        """The present version, as soon as it differs from this one, or after a time."""
        await self._until(lambda: self.version != version, seconds)
        return self.version

    async def read_again(self, jobs: Iterable[str]) -> None:
        """Reads what an action may have changed. The page that follows the action must show it."""
        self._acted_on |= set(jobs)
        if self.silent_since_ms is not None:
            return
        self._asked = number = self._asked + 1
        self._wake()
        await self._until(lambda: self._answered >= number, ACTION_SECONDS)

    async def unless_silent(self, work: Coroutine[Any, Any, T]) -> T:
        """What questions of a viewer give. Raises Unavailable, also as soon as the appliance has no answer for the feed."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait((task,), timeout=LOOK_SECONDS))[0]:
                self._ask_for_health()
                if self.silent_since_ms is not None and self._is_unanswered:
                    raise Unavailable(self.silent_reason, unanswered=True)
            return task.result()
        finally:
            task.cancel()

    def _ask_for_health(self) -> None:
        """Lets the health be read at once, unless that was done a moment ago. Only its answer shows whether the appliance is
        silent: other answers may take long."""
        if self._is_past(self._health_read_ms, LATE_SECONDS):
            self._is_health_stale = True
            self._wake()

    def failing(self) -> set[str]:
        """The listed jobs whose last run has failed."""
        if self._failing[0] != self.version:
            self._failing = self.version, self.columns.failing() & self.jobs.keys()
        return self._failing[1]

    def keep_picture(self, key: Any, picture: Any) -> None:
        while len(self.pictures) >= MOST_PICTURES:
            del self.pictures[next(iter(self.pictures))]
        self.pictures[key] = picture

    def _be_silent(self, reason: str, is_unanswered: bool = False, waited_s: float = 0.0) -> None:
        is_known = self.silent_since_ms is not None and self.silent_reason == reason
        self.silent_since_ms = self.silent_since_ms or self._clock.moment().wall - int(waited_s * 1000)
        self.silent_reason, self._is_unanswered = reason, is_unanswered
        if not is_known:
            self._advance()

    def _be_late(self) -> None:
        """An answer is late. It may still come: a busy appliance is not asked everything again."""
        self._be_silent(str(lost(self._endpoint, TimeoutError())), True, LATE_SECONDS)

    def _advance(self) -> None:
        self.version += 1
        self._wake()

    def _wake(self) -> None:
        """Lets everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Waits until a condition holds, or for a time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._changed.wait()

    async def _follow(self) -> None:
        """Reads everything, and follows the events until the appliance does not answer. Raises Error."""
        watch = AsyncSession(self._endpoint, PATIENCE_SECONDS)
        questions = _Questions(self._endpoint, self._be_late)
        with contextlib.closing(watch), contextlib.closing(questions):
            response = await watch.ask("watch")
            if not response["ok"]:
                raise error_in(response)
            # Until they are taken, events wait in the connection.
            await self._read_all(questions)
            async with asyncio.TaskGroup() as tasks:
                follower = tasks.create_task(_until_lost(watch, self._take))
                reader = tasks.create_task(self._keep_up(questions))
                done, _ = await asyncio.wait((follower, reader), return_when=asyncio.FIRST_COMPLETED)
                follower.cancel(), reader.cancel()
                reason = next((task.result() for task in done), "")
            raise Unavailable(reason, unanswered=True)

    async def _keep_up(self, session: AsyncSession) -> str:
        """Reads what is stale, and now and then what events do not tell, until the appliance does not answer; returns why."""
        try:
            while True:
                await self._until(self._has_to_read, CHECK_SECONDS)
                asked = self._asked
                await self._read_stale(session)
                if (
                    self._is_health_stale
                    or asked > self._answered
                    or self._is_past(self._health_read_ms, CHECK_SECONDS)
                ):
                    await self._read_health(session)
                if self._is_past(self._runs_read_ms, FORGET_SECONDS):
                    self._forget_old_runs()
                if asked > self._answered or self.silent_since_ms is not None:
                    self._answered, self.silent_since_ms = asked, None
                    self._advance()
                # A page shows changes once a second at most, but that of an action at once.
                await self._until(lambda: self._asked > self._answered, PAUSE_SECONDS)
        except Error as error:
            return str(error)

    def _has_to_read(self) -> bool:
        is_list_stale = self._are_jobs_stale or self._may_jobs_differ
        is_asked = self._asked > self._answered or self._is_health_stale
        return bool(self._is_stale or is_list_stale or self._stale or is_asked)

    def _is_past(self, instant_ms: int, seconds: float) -> bool:
        return self._clock.moment().boot - instant_ms >= seconds * 1000

    async def _read_stale(self, session: AsyncSession) -> None:
        """Reads single jobs if they are few, or else the whole list."""
        if self._is_stale:
            await self._read_all(session)
            return
        first, self._acted_on = self._acted_on, set()
        self._stale -= first
        is_list_wanted = self._may_jobs_differ or len(self._stale) > MOST_SINGLE_ROWS
        is_list_old = is_list_wanted and self._is_past(self._jobs_read_ms, LIST_SECONDS)
        is_list_old |= self.has_more_jobs and self._is_past(self._jobs_read_ms, LIST_AGAIN_SECONDS)
        if self._are_jobs_stale or is_list_old or len(first) > MOST_SINGLE_ROWS:
            with self._events_wait():
                await self._read_jobs(session)
            self._advance()
            return
        some = [self._stale.pop() for _ in range(min(len(self._stale), MOST_SINGLE_ROWS))]
        if first or some:
            await self._read_single_jobs(session, [*first, *some])
            self._advance()

    @contextlib.contextmanager
    def _events_wait(self) -> Iterator[None]:
        """Takes events after the list that is read meanwhile, which may be older than they are."""
        self._waiting = []
        try:
            yield
        finally:
            waiting, self._waiting = self._waiting, None
        for event in waiting:
            self._take(event)

    async def _read_all(self, session: AsyncSession) -> None:
        self._is_stale = False
        with self._events_wait():
            await self._read_jobs(session)
            live = await _rows(session, f"sched history state {','.join(LIVE)} limit {PAGE}", "run")
            self.live = {run: self._with_begin(row) for run, row in live.items()}
            self.failed = await _rows(session, f"sched history state {','.join(NOT_DONE)} limit {FAILED_SHOWN}", "run")
            await self._read_runs(session)
            data = await _data(session, "sched incidents", {"incidents": []})
            self.incidents = {row["incident"]: row for row in data["incidents"]}
            await self._read_health(session)
        self.silent_since_ms = None
        self._on_configuration()
        self._advance()

    async def _read_runs(self, session: AsyncSession) -> None:
        """Reads the runs of the last days, page by page, so that the appliance does other things between two pages."""
        line: str | None = f"sched history active {self._history_ms // 1000}s limit {PAGE}"
        columns, rows, count = RunColumns(), list[Row](), 0
        while line is not None and count < MOST_RUNS:
            response = await _response(session, line)
            if response is None:
                break
            rows += map(self._with_begin, response["data"])
            count += len(response["data"])
            line = response["next"]
            if len(rows) >= FILLED_AT_ONCE:
                columns.fill(rows)
                rows.clear()
        columns.fill(rows)
        self.columns, self._runs_read_ms = columns, self._clock.moment().boot

    def _forget_old_runs(self) -> None:
        moment = self._clock.moment()
        self.columns.forget(moment.wall - self._history_ms)
        self._runs_read_ms = moment.boot

    async def _read_jobs(self, session: AsyncSession) -> None:
        """Reads the list of jobs. What calendars mean may have changed too."""
        self._are_jobs_stale = self._may_jobs_differ = False
        self._stale.clear()
        # New ones: a screen that has asked before this may still add its answer to the old one.
        self.planned = {}
        self.due_times = {}
        self.words = {}
        jobs: dict[str, Row] = {}
        after, has_more_jobs = "", False
        while len(jobs) < MOST_JOBS:
            rows = await _data(session, f"sched list limit {PAGE}{after}", [])
            jobs |= {row["id"]: row for row in rows}
            if len(rows) < PAGE:
                break
            after = f" after {rows[-1]['id']}@{rows[-1]['next_run_ms']}"
        else:
            has_more_jobs = True
        self.jobs, self.has_more_jobs, self._jobs_read_ms = jobs, has_more_jobs, self._clock.moment().boot

    async def _read_single_jobs(self, session: AsyncSession, jobs: Sequence[str]) -> None:
        """Reads jobs, since events do not tell the next due time of a job that has run: some of them at once."""
        with self._events_wait():
            details = await _all_details(session, jobs, " output none")
            # A role may allow only the other form.
            others = [job for job in jobs if details[job] is None]
            details |= await _all_details(session, others, "") if others else {}
            for job in jobs:
                self._take_job(job, details[job])

    def _take_job(self, job: str, details: Row | None) -> None:
        if details is None or details["next_run_ms"] is None or details["state"] not in ("waiting", "paused"):
            self.jobs.pop(job, None)
            return
        job = details["id"]
        row = {key: details[key] for key in ("id", "name", "next_run_ms", "command", "user", "origin")}
        row |= {key: details[key] for key in ("interval_ms", "calendar", "zone")}
        is_recurrent = details["interval_ms"] is not None or details["calendar"] is not None
        self.jobs[job] = row | {"recurrent": is_recurrent, "paused": details["state"] == "paused"}

    async def _read_health(self, session: AsyncSession) -> None:
        self._health_read_ms, self._is_health_stale = self._clock.moment().boot, False
        health = await _data(session, "health", self.health)
        status = await _data(session, "config status", {"last_attempt": None})
        attempt = status["last_attempt"]
        refused = attempt if attempt and attempt["outcome"] == "rejected" else None
        stanzas = await _data(session, "config show sched", [])
        zone = next((one["options"].get("zone") for one in stanzas if one["options"]), None)
        if (health, refused, zone) != (self.health, self.refused, self.zone):
            self.health, self.refused, self.zone = health, refused, zone
            self._advance()

    def _take(self, event: Row) -> None:
        """Takes an event into the state."""
        kind = event["kind"]
        event = shapes.completed(EVENTS.get(kind, Event), event)
        if kind == "configuration":
            self._on_configuration()
        if self._waiting is not None:
            self._waiting.append(event)
            return
        if kind == "gap":
            self._is_stale = True
        elif kind == "run":
            self._take_run(event)
        elif kind == "job":
            if event["state"] == "gone":
                self.jobs.pop(event["id"], None)
            else:
                self._stale.add(event["id"])
        elif kind == "incident":
            self._take_incident(event)
        elif kind in ("configuration", "override"):
            # An override tells which jobs it changes, but not if it is that of the zone of all calendars.
            self._may_jobs_differ = self._is_health_stale = True
            self._are_jobs_stale |= kind == "configuration"
        elif kind == "hold":
            self.health = self.health | {"held": event["held"]}
        elif kind == "degraded":
            self.health = self.health | {"troubles": event["troubles"]}
        self._advance()

    def _with_begin(self, run: Row) -> Row:
        """A run that has just come, with the boot time at which its last attempt began; None if it does not go on.

        The appliance says how long that is ago. The difference of two instants would be another one after a clock is set.
        """
        goes_on = run["state"] == "started" and run["took_ms"] is not None
        return run | {"began_ms": self._clock.moment().boot - run["took_ms"] if goes_on else None}

    def _take_run(self, event: Row) -> None:
        run = event["run"]
        event, before = self._with_begin(event), self.live.get(run)
        if event["began_ms"] is not None and before and before["attempts"] == event["attempts"]:
            # The event may have waited, and the row that was read since then is right.
            event["began_ms"] = min(event["began_ms"], before["began_ms"] or event["began_ms"])
        self.columns.put(event)
        self.pictures.clear()
        if event["state"] in LIVE:
            self.live[run] = event
        else:
            self.live.pop(run, None)
        if event["state"] in NOT_DONE:
            self.failed = dict(list(({run: event} | self.failed).items())[:FAILED_SHOWN])
        if event["id"] in self.jobs:
            self._stale.add(event["id"])

    def _take_incident(self, event: Row) -> None:
        incident = event["incident"]
        if event["change"] in ("recovered", "ended"):
            self.incidents.pop(incident["incident"], None)
        else:
            self.incidents[incident["incident"]] = incident


class _Questions(AsyncSession):
    """A connection that tells when an answer is late, and goes on to wait for it."""

    def __init__(self, endpoint: Path, be_late: Callable[[], None]) -> None:
        super().__init__(endpoint, PATIENCE_SECONDS)
        self._be_late = be_late

    async def ask_together(self, lines: Sequence[str], quiet: bool = False) -> list[Message]:
        alarm = asyncio.get_running_loop().call_later(LATE_SECONDS, self._be_late)
        try:
            return await super().ask_together(lines, quiet)
        finally:
            alarm.cancel()


async def _until_lost(watch: AsyncSession, take: Callable[[Row], None]) -> str:
    """Takes the events until the connection is lost; returns why."""
    try:
        while True:
            message: Message = await watch.next_message(None)
            take(message["event"])
    except Unavailable as unavailable:
        return str(unavailable)


async def _all_details(session: AsyncSession, jobs: Sequence[str], more: str) -> dict[str, Row | None]:
    """What `sched show` says about jobs; None about one that is gone or that no role allows to see. Raises Error."""
    lines = {job: f"sched show {quoted(job)}{more}" for job in jobs}
    details: dict[str, Row | None] = {}
    asked = [f"json {line}" for line in lines.values()]
    responses: list[Message] = []
    for at in range(0, len(asked), TOGETHER):
        responses += await session.ask_together(asked[at : at + TOGETHER])
    for job, response in zip(lines, responses, strict=True):
        try:
            allowed = _unless_refused(lines[job], response)
        except Rejected:
            # It was deleted before it has ever run.
            allowed = None
        details[job] = None if allowed is None else allowed["data"]
    return details


async def _response(session: AsyncSession, line: str) -> Message | None:
    """The response to `json LINE`; None if the roles of this process do not allow the command. Raises Error."""
    return _unless_refused(line, await session.ask(f"json {line}", line.startswith(QUIET)))


def _unless_refused(line: str, response: Message) -> Message | None:
    response = schemas.completed(line, response)
    if response["ok"] or response["data"] is not None:
        return response
    error = error_in(response)
    if isinstance(error, NotAuthorized):
        return None
    raise error


async def _data(session: AsyncSession, line: str, instead: Any) -> Any:
    """The data of an answer; `instead` if the command is not allowed. Raises Error."""
    response = await _response(session, line)
    return instead if response is None else response["data"]


async def _rows(session: AsyncSession, line: str, key: str) -> dict[str, Row]:
    return {row[key]: row for row in await _data(session, line, [])}
