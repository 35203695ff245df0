"""Reads the statements of stanza files into a Configuration. stanza_options.py reads the options of one stanza.

Rule: a wrong statement becomes a diagnostic and is left out, so that every mistake is reported once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedappliance.diagnostics import Diagnostic, Source, Span, command_diagnostic, did_you_mean, has_errors
from schedappliance.model.calendars.day_lists import DayList, DayLists
from schedappliance.model.calendars.instants import instant_in
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.texts import EPOCH_DAY
from schedappliance.model.calendars.zones import UnknownZone, Zones, this_machine
from schedappliance.model.closure import Block, Closure, Setting
from schedappliance.model.configuration import (
    Authorization,
    Configuration,
    DeclaredJob,
    Defaults,
    GlobalOption,
    Notify,
    Program,
    Role,
)
from schedappliance.model.declarations import read_defaults, read_job, read_notify, read_program
from schedappliance.model.files import link_to, real_path
from schedappliance.model.option_paths import (
    AUTHORIZATION,
    DEFAULTS,
    OPTION_NAME,
    OPTION_NAME_HELP,
    SCHED,
    Scope,
    value_of,
)
from schedappliance.model.options import STANZA_OF, STANZAS, stanzas_with
from schedappliance.model.references import command_mistakes
from schedappliance.model.roles import read_role, with_delegates
from schedappliance.model.schedules import Once
from schedappliance.model.stanza_options import StanzaReader
from schedappliance.syntax.tree import Dictionary, Option, Scalar, Stanza, Value

if TYPE_CHECKING:
    from schedappliance.model.calendar_references import CalendarChecks


def read_configuration(closure: Closure) -> tuple[Configuration, list[Diagnostic]]:
    """The meaning of the files, and the mistakes in names and values. Mistakes of syntax are in the closure."""
    reader = _Reader()
    reader.statements(closure.items)
    return reader.finish(), reader.reader.diagnostics


class InvalidOptions(Exception):
    """Values for options that the tables or the stanza files do not allow."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


def read_again(configuration: Configuration, scope: Scope, values: Mapping[str, str]) -> Configuration:
    """What one stanza declares with other values for options, as if they stood in it; raises InvalidOptions.

    Keys of `values` are in lower case. `with_parts` takes the result.
    """
    if scope.stanza == "job" and "command" in values and configuration.authorization:
        # Declared jobs need no role, so only the files may decide which command they run.
        raise InvalidOptions([_files_only(values["command"])])
    block = configuration.blocks[scope]
    others = [i for i in block.body if not isinstance(i, Setting) or i.option.key.value.lower() not in values]
    reader = _Reader(defaults=configuration.defaults, zone=None if scope == SCHED else configuration.zone)
    reader.block(replace(block, body=(*others, *(_setting(name, text) for name, text in values.items()))))
    new = reader.finish()
    errors = [diagnostic for diagnostic in reader.reader.diagnostics if diagnostic.is_error]
    errors = errors or [mistake for mistake in _job_references(new, configuration) if mistake.is_error]
    if not errors and scope.stanza == "days":
        errors = list(_mistakes_with_days(configuration, scope.name, {**configuration.days, **new.days}))
    if errors:
        raise InvalidOptions(errors)
    return new


def with_parts(configuration: Configuration, parts: Iterable[Configuration]) -> Configuration:
    """The configuration with stanzas that were read again. All its other stanzas stay the same objects."""
    programs: dict[str, Program] = {}
    jobs: dict[str, DeclaredJob] = {}
    days: dict[str, DayList] = {}
    for part in parts:
        if not (part.programs or part.jobs or part.days):
            configuration = _with_sched(configuration, part)
        programs |= part.programs
        jobs |= part.jobs
        days |= part.days
    # A dictionary that is the same object shows that nothing in it has changed.
    return replace(
        configuration,
        programs={**configuration.programs, **programs} if programs else configuration.programs,
        jobs={**configuration.jobs, **jobs} if jobs else configuration.jobs,
        days={**configuration.days, **days} if days else configuration.days,
    )


