"""A closure of stanza files to a Configuration: the options and stanzas checked against the tables, with every mistake.

Options that are set beside the files are read here too, as if they stood in their stanza.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from schedappliance.diagnostics import Diagnostic, Related, Source, Span, did_you_mean, nearest, shortened
from schedappliance.model.closure import Block, Closure, Setting
from schedappliance.model.commands import FORMS, ReadCommand, read_command, scheduling_mistakes
from schedappliance.model.configuration import (
    Account,
    Authorization,
    Configuration,
    DeclaredJob,
    GlobalOption,
    OnFailure,
    Program,
    Role,
    Use,
)
from schedappliance.model.option_paths import OPTION_NAME, absent, value_of
from schedappliance.model.options import AUTHORIZATION, SCHED, STANZAS, OptionSpec, Scope, StanzaSpec
from schedappliance.model.patterns import pattern_doubts
from schedappliance.model.references import command_mistakes
from schedappliance.model.templates import references
from schedappliance.model.values import Unfit
from schedappliance.syntax.tree import Dictionary, ListValue, Option, Scalar, Stanza, Value

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Given:
    """An option that was read. `parts`: a dictionary may be given in several."""

    value: Any
    source: Source
    span: Span
    node: Any
    parts: tuple[tuple[Source, Value], ...]


def uses(given: dict[str, Given]) -> Iterator[Use]:
    """The options that a program names, each at its own place in a string."""
    for name in ("argv", "env"):
        for source, value in given[name].parts if name in given else ():
            for text in _texts(value):
                for option, span in references(text.value):
                    yield Use(option, source, text.inner(span))


def accounts(given: dict[str, Given]) -> Iterator[Account]:
    """The users and groups that a program or a role names."""
    for kind in ("user", "group"):
        if kind in given:
            yield Account(kind, given[kind].value, given[kind].source, given[kind].node.span)
        for item in given[f"{kind}s"].node.items if f"{kind}s" in given else ():
            yield Account(kind, item.value, given[f"{kind}s"].source, item.span)


def _texts(value: Value) -> Iterator[Scalar]:
    if isinstance(value, ListValue):
        yield from value.items
    elif isinstance(value, Dictionary):
        yield from (entry.value for entry in value.entries if isinstance(entry.value, Scalar))


def executable(argv: Given | None) -> tuple[Source, Span] | None:
    return (argv.source, argv.node.items[0].span) if argv else None


def read_configuration(closure: Closure) -> tuple[Configuration, list[Diagnostic]]:
    """The meaning of the files. Mistakes of syntax are in the closure already; this adds those of names and values."""
    reader = Reader()
    reader.statements(closure.items)
    reader.finish()
    return reader.configuration, reader.diagnostics


@dataclass(slots=True)
class Reader:
    """Statements to meaning; what is wrong is said, and left out."""

    configuration: Configuration = field(default_factory=Configuration)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sched: list[Setting | Block] = field(default_factory=list)
    job_places: dict[str, tuple[Source, Span]] = field(default_factory=dict)

    def say(self, code: str, message: str, help: str, source: Source, span: Span, *related: Related) -> None:
        self.diagnostics.append(Diagnostic(code, message, help, source, span, related))

    def errors(self) -> int:
        return sum(diagnostic.is_error for diagnostic in self.diagnostics)

    def statements(self, items: Iterable[Setting | Block]) -> None:
        for item in items:
            if isinstance(item, Setting):
                self.global_option(item)
            else:
                self.block(item)

    def finish(self) -> None:
        """The `sched` stanzas are merged, so they are read when all of them are known."""
        self.configuration.blocks[SCHED] = Block(_NOWHERE, _SCHED_STANZA, tuple(self.sched))
        given, _ = self.options(STANZAS["sched"], "sched", self.sched)
        if store := given.get("backing_store"):
            directory = Path(store.source.name).parent
            self.configuration.backing_store = Path(os.path.realpath(directory / store.value))
            self.configuration.backing_store_place = (store.source, store.span)
        names = {"catch_up_within": "catch_up_within_ms"}
        for name in ("catch_up", "catch_up_within", "max_running", "max_jobs", "history"):
            if name in given:
                setattr(self.configuration, names.get(name, name), given[name].value)

    def global_option(self, setting: Setting) -> None:
        key, source = setting.option.key, setting.source
        value = setting.option.value
        if key.missing or (isinstance(value, Scalar) and value.missing):
            return
        if not OPTION_NAME.fullmatch(key.value):
            self.say("E208", f"`{key.value}` is no name for an option", _KEY_HELP, source, key.span)
        elif not isinstance(value, Scalar):
            self.say("E203", f"option `{key.value}` holds more than one value", "give one value", source, value.span)
        else:
            earlier = self.configuration.options.pop(key.value.lower(), None)
            if earlier:
                self.repeated(key, source, earlier.source, earlier.span)
            option = GlobalOption(key.value, value.value, source, setting.option.span)
            self.configuration.options[key.value.lower()] = option

    def repeated(
        self, key: Scalar, source: Source, earlier_source: Source, earlier: Span, what: str = "option"
    ) -> None:
        help = "remove one of them; the last one wins"
        shown = Related(earlier_source, earlier, "given here first")
        self.say("W401", f"{what} `{key.value}` is given twice", help, source, key.span, shown)

    def block(self, block: Block) -> None:
        key, name = block.stanza.key, block.stanza.name
        kind = key.value.lower()
        if key.missing or (name and name.missing):
            return
        if kind not in STANZAS:
            help = did_you_mean(key.value, STANZAS, f"known stanzas: {', '.join(STANZAS)}")
            self.say("E201", f"unknown stanza `{key.value}`", help, block.source, key.span)
        elif not STANZAS[kind].named:
            if name:
                help = f"write `{key.value} {{ ... }}`"
                self.say("E207", f"stanza `{key.value}` takes no name", help, block.source, name.span)
            if kind == "sched":
                self.sched.extend(block.body)
            else:
                self.authorization(block)
        elif (given := self.stanza_name(block)) is None:
            return
        elif kind == "program":
            self.program(block, given)
        else:
            self.job(block, given)

    def stanza_name(self, block: Block) -> str | None:
        """The name of a stanza that needs one."""
        key, name = block.stanza.key, block.stanza.name
        if name is None:
            help = f'write `{key.value} "name" {{ ... }}`'
            self.say("E207", f"stanza `{key.value}` needs a name", help, block.source, key.span)
        elif not name.value or len(name.value) > 200 or _CONTROL.search(name.value):
            help = "use 1 to 200 characters, no control characters"
            self.say("E208", f"not a name for a {key.value}", help, block.source, name.span)
        else:
            return name.value
        return None

    def options(
        self, spec: StanzaSpec, title: str, body: Iterable[Setting | Block], head: tuple[Source, Span] | None = None
    ) -> tuple[dict[str, Given], set[str]]:
        """The options of a stanza, checked against its table, and the names that were meant.

        What is wrong is said and left out; a misspelt name counts as meant, so that one mistake is said once.
        """
        given: dict[str, Given] = {}
        seen: set[str] = set()
        for item in body:
            if isinstance(item, Block):
                self.inner(spec, title, item)
                continue
            key, name = item.option.key, item.option.key.value.lower()
            if key.missing:
                # Any option may have been meant; none is called missing.
                seen.update(spec.options)
                continue
            option = spec.options.get(name)
            if option is None:
                seen.add(nearest(key.value, spec.options))
                known = f"known options: {', '.join(spec.options)}" if spec.options else "remove it"
                help = did_you_mean(key.value, spec.options, known)
                self.say("E202", f"`{title}` has no option `{key.value}`", help, item.source, key.span)
                continue
            seen.add(name)
            if isinstance(item.option.value, Scalar) and item.option.value.missing:
                continue
            earlier = given.get(name)
            if (read := self.value(option, item)) is not None:
                given[name] = read
                if earlier and isinstance(item.option.value, Dictionary):
                    given[name] = self.merged(earlier, read)
                elif earlier:
                    self.repeated(key, item.source, earlier.source, earlier.span)
        for read in given.values():
            self.repeated_entries(read)
        for name, option in spec.options.items():
            if option.required and name not in seen and head:
                self.say("E205", f"`{title}` needs the option `{name}`", f"{name}: {option.help}", *head)
        return given, seen

    def inner(self, spec: StanzaSpec, title: str, block: Block) -> None:
        """A stanza inside another one must be one of its table."""
        key = block.stanza.key
        if key.missing or key.value.lower() in spec.stanzas:
            return
        help = did_you_mean(key.value, spec.stanzas, "move it out")
        found = f"no stanza `{key.value}`" if spec.stanzas else "no stanza"
        self.say("E201", f"{found} stands inside `{title}`", help, block.source, key.span)

    def repeated_entries(self, given: Given) -> None:
        """A key of a dictionary that is given twice, also where two dictionaries are merged."""
        places: dict[str, tuple[Source, Span]] = {}
        for source, value in given.parts:
            for entry in value.entries if isinstance(value, Dictionary) else ():
                earlier = places.get(entry.key.value)
                places[entry.key.value] = (source, entry.key.span)
                if earlier and not entry.key.missing:
                    self.repeated(entry.key, source, *earlier, what="key")

    def merged(self, earlier: Given, later: Given) -> Given:
        """A dictionary given twice is one dictionary; of a key given twice the later value counts."""
        value = tuple({**dict(earlier.value), **dict(later.value)}.items())
        return Given(value, later.source, later.span, later.node, (*earlier.parts, *later.parts))

    def value(self, option: OptionSpec, item: Setting) -> Given | None:
        node = item.option.value
        try:
            return Given(option.read(node), item.source, item.option.span, node, ((item.source, node),))
        except Unfit as unfit:
            self.say(unfit.code, unfit.message, unfit.help, item.source, unfit.span or node.span)
            return None

    def program(self, block: Block, name: str) -> None:
        head = (block.source, block.stanza.head)
        spec = STANZAS["program"]
        given, _ = self.options(spec, f'program "{name}"', block.body, head)
        self.doubt_patterns(given.get("args"))
        on_failure = self.on_failure(given.get("on_failure"))
        if earlier := self.configuration.programs.get(name):
            self.twice("program", name, head, earlier.source, earlier.span)
            return
        self.configuration.blocks[Scope("program", name)] = block

        def get(option: str) -> Any:
            return given[option].value if option in given else absent(spec.options[option])

        self.configuration.programs[name] = Program(
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
            uses=tuple(uses(given)),
            accounts=tuple(accounts(given)),
            executable=executable(given.get("argv")),
            directory=(given["cwd"].source, given["cwd"].node.span) if "cwd" in given else None,
        )

    def doubt_patterns(self, given: Given | None, verbs: Sequence[str] = ()) -> None:
        if given is not None and given.value:
            self.diagnostics += pattern_doubts(given.source, given.node.items, given.value, verbs)

    def on_failure(self, given: Given | None) -> OnFailure | None:
        """The command of the option; each failure gives it once more, so that it may add nothing recurrent."""
        read = self.command(given, recurrent=False)
        if given is None or read is None or read.tree is None:
            return None
        for level in read.tree.nest():
            if level.form == "sched_every":
                help = "each failure would add one more recurrent job; declare the job in the files"
                place = Span(level.span.start, level.words[0].span.end)
                mistake = Diagnostic("E303", "`sched every` in `on_failure`", help, Source("<command>", ""), place)
                self.diagnostics.append(mistake.moved(given.source, given.node.inner))
        return OnFailure(read.command, read.tree, given.node, given.source) if read.command else None

    def command(self, given: Given | None, recurrent: bool) -> ReadCommand | None:
        """The command in a string, as it is scheduled; what is wrong is said at its place in the string."""
        if given is None:
            return None
        read = read_command(given.value)
        # What may not be scheduled by itself may not be scheduled here either: it is said once.
        mistakes = [mistake for mistake in read.diagnostics if mistake.code != "E303"]
        if read.tree:
            inner = Source("<command>", given.value)
            mistakes += scheduling_mistakes(read.tree, inner, scheduled=True, recurrent=recurrent)
        self.diagnostics += [mistake.moved(given.source, given.node.inner) for mistake in mistakes]
        return read

    def twice(self, kind: str, name: str, head: tuple[Source, Span], source: Source, span: Span) -> None:
        shown = Related(source, span, "declared here first")
        self.say("E206", f'two {kind}s are named "{name}"', "rename or remove one of them", *head, shown)

    def job(self, block: Block, name: str) -> None:
        head = (block.source, block.stanza.head)
        spec = STANZAS["job"]
        before = self.errors()
        given, names = self.options(spec, f'job "{name}"', block.body, head)
        self.job_times(names, name, head)
        command = given.get("command")
        read = self.command(command, recurrent="every" in names)
        if (earlier := self.job_places.setdefault(name, head)) is not head:
            self.twice("job", name, head, *earlier)
        elif self.errors() == before and read and read.command and read.tree and command:
            declared = DeclaredJob(
                name=name,
                every_ms=given["every"].value if "every" in given else None,
                offset_ms=given["offset"].value if "offset" in given else 0,
                at_ms=given["at"].value if "at" in given else None,
                command=read.command,
                enabled=given["enabled"].value if "enabled" in given else True,
                tree=read.tree,
                text=command.node,
                source=block.source,
                span=block.stanza.head,
            )
            self.configuration.jobs[name] = declared
            self.configuration.blocks[Scope("job", name)] = block

    def authorization(self, block: Block) -> None:
        """Given more than once its roles are those of all, as the options of `sched` are."""
        spec = STANZAS["authorization"]
        self.options(spec, block.stanza.key.value, block.body)
        if self.configuration.authorization is None:
            self.configuration.authorization = Authorization({}, block.source, block.stanza.head)
            self.configuration.blocks[AUTHORIZATION] = replace(block, body=())
        known = self.configuration.blocks[AUTHORIZATION]
        self.configuration.blocks[AUTHORIZATION] = replace(known, body=known.body + block.body)
        inner = [item for item in block.body if isinstance(item, Block)]
        if not inner:
            help = 'add `Role "NAME" { ... }`; without the stanza whoever may open the socket may do everything'
            self.say("W408", "no role stands here", help, block.source, block.stanza.head)
        for item in inner:
            if item.stanza.key.value.lower() in spec.stanzas:
                self.role(item, spec.stanzas["role"], self.configuration.authorization.roles)

    def role(self, block: Block, spec: StanzaSpec, roles: dict[str, Role]) -> None:
        if (block.stanza.name and block.stanza.name.missing) or (name := self.stanza_name(block)) is None:
            return
        head = (block.source, block.stanza.head)
        given, names = self.options(spec, f'Role "{name}"', block.body, head)
        self.doubt_patterns(given.get("allow"), _VERBS)
        empty = {
            option for option in spec.options if option not in names or (option in given and not given[option].value)
        }
        if "allow" in empty:
            help = 'add `allow = ( "^sched list$" )`, or remove the role'
            self.say("W408", f"role `{shortened(name)}` allows nothing", help, *head)
        if {"users", "groups"} <= empty:
            help = 'add `users = ( "NAME" )` or `groups = ( "NAME" )`, or remove the role'
            self.say("W408", f"role `{shortened(name)}` names nobody", help, *head)
        if earlier := roles.get(name):
            self.twice("role", name, head, earlier.source, earlier.span)
            return
        allow, users, groups = (
            given[option].value if option in given else absent(spec.options[option]) for option in spec.options
        )
        roles[name] = Role(name, allow, users, groups, tuple(accounts(given)), *head)

    def job_times(self, names: set[str], name: str, head: tuple[Source, Span]) -> None:
        if names >= set(STANZAS["job"].options):
            return
        if "every" in names and "at" in names:
            self.say("E211", f'job "{name}" has both `every` and `at`', "keep one of them", *head)
        elif "every" not in names and "at" not in names:
            self.say("E205", f'job "{name}" does not say when', "add `every = SECONDS` or `at = TIME`", *head)
        elif "at" in names and "offset" in names:
            self.say("E211", f'job "{name}" has an `offset` without `every`', "remove it", *head)


_VERBS = sorted({form.name for form in FORMS.values() if form.name != "json"})
_NOWHERE = Source("", "")
_SCHED_STANZA = Stanza(Scalar("sched", Span(0, 0)), None, (), Span(0, 0), 1)
_KEY_HELP = "use letters, digits, `_` and `-`, beginning with a letter"


class Unfitting(Exception):
    """Options that the files, or the tables, do not admit."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


