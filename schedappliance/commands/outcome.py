"""What a command returns: its answer, what it changed beside its rows, or the reason for which it is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.effects import Answer, rejection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schedappliance.diagnostics import Diagnostic
    from schedappliance.engine.options import Options
    from schedappliance.engine.reasons import Reason
    from schedappliance.engine.records import Job, RunKey, User
    from schedappliance.engine.schedule import Due


class AfterRun(NamedTuple):
    """The answer follows when this run has ended."""

    run: RunKey


class AfterReload(NamedTuple):
    """The answer follows when the stanza files have been read. `typed`: a person asked for it, so overrides go."""

    typed: bool


class AfterRetry(NamedTuple):
    """The answer follows when the failed drop of this name is claimed again."""

    name: str


class Transaction(NamedTuple):
    """Options that a console connection has set and not yet committed.

    `version`: of the options that the transaction began with.
    """

    options: Options
    version: int
    user: User


EMPTY = Answer()


@dataclass(slots=True)
class Outcome:
    """What follows from a command; all of it happens in the same transaction.

    `options`: those in effect from now on; None: as before. `transaction`: the one that is open on the connection from
    now on; None: as before, unless `ends_transaction`. `claim`: a run that is claimed now; the command answers what
    became of it, if nothing is `pending`. `call_off`: a job whose waiting runs are cancelled, and why. `missed`: the
    due times of a job that passed without a run. `resets`: the statistics start again. `stops`: the appliance stops.

    One is made for every due job with an internal command; a named tuple takes twice as long to make.
    """

    answer: Answer = EMPTY
    options: Options | None = None
    transaction: Transaction | None = None
    ends_transaction: bool = False
    claim: RunKey | None = None
    pending: AfterRun | AfterReload | AfterRetry | None = None
    call_off: tuple[int, Reason] | None = None
    missed: tuple[Job, Due] | None = None
    resets: bool = False
    stops: bool = False


class Rejected(Exception):
    """The command is not carried out, and nothing was changed. `verbatim`: one of Momentum's own texts, shown unchanged."""

    def __init__(self, diagnostics: Iterable[Diagnostic], verbatim: str | None = None) -> None:
        self.diagnostics = tuple(diagnostics)
        self.verbatim = verbatim
        super().__init__(verbatim or "; ".join(diagnostic.message for diagnostic in self.diagnostics))

    @property
    def answer(self) -> Answer:
        return rejection(self.diagnostics, self.verbatim)
