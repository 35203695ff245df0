"""What comes in. Everything that happens outside is one of these, in one inbox."""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.diagnostics import Diagnostic
from schedappliance.engine.records import RunKey, User
from schedappliance.engine.running import Exit
from schedappliance.model.configuration import Configuration


@dataclass(frozen=True, slots=True)
class LineTyped:
    """A line from the console; `reply_to` names the place where the answer is awaited."""

    line: str
    user: User
    reply_to: int


@dataclass(frozen=True, slots=True)
class DropClaimed:
    """A spool file that is ours now. `mark` is its claimed name, `refusal` why it cannot be read as text."""

    mark: str
    name: str
    user: User
    arrived_ms: int
    text: str
    refusal: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramStarted:
    key: RunKey
    attempt: int
    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class ProgramNotStarted:
    key: RunKey
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class ProgramEnded:
    """The end of a program with the part of its output that is kept; `output_bytes` counts all of it."""

    key: RunKey
    attempt: int
    exit: Exit
    output: bytes
    output_bytes: int


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The stanza files, read and checked. `configuration` None: not accepted. `requester` None: nobody waits for it."""

    requester: int | None
    typed: bool
    digest: str
    configuration: Configuration | None
    diagnostics: tuple[Diagnostic, ...]
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """A signal asks for the files to be read again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    reason: str


Event = (
    LineTyped
    | DropClaimed
    | ProgramStarted
    | ProgramNotStarted
    | ProgramEnded
    | FilesRead
    | ReloadRequested
    | StopRequested
)
