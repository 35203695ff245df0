"""The effects: the actions that the core asks the edge to perform. Also Answer, which every command returns.

Rule: the edge performs effects in their order, after the commit of the decision that they belong to. Effects that every
due job creates are NamedTuples: creating one takes a third of the time that a frozen dataclass takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from schedappliance.engine.records import AttemptKey
from schedappliance.model.resources import NO_RESOURCES, Resources

if TYPE_CHECKING:
    from schedappliance.diagnostics import Diagnostic
    from schedappliance.engine.events import ConsoleEvent
    from schedappliance.model.configuration import Configuration


class Rest(NamedTuple):
    """What follows a list: a note for people, and the command that lists the rest."""

    note: str | None = None
    next: str | None = None


# In place of a number of an event: no event is wanted that has happened already.
ONLY_LATER = -1


class Answer(NamedTuple):
    """The answer of a command. `output` is a text, or pieces of text that are made while they are sent.

    `error`: why the command failed, None if it did not. `diagnostics`: why it was rejected; a rejected command changed
    nothing. `verbatim`: `error` is a text of Momentum, shown without `error: ` before it. `is_json`: the answer to a
    `json` command; `output` is JSON, and an error is shown as data. `exit_status`: of the program that `run --wait`
    waited for. The output of the program is shown even if it failed. `note`: what a person should see beside the output.
    `next`: the command that lists the rest of a list that is cut. `rest`: gives `note` and `next` after the last piece of
    `output`, None if they are known before.
    `events_after`: the client watches from now on, and gets the events after this number, or ONLY_LATER.
    """

    output: str | Iterator[str] = ""
    error: str | None = None
    verbatim: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    is_json: bool = False
    exit_status: int | None = None
    note: str | None = None
    next: str | None = None
    rest: Callable[[], Rest] | None = None
    events_after: int | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def rejection(diagnostics: Iterable[Diagnostic], verbatim: str | None = None) -> Answer:
    """The answer to a rejected command. A single diagnostic is shown without its place, several with their places.

    `verbatim`: a text of Momentum that is shown in place of the diagnostics.
    """
    mistakes = tuple(diagnostics)
    if verbatim is None:
        text = mistakes[0].text if len(mistakes) == 1 else "\n".join(mistake.brief() for mistake in mistakes)
        return Answer(error=text, diagnostics=mistakes)
    return Answer(error=verbatim, verbatim=True, diagnostics=mistakes)


class Reply(NamedTuple):
    """The answer to a console line. `in_transaction`: a transaction is open on its connection after the command.

    `size`: the bytes of the output in memory. Pieces that are made while they are sent take none. `is_repeatable`: the
    command changed nothing, so the answer may be dropped, and the line carried out again.
    """

    reply_to: int
    answer: Answer
    in_transaction: bool = False
    size: int = 0
    is_repeatable: bool = False


@dataclass(frozen=True, slots=True)
class StartProgram:
    """Starts a program."""

    key: AttemptKey
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    umask: int
    output_limit: int
    # Names or numbers; the launcher looks them up at each start.
    user: str | None = None
    group: str | None = None
    # The text that the program reads; None for nothing.
    stdin: str | None = None
    # Variables that the launcher adds to `env`.
    env_file: str | None = None
    pass_env: tuple[str, ...] = ()
    # The wall time by which this start is recognized.
    started_ms: int = 0
    # The boot time of its timeout, None for never; and when KILL follows, if no daemon is there then.
    term_at: int | None = None
    kill_after_ms: int = 0
    tree: str = "all"
    # Those of the lines that it writes, if they are passed on to the log.
    log_fields: tuple[tuple[str, Any], ...] = ()
    resources: Resources = NO_RESOURCES
    # The boot time of the decision to start it.
    started_at: int = 0


@dataclass(frozen=True, slots=True)
class SignalProgram:
    """Signals a program with its descendants. Processes that remain get KILL `kill_after_ms` later. `why`: an Ending."""

    key: AttemptKey
    signal: int
    kill_after_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class DiscardOutput:
    """Removes the file of an output that is in the store now."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class ReadOutput:
    """Reads a part of the output of a running attempt on a worker: at most this many bytes; the result is the event OutputRead."""

    reply_to: int
    key: AttemptKey
    begin: int
    most: int


@dataclass(frozen=True, slots=True)
class MakePreview:
    """Makes a preview in a child process; the result is the event PreviewMade.

    `uid`: of the user who asks. `job`: the id or the name of a job, or a pattern; None: all jobs. `stamp`: a preview that
    was made under the same stamp a moment ago is still true.
    """

    reply_to: int
    uid: int
    period_ms: int
    limit: int
    job: str | None
    as_json: bool
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Reads and checks the stanza files on a worker; the result is the event FilesRead."""

    reply_to: int | None
    typed: bool


@dataclass(frozen=True, slots=True)
class FilesAccepted:
    """Stanza files were accepted: their paths with their texts. `guarded`: they contain `Authorization`.

    `replaced`: the configuration of the files before, for the receiver to free; empty at start. The receiver takes it out
    of the list, so that it is the last one who refers to it.
    """

    texts: tuple[tuple[str, str], ...]
    guarded: bool = False
    replaced: list[Configuration] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class LookUpUser:
    """Asks the system for a user by number or by name, with the groups; the answer is the event UserLookedUp."""

    who: int | str


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Writes the result of a drop to its file, a copy of the stored row."""

    mark: str
    name: str
    accepted: bool
    result: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """Puts a failed file of a user back, so that it is claimed again; the answer is the event DropPutBack."""

    reply_to: int
    name: str
    uid: int


class Happened(NamedTuple):
    """Tells clients that watch what a turn has changed: events of the protocol, as JSON objects."""

    events: tuple[dict[str, Any], ...]


class EndWatches(NamedTuple):
    """Disconnects the clients that watch: the roles may have changed, or nothing is noted for them. They connect again."""


class LogMessage(NamedTuple):
    """A line for the log. `once`: it is left out if the same line was logged in this second already.

    `fields`: names and values that a log in JSON has beside the message. `share`: the name of the allowance that
    the line uses, such as `user=bob uid=7 rejected`. Empty: the line is always logged.
    """

    level: str
    message: str
    once: bool = False
    fields: tuple[tuple[str, Any], ...] = ()
    share: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ends the process: no program is running any more."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """Leaves an event of the console for a later turn, because the answers of this one are large already."""

    event: ConsoleEvent


Effect = (
    Reply
    | PutOff
    | StartProgram
    | SignalProgram
    | DiscardOutput
    | ReadOutput
    | MakePreview
    | ReadFiles
    | LookUpUser
    | FilesAccepted
    | PublishResult
    | PutBack
    | Happened
    | EndWatches
    | LogMessage
    | Stop
)
