"""The errors of the client. Rule: each of them is an `Error`, and its text is a sentence for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schedappliance.client.answers import Diagnostic


class Error(Exception):
    """The base of all errors of `schedappliance.client`."""


class Unavailable(Error):
    """No appliance answers, or it did not answer in time.

    `unanswered`: the command was sent, but its answer is lost. Nobody knows whether it was carried out.
    """

    def __init__(self, message: str, unanswered: bool = False) -> None:
        super().__init__(message)
        self.unanswered = unanswered


class Rejected(Error):
    """The appliance has not carried out the command.

    `diagnostics`: what is wrong with it, and where. `data`: what the appliance says beside the error, such as the run
    that was skipped; None if that is nothing.
    """

    def __init__(self, message: str, diagnostics: tuple[Diagnostic, ...] = (), data: Any = None) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics
        self.data = data


class NotAuthorized(Rejected):
    """No role of the user allows the command."""


class TimedOut(Error, TimeoutError):
    """The awaited end, result or event has not come in time. The run goes on, and the drop stays queued."""
