"""New files: swapped in whole between two ticks, or the running configuration is kept and everybody is told why."""

from __future__ import annotations

import json
from typing import NamedTuple

from schedappliance.commands.view import Order, ReloadResult
from schedappliance.core.audit import audit
from schedappliance.core.configured import take_jobs
from schedappliance.core.orders import carry_out
from schedappliance.core.state import State
from schedappliance.diagnostics import Diagnostic, Source, Span, as_data, has_errors
from schedappliance.engine.declared import Reconciliation
from schedappliance.engine.effects import Answer, FilesTaken, Reply, rejection
from schedappliance.engine.events import FilesRead, ReloadRequested, WatchChanged
from schedappliance.engine.options import Options, Override
from schedappliance.engine.reasons import refused
from schedappliance.engine.records import CONFIG_USER, job_id
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command
from schedappliance.model.configuration import Configuration

ORPHANS_SHOWN = 20
RELOAD = Command("config_reload", (), None, None, "config reload")
RECONFIGURE_FAILED = "Reconfigure failed."
OPENED = "`Authorization` stands in the stanza files no more: whoever may open the socket may do everything"


class Taken(NamedTuple):
    """What new files changed: the declared jobs, and what the operator should know beside them."""

    changes: Reconciliation
    warnings: list[str]
    dropped: list[Override]


def watch_changed(state: State, event: WatchChanged) -> None:
    """How changes of the files are seen from now on."""
    state.status.watch, state.status.waits = event.watch, event.waits


def reload_requested(state: State, event: ReloadRequested) -> None:
    """SIGHUP: the same way as a typed `config reload`, but overrides stay."""
    carry_out(state, Order(CONFIG_USER, "stanza", event.reason, RELOAD))


def files_read(state: State, event: FilesRead) -> None:
    """Events are hints: what was already judged is not judged again unless somebody asks."""
    parked = state.parked.pop(event.requester, None) if event.requester is not None else None
    if parked is None and event.digest == state.attempted_digest:
        return
    diagnostics = list(event.diagnostics)
    if event.configuration is not None:
        diagnostics += _needs_restart(state.configuration, event.configuration)
    accepted = event.configuration is not None and not has_errors(diagnostics)
    if accepted:
        assert event.configuration is not None
        taken = _take(state, event, event.configuration, parked.options if parked else None)
        answer = _accepted(parked is not None and parked.order.as_json, taken)
    else:
        _keep(state, diagnostics)
        answer = _rejected(diagnostics)
    state.attempted_digest = event.digest
    brief = tuple(diagnostic.brief() for diagnostic in diagnostics)
    outcome = "accepted" if accepted else "rejected"
    state.status.last_reload = ReloadResult(state.moment.wall, outcome, brief, tuple(as_data(diagnostics)))
    if parked is not None:
        _tell(state, parked.order, answer)


def reload_failed(state: State, event: FilesRead, why: str) -> None:
    """What was read can never be stored: the running configuration stays, whoever waits is told, and so is whoever asks."""
    parked = state.parked.pop(event.requester, None) if event.requester is not None else None
    help = "nothing was changed; `schedappliance store check` tells whether the store is sound"
    source = Source("<command>", parked.order.text if parked else "")
    said = Diagnostic("E504", f"the store cannot be written: {why}", help, source)
    state.status.last_reload = ReloadResult(state.moment.wall, "rejected", (said.brief(),), tuple(as_data([said])))
    if parked is not None:
        _tell(state, parked.order, _rejected([said]))


def _needs_restart(running: Configuration, new: Configuration) -> list[Diagnostic]:
    if running.backing_store == new.backing_store:
        return []
    source, span = new.backing_store_place or running.backing_store_place or (Source("sched.conf", ""), Span(0, 0))
    message = "restart required: `backing_store` cannot be changed while the appliance runs"
    return [Diagnostic("E309", message, f"restart, or put back {running.backing_store}", source, span)]


def _keep(state: State, diagnostics: list[Diagnostic]) -> None:
    state.log("error", "the stanza files are not accepted; the running configuration stays")
    for diagnostic in sorted(diagnostics, key=lambda d: not d.is_error):
        state.log(diagnostic.severity, diagnostic.brief())


