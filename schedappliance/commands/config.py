"""`config get|eval|set|unset|show|showrecurse|reload`, with Momentum's texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from schedappliance.commands.context import Context, Deferred, Rejected
from schedappliance.diagnostics import Diagnostic, Source, Span, did_you_mean, shortened
from schedappliance.engine.effects import Answer
from schedappliance.engine.options import Options, Override, Place
from schedappliance.model.commands import Command
from schedappliance.model.options import AUTHORIZATION, GLOBAL, Scope
from schedappliance.model.references import undeclared
from schedappliance.model.stanzas import Unfitting
from schedappliance.syntax.printer import INDENT, as_data, written
from schedappliance.syntax.tree import Value


def view(context: Context) -> Options:
    """The options as this connection sees them: with what its transaction has set."""
    return context.transaction.options if context.transaction else context.options


def get(context: Context, command: Command) -> Answer:
    place = _place(context, command)
    found = view(context).get(*place)
    if found is None:
        raise _not_set(context, place)
    return _shown(context, place.scope, *found)


def evaluate(context: Context, command: Command) -> Answer:
    stanza, name, option = command.words
    scope = Scope(stanza, name)
    found = view(context).evaluate(scope, option)
    if found is None:
        raise _not_set(context, Place(scope, option))
    return _shown(context, scope, *found)


def set_option(context: Context, command: Command) -> Answer:
    """Writes the override in the transaction of the command or of the run that holds it."""
    scope, name = _place(context, command)
    value, before = command.words[3], view(context)
    override = before.override(Place(scope, name.lower()), name, value)
    try:
        options = before.put(override)
    except Unfitting as unfitting:
        source, span = Source("<command>", context.text), Span(0, len(context.text))
        raise Rejected([replace(d, source=source, span=span, related=()) for d in unfitting.diagnostics]) from None
    _take(context, options, override.place, override)
    if context.as_json:
        return _shown(context, scope, override.name, override.meant)
    indent = INDENT if scope.stanza else ""
    return Answer(indent + override.line(indent))


def _take(context: Context, options: Options, place: Place, override: Override | None) -> None:
    """In effect at once, unless a transaction is open."""
    if context.transaction:
        context.transaction = replace(context.transaction, options=options)
        return
    keep(context, place, override)
    context.options = options


def keep(context: Context, place: Place, override: Override | None) -> None:
    """The row of an option; None: it has none."""
    settings = context.store.settings
    if override is None:
        settings.drop_override(place)
    else:
        settings.set_override(override, context.user, context.origin, context.moment.wall)


def unset(context: Context, command: Command) -> Answer:
    place = _place(context, command)
    options = view(context)
    if place.option:
        known = [o for p, o in options.overrides.items() if p == Place(place.scope, place.option.lower())]
    else:
        known = [o for p, o in options.overrides.items() if p.scope == place.scope]
    if not known:
        raise _never_set(context, place)
    options = options.without(override.place for override in known)
    for override in known:
        _take(context, options, override.place, None)
    text = "\n".join(_unset_text(options, override) for override in known)
    return context.answer(text, {"unset": [_data(options, override) for override in known]})


def _unset_text(options: Options, override: Override) -> str:
    found = options.evaluate(*override.place)
    if found is None:
        return f'"{override.name}" has been unset.'
    return f'"{override.name}" has been unset. Effective value is now:\n{INDENT}{_line(found, INDENT)}'


def _data(options: Options, override: Override) -> dict[str, Any]:
    found = options.evaluate(*override.place)
    return {
        "scope": override.place.scope.title,
        "option": override.name,
        "effective": as_data(found[1]) if found else None,
    }


def _never_set(context: Context, place: Place) -> Rejected:
    if not place.option:
        message = f"nothing of `{place.scope.title}` was set with `config set`"
        return context.refuse("E508", message, "edit the stanza file to change what it says")
    if view(context).get(*place) is None:
        return _not_set(context, place)
    message = f"`{shortened(place.option)}` is set by the files, not by `config set`"
    return context.refuse("E508", message, "edit the stanza file to change what it says")


def show(context: Context, command: Command) -> Answer:
    """One level; the stanzas in it are only named."""
    scope = _scope(context, command)
    return _tree(context, scope, deep=scope != GLOBAL)


def show_recursively(context: Context, command: Command) -> Answer:
    return _tree(context, _scope(context, command), deep=True)


def _tree(context: Context, scope: Scope, deep: bool) -> Answer:
    options = view(context)
    if context.as_json:
        scopes = [scope, *(options.scopes() if scope == GLOBAL else ())]
        data = [
            {"stanza": s.stanza, "name": s.name, "options": _values(options, s), **_inner(options, s)} for s in scopes
        ]
        return context.answer(
            "", data if deep else data[:1] + [{"stanza": s.stanza, "name": s.name} for s in scopes[1:]]
        )
    return Answer(_pieces(options, scope, deep))


def _values(options: Options, scope: Scope) -> dict[str, Any]:
    return {name: as_data(value) for name, value in options.shown(scope)}


def _inner(options: Options, scope: Scope) -> dict[str, Any]:
    """The stanzas inside it, where there are any."""
    inner = [
        {
            "stanza": one.stanza.lower(),
            "name": one.name,
            "options": {name: as_data(value) for name, value in given.items()},
        }
        for one, given in options.inner(scope)
    ]
    return {"stanzas": inner} if inner else {}


def _pieces(options: Options, scope: Scope, deep: bool) -> Iterator[str]:
    """The text of a scope, made while it is sent: options never change, so it is all of one moment."""
    if scope != GLOBAL:
        yield _stanza(options, scope)
        return
    for found in options.shown(GLOBAL):
        yield f"{_line(found, '')}\n"
    for inner in options.scopes():
        yield _stanza(options, inner) if deep else f"{inner.title} {{ ... }}\n"


def _stanza(options: Options, scope: Scope) -> str:
    lines = [f"{INDENT}{_line(found, INDENT)}\n" for found in options.shown(scope)]
    for inner, given in options.inner(scope):
        deeper = [f"{INDENT * 2}{_line(found, INDENT * 2)}\n" for found in given.items()]
        lines += [f"{INDENT}{inner.title} {{\n", *deeper, f"{INDENT}}}\n"]
    return "".join([f"{scope.title} {{\n", *lines, "}\n"])


def _scope(context: Context, command: Command) -> Scope:
    stanza, name = command.words
    scope = Scope(stanza, name)
    _check(context, scope)
    return scope


def _place(context: Context, command: Command) -> Place:
    words = command.words
    if not words[0]:
        return Place(GLOBAL, words[2])
    stanza, name, option = words[:3]
    scope = Scope(stanza, name)
    _check(context, scope)
    return Place(scope, option)


def _check(context: Context, scope: Scope) -> None:
    configuration = view(context).configuration
    if scope == AUTHORIZATION and configuration.authorization is None:
        message = "no `Authorization` stands in the stanza files: whoever may open the socket may do everything"
        raise context.refuse("E508", message, "add the stanza to give roles")
    source, span = Source("<command>", context.text), Span(0, len(context.text))
    if mistake := undeclared(scope, configuration, source, span):
        raise Rejected([mistake])


def _not_set(context: Context, place: Place) -> Rejected:
    text = f"Option '{shortened(place.option)}' is not set in scope '{place.scope.title}'."
    source = Source("<command>", context.text)
    names = [name for name, _ in view(context).shown(GLOBAL)] if place.scope == GLOBAL else []
    help = did_you_mean(place.option, names, "set it with `config set`; `config eval` shows the default")
    return Rejected([Diagnostic("E202", text, help, source, Span(0, len(context.text)))], verbatim=text)


def _shown(context: Context, scope: Scope, name: str, value: Value) -> Answer:
    """An option of a stanza is indented, as Momentum indents it."""
    indent = INDENT if scope.stanza else ""
    data = {"option": name, "value": as_data(value)}
    return context.answer(indent + _line((name, value), indent), data | ({"scope": scope.title} if indent else {}))


def _line(found: tuple[str, Value], indent: str) -> str:
    return f"{found[0]} = {written(found[1], indent)}"


def reload(context: Context, _command: Command) -> Deferred:
    if context.transaction:
        raise context.refuse("E510", "a transaction is open on this connection", "`config commit` or `config rollback`")
    return Deferred(typed=context.arrived_ms is not None)
