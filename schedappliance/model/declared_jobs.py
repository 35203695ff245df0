"""What a `job` stanza declares."""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.diagnostics import Source, Span
from schedappliance.model.commands import Command
from schedappliance.syntax.tree import CommandTree, Scalar


@dataclass(frozen=True, slots=True)
class DeclaredJob:
    """A `job` stanza. Exactly one of `every_ms` and `at_ms` is set; `text` is where the command's string stands."""

    name: str
    every_ms: int | None
    offset_ms: int
    at_ms: int | None
    command: Command
    enabled: bool
    tree: CommandTree
    text: Scalar
    source: Source
    span: Span

    @property
    def place(self) -> str:
        """File and line, as a message names them."""
        return f"{self.source.name}:{self.source.position(self.span.start)[0]}"
