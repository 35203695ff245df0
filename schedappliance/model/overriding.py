"""Options set beside the files: read by the same tables, in the stanza that they belong to, as if they stood there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.closure import Block, Setting
from schedappliance.model.configuration import Configuration, Reader
from schedappliance.model.options import value_of
from schedappliance.model.references import command_mistakes
from schedappliance.model.scopes import Scope
from schedappliance.syntax.tree import Dictionary, Option, Scalar, Value


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
