"""`config get|set|reload`, with Momentum's texts."""

from __future__ import annotations

import re

from schedappliance.commands.context import Context, Deferred, Refused
from schedappliance.diagnostics import Diagnostic, Source, Span, did_you_mean, shortened
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import Command

_BARE = re.compile(r"[!$%&*+\-./0-9:?@A-Z\\^_a-z|~]+")


def get(context: Context, command: Command) -> Answer:
    name = _option(context, command.words)
    found = context.options.get(name)
    if found is None:
        text = f"Option '{shortened(name)}' is not set in scope ''."
        source = Source("<command>", context.text)
        names = [option.name for option in context.options.configuration.options.values()]
        help = did_you_mean(name, names, "set it with `config set`")
        diagnostic = Diagnostic("E202", text, help, source, Span(0, len(context.text)))
        raise Refused([diagnostic], verbatim=text)
    return _shown(context, *found)


def set_option(context: Context, command: Command) -> Answer:
    """Writes the override in the transaction of the command or of the run that holds it."""
    *path, value = command.words
    name = _option(context, tuple(path))
    override = context.options.override(name, value)
    context.store.settings.set_override(override, context.user, context.origin, context.moment.wall)
    context.options.overrides[override.option] = override
    return _shown(context, override.name, value)


def _option(context: Context, path: tuple[str, ...]) -> str:
    """Options of stanzas are the files' alone."""
    if len(path) > 1:
        help = "edit the stanza file; global options are named alone"
        raise context.refuse("E508", f"`{shortened(' '.join(path))}` is no global option", help)
    return path[0]


def _shown(context: Context, name: str, value: str) -> Answer:
    text = value if _BARE.fullmatch(value) and "/*" not in value else _quoted(value)
    return context.answer(f"{name} = {text}", {"option": name, "value": value})


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def reload(context: Context, _command: Command) -> Deferred:
    return Deferred(typed=context.arrived_ms is not None)