def with_options(configuration: Configuration, scope: Scope, values: Mapping[str, str]) -> Configuration:
    """The configuration with other values for options of one of its stanzas; raises Unfitting.

    Keys of `values` are in lower case. Only that stanza is read again.
    """
    if scope.stanza == "job" and "command" in values and configuration.authorization:
        # The files' own jobs need no role, so that nobody else may say what they do.
        raise Unfitting([_files_only(values["command"])])
    block = configuration.blocks[scope]
    kept = [i for i in block.body if not isinstance(i, Setting) or i.option.key.value.lower() not in values]
    reader = Reader()
    reader.block(replace(block, body=(*kept, *(_setting(name, text) for name, text in values.items()))))
    reader.finish()
    new = reader.configuration
    wrong = [diagnostic for diagnostic in reader.diagnostics if diagnostic.is_error]
    wrong = wrong or [mistake for mistake in _references(new, configuration) if mistake.is_error]
    if wrong:
        raise Unfitting(wrong)
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
    help = "edit the stanza file; with `Authorization` in it, what its jobs do is trusted to the files alone"
    return Diagnostic("E508", "`command` of a job is set by the files only", help, Source("<command>", command))


def _references(new: Configuration, configuration: Configuration) -> Iterator[Diagnostic]:
    for job in new.jobs.values():
        yield from command_mistakes(job.tree, Source("<command>", job.command.text), configuration)


