"""The content of the stanza files as one Configuration: programs, jobs, roles and options. stanzas.py reads it.

Rule: a configuration never changes once it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedappliance.diagnostics import Source, Span, counted, shortened
from schedappliance.model.moments import LocalTime
from schedappliance.model.resources import NO_RESOURCES, Resources

if TYPE_CHECKING:
    from schedappliance.model.calendars.day_lists import DayLists
    from schedappliance.model.calendars.rule import CalendarRule
    from schedappliance.model.closure import Block
    from schedappliance.model.commands import Command
    from schedappliance.model.option_paths import Scope
    from schedappliance.model.patterns import Pattern
    from schedappliance.model.schedules import AtBoot, Every, Once
    from schedappliance.syntax.command import CommandTree
    from schedappliance.syntax.tree import Scalar, Value


@dataclass(frozen=True, slots=True)
class OptionUse:
    """An option in a program's `argv` or `env`, and its place."""

    option: str
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a group, as `kind` says, and its place in the files."""

    kind: str
    name: str
    source: Source
    span: Span

    @property
    def is_number(self) -> bool:
        return is_number(self.name)


def is_number(name: str) -> bool:
    """Whether an account is written as its number, in ASCII digits."""
    return name.isascii() and name.isdigit()


@dataclass(frozen=True, slots=True)
class CommandOption:
    """A console command in an option, which the appliance carries out when something happens; `text` holds it."""

    command: Command
    tree: CommandTree
    text: Scalar
    source: Source


@dataclass(frozen=True, slots=True)
class WrongArguments:
    """Why a program does not take some arguments; `index` counts from 0, -1 when all of them are missing."""

    message: str
    index: int


@dataclass(frozen=True, slots=True)
class Program:
    """A `program` stanza. The appliance executes only programs that are declared like this.

    `timeout_ms` and `max_running` None: no limit. `args` None: any arguments; otherwise one pattern for each argument.
    `executable`, `directory`, `env_file_place` and `timeout_place` are the places of `argv`, `cwd`, `env_file` and
    `timeout` in the files, None where they are not given. `stdin` None: the program reads nothing.
    `resource_places`: the options that `resources` holds, by name, with their places.
    """

    name: str
    argv: tuple[str, ...]
    args: tuple[Pattern, ...] | None
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
    on_failure: CommandOption | None = None
    success: tuple[int, ...] = (0,)
    uses: tuple[OptionUse, ...] = ()
    accounts: tuple[Account, ...] = ()
    executable: tuple[Source, Span] | None = None
    directory: tuple[Source, Span] | None = None
    stdin: str | None = None
    env_file: str | None = None
    env_file_place: tuple[Source, Span] | None = None
    timeout_place: tuple[Source, Span] | None = None
    pass_env: tuple[str, ...] = ()
    tree: str = "all"
    resources: Resources = NO_RESOURCES
    resource_places: tuple[tuple[str, Source, Span], ...] = ()

    def wrong_arguments(self, arguments: tuple[str, ...]) -> WrongArguments | None:
        """Why the program does not take these arguments; None when it does."""
        if self.args is None:
            return None
        if len(arguments) != len(self.args):
            expected = f"exactly {counted(len(self.args), 'argument')}" if self.args else "no arguments"
            return WrongArguments(f"program `{self.name}` takes {expected}, not {len(arguments)}", len(arguments) - 1)
        for index, (pattern, argument) in enumerate(zip(self.args, arguments, strict=True)):
            if not pattern.matches(argument):
                message = (
                    f"argument {index + 1} `{shortened(argument)}` of program `{self.name}`"
                    f" does not match `{pattern.text}`"
                )
                return WrongArguments(message, index)
        return None


@dataclass(frozen=True, slots=True)
class ReadOption:
    """An option of a stanza with its value and its place. A dictionary may have several parts."""

    value: Any
    source: Source
    span: Span
    node: Any
    parts: tuple[tuple[Source, Value], ...]


ReadOptions = dict[str, ReadOption]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What programs take from `defaults`. `program`: these options as a program without name and executable."""

    options: ReadOptions
    program: Program


@dataclass(frozen=True, slots=True)
class DeclaredJob:
    """A `job` stanza. `text` is the string that holds the command, or the name of a job with `argv`.

    `own_program`: the stanza has `argv`, so it declares a program of the same name. `catch_up`, `catch_up_within_ms`
    None: those of `sched`. `times`: the options that decide the due times, with their places.
    """

    name: str
    schedule: Once | Every | AtBoot | CalendarRule
    command: Command
    enabled: bool
    tree: CommandTree
    text: Scalar
    source: Source
    span: Span
    own_program: bool = False
    catch_up: str | None = None
    catch_up_within_ms: int | None = None
    times: ReadOptions = field(default_factory=dict)

    @property
    def local_times(self) -> dict[str, LocalTime]:
        """The options that are local times. Their instants depend on the zone."""
        read = {option: self.times[option].value for option in ("at", "from", "until") if option in self.times}
        return {option: value for option, value in read.items() if isinstance(value, LocalTime)}

    def zone_of_local_times(self, zone: str | None) -> str:
        """The zone of local times that name none. `zone`: that of `sched`."""
        own = self.times["zone"].value if "zone" in self.times else zone
        return str(own or "UTC")

    def zones(self, zone: str | None) -> set[str]:
        """The zones of its local times. `zone`: that of `sched`."""
        return {when.zone or self.zone_of_local_times(zone) for when in self.local_times.values()}

    @property
    def needs_zone(self) -> bool:
        """Whether its due times may depend on the zone of `sched`."""
        return "zone" not in self.times and not self.times.keys().isdisjoint(("cron", "calendar", "within"))

    @property
    def place(self) -> str:
        """File and line, as a message names them."""
        return f"{self.source.name}:{self.source.position(self.span.start)[0]}"


