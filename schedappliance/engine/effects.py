"""What goes out. Effects are performed after the commit of the decision that they belong to, in their order.

Those of which one comes with every job that is due are tuples: they are made in a third of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.records import AttemptKey

if TYPE_CHECKING:
    from schedappliance.diagnostics import Diagnostic


class Answer(NamedTuple):
    """What a command answers. `output` is text, or pieces of text that are made while they are sent.

    `error` set: the command failed; `diagnostics` set: it was rejected, and changed nothing. `verbatim`: one of Momentum's own texts,
    which stands without `error: ` before it. `is_json`: the answer to a `json` command; `output` is JSON then,
    and an error is told as data.
    `exit_status`: of the program that was waited for; its output is told also when it failed.
    """

    output: str | Iterator[str] = ""
    error: str | None = None
    verbatim: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    is_json: bool = False
    exit_status: int | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def rejection(diagnostics: Iterable[Diagnostic], verbatim: str | None = None) -> Answer:
    """The answer to a rejected command. One diagnostic is one line; several are shown with their places.

    `verbatim`: Momentum's own text, which replaces theirs.
    """
    mistakes = tuple(diagnostics)
    if verbatim is None:
        text = mistakes[0].text if len(mistakes) == 1 else "\n".join(mistake.brief() for mistake in mistakes)
        return Answer(error=text, diagnostics=mistakes)
    return Answer(error=verbatim, verbatim=True, diagnostics=mistakes)


class Reply(NamedTuple):
    """The answer to a console line. `in_transaction`: a transaction is open on its connection after the command."""

    reply_to: int
    answer: Answer
    in_transaction: bool = False


@dataclass(frozen=True, slots=True)
class StartProgram:
    """Everything that a start needs. `user` and `group`, names or numbers, are looked up anew at each start."""

    key: AttemptKey
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    umask: int
    output_limit: int
    user: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class SignalProgram:
    """For the whole process group. `kill_after_ms`: what is left of it after that time is sent KILL."""

    key: AttemptKey
    signal: int
    kill_after_ms: int


@dataclass(frozen=True, slots=True)
class DiscardOutput:
    """The output stands in the store; its file is no longer needed."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Read and check the stanza files on a worker; the result is the event FilesRead."""

    reply_to: int | None
    typed: bool


@dataclass(frozen=True, slots=True)
class FilesAccepted:
    """The texts that are active from now on, by the paths of their files; `guarded`: they contain `Authorization`."""

    texts: tuple[tuple[str, str], ...]
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class LookUpUsers:
    """Ask the system who these users are; the answer is the event UsersLookedUp."""

    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The result of a drop, committed already; its file is a copy."""

    mark: str
    name: str
    accepted: bool
    result: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """Claim a failed file again; the answer is the event DropPutBack."""

    reply_to: int
    name: str


class LogMessage(NamedTuple):
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing runs any more: the process may end."""


Effect = (
    Reply
    | StartProgram
    | SignalProgram
    | DiscardOutput
    | ReadFiles
    | LookUpUsers
    | FilesAccepted
    | PublishResult
    | PutBack
    | LogMessage
    | Stop
)
