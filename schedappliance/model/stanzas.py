"""Reads the statements of stanza files into a Configuration, checked against the tables of options.py.

Rule: a wrong statement becomes a diagnostic and is left out, so that every mistake is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from schedappliance.diagnostics import (
    Diagnostic,
    InvalidValue,
    Related,
    Source,
    Span,
    command_diagnostic,
    did_you_mean,
    has_errors,
    nearest,
    shortened,
)
from schedappliance.model.closure import Block, Closure, Setting
from schedappliance.model.commands import FORMS, ReadCommand, read_command, scheduling_mistakes
from schedappliance.model.configuration import (
    Account,
    Authorization,
    Configuration,
    DeclaredJob,
    GlobalOption,
    OnFailure,
    OptionUse,
    Program,
    Role,
)
from schedappliance.model.files import real_path
from schedappliance.model.option_paths import (
    AUTHORIZATION,
    OPTION_NAME,
    OPTION_NAME_HELP,
    SCHED,
    Scope,
    absent,
    value_of,
)
from schedappliance.model.options import STANZA_OF, STANZAS, OptionSpec, StanzaSpec
from schedappliance.model.patterns import role_doubts
from schedappliance.model.references import command_mistakes
from schedappliance.model.schedules import Every, Once
from schedappliance.model.templates import references
from schedappliance.syntax.tree import Dictionary, ListValue, Option, Scalar, Stanza, Value

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VERBS = sorted({form.name for form in FORMS.values() if form.name != "json"})
# All `sched` stanzas are merged into one, which has no single place.
_SCHED_STANZA = Stanza(Scalar("sched", Span(0, 0)), None, (), Span(0, 0), 1)

Place = tuple[Source, Span]


def read_configuration(closure: Closure) -> tuple[Configuration, list[Diagnostic]]:
    """The meaning of the files, and the mistakes in names and values. Mistakes of syntax are in the closure."""
    reader = _Reader()
    reader.statements(closure.items)
    return reader.finish(), reader.diagnostics


class InvalidOptions(Exception):
    """Values for options that the tables or the stanza files do not allow."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


def with_options(configuration: Configuration, scope: Scope, values: Mapping[str, str]) -> Configuration:
    """The configuration with other values for options of one stanza, as if they stood in it; raises InvalidOptions.

    Keys of `values` are in lower case. Only that stanza is read again.
    """
    if scope.stanza == "job" and "command" in values and configuration.authorization:
        # Declared jobs need no role, so only the files may decide which command they run.
        raise InvalidOptions([_files_only(values["command"])])
    block = configuration.blocks[scope]
    others = [i for i in block.body if not isinstance(i, Setting) or i.option.key.value.lower() not in values]
    reader = _Reader()
    reader.block(replace(block, body=(*others, *(_setting(name, text) for name, text in values.items()))))
    new = reader.finish()
    errors = [diagnostic for diagnostic in reader.diagnostics if diagnostic.is_error]
    errors = errors or [mistake for mistake in _job_references(new, configuration) if mistake.is_error]
    if errors:
        raise InvalidOptions(errors)
    if scope.stanza == "program":
        return replace(configuration, programs={**configuration.programs, **new.programs})
    if scope.stanza == "job":
        return replace(configuration, jobs={**configuration.jobs, **new.jobs})
    return replace(
        new,
        programs=configuration.programs,
        jobs=configuration.jobs,
        authorization=configuration.authorization,
        options=configuration.options,
        blocks=configuration.blocks,
    )


def _files_only(command: str) -> Diagnostic:
    remedy = "edit the stanza file; with `Authorization`, the console cannot change what declared jobs do"
    return command_diagnostic("E508", "`command` of a job can be set only in the stanza files", remedy, command)


def _job_references(new: Configuration, configuration: Configuration) -> Iterator[Diagnostic]:
    for job in new.jobs.values():
        yield from command_mistakes(job.tree, Source.of_command(job.command.text), configuration)


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
    for item in block.body:
        if isinstance(item, Setting):
            name, value = item.option.key.value.lower(), item.option.value
            earlier = values.get(name)
            if isinstance(earlier, Dictionary) and isinstance(value, Dictionary):
                entries = {entry.key.value: entry for entry in (*earlier.entries, *value.entries)}
                value = Dictionary(tuple(entries.values()), value.span)
            values[name] = value
    return values