def _setting(name: str, text: str) -> Setting:
    value = value_of(text)
    key = Scalar(name, Span(0, len(name)))
    return Setting(Source("<command>", f"{name} = {text}"), Option(key, value.shifted(len(name) + 3)))


def options_of(configuration: Configuration, scope: Scope) -> dict[str, Value]:
    """What the files say of the options of a stanza, keys in lower case; of one given twice the last, dictionaries merged."""
    return _given(configuration.blocks[scope])


def stanzas_of(configuration: Configuration, scope: Scope) -> list[tuple[Scope, dict[str, Value]]]:
    """The stanzas inside a stanza, with their options."""
    inner = [item for item in configuration.blocks[scope].body if isinstance(item, Block)]
    return [(Scope(b.stanza.key.value, b.stanza.name.value if b.stanza.name else ""), _given(b)) for b in inner]


def _given(block: Block) -> dict[str, Value]:
    given: dict[str, Value] = {}
    for item in block.body:
        if isinstance(item, Setting):
            name, value = item.option.key.value.lower(), item.option.value
            earlier = given.get(name)
            if isinstance(earlier, Dictionary) and isinstance(value, Dictionary):
                entries = {entry.key.value: entry for entry in (*earlier.entries, *value.entries)}
                value = Dictionary(tuple(entries.values()), value.span)
            given[name] = value
    return given
