"""What comes in. Everything that happens outside is one of these, in one inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.engine.attempts import Exit
from schedappliance.engine.intake import SpoolBacklog
from schedappliance.engine.records import AttemptKey, KnownUser, ProcessKey, User
from schedappliance.model.commands import Command
from schedappliance.model.configuration import Configuration
from schedappliance.syntax.command import CommandTree


class LineTyped(NamedTuple):
    """A line from the console; `reply_to` names the place where the answer is awaited, `connection` who waits."""

    line: str
    user: User
    reply_to: int
    connection: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A client of the console has gone; a transaction that it had open is rolled back."""

    connection: int


@dataclass(frozen=True, slots=True)
class DropLine:
    """One command of a drop; `offset` is where its line begins in the file."""

    offset: int
    text: str
    tree: CommandTree
    command: Command

    @property
    def span(self) -> Span:
        return Span(self.offset, self.offset + len(self.text))

    def place(self, span: Span) -> Span:
        return span.shifted(self.offset)


@dataclass(frozen=True, slots=True)
class DropClaimed:
    """A spool file that is ours now, read and parsed. `mark` is its claimed name.

    `mistakes` are those that can be seen without the configuration; with an error among them `lines` are not done.
    `token`: the dropper's own id for the work.
    """

    mark: str
    name: str
    user: User
    arrived_ms: int
    source: Source
    lines: tuple[DropLine, ...] = ()
    mistakes: tuple[Diagnostic, ...] = ()
    token: str | None = None

    @property
    def weight(self) -> int:
        """How much of a turn it takes, beside a console line."""
        return 1 + len(self.lines)


@dataclass(frozen=True, slots=True)
class DropPutBack:
    """A failed file is claimed again, unless `problem` says why not. `reply_to`: the order that waits for it."""

    reply_to: int
    name: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class SpoolSeen:
    """What lies in the spool and is not taken."""

    waiting: SpoolBacklog


@dataclass(frozen=True, slots=True)
class ProgramStarted:
    key: AttemptKey
    process: ProcessKey


@dataclass(frozen=True, slots=True)
class ProgramNotStarted:
    """`exhausted`: the machine was short of something; the same start may succeed later."""

    key: AttemptKey
    reason: str
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class ProgramEnded:
    """The end of a program with the part of its output that is kept; `output_bytes` counts all of it."""

    key: AttemptKey
    exit: Exit
    output: bytes
    output_bytes: int


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """The output of a program whose end is recorded already: there was no room for both."""

    key: AttemptKey
    output: bytes
    output_bytes: int


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The stanza files, read and checked. `configuration` None: not accepted. `reply_to`: the order that waits for it."""

    reply_to: int | None
    typed: bool
    digest: str
    configuration: Configuration | None
    diagnostics: tuple[Diagnostic, ...]
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class WatchChanged:
    """How changes of the files are seen: by events and the audit poll, or by the poll alone and why.

    `waits`: why what they hold now is not taken yet, None when nothing waits.
    """

    watch: str
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class UsersLookedUp:
    """Who the users of one LookUpUsers are now, in its order."""

    known: tuple[KnownUser, ...]


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """A signal asks for the files to be read again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    reason: str


Event = (
    LineTyped
    | ConnectionClosed
    | DropClaimed
    | DropPutBack
    | SpoolSeen
    | ProgramStarted
    | ProgramNotStarted
    | ProgramEnded
    | ProgramOutput
    | FilesRead
    | WatchChanged
    | UsersLookedUp
    | ReloadRequested
    | StopRequested
)
