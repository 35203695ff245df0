"""One look of a viewer at the page: the request, and what the viewer may ask.

Rule: a screen reads the appliance and the feed only through its look, so that nobody sees what the roles do not allow, and
each key of an answer is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.requests import Request

from schedappliance.client import schemas
from schedappliance.client.wire import Message, quoted
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.appliance.columns import RunColumns
from schedappliance.web.appliance.feed import FAILED_SHOWN, NOT_DONE, Feed, Row
from schedappliance.web.appliance.gateway import Gateway
from schedappliance.web.rendering.addresses import job_words
from schedappliance.web.rendering.times import Times

MOST_DUE_TIMES = 100
# `sched show` without outputs.
BRIEF = " output none"
# Each of them is a question to the appliance, until the roles may have changed.
MOST_SINGLE = 1000


class ShownRuns(NamedTuple):
    """The runs that a viewer may see: those of the last days, those that wait or go on, and the last that did not succeed.

    `jobs`: the jobs whose runs they are, by their ids; None: all jobs, also those that are gone.
    """

    columns: RunColumns
    live: list[Row]
    failed: list[Row]
    jobs: dict[str, Row] | None


@dataclass(frozen=True)
class Look:
    """`times`: when the screen was asked for, and the zone in which it shows instants."""

    request: Request
    gateway: Gateway
    feed: Feed
    viewer: Viewer
    times: Times
    is_read_only: bool

    @property
    def now_ms(self) -> int:
        return self.times.now_ms

    @property
    def is_stream(self) -> bool:
        """Whether the viewer has the screen already, and wants its changes."""
        return "text/event-stream" in self.request.headers.get("accept", "")

    def query(self, name: str) -> str:
        """A value of the query; empty if it is missing."""
        return str(self.request.query_params.get(name, "")).strip()

    def number(self, name: str) -> int | None:
        """A whole number of the query; None if it is missing or is none."""
        text = self.query(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    async def ask(self, line: str) -> Message:
        """Raises Unavailable."""
        return schemas.completed(line, await self.gateway.ask(self.viewer, line))

    async def data(self, line: str, reads_failures: bool = False) -> Any:
        """Raises Error. `reads_failures`: as `Gateway.data`."""
        return schemas.completed_data(line, await self.gateway.data(self.viewer, line, reads_failures))

    async def data_if_allowed(self, line: str) -> Any:
        """The data; None if the roles of the viewer do not allow the command. Raises Error."""
        return await self.data(line) if await self.may(line) else None

    async def details(self, line: str) -> Row:
        """What `sched show` says about a job or a run; without outputs, if a role allows this form. Raises Error."""
        brief = f"{line}{BRIEF}"
        details: Row = await self.data(brief if await self.may(brief) else line)
        return details

    async def all_details(self, jobs: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
        """The details of those of the jobs that the viewer may see, by the ids. Raises Unavailable."""
        for more in ("", BRIEF):
            await self.learn("show", jobs, more)
        lines = {job["id"]: line for job in jobs if await self.may(line := await self.line("show", job))}
        briefs = [f"{line}{BRIEF}" if await self.may(f"{line}{BRIEF}") else line for line in lines.values()]
        return {job: data for job, data in zip(lines, await self.all_data(briefs), strict=True) if data}

    async def may(self, line: str) -> bool:
        """Raises Unavailable."""
        return await self.gateway.may(self.viewer, line)

    async def allowed(self, lines: Iterable[str]) -> frozenset[str]:
        """Those of the commands that change something which the viewer may give here. Raises Unavailable."""
        if self.is_read_only:
            return frozenset()
        lines = list(lines)
        await self.gateway.learn(self.viewer, lines)
        return frozenset([line for line in lines if await self.may(line)])

    async def line(self, verb: str, job: Mapping[str, Any], more: str = "") -> str:
        """The command for a job, or the job of a run, as the roles of the viewer allow it. Raises Unavailable."""
        lines = _lines(verb, job, more)
        for line in lines:
            if await self.may(line):
                return line
        return lines[0]

    async def learn(self, verb: str, jobs: Sequence[Mapping[str, Any]], more: str = "") -> None:
        """Asks about the rights of all these jobs at once, so that `line` asks about none of them. Raises Unavailable."""
        spellings = [_lines(verb, job, more) for job in jobs]
        await self.gateway.learn(self.viewer, [lines[0] for lines in spellings])
        await self.gateway.learn(self.viewer, [lines[-1] for lines in spellings if not await self.may(lines[0])])

    async def all_data(self, lines: Sequence[str]) -> list[Any]:
        """The data of commands that are asked at once; None for what is rejected. Raises Unavailable."""
        return [response["data"] for response in await self.gateway.ask_all(self.viewer, lines)]

    async def due_times(self, jobs: Sequence[Row], until_ms: int) -> dict[str, list[int]]:
        """The next due times of jobs with a calendar, by their ids. They are asked for again when a job has another next one.

        None of jobs that are due later, or whose due times the viewer may not see. Raises Unavailable.
        """
        planned, more = self.feed.planned, f" {MOST_DUE_TIMES}"
        soon = [job for job in jobs if job["next_run_ms"] <= until_ms]
        await self.learn("next", soon, more)
        lines = {job["id"]: line for job in soon if await self.may(line := await self.line("next", job, more))}
        shown = [job for job in soon if job["id"] in lines]
        old = [job for job in shown if planned.get(job["id"], [None])[0] != job["next_run_ms"]]
        for job, data in zip(old, await self.all_data([lines[job["id"]] for job in old]), strict=True):
            planned[job["id"]] = (
                [one["due_ms"] for one in data["next"]] if data and data["next"] else [job["next_run_ms"]]
            )
        return {job["id"]: [] for job in jobs} | {job["id"]: planned[job["id"]] for job in shown}

    async def jobs(self) -> list[Row]:
        """The jobs of the feed: all of them if the viewer may list them, or else those that the viewer may show.

        Roles name declared jobs, so only these are asked for one by one. Raises Unavailable.
        """
        jobs = list(self.feed.jobs.values())
        if await self.may("sched list"):
            return jobs
        declared = [job for job in jobs if job["name"]][:MOST_SINGLE]
        await self.learn("show", declared)
        return [job for job in declared if await self.may(await self.line("show", job))]

    async def may_see_runs(self, job: Row | None = None) -> bool:
        """Whether the viewer may see the runs of a job, or of all jobs. Raises Unavailable."""
        return await self.may("sched history") or (job is not None and await self.may(await self.line("history", job)))

    async def runs(self, job: Row | None = None) -> RunColumns:
        """The runs of the last days; none if the viewer may not see those of the job, or of all jobs. Raises Unavailable."""
        return self.feed.columns if await self.may_see_runs(job) else RunColumns()

    async def shown_runs(self) -> ShownRuns:
        """The runs that the viewer may see. Raises Unavailable."""
        feed = self.feed
        if await self.may_see_runs():
            return ShownRuns(feed.columns, list(feed.live.values()), list(feed.failed.values()), None)
        declared = [job for job in feed.jobs.values() if job["name"]][:MOST_SINGLE]
        await self.learn("history", declared)
        jobs = {job["id"]: job for job in declared if await self.may_see_runs(job)}
        columns = feed.columns.only(jobs) if jobs else RunColumns()
        live = [run for run in feed.live.values() if run["id"] in jobs]
        # The feed keeps the last failures of all jobs. What has happened before them has no reason here.
        failed = [
            feed.failed.get(run.run) or run._asdict() | {"id": run.job, "name": jobs[run.job]["name"], "reason": None}
            for run in columns.last(NOT_DONE, FAILED_SHOWN)
        ]
        return ShownRuns(columns, live, failed, jobs)

    async def incidents(self) -> list[Row]:
        """The incidents, if the viewer may list them: those of declared jobs, then all others, each the newest first.

        Raises Unavailable.
        """
        incidents = self.feed.incidents.values() if await self.may("sched incidents") else ()
        # The subject of a job that no stanza declares is its id.
        return sorted(incidents, key=lambda one: (one["subject"] == one["id"], -one["since_ms"]))


def _lines(verb: str, job: Mapping[str, Any], more: str) -> list[str]:
    """The command for a job, by each word for the job."""
    return [f"sched {verb} {quoted(word)}{more}" for word in job_words(job)]
