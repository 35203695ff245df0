"""Drops: every line is checked first, then all happen in one part of the transaction, with the mark and the result."""

from __future__ import annotations

import json
from typing import Any

from schedappliance.commands import perform
from schedappliance.commands.context import Deferred, Refused
from schedappliance.core.due import follow_up, kept
from schedappliance.core.lines import changes
from schedappliance.core.state import State
from schedappliance.diagnostics import Diagnostic, Source, Span, has_errors
from schedappliance.engine.effects import Answer, PublishResult
from schedappliance.engine.events import DropClaimed
from schedappliance.linter import command_lines, lint_commands
from schedappliance.model.commands import read_command
from schedappliance.report import as_data


class _Rejected(Exception):
    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__()
        self.diagnostics = diagnostics


def drop_claimed(state: State, event: DropClaimed) -> None:
    """Does a drop, or answers again one that was done before a crash; never repeats it."""
    settings = state.store.settings
    if done := settings.drop(event.mark):
        state.effects.append(PublishResult(event.mark, done.name, done.accepted, done.result))
        return
    source = Source(event.name, event.text)
    mistakes = list(event.refusal) or list(lint_commands(source, state.configuration))
    outputs: list[dict[str, Any]] = []
    if not has_errors(mistakes):
        removed = set(state.removed)
        try:
            with state.store.savepoint():
                outputs = _do(state, event, source)
        except _Rejected as rejected:
            state.removed.intersection_update(removed)
            state.read_back()
            mistakes = rejected.diagnostics
    accepted = not has_errors(mistakes)
    result = _result(event, accepted, outputs if accepted else [], mistakes)
    settings.add_drop(event.mark, event.name, event.user, state.moment.wall, accepted, result)
    state.status.statistics.drops += 1
    outcome = "done" if accepted else f"rejected: {next(d for d in mistakes if d.is_error).brief()}"
    state.log("info", f"user={event.user.name} uid={event.user.uid} origin=spool file={event.name!r} {outcome}")
    state.effects.append(PublishResult(event.mark, event.name, accepted, result))


def _do(state: State, event: DropClaimed, source: Source) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = []
    for offset, line in command_lines(source):
        text = line.strip(" \t")
        read = read_command(text)
        assert read.command is not None
        context = state.context(event.user, "spool", text, event.arrived_ms)
        try:
            answer = perform(context, read.command)
        except Refused as refused:
            raise _Rejected([_placed(d, source, offset, line) for d in refused.diagnostics]) from None
        follow_up(state, context)
        assert not isinstance(answer, Deferred), "a drop holds only commands whose effect is rows"
        outputs.append(_told(text, answer))
        if changes(read.command):
            state.log("debug", f"user={event.user.name} origin=spool command={text!r} ok")
    return outputs


def _told(command: str, answer: Answer) -> dict[str, Any]:
    """The answer to one line. Data is told whole: half of it would be no data."""
    if answer.is_json:
        data = answer.output if isinstance(answer.output, str) else "".join(answer.output)
        return {"command": command, "data": json.loads(data)}
    return {"command": command, "output": kept(answer)}


def _placed(diagnostic: Diagnostic, source: Source, offset: int, line: str) -> Diagnostic:
    return diagnostic.moved(source, lambda _span: Span(offset, offset + len(line)))


def _result(event: DropClaimed, accepted: bool, outputs: list[dict[str, Any]], mistakes: list[Diagnostic]) -> str:
    result = {
        "file": event.name,
        "accepted": accepted,
        "user": event.user.name,
        "results": outputs,
        "diagnostics": as_data(mistakes),
    }
    return json.dumps(result, ensure_ascii=False, indent=2) + "\n"