def _with_sched(configuration: Configuration, sched: Configuration) -> Configuration:
    """The configuration with the `sched` stanza of another one."""
    zone = sched.zone
    return replace(
        sched,
        programs=configuration.programs,
        jobs=configuration.jobs if zone == configuration.zone else _in_zone(configuration.jobs, zone),
        days=configuration.days,
        notify=configuration.notify,
        defaults=configuration.defaults,
        authorization=configuration.authorization,
        options=configuration.options,
        blocks=configuration.blocks,
    )


def _files_only(command: str) -> Diagnostic:
    remedy = "edit the stanza file; with `Authorization`, the console cannot change what declared jobs do"
    return command_diagnostic("E508", "`command` of a job can be set only in the stanza files", remedy, command)


def _calendar_checks(days: DayLists, zone: str | None) -> CalendarChecks:
    # Imported here, since whatever reads a command imports this module.
    from schedappliance.model.calendar_references import CalendarChecks

    return CalendarChecks(Zones(this_machine()), days, zone)


def _job_references(new: Configuration, configuration: Configuration) -> Iterator[Diagnostic]:
    checks = _calendar_checks(configuration.days, configuration.zone)
    for job in new.jobs.values():
        yield from command_mistakes(job.tree, Source.of_command(job.command.text), configuration)
        yield from checks.mistakes(job)


def _mistakes_with_days(configuration: Configuration, name: str, days: DayLists) -> Iterator[Diagnostic]:
    """The jobs that would never be due if a list of days were another one."""
    checks = _calendar_checks(days, configuration.zone)
    for job in configuration.jobs.values():
        rule = job.schedule
        if isinstance(rule, CalendarRule) and name in (*rule.only, *rule.excluded):
            yield from checks.mistakes(job)


def _setting(name: str, text: str) -> Setting:
    value = value_of(text)
    key = Scalar(name, Span(0, len(name)))
    return Setting(Source.of_command(f"{name} = {text}"), Option(key, value.shifted(len(name) + 3)))


def options_of(configuration: Configuration, scope: Scope) -> dict[str, Value]:
    """The options of a stanza as the files give them, keys in lower case: duplicates resolved, dictionaries merged."""
    return _values(configuration.blocks[scope])


def stanzas_of(configuration: Configuration, scope: Scope) -> list[tuple[Scope, dict[str, Value]]]:
    """The stanzas inside a stanza, with their options."""
    inner = [item for item in configuration.blocks[scope].body if isinstance(item, Block)]
    return [(Scope(b.stanza.key.value, b.stanza.name.value if b.stanza.name else ""), _values(b)) for b in inner]


def _values(block: Block) -> dict[str, Value]:
    values: dict[str, Value] = {}
    parts: dict[str, list[Dictionary]] = {}
    for item in block.body:
        if isinstance(item, Setting):
            name, value = item.option.key.value.lower(), item.option.value
            values[name] = value
            if isinstance(value, Dictionary):
                parts.setdefault(name, []).append(value)
            else:
                parts.pop(name, None)
    return {**values, **{name: union(*dictionaries) for name, dictionaries in parts.items()}}


def union(*dictionaries: Dictionary) -> Dictionary:
    """Dictionaries as one; of entries with the same key, the last one counts."""
    entries = {entry.key.value: entry for dictionary in dictionaries for entry in dictionary.entries}
    return Dictionary(tuple(entries.values()), dictionaries[-1].span)


