"""Reload: accepts stanza files that were read and checked, or rejects them.

Rule: the files are accepted as a whole, between two ticks, or not at all.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.commands.view import Order, ReloadResult
from schedappliance.core.alerts import reload_ended
from schedappliance.core.audit import audit
from schedappliance.core.orders import carry_out, follow_declared
from schedappliance.core.runs import count_end
from schedappliance.diagnostics import Diagnostic, Source, Span, as_data, has_errors, with_lines
from schedappliance.engine.attempts import has_other_waits
from schedappliance.engine.declared import Reconciliation
from schedappliance.engine.effects import Answer, Effect, EndWatches, FilesAccepted, LogMessage, rejection
from schedappliance.engine.events import FilesRead, ReloadRequested, WatchChanged
from schedappliance.engine.options import Options, Override, Overrides
from schedappliance.engine.reasons import rejected
from schedappliance.engine.records import CONFIG_USER, job_id
from schedappliance.engine.reloading import reload, set_since
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command
from schedappliance.model.configuration import Configuration

if TYPE_CHECKING:
    from schedappliance.core.state import State

ORPHANS_SHOWN = 20
RELOAD = Command("config_reload", (), None, None, "config reload")
RECONFIGURE_FAILED = "Reconfigure failed."
DROPPED_BY_RELOAD = "`config set` to {} is dropped by `config reload`"
CHANGED_BY_FILES = "the files changed it; `config set` to {} is dropped"
AUTHORIZATION_LOST = (
    "the stanza files no longer contain `Authorization`: everyone who can open the socket may run every command"
)


class Accepted(NamedTuple):
    """What accepted files changed: the declared jobs, and the overrides that were dropped. `warnings` are for users."""

    changes: Reconciliation
    warnings: list[str]
    dropped: list[Override]


def watch_changed(state: State, event: WatchChanged) -> None:
    state.status = replace(state.status, watch=event.watch, waits=event.waits)


def reload_requested(state: State, event: ReloadRequested) -> None:
    """Handles SIGHUP: reloads as `config reload` on the console does, but keeps overrides.

    At most one reload waits while another one reads the files. The waiting reload sees every change up to now.
    """
    if sum(parked.order.command is RELOAD for parked in state.parked.values()) < 2:
        carry_out(state, Order(CONFIG_USER, "stanza", event.reason, RELOAD))


def is_reloading(state: State) -> bool:
    """Whether a reload that somebody asked for waits for its files."""
    return any(parked.order.command.bare.form == RELOAD.form for parked in state.parked.values())


def files_read(state: State, event: FilesRead) -> None:
    """Accepts or rejects files.

    Files with the digest of the last attempt are ignored, unless a user asked for a reload.
    """
    parked = state.parked.pop(event.reply_to, None) if event.reply_to is not None else None
    if parked is None and event.digest == state.attempted_digest and not event.is_told:
        return
    effects_before = len(state.effects)
    diagnostics = _judged(state, event)
    is_accepted = event.configuration is not None and not has_errors(diagnostics)
    if is_accepted:
        assert event.configuration is not None
        accepted = _accept(state, event, event.configuration, parked.options if parked else None)
        answer = _acceptance(parked is not None and parked.order.as_json, accepted)
    else:
        if not event.is_told:
            _log_rejection(state, diagnostics)
        answer = _rejection(diagnostics)
    state.attempted_digest = event.digest
    first_error = next((diagnostic.brief() for diagnostic in diagnostics if diagnostic.is_error), "it has errors")
    reload_ended(state, None if is_accepted else first_error)
    outcome = "accepted" if is_accepted else "rejected"
    state.count("reloads_total", outcome)
    _show_outcome(state, event, diagnostics, outcome)
    if parked is not None:
        _reply(state, parked.order, answer)
        if parked.order.command is RELOAD:
            _log_once(state.effects, effects_before)


def tell_unstored(state: State, event: FilesRead) -> FilesRead:
    """Says at once that files are rejected, although the store cannot be written. Returns the event for the next try.

    Files that can be accepted wait for the store, which keeps their generation.
    """
    diagnostics = [] if event.is_told else _judged(state, event)
    if not has_errors(diagnostics):
        return event
    _log_rejection(state, diagnostics)
    _show_outcome(state, event, diagnostics, "rejected")
    state.attempted_digest = event.digest
    return replace(event, is_told=True)


def _judged(state: State, event: FilesRead) -> list[Diagnostic]:
    """What is wrong with files that were read, or doubtful."""
    if event.configuration is None:
        return list(event.diagnostics)
    # Files that have a configuration have no other errors. So the errors come first: in the log, the status and reminders.
    return [*_needs_restart(state.configuration, event.configuration), *event.diagnostics]


def _show_outcome(state: State, event: FilesRead, diagnostics: list[Diagnostic], outcome: str) -> None:
    """Shows the outcome of a reload in status and news. It writes no row."""
    brief = tuple(diagnostic.brief() for diagnostic in diagnostics)
    result = ReloadResult(state.moment.wall, outcome, brief, tuple(with_lines(diagnostics)))
    state.status = replace(state.status, last_reload=result)
    if state.is_watched and not event.is_told:
        # With 5,000 mistakes, this takes 10 ms.
        state.tell("configuration", outcome=outcome, digest=event.digest, diagnostics=as_data(diagnostics))


def _log_once(effects: list[Effect], start: int) -> None:
    """Marks log lines that a storm of signals must not repeat within a second."""
    effects[start:] = [e._replace(once=True) if isinstance(e, LogMessage) else e for e in effects[start:]]


def reload_failed(state: State, event: FilesRead, why: str) -> None:
    """Rejects files that cannot be stored. The running configuration stays active; status and answer say why.

    An alert would be a row, which the store might not take either.
    """
    parked = state.parked.pop(event.reply_to, None) if event.reply_to is not None else None
    remedy = "nothing was changed; `schedappliance store check` checks the store"
    source = Source.of_command(parked.order.text if parked else "")
    diagnostic = Diagnostic("E504", f"the store cannot be written: {why}", remedy, source)
    state.count("reloads_total", "rejected")
    _show_outcome(state, event, [diagnostic], "rejected")
    if parked is not None:
        _reply(state, parked.order, _rejection([diagnostic]))


def _needs_restart(running: Configuration, new: Configuration) -> list[Diagnostic]:
    if running.backing_store == new.backing_store:
        return []
    source, span = new.backing_store_place or running.backing_store_place or (Source("sched.conf", ""), Span(0, 0))
    message = "restart required: `backing_store` cannot be changed while the appliance runs"
    return [Diagnostic("E309", message, f"restart, or restore {running.backing_store}", source, span)]


def _log_rejection(state: State, diagnostics: list[Diagnostic]) -> None:
    state.log("error", "the stanza files are rejected; the running configuration stays active")
    for diagnostic in sorted(diagnostics, key=lambda d: not d.is_error):
        state.log(diagnostic.severity, diagnostic.brief())


def _accept(state: State, event: FilesRead, configuration: Configuration, asked: Options | None) -> Accepted:
    """Makes the configuration the active one.

    `asked`: the options at the moment when a user typed `config reload`; None if nobody did.
    """
    now = state.moment.wall
    for diagnostic in event.diagnostics:
        state.log("warning", diagnostic.brief())
    before = state.configuration
    state.status = replace(state.status, last_good=None)
    replaced = [] if state.options.files is configuration else [state.options.files]
    overrides, dropped = _kept_overrides(state, event, asked)
    options, outdated, jobs = reload(configuration, state.options, overrides, event.prepared)
    state.options = options
    state.effects.append(FilesAccepted(event.texts, configuration.authorization is not None, replaced))
    _drop(state, dropped, DROPPED_BY_RELOAD)
    _drop(state, outdated, CHANGED_BY_FILES)
    state.version += 1
    changes = follow_declared(state, jobs)
    if before.authorization or configuration.authorization:
        state.effects.append(EndWatches())
    is_lost = before.authorization is not None and configuration.authorization is None
    warnings = [*([AUTHORIZATION_LOST] if is_lost else []), *_orphans(state, before)]
    for text in warnings:
        state.log("warning", text)
    # Reading 100,000 queued runs takes 1.5 s.
    if state.queue.number and has_other_waits(before, state.configuration):
        state.read_queue(state.running.jobs)
    if event.digest != state.status.digest:
        generation = state.store.settings.add_generation(event.digest, now, event.texts)
        state.status = replace(state.status, digest=event.digest, warnings=tuple(warnings))
        state.log("info", f"configuration {generation} is active; {changes}")
    else:
        state.log("info", f"the stanza files are unchanged; {changes}")
    return Accepted(changes, warnings, dropped + outdated)


def _orphans(state: State, before: Configuration) -> list[str]:
    """Warnings about stored jobs whose program the files no longer declare: their runs will fail."""
    warnings = []
    for name in sorted(before.programs.keys() - state.configuration.programs.keys()):
        numbers = state.store.jobs.that_run(name, ORPHANS_SHOWN + 1)
        if numbers:
            shown = ", ".join(job_id(state.store.node, number) for number in numbers[:ORPHANS_SHOWN])
            more = " and more" if len(numbers) > ORPHANS_SHOWN else ""
            warnings.append(f"program {name} is no longer declared; these jobs use it: {shown}{more}")
    return warnings


def _kept_overrides(state: State, event: FilesRead, asked: Options | None) -> tuple[Overrides, list[Override]]:
    """The overrides that a reload keeps, and those that it drops: if it was typed, those that had been set before.

    Later ones stay: while the files were read, `config set` has already answered their users.
    """
    now = state.options.overrides
    if not event.typed:
        return now, []
    later = set_since(asked.overrides, now) if asked is not None else Overrides()
    return later, [override for place, override in now.items() if later.find(place) is None]


def discard_outdated_overrides(state: State) -> None:
    """Discards the overrides of options that the files have changed since: the later change wins."""
    outdated = state.options.outdated()
    _drop(state, outdated, CHANGED_BY_FILES)
    state.options = state.options.without(override.place for override in outdated)


def _drop(state: State, overrides: list[Override], why: str) -> None:
    """Removes the rows of overrides. `why`: the warning about each; `{}` stands for its value."""
    for override in overrides:
        state.store.settings.drop_override(override.place)
        state.log("warning", f"{override.what}: {why.format(override.value)}")


def _acceptance(as_json: bool, accepted: Accepted) -> Answer:
    """Momentum's `OK` on a line of its own, then the changes."""
    if as_json:
        data = {
            "reloaded": True,
            "jobs": accepted.changes.counts(),
            "dropped": [override.data() for override in accepted.dropped],
            "warnings": accepted.warnings,
        }
        return Answer(json.dumps(data, ensure_ascii=False), is_json=True)
    dropped = (f"dropped: {override}" for override in accepted.dropped)
    return Answer(
        "\n".join(["OK", str(accepted.changes), *dropped, *(f"warning: {text}" for text in accepted.warnings)])
    )


def _rejection(diagnostics: list[Diagnostic]) -> Answer:
    errors_first = sorted(diagnostics, key=lambda d: not d.is_error)
    text = "\n".join([*(d.brief() for d in errors_first), RECONFIGURE_FAILED])
    return rejection(diagnostics, text)


def _reply(state: State, order: Order, answer: Answer) -> None:
    audit(state, order.user, order.source, order.text, answer, order.by)
    if order.reply_to is not None:
        state.reply(order, answer, order.as_json)
    if order.run is not None:
        ending = RunState.SUCCEEDED if answer.ok else RunState.FAILED
        why = rejected(answer.error) if answer.error is not None else None
        assert isinstance(answer.output, str)
        state.store.runs.end(order.run, ending, why, state.moment.wall, answer.output or None)
        state.note_end(order.run, ending)
        count_end(state, order.run, ending)
