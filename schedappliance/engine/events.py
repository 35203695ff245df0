"""The events: the reports of the edge to the core.

Rule: the core decides only about these events, and all of them arrive through one inbox. Devices also post calls for
themselves; see edge/threads.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.engine.attempts import Exit, NotStarted
from schedappliance.engine.intake import SpoolBacklog
from schedappliance.engine.output_parts import OutputPart
from schedappliance.engine.records import AttemptKey, KnownUser, ProcessKey, User
from schedappliance.model.calendars.zones import Zones
from schedappliance.model.commands import Command
from schedappliance.model.configuration import Configuration
from schedappliance.syntax.command import CommandTree

if TYPE_CHECKING:
    from schedappliance.engine.reloading import Prepared


class LineTyped(NamedTuple):
    """A line from the console. `reply_to`: the request that the answer belongs to. `connection`: the client's connection.

    `on_behalf_of`: the name of the user for whom `user` gives the line, as the client writes it; None: for itself.
    `instead`: the `run` line that is meant if `line`, a `sched run`, runs no job or is not allowed; None: there is none.
    `quiet`: nobody typed the line, so the log does not hold that no role allows it.
    """

    line: str
    user: User
    reply_to: int
    connection: int = 0
    on_behalf_of: str | None = None
    instead: str | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Remains:
    """The remains of the last daemon: the processes that still run, and the outputs of the programs that have ended.

    `settings`: rows of `meta` by which the next start recognizes the place of this store. `causes`: how programs ended, as far
    as the keeper knows. `endings`: why programs were being ended, as an Ending. `unseen`: the attempts whose
    programs run where the daemon cannot see them.
    """

    survivors: Mapping[AttemptKey, ProcessKey]
    outputs: Mapping[AttemptKey, tuple[bytes, int]]
    settings: Mapping[str, str] = field(default_factory=dict)
    causes: Mapping[AttemptKey, Exit | NotStarted] = field(default_factory=dict)
    endings: Mapping[AttemptKey, str] = field(default_factory=dict)
    unseen: Collection[AttemptKey] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon has started: the store must agree with the remains of the last daemon, and with the stanza files.

    `digest` and `texts`: of the stanza files. It is the first event of a daemon, and nothing is decided before it.
    """

    remains: Remains
    digest: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AuditDue:
    """Asks the core to check whether the names of the store's files still lead to the open files.

    `log`: why nobody finds the lines of the log in its file; None if they are there.
    """

    log: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A client has closed its console connection; its open transaction is rolled back."""

    connection: int


ConsoleEvent = LineTyped | ConnectionClosed


@dataclass(frozen=True, slots=True)
class DropLine:
    """One command of a drop. `offset`: where its line begins in the file, in code points."""

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
    """A spool file that was claimed, read and parsed. `mark`: its claimed name.

    `mistakes`: the mistakes that are found without the configuration; if one is an error, the drop is rejected.
    `token`: the id that the author of the drop chose. `costly`: as how many costly commands its lines count.
    """

    mark: str
    name: str
    user: User
    arrived_ms: int
    source: Source
    lines: tuple[DropLine, ...] = ()
    mistakes: tuple[Diagnostic, ...] = ()
    token: str | None = None
    costly: int = 0


@dataclass(frozen=True, slots=True)
class DropPutBack:
    """A failed file was put back, or could not be (`problem`: why). `reply_to`: the order that waits for the answer."""

    reply_to: int
    name: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class SpoolSeen:
    """The files in the spool that are not claimed yet, or the reason why the spool cannot be used, have changed."""

    waiting: SpoolBacklog
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ProgramStarted:
    key: AttemptKey
    process: ProcessKey


@dataclass(frozen=True, slots=True)
class ProgramNotStarted:
    """The machine could not start a program. `exhausted`: it ran out of a resource; the same start may succeed later.

    `is_alone`: other programs can be started meanwhile.
    """

    key: AttemptKey
    reason: str
    exhausted: bool = False
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class OutputEmptied:
    """An ended attempt left a process that went on to fill its output; the file was emptied. `size`: in bytes."""

    key: AttemptKey
    size: int


@dataclass(frozen=True, slots=True)
class OutputFlooded:
    """A running program writes so much that it could fill the disk: `size` bytes were discarded after `milliseconds`."""

    key: AttemptKey
    size: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class OutputUnreadable:
    """The output of an attempt that has ended cannot be read; `reason`: why. The event ProgramEnded follows."""

    key: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True)
class NobodyWatches:
    """No client has watched for a while, so nothing need be noted for those who watch."""


@dataclass(frozen=True, slots=True)
class OutputRead:
    """A part of an output was read, or cannot be read (`part` is the reason). `reply_to`: the order that waits for it."""

    reply_to: int
    key: AttemptKey
    part: OutputPart | str


@dataclass(frozen=True, slots=True)
class PreviewMade:
    """A preview was made, or `problem` says why not. `reply_to`: the order that waits.

    `note`: what its reader must know. `remedy`: empty if `problem` says it.
    """

    reply_to: int
    text: str
    note: str | None = None
    problem: str | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ProgramStopped:
    """A user has stopped a program while the store could not be written. Degraded makes it, and no device."""

    key: AttemptKey
    user: str


@dataclass(frozen=True, slots=True)
class OutputsChecked:
    """Whether programs can be started now, which need files for outputs and a keeper. `problem`: why not, None if they can."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class ProgramEnded:
    """A program has ended. `output`: the part of its output to store. `output_bytes`: the size of the whole output."""

    key: AttemptKey
    exit: Exit
    output: bytes
    output_bytes: int


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """The output of a program whose end is stored already: the store had no room for both at once."""

    key: AttemptKey
    output: bytes
    output_bytes: int


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The stanza files were read and checked. `configuration`: None if they have errors. `reply_to`: the order that waits.

    `typed`: a user typed `config reload`, so overrides are dropped. `prepared`: what a worker has computed for them. `is_told`:
    they are rejected, which the log and the status say already, although the store could not be written.
    """

    reply_to: int | None
    typed: bool
    digest: str
    configuration: Configuration | None
    diagnostics: tuple[Diagnostic, ...]
    texts: tuple[tuple[str, str], ...]
    prepared: Prepared | None = field(default=None, repr=False)
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class WatchChanged:
    """The edge now notices changes of the files in another way, or waits for another reason.

    `watch`: `events`, or the interval of the poll that replaces events, with the reason. `waits`: why the present content
    of the files is not read yet, None if nothing waits.
    """

    watch: str
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class UserLookedUp:
    """The user of a LookUpUser as the system knows it now. If it has a `problem`, the look-up failed: this is not an answer.

    `asked`: the name that was asked for, None for a number.
    """

    known: KnownUser
    asked: str | None = None


@dataclass(frozen=True, slots=True)
class ZonesChanged:
    """The time zone data of the machine, or its own zone, is not as it was."""

    zones: Zones


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """A signal asks for a reload."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A signal asks for a stop. `on_stop`: whether that option decides if programs run on; otherwise they are ended."""

    reason: str
    on_stop: bool = False


Event = (
    LineTyped
    | Started
    | AuditDue
    | ConnectionClosed
    | DropClaimed
    | DropPutBack
    | SpoolSeen
    | ProgramStarted
    | ProgramStopped
    | ProgramNotStarted
    | NobodyWatches
    | OutputsChecked
    | OutputEmptied
    | OutputFlooded
    | OutputUnreadable
    | OutputRead
    | PreviewMade
    | ProgramEnded
    | ProgramOutput
    | FilesRead
    | WatchChanged
    | UserLookedUp
    | ZonesChanged
    | ReloadRequested
    | StopRequested
)
