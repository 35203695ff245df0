"""What the stanza files declare: programs, jobs, roles and options, as one Configuration. How they are read: stanzas.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Source, Span, shortened

if TYPE_CHECKING:
    from schedappliance.model.closure import Block
    from schedappliance.model.commands import Command
    from schedappliance.model.options import Scope
    from schedappliance.syntax.command import CommandTree
    from schedappliance.syntax.tree import Scalar


@dataclass(frozen=True, slots=True)
class Use:
    """An option that a program's `argv` or `env` names, and where."""

    option: str
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class OnFailure:
    """The command that follows when a run of the program has failed; `text` is where its string stands."""

    command: Command
    tree: CommandTree
    text: Scalar
    source: Source


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a group, as `kind` says, that a program is to run as, and where it is named."""

    kind: str
    name: str
    source: Source
    span: Span

    @property
    def is_number(self) -> bool:
        return is_number(self.name)


def is_number(name: str) -> bool:
    """Whether an account is written as its number; digits of other scripts are none."""
    return name.isascii() and name.isdigit()


@dataclass(frozen=True, slots=True)
class Misfit:
    """An argument that a program does not take; `index` counts from 0, -1 when one is missing altogether."""

    message: str
    index: int


@dataclass(frozen=True, slots=True)
class Program:
    """`timeout_ms` None: no limit. `args` None: any arguments; else one pattern for each, exactly that many."""

    name: str
    argv: tuple[str, ...]
    args: tuple[re.Pattern[str], ...] | None
    timeout_ms: int | None
    kill_after_ms: int
    env: tuple[tuple[str, str], ...]
    cwd: str
    output_limit: int
    source: Source
    span: Span
    umask: int = 0o022
    user: str | None = None
    group: str | None = None
    overlap: str = "skip"
    max_running: int | None = None
    retries: int = 0
    retry_delay_ms: int = 10_000
    on_interrupt: str = "report"
    on_failure: OnFailure | None = None
    success: tuple[int, ...] = (0,)
    uses: tuple[Use, ...] = ()
    accounts: tuple[Account, ...] = ()
    executable: tuple[Source, Span] | None = None
    directory: tuple[Source, Span] | None = None

    def misfit(self, arguments: tuple[str, ...]) -> Misfit | None:
        """Why these arguments may not be given to the program, or None."""
        if self.args is None:
            return None
        if len(arguments) != len(self.args):
            wanted = {0: "no arguments", 1: "exactly 1 argument"}.get(
                len(self.args), f"exactly {len(self.args)} arguments"
            )
            return Misfit(f"program `{self.name}` takes {wanted}, not {len(arguments)}", len(arguments) - 1)
        for index, (pattern, argument) in enumerate(zip(self.args, arguments, strict=True)):
            if not pattern.fullmatch(argument):
                found = f"argument {index + 1} `{shortened(argument)}` of program `{self.name}` does not match `{pattern.pattern}`"
                return Misfit(found, index)
        return None


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


@dataclass(frozen=True, slots=True)
class Role:
    """`users` and `groups` hold names and numbers; `accounts` are the same with their places."""

    name: str
    allow: tuple[re.Pattern[str], ...]
    users: tuple[str, ...]
    groups: tuple[str, ...]
    accounts: tuple[Account, ...]
    source: Source
    span: Span

    def allows(self, line: str) -> bool:
        """Whether a canonical line is allowed: a pattern is found anywhere in it, unless `^` or `$` bind it."""
        return any(pattern.search(line) for pattern in self.allow)


@dataclass(frozen=True, slots=True)
class Authorization:
    """All roles, by name, of every `Authorization` stanza; `source` and `span` are the place of the first."""

    roles: dict[str, Role]
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class GlobalOption:
    """One of the operator's own parameters, spelt as in the file."""

    name: str
    value: str
    source: Source
    span: Span


@dataclass(slots=True)
class Configuration:
    """One accepted state of the stanza files. Keys of `options` are in lower case; `blocks` are the stanzas as written.

    `authorization` None: whoever may open the socket may do everything.
    """

    backing_store: Path | None = None
    backing_store_place: tuple[Source, Span] | None = None
    catch_up: str = "once"
    catch_up_within_ms: int | None = None
    max_running: int | None = None
    max_jobs: int = 2_000_000
    history: int = 100_000
    programs: dict[str, Program] = field(default_factory=dict)
    jobs: dict[str, DeclaredJob] = field(default_factory=dict)
    authorization: Authorization | None = None
    options: dict[str, GlobalOption] = field(default_factory=dict)
    blocks: dict[Scope, Block] = field(default_factory=dict)