@dataclass(slots=True)
class _Reader:
    """Collects what the statements declare. `first`: the first stanza of each kind and name, even if it has mistakes."""

    reader: StanzaReader = field(default_factory=StanzaReader)
    sched: list[Block] = field(default_factory=list)
    defaults: Defaults | None = None
    zone: str | None = None
    days: dict[str, DayList] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    jobs: dict[str, DeclaredJob] = field(default_factory=dict)
    notify: dict[str, Notify] = field(default_factory=dict)
    first: dict[Scope, Block] = field(default_factory=dict)
    authorization: Authorization | None = None
    global_options: dict[str, GlobalOption] = field(default_factory=dict)
    blocks: dict[Scope, Block] = field(default_factory=dict)
    faulty: set[Scope] = field(default_factory=set)

    def statements(self, items: Iterable[Setting | Block]) -> None:
        """Reads `defaults` first, so that it also counts for the programs before it."""
        statements = list(items)
        blocks = [item for item in statements if isinstance(item, Block) and item.kind == DEFAULTS.stanza]
        self.blocks[DEFAULTS] = _merged(DEFAULTS, blocks)
        self.defaults = read_defaults(self.reader, self.blocks[DEFAULTS]) if blocks else None
        for item in statements:
            if isinstance(item, Setting):
                self.global_option(item)
                continue
            before = len(self.reader.diagnostics)
            self.block(item)
            if has_errors(self.reader.diagnostics[before:]):
                self.faulty.update(_scopes_in(item))

    def finish(self) -> Configuration:
        """The configuration. The `sched` stanzas are merged, so they are read when all of them are known."""
        self.blocks[SCHED] = _merged(SCHED, self.sched)
        options, names = self.reader.options(STANZAS["sched"], "sched", self.blocks[SCHED].body)
        store = options.get("backing_store")
        if "zone" in names or SCHED in self.faulty:
            # In place of a zone that is wrong, and reported. Jobs that need it are not reported too.
            self.zone = options["zone"].value if "zone" in options else "UTC"
        settings = {field_name: options[name].value for name, field_name in _SCHED_FIELDS.items() if name in options}
        named = Path(store.source.name).parent / store.value if store else None
        return Configuration(
            backing_store=real_path(named) if named else None,
            backing_store_link=link_to(named) if named else None,
            backing_store_place=(store.source, store.span) if store else None,
            backing_store_is_relative=store is not None and not Path(store.value).is_absolute(),
            programs=self.programs,
            jobs=_in_zone(self.jobs, self.zone),
            zone=self.zone,
            days=self.days,
            notify=self.notify,
            defaults=self.defaults,
            authorization=self.authorization,
            options=self.global_options,
            blocks=self.blocks,
            faulty=frozenset(self.faulty),
            **settings,
        )

    def global_option(self, setting: Setting) -> None:
        key, value, source = setting.option.key, setting.option.value, setting.source
        if key.missing or (isinstance(value, Scalar) and value.missing):
            return
        if not OPTION_NAME.fullmatch(key.value):
            self.reader.report("E208", f"invalid option name `{key.value}`", OPTION_NAME_HELP, source, key.span)
        elif key.value.lower() in STANZA_OF:
            message = f"option `{key.value}` outside a stanza"
            remedy = f"move it into {stanzas_with(key.value.lower())}, or choose another name"
            self.reader.report("E202", message, remedy, source, key.span)
        else:
            if not isinstance(value, Scalar):
                message = f"more than one value for option `{key.value}`"
                self.reader.report("E203", message, "give one value", source, value.span)
            # The options are in the order of their last values.
            earlier = self.global_options.pop(key.value.lower(), None)
            if earlier:
                self.reader.duplicate("option", key, source, (earlier.source, earlier.span))
            text = value.value if isinstance(value, Scalar) else ""
            self.global_options[key.value.lower()] = GlobalOption(key.value, text, source, setting.option.span)

    def block(self, block: Block) -> None:
        key, name = block.stanza.key, block.stanza.name
        kind = block.kind
        if key.missing or (name and name.missing):
            return
        if kind not in STANZAS:
            remedy = did_you_mean(key.value, STANZAS, f"known stanzas: {', '.join(STANZAS)}")
            self.reader.report("E201", f"unknown stanza `{key.value}`", remedy, block.source, key.span)
        elif not STANZAS[kind].named:
            if name:
                remedy = f"write `{key.value} {{ ... }}`"
                self.reader.report("E207", f"stanza `{key.value}` takes no name", remedy, block.source, name.span)
            if kind == "sched":
                self.sched.append(block)
            elif kind == "authorization":
                self.roles(block)
        elif stanza_name := self.reader.stanza_name(block):
            if kind == "program":
                self.program(block, stanza_name)
            elif kind == "days":
                self.list_of_days(block, stanza_name)
            elif kind == "notify":
                self.notify_stanza(block, stanza_name)
            else:
                self.job(block, stanza_name)

    def program(self, block: Block, name: str) -> None:
        program = read_program(self.reader, block, name, self.defaults)
        if self.add(Scope("program", name), block):
            self.programs[name] = program
            self.blocks[Scope("program", name)] = block

    def list_of_days(self, block: Block, name: str) -> None:
        options, _ = self.reader.options(STANZAS["days"], f'days "{name}"', block.body, block.head)
        if self.add(Scope("days", name), block):
            if "dates" in options:
                self.days[name] = DayList(options["dates"].value)
            self.blocks[Scope("days", name)] = block

    def notify_stanza(self, block: Block, name: str) -> None:
        notify = read_notify(self.reader, block, name)
        if self.add(Scope("notify", name), block) and notify:
            self.notify[name] = notify
            self.blocks[Scope("notify", name)] = block

    def job(self, block: Block, name: str) -> None:
        job, program = read_job(self.reader, block, name, self.defaults)
        if not self.add(Scope("job", name), block):
            return
        if program and self.add(Scope("program", name), block):
            self.programs[name] = program
        if job:
            self.jobs[name] = job
            self.blocks[Scope("job", name)] = block

    def add(self, scope: Scope, block: Block) -> bool:
        """Adds the name of a stanza; False and a diagnostic if an earlier stanza has it."""
        earlier = self.first.setdefault(scope, block)
        if earlier is not block:
            has_job = "job" in (block.kind, earlier.kind) and scope.stanza == "program"
            remedy = "rename one of them; a job with `argv` declares a program of its own name" if has_job else ""
            self.reader.duplicate_name(scope.stanza, scope.name, block.head, earlier.head, remedy)
        return earlier is block

    def roles(self, block: Block) -> None:
        """Reads an `Authorization` stanza. Several such stanzas are merged."""
        spec = STANZAS["authorization"]
        options, _names = self.reader.options(spec, block.stanza.key.value, block.body)
        if self.authorization is None:
            self.authorization = Authorization({}, block.source, block.stanza.head)
            self.blocks[AUTHORIZATION] = replace(block, body=())
        if delegates := options.get("delegates"):
            self.authorization = with_delegates(self.authorization, delegates)
        known = self.blocks[AUTHORIZATION]
        self.blocks[AUTHORIZATION] = replace(known, body=known.body + block.body)
        inner = [item for item in block.body if isinstance(item, Block)]
        if not inner:
            remedy = 'add `Role "NAME" { ... }`; without roles nobody can give a command'
            self.reader.report("W408", "the stanza declares no role", remedy, block.source, block.stanza.head)
        for item in inner:
            if item.stanza.key.value.lower() in spec.stanzas:
                self.role(item, self.authorization.roles)

    def role(self, block: Block, roles: dict[str, Role]) -> None:
        if (block.stanza.name and block.stanza.name.missing) or (name := self.reader.stanza_name(block)) is None:
            return
        role = read_role(self.reader, block, name)
        if earlier := roles.get(name):
            self.reader.duplicate_name("role", name, block.head, (earlier.source, earlier.span))
        else:
            roles[name] = role


