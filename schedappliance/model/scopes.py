"""The scopes of the option tree: the global one, and one for each stanza."""

from __future__ import annotations

from typing import NamedTuple

from schedappliance.syntax.printer import quoted


class Scope(NamedTuple):
    """Where an option stands: a stanza in lower case with its name; both empty for the global scope."""

    stanza: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """The head of the stanza, as a file writes it."""
        return f"{self.stanza} {quoted(self.name)}" if self.name else self.stanza


GLOBAL, SCHED, AUTHORIZATION = Scope(), Scope("sched"), Scope("authorization")
