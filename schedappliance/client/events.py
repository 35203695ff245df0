"""The events of `watch`, and how a client that lost its connection goes on.

Rule: nothing here reads or writes a socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schedappliance.client import shapes
from schedappliance.client.answers import Diagnostic, Hold, Incident, JobState, Run, instant_of
from schedappliance.client.errors import Unavailable
from schedappliance.client.questions import error_in
from schedappliance.client.wire import Message

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. `seq`: its number, from which a later `watch` goes on."""

    seq: int
    at_ms: int
    kind: str

    @property
    def at(self) -> datetime:
        return instant_of(self.at_ms)


@dataclass(frozen=True, kw_only=True)
class RunEvent(Event, Run):
    """A run was claimed, started or ended, or waits for its next attempt."""

    kind: Literal["run"]


@dataclass(frozen=True, kw_only=True)
class JobEvent(Event):
    """A job was added, changed, paused, resumed or deleted, or is done. One that is gone has only its `id`."""

    kind: Literal["job"]
    id: str
    state: JobState
    name: str | None = None
    command: str | None = None
    next_run_ms: int | None = None
    user: str | None = None
    origin: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigurationEvent(Event):
    """Stanza files were accepted or rejected."""

    kind: Literal["configuration"]
    outcome: Literal["accepted", "rejected"]
    digest: str
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, kw_only=True)
class OverrideEvent(Event):
    """Options were set or unset. `overrides`: how many are set."""

    kind: Literal["override"]
    overrides: int


@dataclass(frozen=True, kw_only=True)
class DropEvent(Event):
    """A drop was accepted or rejected."""

    kind: Literal["drop"]
    mark: str
    file: str
    user: str
    accepted: bool


@dataclass(frozen=True, kw_only=True)
class HoldEvent(Event):
    """`sched hold`, or the end of a hold. `held` is None after its end."""

    kind: Literal["hold"]
    held: Hold | None


@dataclass(frozen=True, kw_only=True)
class IncidentEvent(Event):
    """A job has an incident, for one `notify` stanza, or an incident has changed or ended.

    `change`: `repeated` after another event of its job, `reminded` after a reminder, `told` when an alert was delivered,
    `not_told` when its delivery has failed. It ends when its job has recovered, or without that (`ended`), when its job or
    its stanza is gone.
    """

    kind: Literal["incident"]
    change: Literal["begun", "repeated", "reminded", "told", "not_told", "acknowledged", "recovered", "ended"]
    incident: Incident


@dataclass(frozen=True, kw_only=True)
class DegradedEvent(Event):
    """The reasons why the appliance is degraded have changed. `troubles` is empty if it is no longer degraded."""

    kind: Literal["degraded"]
    troubles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gap(Event):
    """Events are missing here: the client was away for too long, read too slowly, or the appliance has restarted.

    A client should read the data that it shows again.
    """

    kind: Literal["gap"]
    at_ms: int = 0


EVENTS: dict[str, type[Event]] = {
    "run": RunEvent,
    "job": JobEvent,
    "configuration": ConfigurationEvent,
    "override": OverrideEvent,
    "drop": DropEvent,
    "hold": HoldEvent,
    "incident": IncidentEvent,
    "degraded": DegradedEvent,
    "gap": Gap,
}


def read_event(data: dict[str, Any]) -> Event:
    """An event of a kind that a later version of the appliance has added is a plain Event."""
    event: Event = shapes.read(EVENTS.get(data["kind"], Event), data)
    return event


class Follower:
    """One `watch` over many connections: it knows the last number, and how long to wait before the next connection."""

    def __init__(self, after: int = 0) -> None:
        self._last = after
        self._pause_s = FIRST_PAUSE_S
        self._has_begun = False

    @property
    def line(self) -> str:
        """The command that begins to watch, or goes on."""
        return f"watch {self._last}" if self._last else "watch"

    def begin(self, response: Message) -> None:
        """Takes the response to that command. Raises Error.

        Without its number, events would be missing if the connection is lost before the first event.
        """
        if not response["ok"]:
            raise error_in(response)
        self._last = self._last or response["data"]["seq"]
        self._pause_s, self._has_begun = FIRST_PAUSE_S, True

    def take(self, message: Message) -> Event:
        event = read_event(message["event"])
        self._last = event.seq
        return event

    def pause_after(self, unavailable: Unavailable) -> float:
        """How many seconds to wait before the next connection: longer each time, until one succeeds.

        Raises the error if no connection has ever succeeded.
        """
        if not self._has_begun:
            raise unavailable
        pause, self._pause_s = self._pause_s, min(self._pause_s * 2, LONGEST_PAUSE_S)
        return pause
