"""A client library for programs in Python that schedule jobs, run programs and follow what happens.

    from schedappliance.client import Client

    with Client() as sched:
        job = sched.every("15m", "run tidy")
        run = sched.run("backup", "full", wait=True)
        print(job.next_run, run.state, run.output)

`AsyncClient` has the same methods for asyncio. docs/client.md explains both. The modules `console` and `drop` hold what
the command line shares with the library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schedappliance.client.answers import (
        Attempt,
        DeletedJob,
        Diagnostic,
        DropLine,
        DropResult,
        DueTime,
        Health,
        Held,
        Hold,
        Incident,
        Job,
        JobDetails,
        JobState,
        NewJob,
        NewRun,
        NextDueTimes,
        PausedJob,
        PausedJobs,
        Released,
        Run,
        RunDetails,
        RunState,
        StoppedRun,
        Summary,
        WhyJob,
    )
    from schedappliance.client.asynchronous import AsyncClient
    from schedappliance.client.client import Client
    from schedappliance.client.errors import Error, NotAuthorized, Rejected, TimedOut, Unavailable
    from schedappliance.client.events import (
        ConfigurationEvent,
        DegradedEvent,
        DropEvent,
        Event,
        Gap,
        HoldEvent,
        IncidentEvent,
        JobEvent,
        OverrideEvent,
        RunEvent,
    )
    from schedappliance.client.questions import CommandLike, JobLike, RunLike, Span

__all__ = [
    "AsyncClient",
    "Attempt",
    "Client",
    "CommandLike",
    "ConfigurationEvent",
    "DegradedEvent",
    "DeletedJob",
    "Diagnostic",
    "DropEvent",
    "DropLine",
    "DropResult",
    "DueTime",
    "Error",
    "Event",
    "Gap",
    "Health",
    "Held",
    "Hold",
    "HoldEvent",
    "Incident",
    "IncidentEvent",
    "Job",
    "JobDetails",
    "JobEvent",
    "JobLike",
    "JobState",
    "NewJob",
    "NewRun",
    "NextDueTimes",
    "NotAuthorized",
    "OverrideEvent",
    "PausedJob",
    "PausedJobs",
    "Rejected",
    "Released",
    "Run",
    "RunDetails",
    "RunEvent",
    "RunLike",
    "RunState",
    "Span",
    "StoppedRun",
    "Summary",
    "TimedOut",
    "Unavailable",
    "WhyJob",
]

# The command line imports this package for each command, so the names are imported when they are used.
_MODULES = ("client", "asynchronous", "answers", "events", "errors", "questions")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            content = vars(import_module(f"schedappliance.client.{module}"))
            if name in content:
                return content[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