@dataclass(frozen=True, slots=True)
class Notify:
    """A `notify` stanza: which events of which jobs a program delivers. `command` starts the program.

    `jobs` None: all declared jobs; otherwise patterns, one of which must match the name of a job or program, and
    `patterns_place` is their place. `after`: how many events in a row make the first alert. `again_ms` 0: no reminders.
    `longer_than`: how many times its usual duration a run takes before it is late. `has_incidents` False: each event is
    told. `collect_ms`: how long an alert waits for more events. `at`: calendar expressions, at whose next time the
    alert is due instead.
    """

    name: str
    jobs: tuple[Pattern, ...] | None
    when: tuple[str, ...]
    after: int
    again_ms: int
    longer_than: int
    has_incidents: bool
    collect_ms: int
    at: ReadOption | None
    command: CommandOption
    source: Source
    span: Span
    patterns_place: tuple[Source, tuple[Scalar, ...]] | None = None

    @property
    def program(self) -> str:
        """The program that delivers the alerts."""
        return self.command.command.words[0]

    def watches(self, job: str | None, program: str | None) -> bool:
        """Whether the events of a run count. `job`: the name of its job, None if no stanza declares it."""
        if self.jobs is None:
            return job is not None
        names = [name for name in (job, program) if name is not None]
        return any(pattern.matches(name) for pattern in self.jobs for name in names)


@dataclass(frozen=True, slots=True)
class Role:
    """A `Role` stanza: commands, and the users and groups that may give them.

    `users` and `groups` hold names and numbers; `accounts` are the same with their places.
    """

    name: str
    allow: tuple[Pattern, ...]
    users: frozenset[str]
    groups: frozenset[str]
    accounts: tuple[Account, ...]
    source: Source
    span: Span

    def allows(self, line: str) -> bool:
        """Whether one of the patterns is found in a canonical line."""
        return any(pattern.is_in(line) for pattern in self.allow)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The roles of all `Authorization` stanzas by name; `source` and `span` are the place of the first stanza.

    `delegates`: the names and numbers of the users who may give commands on behalf of others; `accounts` are the same with their places.
    """

    roles: dict[str, Role]
    source: Source
    span: Span
    delegates: frozenset[str] = frozenset()
    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class GlobalOption:
    """An option outside all stanzas, whose name the operator chose; the name is spelt as in the file."""

    name: str
    value: str
    source: Source
    span: Span


@dataclass(slots=True, weakref_slot=True)
class Configuration:
    """The meaning of the stanza files. Keys of `options` are in lower case; `blocks` are the stanzas as written.

    `authorization` None: everyone who can open the socket may give every command.
    """

    backing_store: Path | None = None
    # As the files name it, if its way leads through a symbolic link.
    backing_store_link: Path | None = None
    backing_store_place: tuple[Source, Span] | None = None
    backing_store_is_relative: bool = False
    # The zone of calendars that name none.
    zone: str | None = None
    # The dates of the `days` stanzas.
    days: DayLists = field(default_factory=dict)
    catch_up: str = "once"
    catch_up_within_ms: int | None = None
    on_stop: str = "end"
    max_running: int | None = None
    max_jobs: int = 2_000_000
    history: int = 100_000
    programs: dict[str, Program] = field(default_factory=dict)
    jobs: dict[str, DeclaredJob] = field(default_factory=dict)
    notify: dict[str, Notify] = field(default_factory=dict)
    defaults: Defaults | None = None
    authorization: Authorization | None = None
    options: dict[str, GlobalOption] = field(default_factory=dict)
    blocks: dict[Scope, Block] = field(default_factory=dict)
    # Stanzas with an error. Without a name: any stanza of the kind.
    faulty: frozenset[Scope] = frozenset()

    def is_faulty(self, scope: Scope) -> bool:
        """Whether a stanza has an error. What refers to it is not judged, since the error is reported already."""
        return scope in self.faulty or scope._replace(name="") in self.faulty

    def most_running(self, program: str) -> int | None:
        """How many runs of a program may run at once; None: any number.

        A program that delivers alerts runs once at a time unless it says otherwise, so that a mail server that hangs
        takes one place only.
        """
        declared = self.programs.get(program)
        if declared is None:
            return None
        if declared.max_running is not None:
            return declared.max_running
        return 1 if any(notify.program == program for notify in self.notify.values()) else None