@dataclass(frozen=True, slots=True)
class _ReadOption:
    """An option of a stanza with its value and its place. A dictionary may have several parts."""

    value: Any
    source: Source
    span: Span
    node: Any
    parts: tuple[tuple[Source, Value], ...]


_ReadOptions = dict[str, _ReadOption]


@dataclass(slots=True)
class _Reader:
    """Collects what the statements declare, and the mistakes in them."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    sched: list[Setting | Block] = field(default_factory=list)
    programs: dict[str, Program] = field(default_factory=dict)
    jobs: dict[str, DeclaredJob] = field(default_factory=dict)
    job_places: dict[str, Place] = field(default_factory=dict)
    authorization: Authorization | None = None
    global_options: dict[str, GlobalOption] = field(default_factory=dict)
    blocks: dict[Scope, Block] = field(default_factory=dict)

    def report(self, code: str, message: str, remedy: str, source: Source, span: Span, *related: Related) -> None:
        self.diagnostics.append(Diagnostic(code, message, remedy, source, span, related))

    def statements(self, items: Iterable[Setting | Block]) -> None:
        for item in items:
            if isinstance(item, Setting):
                self.global_option(item)
            else:
                self.block(item)

    def finish(self) -> Configuration:
        """The configuration. The `sched` stanzas are merged, so they are read when all of them are known."""
        self.blocks[SCHED] = Block(Source("", ""), _SCHED_STANZA, tuple(self.sched))
        options, _ = self.options(STANZAS["sched"], "sched", self.sched)
        store = options.get("backing_store")
        settings = {field_name: options[name].value for name, field_name in _SCHED_FIELDS.items() if name in options}
        return Configuration(
            backing_store=real_path(Path(store.source.name).parent / store.value) if store else None,
            backing_store_place=(store.source, store.span) if store else None,
            programs=self.programs,
            jobs=self.jobs,
            authorization=self.authorization,
            options=self.global_options,
            blocks=self.blocks,
            **settings,
        )

    def global_option(self, setting: Setting) -> None:
        key, value, source = setting.option.key, setting.option.value, setting.source
        if key.missing or (isinstance(value, Scalar) and value.missing):
            return
        if not OPTION_NAME.fullmatch(key.value):
            self.report("E208", f"invalid option name `{key.value}`", OPTION_NAME_HELP, source, key.span)
        elif stanza := STANZA_OF.get(key.value.lower()):
            message = f"option `{key.value}` outside a stanza"
            self.report("E202", message, f"move it into `{stanza} {{ ... }}`, or choose another name", source, key.span)
        elif not isinstance(value, Scalar):
            self.report("E203", f"more than one value for option `{key.value}`", "give one value", source, value.span)
        else:
            # The options are in the order of their last values.
            earlier = self.global_options.pop(key.value.lower(), None)
            if earlier:
                self.duplicate("option", key, source, (earlier.source, earlier.span))
            option = GlobalOption(key.value, value.value, source, setting.option.span)
            self.global_options[key.value.lower()] = option

    def duplicate(self, kind: str, key: Scalar, source: Source, earlier: Place) -> None:
        remedy = "remove one of them; the last one counts"
        self.report(
            "W401", f"duplicate {kind} `{key.value}`", remedy, source, key.span, Related(*earlier, "given here first")
        )

    def duplicate_name(self, kind: str, name: str, head: Place, earlier: Place) -> None:
        shown = Related(*earlier, "declared here first")
        self.report("E206", f'duplicate {kind} "{name}"', "rename or remove one of them", *head, shown)

    def block(self, block: Block) -> None:
        key, name = block.stanza.key, block.stanza.name
        kind = key.value.lower()
        if key.missing or (name and name.missing):
            return
        if kind not in STANZAS:
            remedy = did_you_mean(key.value, STANZAS, f"known stanzas: {', '.join(STANZAS)}")
            self.report("E201", f"unknown stanza `{key.value}`", remedy, block.source, key.span)
        elif not STANZAS[kind].named:
            if name:
                remedy = f"write `{key.value} {{ ... }}`"
                self.report("E207", f"stanza `{key.value}` takes no name", remedy, block.source, name.span)
            if kind == "sched":
                self.sched.extend(block.body)
            else:
                self.roles(block)
        elif stanza_name := self.stanza_name(block):
            if kind == "program":
                self.program(block, stanza_name)
            else:
                self.job(block, stanza_name)

    def stanza_name(self, block: Block) -> str | None:
        """The name of a stanza that needs one."""
        key, name = block.stanza.key, block.stanza.name
        if name is None:
            remedy = f'write `{key.value} "name" {{ ... }}`'
            self.report("E207", f"stanza `{key.value}` needs a name", remedy, block.source, key.span)
        elif not name.value or len(name.value) > 200 or _CONTROL.search(name.value):
            remedy = "use 1 to 200 characters, no control characters"
            self.report("E208", f"invalid {key.value.lower()} name", remedy, block.source, name.span)
        else:
            return name.value
        return None

    def options(
        self, spec: StanzaSpec, title: str, body: Iterable[Setting | Block], head: Place | None = None
    ) -> tuple[_ReadOptions, set[str]]:
        """The options of a stanza, and their names. A misspelt name counts as the nearest known name.

        `head`: where to report an option that is missing; None: none is required.
        """
        options: _ReadOptions = {}
        names: set[str] = set()
        for item in body:
            if isinstance(item, Block):
                self.check_inner(spec, title, item)
                continue
            key, name = item.option.key, item.option.key.value.lower()
            if key.missing:
                # The unknown name may stand for any option, so no option is reported as missing.
                names.update(spec.options)
                continue
            option = spec.options.get(name)
            if option is None:
                names.add(nearest(key.value, spec.options))
                known = f"known options: {', '.join(spec.options)}" if spec.options else "remove it"
                remedy = did_you_mean(key.value, spec.options, known)
                self.report("E202", f"unknown option `{key.value}` in `{title}`", remedy, item.source, key.span)
                continue
            names.add(name)
            if isinstance(item.option.value, Scalar) and item.option.value.missing:
                continue
            earlier = options.get(name)
            if (read := self.value(option, item)) is not None:
                options[name] = read
                if earlier and isinstance(item.option.value, Dictionary):
                    options[name] = _merged(earlier, read)
                elif earlier:
                    self.duplicate("option", key, item.source, (earlier.source, earlier.span))
        for read in options.values():
            self.check_entries(read)
        # An unknown name that resembles no option may stand for the missing one, and is reported already.
        may_miss = names <= set(spec.options)
        for name, option in spec.options.items():
            if option.required and name not in names and head and may_miss:
                self.report("E205", f"missing option `{name}` in `{title}`", f"{name}: {option.help}", *head)
        return options, names

    def check_inner(self, spec: StanzaSpec, title: str, block: Block) -> None:
        """Reports a stanza inside a stanza whose table does not list it."""
        key = block.stanza.key
        if not key.missing and key.value.lower() not in spec.stanzas:
            remedy = did_you_mean(key.value, spec.stanzas, "move it out")
            self.report("E201", f"stanza `{key.value}` is not allowed in `{title}`", remedy, block.source, key.span)

    def check_entries(self, option: _ReadOption) -> None:
        """Reports a key that is given twice in a dictionary, or in several dictionaries that are merged."""
        places: dict[str, Place] = {}
        for source, value in option.parts:
            for entry in value.entries if isinstance(value, Dictionary) else ():
                earlier = places.get(entry.key.value)
                places[entry.key.value] = (source, entry.key.span)
                if earlier and not entry.key.missing:
                    self.duplicate("key", entry.key, source, earlier)

    def value(self, option: OptionSpec, item: Setting) -> _ReadOption | None:
        node = item.option.value
        try:
            return _ReadOption(option.read(node), item.source, item.option.span, node, ((item.source, node),))
        except InvalidValue as invalid:
            self.diagnostics.append(invalid.diagnostic(item.source, node.span))
            return None

    def program(self, block: Block, name: str) -> None:
        head = (block.source, block.stanza.head)
        spec = STANZAS["program"]
        options, _ = self.options(spec, f'program "{name}"', block.body, head)
        on_failure = self.on_failure(options.get("on_failure"))
        if earlier := self.programs.get(name):
            self.duplicate_name("program", name, head, (earlier.source, earlier.span))
            return
        self.blocks[Scope("program", name)] = block

        def get(option: str) -> Any:
            return options[option].value if option in options else absent(spec.options[option])

        self.programs[name] = Program(
            name=name,
            argv=get("argv") or (),
            args=get("args"),
            timeout_ms=get("timeout"),
            kill_after_ms=get("kill_after"),
            env=get("env"),
            cwd=get("cwd"),
            output_limit=get("output_limit"),
            umask=get("umask"),
            user=get("user"),
            group=get("group"),
            overlap=get("overlap"),
            max_running=get("max_running"),
            retries=get("retries"),
            retry_delay_ms=get("retry_delay"),
            on_interrupt=get("on_interrupt"),
            on_failure=on_failure,
            success=get("success"),
            source=block.source,
            span=block.stanza.head,
            uses=tuple(_uses(options)),
            accounts=tuple(_accounts(options)),
            executable=(options["argv"].source, options["argv"].node.items[0].span) if "argv" in options else None,
            directory=(options["cwd"].source, options["cwd"].node.span) if "cwd" in options else None,
        )

    def on_failure(self, option: _ReadOption | None) -> OnFailure | None:
        """The command of `on_failure`. Each failure gives it again, so it may not add a recurrent job."""
        read = self.command(option, recurrent=False)
        if option is None or read is None or read.tree is None:
            return None
        for level in read.tree.nest():
            if level.form == "sched_every":
                remedy = "declare the job in the files; each failure would add one more recurrent job"
                span = Span(level.span.start, level.words[0].span.end)
                mistake = command_diagnostic(
                    "E303", "`sched every` is not allowed in `on_failure`", remedy, option.value, span
                )
                self.diagnostics.append(mistake.moved(option.source, option.node.inner))
        return OnFailure(read.command, read.tree, option.node, option.source) if read.command else None

    def command(self, option: _ReadOption | None, recurrent: bool) -> ReadCommand | None:
        """The command in a string; mistakes are reported at their place in the string."""
        if option is None:
            return None
        read = read_command(option.value)
        # A job schedules its command, so `scheduling_mistakes` is asked again with that in mind, and replaces E303.
        mistakes = [mistake for mistake in read.diagnostics if mistake.code != "E303"]
        if read.tree:
            inner = Source.of_command(option.value)
            mistakes += scheduling_mistakes(read.tree, inner, scheduled=True, recurrent=recurrent)
        self.diagnostics += [mistake.moved(option.source, option.node.inner) for mistake in mistakes]
        return read

    def job(self, block: Block, name: str) -> None:
        head = (block.source, block.stanza.head)
        before = len(self.diagnostics)
        options, names = self.options(STANZAS["job"], f'job "{name}"', block.body, head)
        self.check_times(names, name, head)
        text = options.get("command")
        read = self.command(text, recurrent="every" in names)
        if (earlier := self.job_places.setdefault(name, head)) is not head:
            self.duplicate_name("job", name, head, earlier)
        elif read and read.command and read.tree and text and not has_errors(self.diagnostics[before:]):
            self.blocks[Scope("job", name)] = block
            self.jobs[name] = DeclaredJob(
                name=name,
                schedule=_schedule(options),
                command=read.command,
                enabled=options["enabled"].value if "enabled" in options else True,
                tree=read.tree,
                text=text.node,
                source=block.source,
                span=block.stanza.head,
            )

    def check_times(self, names: set[str], name: str, head: Place) -> None:
        """Reports a job that has not exactly one of `every` and `at`, or has `offset` without `every`."""
        known = set(STANZAS["job"].options)
        if names >= known:
            return
        if "every" in names and "at" in names:
            self.report("E211", f'job "{name}" has both `every` and `at`', "remove one of them", *head)
        elif "every" not in names and "at" not in names and names <= known:
            remedy = "add `every = SECONDS` or `at = TIME`"
            self.report("E205", f'job "{name}" has neither `every` nor `at`', remedy, *head)
        elif "at" in names and "offset" in names:
            self.report("E211", f'job "{name}" has `offset` without `every`', "remove it", *head)

    def roles(self, block: Block) -> None:
        """Reads an `Authorization` stanza. Several such stanzas are merged."""
        spec = STANZAS["authorization"]
        self.options(spec, block.stanza.key.value, block.body)
        if self.authorization is None:
            self.authorization = Authorization({}, block.source, block.stanza.head)
            self.blocks[AUTHORIZATION] = replace(block, body=())
        known = self.blocks[AUTHORIZATION]
        self.blocks[AUTHORIZATION] = replace(known, body=known.body + block.body)
        inner = [item for item in block.body if isinstance(item, Block)]
        if not inner:
            remedy = 'add `Role "NAME" { ... }`; without roles nobody can give a command'
            self.report("W408", "the stanza declares no role", remedy, block.source, block.stanza.head)
        for item in inner:
            if item.stanza.key.value.lower() in spec.stanzas:
                self.role(item, spec.stanzas["role"], self.authorization.roles)

    def role(self, block: Block, spec: StanzaSpec, roles: dict[str, Role]) -> None:
        if (block.stanza.name and block.stanza.name.missing) or (name := self.stanza_name(block)) is None:
            return
        head = (block.source, block.stanza.head)
        options, names = self.options(spec, f'Role "{name}"', block.body, head)
        if (allow := options.get("allow")) and allow.value:
            self.diagnostics += role_doubts(allow.source, allow.node.items, allow.value, _VERBS)
        empty = {
            option
            for option in spec.options
            if option not in names or (option in options and not options[option].value)
        }
        if "allow" in empty:
            remedy = 'add `allow = ( "^sched list$" )`, or remove the role'
            self.report("W408", f"role `{shortened(name)}` allows no command", remedy, *head)
        if {"users", "groups"} <= empty:
            remedy = 'add `users = ( "NAME" )` or `groups = ( "NAME" )`, or remove the role'
            self.report("W408", f"role `{shortened(name)}` has no users and no groups", remedy, *head)
        if earlier := roles.get(name):
            self.duplicate_name("role", name, head, (earlier.source, earlier.span))
            return
        allow, users, groups = (
            options[option].value if option in options else absent(spec.options[option]) for option in spec.options
        )
        roles[name] = Role(name, allow, users, groups, tuple(_accounts(options)), *head)


# The options of `sched`, and the fields of Configuration that hold them.
_SCHED_FIELDS = {
    "catch_up": "catch_up",
    "catch_up_within": "catch_up_within_ms",
    "max_running": "max_running",
    "max_jobs": "max_jobs",
    "history": "history",
}


def _schedule(options: _ReadOptions) -> Once | Every:
    if "every" in options:
        return Every(options["every"].value, options["offset"].value if "offset" in options else 0)
    return Once(options["at"].value)


def _merged(earlier: _ReadOption, later: _ReadOption) -> _ReadOption:
    """A dictionary that is given in parts. If several parts have the same key, the last value counts."""
    value = tuple({**dict(earlier.value), **dict(later.value)}.items())
    return _ReadOption(value, later.source, later.span, later.node, (*earlier.parts, *later.parts))


def _uses(options: _ReadOptions) -> Iterator[OptionUse]:
    """The options that a program's templates name, each at its own place in a string."""
    for name in ("argv", "env"):
        for source, value in options[name].parts if name in options else ():
            for text in _texts(value):
                for option, span in references(text.value):
                    yield OptionUse(option, source, text.inner(span))


def _texts(value: Value) -> Iterator[Scalar]:
    if isinstance(value, ListValue):
        yield from value.items
    elif isinstance(value, Dictionary):
        yield from (entry.value for entry in value.entries if isinstance(entry.value, Scalar))


def _accounts(options: _ReadOptions) -> Iterator[Account]:
    """The users and groups that a program or a role names."""
    for kind in ("user", "group"):
        if one := options.get(kind):
            yield Account(kind, one.value, one.source, one.node.span)
        if several := options.get(f"{kind}s"):
            for item in several.node.items:
                yield Account(kind, item.value, several.source, item.span)
