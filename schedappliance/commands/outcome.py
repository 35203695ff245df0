"""The result of a command: an answer with the changes that follow from it, or a rejection.

Rule: a command writes rows itself, and returns every other change as a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.effects import Answer, rejection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schedappliance.diagnostics import Diagnostic
    from schedappliance.engine.incidents import Incident
    from schedappliance.engine.options import Options
    from schedappliance.engine.reasons import Reason
    from schedappliance.engine.records import AttemptKey, Hold, Job, RunKey, User
    from schedappliance.engine.schedule import Due


class AfterRun(NamedTuple):
    """The answer follows when this run has ended, or this many milliseconds later (None: however long it takes)."""

    run: RunKey
    timeout_ms: int | None = None


class AfterReload(NamedTuple):
    """The answer follows when the stanza files have been read. `typed`: a user asked for it, so overrides are dropped."""

    typed: bool


class AfterRetry(NamedTuple):
    """The answer follows when the failed drop of this name and user has been put back."""

    name: str
    uid: int


class AfterReading(NamedTuple):
    """The answer follows when the output of this running attempt has been read, from a place on."""

    attempt: AttemptKey
    begin: int


class AfterPreview(NamedTuple):
    """The answer follows when a preview of this period and of at most this many rows has been made, as data or as a table.

    `job`: the id or the name of a job, or a pattern; None: all jobs.
    """

    period_ms: int
    limit: int
    job: str | None
    as_json: bool


class CallOff(NamedTuple):
    """The waiting runs of these jobs are cancelled for this reason. `jobs` None: all of them."""

    jobs: tuple[int, ...] | None
    reason: Reason


class Transaction(NamedTuple):
    """Options that a console connection has set and not yet committed. `version`: that of the options before the transaction.

    `by`: the delegate who opened the transaction on behalf of `user`, if there is one.
    """

    options: Options
    version: int
    user: User
    by: User | None


EMPTY = Answer()


@dataclass(slots=True)
class Outcome:
    """The answer of a command, and the changes that the core makes in the same transaction.

    `options`: the new options; None: unchanged. `transaction`: the new state of the connection's transaction; None:
    unchanged, unless `ends_transaction`. `claim`: a run to claim now; if nothing is `pending`, the answer describes that
    run. `call_off`: jobs whose waiting runs are cancelled. `stops_run`: a run to stop. `missed`: jobs
    with due times that passed without a run. `hold`: the new last hold. `acknowledged`: the incidents that were
    acknowledged. `resets`: the statistics are reset. `watches`: the client watches from now on. `stops`: the appliance stops.
    `keeps`: its programs run on.

    Every due job with an internal command creates one; creating a named tuple takes twice as long.
    """

    answer: Answer = EMPTY
    options: Options | None = None
    transaction: Transaction | None = None
    ends_transaction: bool = False
    claim: RunKey | None = None
    pending: AfterRun | AfterReload | AfterRetry | AfterReading | AfterPreview | None = None
    call_off: CallOff | None = None
    stops_run: RunKey | None = None
    missed: tuple[tuple[Job, Due], ...] = ()
    hold: Hold | None = None
    acknowledged: tuple[Incident, ...] = ()
    resets: bool = False
    watches: bool = False
    stops: bool = False
    keeps: bool = False


class Rejected(Exception):
    """The command is not carried out, and nothing was changed. `verbatim`: a text of Momentum, shown unchanged."""

    def __init__(self, diagnostics: Iterable[Diagnostic], verbatim: str | None = None) -> None:
        self.diagnostics = tuple(diagnostics)
        self.verbatim = verbatim
        super().__init__(verbatim or "; ".join(diagnostic.message for diagnostic in self.diagnostics))

    @property
    def answer(self) -> Answer:
        return rejection(self.diagnostics, self.verbatim)
