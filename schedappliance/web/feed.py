"""What happens in the appliance: one connection with `watch` for all viewers of the page.

Rule: it only repeats what the appliance says. A page asks first whether its viewer may see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.errors import Error, NotAuthorized, Unavailable
from schedappliance.client.questions import error_in
from schedappliance.client.states import FAILED, LIVE
from schedappliance.client.wire import Message, quoted
from schedappliance.clock import Clock
from schedappliance.web.columns import RunColumns

Row = dict[str, Any]
# The first jobs by their due time. A page that shows more asks the appliance.
MOST_JOBS = 20_000
PAGE = 1000
# While no appliance answers, and at most between two questions whether it still does.
RETRY_SECONDS, CHECK_SECONDS = 0.5, 10.0
# Between two readings, and the longest wait of an action for the next one.
PAUSE_SECONDS, ACTION_SECONDS = 1.0, 2.0
# A list of many jobs takes long, and is read again at most this often.
LIST_SECONDS = 30.0
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


class Feed:
    """The jobs, the live runs, the last failures and the troubles of an appliance, and since when it does not answer."""

    def __init__(self, endpoint: Path, clock: Clock, history_ms: int, on_configuration: Callable[[], None]) -> None:
        self._endpoint, self._clock, self._on_configuration = endpoint, clock, on_configuration
        self._history_ms = history_ms
        self.columns = RunColumns()
        # Pictures that viewers share, and the due times of calendars in them.
        self.pictures: dict[Any, Any] = {}
        self.planned: dict[str, list[int]] = {}
        # What calendars mean, by their job.
        self.words: dict[str, str] = {}
        self.jobs: dict[str, Row] = {}
        self.has_more_jobs = False
        self.live: dict[str, Row] = {}
        self.failed: dict[str, Row] = {}
        self.incidents: dict[int, Row] = {}
        self.health: Row = {"troubles": [], "held": None, "ready": False}
        self.refused: Row | None = None
        self.silent_since_ms: int | None = clock.moment().wall
        self.silent_reason = "the page has just started"
        # Grows with each change that a page may show.
        self.version = 0
        self._changed = asyncio.Condition()
        self._stale: set[str] = set()
        self._reads_all = False
        # Whether somebody waits for the next reading.
        self._is_urgent = False
        # Boot times of the last reads.
        self._jobs_read_ms = self._health_read_ms = self._runs_read_ms = 0

    async def run(self) -> None:
        """Follows the appliance until it is cancelled."""
        while True:
            try:
                await self._follow()
            except Error as error:
                self._be_silent(str(error))
            except Exception as error:
                # A bug must not leave a page that shows old facts as present ones.
                traceback.print_exc()
                self._be_silent(f"the page has failed: {error!r}")
            await asyncio.sleep(RETRY_SECONDS)

    async def wait_after(self, version: int, seconds: float) -> int:
        """The present version, as soon as it differs from this one, or after a time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.version != version)
        return self.version

    async def read_again(self, jobs: Iterable[str]) -> None:
        """Reads what an action may have changed. The page that follows the action must show it."""
        if self.silent_since_ms is not None:
            return
        self._stale |= set(jobs)
        self._health_read_ms, self._is_urgent = 0, True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACTION_SECONDS), self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: not self._is_urgent)

    def keep_picture(self, key: Any, picture: Any) -> None:
        while len(self.pictures) >= MOST_PICTURES:
            del self.pictures[next(iter(self.pictures))]
        self.pictures[key] = picture

    def _be_silent(self, reason: str) -> None:
        if self.silent_since_ms is None:
            self.silent_since_ms = self._clock.moment().wall
            self._advance()
        self.silent_reason = reason

    def _advance(self) -> None:
        self.version += 1
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _follow(self) -> None:
        """Reads everything, and follows the events until the appliance does not answer. Raises Error."""
        watch, questions = (AsyncSession(self._endpoint, PATIENCE_SECONDS) for _ in range(2))
        with contextlib.closing(watch), contextlib.closing(questions):
            response = await watch.ask("watch")
            if not response["ok"]:
                raise error_in(response)
            await self._read_all(questions)
            async with asyncio.TaskGroup() as tasks:
                follower = tasks.create_task(_until_lost(watch, self._take))
                checker = tasks.create_task(self._check(questions))
                done, _ = await asyncio.wait((follower, checker), return_when=asyncio.FIRST_COMPLETED)
                follower.cancel(), checker.cancel()
                reason = next((task.result() for task in done), "")
            raise Unavailable(reason, unanswered=True)

    async def _check(self, session: AsyncSession) -> str:
        """Asks again for what events do not tell, until the appliance does not answer; returns why."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS), self._changed:
                        await self._changed.wait_for(lambda: bool(self._stale or self._reads_all or self._is_urgent))
                is_urgent = self._is_urgent
                if self._reads_all:
                    await self._read_all(session)
                    continue
                await self._read_stale_jobs(session)
                if self._is_past(self._health_read_ms, CHECK_SECONDS):
                    await self._read_health(session)
                if self._is_past(self._runs_read_ms, FORGET_SECONDS):
                    self._forget_old_runs()
                if is_urgent:
                    self._is_urgent = False
                    self._advance()
                # A page shows changes once a second at most.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS), self._changed:
                        await self._changed.wait_for(lambda: self._is_urgent)
        except Error as error:
            return str(error)

    def _is_past(self, instant_ms: int, seconds: float) -> bool:
        return self._clock.moment().boot - instant_ms >= seconds * 1000

    async def _read_all(self, session: AsyncSession) -> None:
        self._reads_all = False
        self._stale.clear()
        await self._read_jobs(session)
        self.live = await _rows(session, f"sched history state {','.join(LIVE)} limit {PAGE}", "run")
        self.failed = await _rows(session, f"sched history state {','.join(NOT_DONE)} limit {FAILED_SHOWN}", "run")
        await self._read_runs(session)
        data = await _data(session, "sched incidents", {"incidents": []})
        self.incidents = {row["incident"]: row for row in data["incidents"]}
        await self._read_health(session)
        self.silent_since_ms = None
        self.planned.clear()
        self.words.clear()
        self._on_configuration()
        self._advance()

    async def _read_runs(self, session: AsyncSession) -> None:
        """Reads the runs of the last days, page by page, so that the appliance does other things between two pages."""
        line: str | None = f"sched history active {self._history_ms // 1000}s limit {PAGE}"
        columns, rows, count = RunColumns(), list[Row](), 0
        while line is not None and count < MOST_RUNS:
            response = await session.ask(f"json {line}")
            if not response["ok"]:
                break
            rows += response["data"]
            count += len(response["data"])
            line = response.get("next")
            if len(rows) >= FILLED_AT_ONCE or line is None:
                columns.fill(rows)
                rows.clear()
        columns.fill(rows)
        self.columns, self._runs_read_ms = columns, self._clock.moment().boot

    def _forget_old_runs(self) -> None:
        moment = self._clock.moment()
        self.columns.forget(moment.wall - self._history_ms)
        self._runs_read_ms = moment.boot

    async def _read_jobs(self, session: AsyncSession) -> None:
        jobs: dict[str, Row] = {}
        after, self.has_more_jobs = "", False
        while len(jobs) < MOST_JOBS:
            rows = await _data(session, f"sched list limit {PAGE}{after}", [])
            jobs |= {row["id"]: row for row in rows}
            if len(rows) < PAGE:
                break
            after = f" after {rows[-1]['id']}@{rows[-1]['next_run_ms']}"
        else:
            self.has_more_jobs = True
        self.jobs, self._jobs_read_ms = jobs, self._clock.moment().boot

    async def _read_stale_jobs(self, session: AsyncSession) -> None:
        """Reads the jobs again that have run or changed: events do not tell the next due time of a job that has run."""
        if len(self._stale) > MOST_SINGLE_ROWS and self._is_past(self._jobs_read_ms, LIST_SECONDS):
            self._stale.clear()
            await self._read_jobs(session)
            self._advance()
        stale = {self._stale.pop() for _ in range(min(len(self._stale), MOST_SINGLE_ROWS))}
        for job in stale:
            await self._read_job(session, job)
        if stale:
            self._advance()

    async def _read_job(self, session: AsyncSession, job: str) -> None:
        details = await _data(session, f"sched show {quoted(job)}", None)
        if details is None or details["next_run_ms"] is None or details["state"] not in ("waiting", "paused"):
            self.jobs.pop(job, None)
            return
        job = details["id"]
        row = {key: details[key] for key in ("id", "name", "next_run_ms", "command", "user", "origin")}
        row |= {key: details[key] for key in ("interval_ms", "calendar", "zone")}
        is_recurrent = details["interval_ms"] is not None or details["calendar"] is not None
        self.jobs[job] = row | {"recurrent": is_recurrent, "paused": details["state"] == "paused"}

    async def _read_health(self, session: AsyncSession) -> None:
        self._health_read_ms = self._clock.moment().boot
        health = await _data(session, "health", self.health)
        status = await _data(session, "config status", {"last_attempt": None})
        attempt = status["last_attempt"]
        refused = attempt if attempt and attempt["outcome"] != "accepted" else None
        if (health, refused) != (self.health, self.refused):
            self.health, self.refused = health, refused
            self._advance()

    def _take(self, event: Row) -> None:
        """Takes an event into the state."""
        kind = event["kind"]
        if kind == "gap":
            self._reads_all = True
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
            self._reads_all = True
            self._on_configuration()
        elif kind == "hold":
            self.health = self.health | {"held": event["held"]}
        elif kind == "degraded":
            self.health = self.health | {"troubles": event["troubles"]}
        self._advance()

    def _take_run(self, event: Row) -> None:
        run = event["run"]
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


async def _until_lost(watch: AsyncSession, take: Callable[[Row], None]) -> str:
    """Takes the events until the connection is lost; returns why."""
    try:
        while True:
            message: Message = await watch.next_message(None)
            take(message["event"])
    except Unavailable as unavailable:
        return str(unavailable)


async def _data(session: AsyncSession, line: str, instead: Any) -> Any:
    """The data of an answer; `instead` if the roles of this process do not allow the command. Raises Error."""
    response = await session.ask(f"json {line}")
    if response["ok"] or response["data"] is not None:
        return response["data"]
    error = error_in(response)
    if isinstance(error, NotAuthorized):
        return instead
    raise error


async def _rows(session: AsyncSession, line: str, key: str) -> dict[str, Row]:
    return {row[key]: row for row in await _data(session, line, [])}