def _take(state: State, event: FilesRead, configuration: Configuration, asked: Options | None) -> Taken:
    now = state.moment.wall
    for diagnostic in event.diagnostics:
        state.log("warning", diagnostic.brief())
    before, state.status.last_good = state.configuration, None
    state.options = Options(configuration, state.options.overrides.values())
    state.effects.append(FilesTaken(event.texts, configuration.authorization is not None))
    dropped = _drop_overrides(state, asked) if event.typed else []
    dropped += drop_outdated_overrides(state)
    state.version += 1
    changes = take_jobs(state, state.configuration)
    opened = before.authorization is not None and configuration.authorization is None
    warnings = [*([OPENED] if opened else []), *_orphans(state, before)]
    for text in warnings:
        state.log("warning", text)
    # Limits and overlap may have changed: who waits for what is found out again.
    state.read_queue({key.job for key in state.running})
    if event.digest != state.status.digest:
        generation = state.store.settings.add_generation(event.digest, now, event.texts)
        state.status.digest = event.digest
        state.status.warnings = tuple(warnings)
        state.log("info", f"configuration {generation} is active; {changes}")
    else:
        state.log("info", f"the stanza files are those that are active; {changes}")
    return Taken(changes, warnings, dropped)


def _orphans(state: State, before: Configuration) -> list[str]:
    """The stored jobs that run a program which the files no longer declare: their runs will fail."""
    found = []
    for name in sorted(before.programs.keys() - state.configuration.programs.keys()):
        numbers = state.store.jobs.that_run(name, ORPHANS_SHOWN + 1)
        if numbers:
            shown = ", ".join(job_id(state.store.node, number) for number in numbers[:ORPHANS_SHOWN])
            more = " and more" if len(numbers) > ORPHANS_SHOWN else ""
            found.append(f"program {name} is no longer declared; these jobs use it: {shown}{more}")
    return found


def _drop_overrides(state: State, asked: Options | None) -> list[Override]:
    """All but those that were set after the reload was typed: whoever set them had their answer already."""
    now = state.options.overrides
    dropped = [o for place, o in now.items() if asked is None or asked.overrides.get(place) == o]
    for override in dropped:
        state.store.settings.drop_override(override.place)
        state.log("warning", f"{override.what}: `config set` to {override.value} is dropped by `config reload`")
    state.options = state.options.without(override.place for override in dropped)
    return dropped


def drop_outdated_overrides(state: State) -> list[Override]:
    """The later word wins: an option that the files have changed since loses its override."""
    outdated = state.options.outdated()
    for override in outdated:
        state.store.settings.drop_override(override.place)
        state.log("warning", f"{override.what}: the files changed it; `config set` to {override.value} is dropped")
    state.options = state.options.without(override.place for override in outdated)
    return outdated


def _accepted(as_json: bool, taken: Taken) -> Answer:
    """Momentum's word stands alone on its line; what a reload changed stands below it."""
    if as_json:
        data = {
            "reloaded": True,
            "jobs": taken.changes.counts(),
            "dropped": [override.data() for override in taken.dropped],
            "warnings": taken.warnings,
        }
        return Answer(json.dumps(data, ensure_ascii=False), is_json=True)
    dropped = (f"dropped: {override}" for override in taken.dropped)
    return Answer("\n".join(["OK", str(taken.changes), *dropped, *(f"warning: {text}" for text in taken.warnings)]))


def _rejected(diagnostics: list[Diagnostic]) -> Answer:
    errors_first = sorted(diagnostics, key=lambda d: not d.is_error)
    text = "\n".join([*(d.brief() for d in errors_first), RECONFIGURE_FAILED])
    return rejection(diagnostics, text)


def _tell(state: State, order: Order, answer: Answer) -> None:
    audit(state, order.user, order.source, order.text, answer)
    if order.reply_to is not None:
        state.effects.append(Reply(order.reply_to, answer))
    if order.run is not None:
        how = RunState.SUCCEEDED if answer.ok else RunState.FAILED
        why = refused(answer.error) if answer.error is not None else None
        assert isinstance(answer.output, str)
        state.store.runs.end(order.run, how, why, state.moment.wall, answer.output or None)
        state.ends(order.run, how)
