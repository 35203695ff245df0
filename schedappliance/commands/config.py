"""`config`: options, transactions, and the generations of the stanza files. Rule: the texts are Momentum's where it has one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from schedappliance.clock import local_text, time_data
from schedappliance.commands.differences import differences
from schedappliance.commands.lookup import may_list
from schedappliance.commands.outcome import AfterReload, Outcome, Rejected, Transaction
from schedappliance.commands.view import View
from schedappliance.diagnostics import Source, Span, command_diagnostic, did_you_mean, shortened
from schedappliance.engine.effects import Answer
from schedappliance.engine.options import Options, Override, Place
from schedappliance.model.commands import Command
from schedappliance.model.option_paths import AUTHORIZATION, GLOBAL, Scope
from schedappliance.model.references import undeclared
from schedappliance.model.stanzas import InvalidOptions
from schedappliance.syntax.printer import INDENT, as_data, written
from schedappliance.syntax.tree import Value

if TYPE_CHECKING:
    from schedappliance.store.settings import Generation

HISTORY_HEADER = "GENERATION\tAPPLIED\tDIGEST\tFILES\n"


def get(view: View, command: Command) -> Outcome:
    place = _place(view, command)
    option = view.seen.get(*place)
    if option is None:
        raise _not_set(view, place)
    return Outcome(_shown(view, place.scope, *option))


def evaluate(view: View, command: Command) -> Outcome:
    stanza, name, option = command.words
    scope = Scope(stanza, name)
    _check_scope(view, scope)
    effective = view.seen.evaluate(scope, option)
    if effective is None:
        raise _not_set(view, Place(scope, option))
    return Outcome(_shown(view, scope, *effective, view.seen.origin(scope, option)))


def set_option(view: View, command: Command) -> Outcome:
    """Sets an option: an open transaction keeps it until its commit, otherwise it is stored at once."""
    scope, name = _place(view, command)
    value, before = command.words[3], view.seen
    override = before.override(Place(scope, name.lower()), name, value)
    try:
        options = before.put(override)
    except InvalidOptions as invalid:
        source, span = Source.of_command(view.order.text), Span(0, len(view.order.text))
        raise Rejected([replace(d, source=source, span=span, related=()) for d in invalid.diagnostics]) from None
    if view.order.as_json:
        answer = _shown(view, scope, override.name, override.meant)
    else:
        indent = INDENT if scope.stanza else ""
        answer = Answer(indent + override.line(indent))
    if view.transaction:
        return Outcome(answer, transaction=view.transaction._replace(options=options))
    _store(view, override.place, override)
    return Outcome(answer, options)


def _store(view: View, place: Place, override: Override | None) -> None:
    """Stores the override of an option; None removes it."""
    settings = view.store.settings
    if override is None:
        settings.drop_override(place)
    else:
        settings.set_override(override, view.order.user, view.order.origin, view.moment.wall)


def unset(view: View, command: Command) -> Outcome:
    place = _place(view, command)
    options = view.seen
    if place.option:
        overrides = [o for p, o in options.overrides.items() if p == Place(place.scope, place.option.lower())]
    else:
        overrides = [o for p, o in options.overrides.items() if p.scope == place.scope]
    if not overrides:
        raise _never_set(view, place)
    options = options.without(override.place for override in overrides)
    text = "\n".join(_unset_text(options, override) for override in overrides)
    answer = view.answer(text, {"unset": [_data(options, override) for override in overrides]})
    if view.transaction:
        return Outcome(answer, transaction=view.transaction._replace(options=options))
    for override in overrides:
        _store(view, override.place, None)
    return Outcome(answer, options)


def _unset_text(options: Options, override: Override) -> str:
    effective = options.evaluate(*override.place)
    if effective is None:
        return f'"{override.name}" has been unset.'
    return f'"{override.name}" has been unset. Effective value is now:\n{INDENT}{_assignment(effective, INDENT)}'


def _data(options: Options, override: Override) -> dict[str, Any]:
    effective = options.evaluate(*override.place)
    return {
        "scope": override.place.scope.title,
        "option": override.name,
        "effective": as_data(effective[1]) if effective else None,
    }


def _never_set(view: View, place: Place) -> Rejected:
    if not place.option:
        message = f"`config set` has set no option of `{place.scope.title}`"
        return view.reject("E508", message, "edit the stanza file to change its value")
    if view.seen.get(*place) is None:
        return _not_set(view, place)
    message = f"the stanza files set `{shortened(place.option)}`, not `config set`"
    return view.reject("E508", message, "edit the stanza file to change its value")


def show(view: View, command: Command) -> Outcome:
    """Shows one level: inner stanzas appear by name only."""
    scope = _scope(view, command)
    return Outcome(_tree(view, scope, deep=scope != GLOBAL))


def show_recursively(view: View, command: Command) -> Outcome:
    return Outcome(_tree(view, _scope(view, command), deep=True))


def _tree(view: View, scope: Scope, deep: bool) -> Answer:
    options = view.seen
    if view.order.as_json:
        # Making all of 10,000 stanzas in one piece would hold the deciding thread for 100 ms.
        pieces = _json_pieces(options, scope, deep)
        return Answer(pieces if view.is_streamed else "".join(pieces), is_json=True)
    return Answer(_pieces(options, scope, deep))


def _values(options: Options, scope: Scope) -> dict[str, Any]:
    return {name: as_data(value) for name, value in options.shown(scope)}


def _inner(options: Options, scope: Scope) -> dict[str, Any]:
    """The stanzas inside a stanza, if there are any."""
    inner = [
        {
            "stanza": one.stanza.lower(),
            "name": one.name,
            "options": {name: as_data(value) for name, value in values.items()},
        }
        for one, values in options.inner(scope)
    ]
    return {"stanzas": inner} if inner else {}


def _json_pieces(options: Options, scope: Scope, deep: bool) -> Iterator[str]:
    """The same as an array in JSON."""
    before = "["
    for one in (scope, *(options.scopes() if scope == GLOBAL else ())):
        data: dict[str, Any] = {"stanza": one.stanza, "name": one.name}
        if deep or one == scope:
            data |= {"options": _values(options, one), **_inner(options, one)}
        yield before + json.dumps(data, ensure_ascii=False)
        before = ", "
    yield "]"


def _pieces(options: Options, scope: Scope, deep: bool) -> Iterator[str]:
    """The text of a scope, made while it is sent. Options are immutable, so all pieces show the same moment."""
    if scope != GLOBAL:
        yield _stanza(options, scope)
        return
    for option in options.shown(GLOBAL):
        yield f"{_assignment(option, '')}\n"
    for inner in options.scopes():
        yield _stanza(options, inner) if deep else f"{inner.title} {{ ... }}\n"


def _stanza(options: Options, scope: Scope) -> str:
    lines = [f"{INDENT}{_assignment(option, INDENT)}\n" for option in options.shown(scope)]
    for inner, values in options.inner(scope):
        deeper = [f"{INDENT * 2}{_assignment(option, INDENT * 2)}\n" for option in values.items()]
        lines += [f"{INDENT}{inner.title} {{\n", *deeper, f"{INDENT}}}\n"]
    return "".join([f"{scope.title} {{\n", *lines, "}\n"])


def _scope(view: View, command: Command) -> Scope:
    stanza, name = command.words
    scope = Scope(stanza, name)
    _check_scope(view, scope)
    return scope


def _place(view: View, command: Command) -> Place:
    words = command.words
    if not words[0]:
        return Place(GLOBAL, words[2])
    stanza, name, option = words[:3]
    scope = Scope(stanza, name)
    _check_scope(view, scope)
    return Place(scope, option)


def _check_scope(view: View, scope: Scope) -> None:
    """Raises Rejected if the stanza of a scope is not declared."""
    configuration = view.seen.configuration
    if scope == AUTHORIZATION and configuration.authorization is None:
        message = "the stanza files contain no `Authorization`: everyone who can open the socket may run every command"
        raise view.reject("E508", message, "add an `Authorization` stanza to define roles")
    source, span = Source.of_command(view.order.text), Span(0, len(view.order.text))
    if mistake := undeclared(scope, configuration, source, span):
        if scope.stanza == "job" and not may_list(view):
            mistake = replace(mistake, help="give the name of a declared job")
        raise Rejected([mistake])


def _not_set(view: View, place: Place) -> Rejected:
    text = f"Option '{shortened(place.option)}' is not set in scope '{place.scope.title}'."
    names = [name for name, _ in view.seen.shown(GLOBAL)] if place.scope == GLOBAL else []
    remedy = did_you_mean(place.option, names, "set it with `config set`; `config eval` shows the default")
    return Rejected([command_diagnostic("E202", text, remedy, view.order.text)], verbatim=text)


def _shown(view: View, scope: Scope, name: str, value: Value, origin: str | None = None) -> Answer:
    """An option of a stanza is indented, as Momentum indents it. `origin`: the place of a value that it does not contain."""
    indent = INDENT if scope.stanza else ""
    text = indent + _assignment((name, value), indent) + (f"  # from {origin}" if origin else "")
    data = {"option": name, "value": as_data(value)} | ({"scope": scope.title} if indent else {})
    return view.answer(text, data | ({"origin": origin} if origin else {}))


def _assignment(option: tuple[str, Value], indent: str) -> str:
    name, value = option
    return f"{name} = {written(value, indent)}"


def reload(view: View, _command: Command) -> Outcome:
    if view.transaction:
        raise view.reject(
            "E510", "a transaction is open on this connection", "end it with `config commit` or `config rollback`"
        )
    return Outcome(pending=AfterReload(typed=view.order.arrived_ms is not None))


def begin(view: View, _command: Command) -> Outcome:
    """Opens a transaction. The options that it sets take effect together when it is committed."""
    if view.order.connection is None:
        raise view.reject(
            "E510", "a transaction belongs to one console connection", "use the prompt of `schedappliance console`"
        )
    if view.transaction:
        raise view.reject("E510", "a transaction is already open", "end it with `config commit` or `config rollback`")
    transaction = Transaction(view.options, view.version, view.order.user, view.order.by)
    return Outcome(view.answer("", {"transaction": "open"}), transaction=transaction)


def commit(view: View, _command: Command) -> Outcome:
    """Commits a transaction as a whole. If the options have changed since it began, it is rolled back instead."""
    transaction = _open(view)
    if transaction.version != view.version:
        message = "the configuration has changed since the transaction began; the transaction is rolled back"
        return Outcome(view.reject("E510", message, "start again with `config begin`").answer, ends_transaction=True)
    before, after = view.options.overrides, transaction.options.overrides
    for place in sorted(before.keys() | after.keys()):
        if before.get(place) != after.get(place):
            _store(view, place, after.get(place))
    return Outcome(view.answer("OK", {"transaction": "committed"}), transaction.options, ends_transaction=True)


def rollback(view: View, _command: Command) -> Outcome:
    _open(view)
    return Outcome(view.answer("", {"transaction": "rolled back"}), ends_transaction=True)


def _open(view: View) -> Transaction:
    if view.transaction is None:
        raise view.reject("E510", "no transaction is open on this connection", "open one with `config begin`")
    return view.transaction


def status(view: View, _command: Command) -> Outcome:
    """The active generation, the result of the last reload, how files are watched, and the overrides."""
    active, last = view.unless_degraded(view.store.settings.last_generation), view.status.last_reload
    data: dict[str, Any] = {
        "generation": active.number if active else None,
        "digest": view.status.digest or (active.digest if active else ""),
        **time_data("applied_at", active.applied_ms if active else None),
        "last_attempt": {
            **time_data("time", last.at_ms),
            "outcome": last.outcome,
            "diagnostics": list(last.diagnostics),
        },
        "warnings": list(view.status.warnings),
        "watch": view.status.watch,
        "waits": view.status.files_wait,
        "degraded": view.status.troubles,
        "transaction": "open" if view.transaction else None,
        "overrides": [o.data() for o in view.options.overrides.values()],
    }
    lines = [
        f"generation: {data['generation'] or 'unknown, since the store cannot be read'}",
        f"digest: {data['digest']}",
        *([f"applied: {local_text(active.applied_ms, view.zone)}"] if active else []),
        f"last attempt: {f'{local_text(last.at_ms, view.zone)} ' if last.at_ms is not None else ''}{last.outcome}",
        *(f"\t{line}" for line in last.lines),
        *(f"warning: {text}" for text in view.status.warnings),
        f"watch: {view.status.watch}",
        *(f"waits: {reason}" for reason in [view.status.files_wait] if reason),
        *(f"degraded: {trouble}" for trouble in [view.status.troubles] if trouble),
        *(["transaction: open on this connection"] if view.transaction else []),
        f"overrides: {len(data['overrides'])}",
        *("\t" + str(override).replace("\n", "\n\t") for override in view.options.overrides.values()),
    ]
    return Outcome(view.answer("\n".join(lines), data))


def history(view: View, _command: Command) -> Outcome:
    """The generations, newest first. A console gets them one at a time."""
    make = _json_history if view.order.as_json else _text_history
    pieces = make(view, view.store.settings.generations())
    return Outcome(Answer(pieces if view.is_streamed else "".join(pieces), is_json=view.order.as_json))


def _text_history(view: View, generations: list[Generation]) -> Iterator[str]:
    yield HISTORY_HEADER
    for one in generations:
        files = ", ".join(view.store.settings.paths(one))
        yield f"{one.number}\t{local_text(one.applied_ms, view.zone)}\t{one.digest[:12]}\t{files}\n"


def _json_history(view: View, generations: list[Generation]) -> Iterator[str]:
    before = "["
    for one in generations:
        files = view.store.settings.paths(one)
        data = {
            "generation": one.number,
            **time_data("applied_at", one.applied_ms),
            "digest": one.digest,
            "files": files,
        }
        yield before + json.dumps(data, ensure_ascii=False)
        before = ", "
    yield "]"


def diff(view: View, command: Command) -> Outcome:
    """The changes from a generation, by default the previous one, to the active one."""
    settings = view.store.settings
    active = settings.last_generation()
    assert active is not None, "the start stores a generation"
    wanted = _wanted(view, command, active)
    before = settings.texts(wanted)
    if before is None:
        raise view.reject("E511", f"generation {wanted} is not stored", "`config history` lists the stored ones")
    lines = differences(before, settings.texts(active.number) or {})
    if view.order.as_json:
        pieces = _json_diff(wanted, active.number, lines)
        return Outcome(Answer(pieces if view.is_streamed else "".join(pieces), is_json=True))
    return Outcome(Answer(lines))


def _json_diff(before: int, after: int, lines: Iterator[str]) -> Iterator[str]:
    """The object of two generations and their differences."""
    yield f'{{"from": {before}, "to": {after}, "diff": "'
    yield from (json.dumps(line, ensure_ascii=False)[1:-1] for line in lines)
    yield '"}'


def _wanted(view: View, command: Command, active: Generation) -> int:
    if not command.words:
        earlier = [generation.number for generation in view.store.settings.generations()[1:2]]
        return earlier[0] if earlier else active.number
    (word,) = command.words
    if not (word.isascii() and word.isdigit() and len(word) < 16):
        raise view.reject(
            "E511", f"invalid generation `{shortened(word)}`", "give a number; `config history` lists them"
        )
    return int(word)