def _scopes_in(block: Block) -> Iterator[Scope]:
    """What a stanza and the stanzas inside it may declare. A job may declare a program too, and an unknown stanza anything."""
    name = block.stanza.name.value if block.stanza.name else ""
    kinds = [block.kind] if block.kind in STANZAS else [kind for kind in STANZAS if STANZAS[kind].named == bool(name)]
    yield from (Scope(kind, name) for kind in ([*kinds, "program"] if block.kind == "job" else kinds))
    for inner in block.body:
        if isinstance(inner, Block):
            yield from _scopes_in(inner)


def _in_zone(jobs: dict[str, DeclaredJob], zone: str | None) -> dict[str, DeclaredJob]:
    """The jobs with the zone of `sched` for the calendars and the local times that have none of their own."""
    zoned = {
        name: replace(job, schedule=replace(job.schedule, zone=zone))
        for name, job in jobs.items()
        if isinstance(job.schedule, CalendarRule) and job.needs_zone and job.schedule.zone != zone
    }
    return _with_instants({**jobs, **zoned} if zoned else jobs, zone, Zones(this_machine()))


def _with_instants(jobs: dict[str, DeclaredJob], zone: str | None, zones: Zones) -> dict[str, DeclaredJob]:
    """The jobs with the instants of their local times. `zone`: that of `sched`."""
    settled = {}
    for name, job in jobs.items():
        if local_times := job.local_times:
            own = job.zone_of_local_times(zone)
            instants = {option: instant_in(when, own, zones) for option, when in local_times.items()}
            settled[name] = _with_days(_at_instants(job, instants))
    return {**jobs, **settled} if settled else jobs


def in_zones(configuration: Configuration, zones: Zones) -> Configuration:
    """The configuration by other time zone data, which can give the local times of jobs other instants.

    A job with a zone that is missing there stays as it is.
    """
    known = {name: job for name, job in configuration.jobs.items() if _are_known(job.zones(configuration.zone), zones)}
    settled = _with_instants(known, configuration.zone, zones)
    return configuration if settled is known else replace(configuration, jobs={**configuration.jobs, **settled})


def _are_known(names: Iterable[str], zones: Zones) -> bool:
    try:
        for name in names:
            zones.get(name)
    except UnknownZone:
        return False
    return True


def _at_instants(job: DeclaredJob, instants: dict[str, int]) -> DeclaredJob:
    """A job with the instants of its local times."""
    if isinstance(job.schedule, CalendarRule):
        fields: dict[str, Any] = {f"{option}_ms": instant for option, instant in instants.items()}
        return replace(job, schedule=replace(job.schedule, **fields))
    return replace(job, schedule=Once(instants["at"], job.local_times["at"].written))


def _with_days(job: DeclaredJob) -> DeclaredJob:
    """A job whose dates are days in the zone of each expression, if an expression has a zone inside."""
    rule = job.schedule
    if not isinstance(rule, CalendarRule) or all(one.zone is None for one in rule.read_expressions()):
        return job
    fields: dict[str, Any] = {}
    for option, when in job.local_times.items():
        if when.is_day:
            day = date.fromisoformat(str(when.day)).toordinal() - EPOCH_DAY
            fields |= {f"{option}_ms": None, f"{option}_day": day}
    return replace(job, schedule=replace(rule, **fields))


def _merged(scope: Scope, blocks: Iterable[Block]) -> Block:
    """All stanzas of one kind as one. It has no single place; each of its options has one."""
    stanza = Stanza(Scalar(scope.stanza, Span(0, 0)), None, (), Span(0, 0), 1)
    return Block(Source("", ""), stanza, tuple(item for block in blocks for item in block.body))


# The options of `sched`, and the fields of Configuration that hold them.
_SCHED_FIELDS = {
    "catch_up": "catch_up",
    "catch_up_within": "catch_up_within_ms",
    "on_stop": "on_stop",
    "max_running": "max_running",
    "max_jobs": "max_jobs",
    "history": "history",
}
