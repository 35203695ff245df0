"""`config status|history|diff`: which files are active, since when, what was tried last, and what changed."""

from __future__ import annotations

from typing import Any

from schedappliance.clock import iso
from schedappliance.commands.context import Context
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import Command
from schedappliance.model.diff import differences
from schedappliance.store.settings import Generation

HISTORY_HEADER = "GENERATION\tAPPLIED\tDIGEST\tFILES\n"


def status(context: Context, _command: Command) -> Answer:
    active, attempt = context.store.settings.last_generation(), context.status.last_attempt
    data: dict[str, Any] = {
        "generation": active.number if active else None,
        "digest": context.status.digest,
        "applied_at": iso(active.applied_ms) if active else None,
        "last_attempt": {
            "time": iso(attempt.at_ms),
            "outcome": attempt.outcome,
            "diagnostics": list(attempt.diagnostics),
        },
        "warnings": list(context.status.warnings),
        "watch": context.status.watch,
        "waits": context.status.waits,
        "degraded": context.status.troubles,
        "transaction": "open" if context.transaction else None,
        "overrides": [o.data() for o in context.options.overrides.values()],
    }
    lines = [
        f"generation: {data['generation']}",
        f"digest: {data['digest']}",
        f"applied: {data['applied_at']}",
        f"last attempt: {iso(attempt.at_ms)} {attempt.outcome}",
        *(f"\t{found}" for found in attempt.said),
        *(f"warning: {text}" for text in context.status.warnings),
        f"watch: {context.status.watch}",
        *(f"waits: {reason}" for reason in [context.status.waits] if reason),
        *(f"degraded: {trouble}" for trouble in [context.status.troubles] if trouble),
        *(["transaction: open on this connection"] if context.transaction else []),
        f"overrides: {len(data['overrides'])}",
        *("\t" + str(override).replace("\n", "\n\t") for override in context.options.overrides.values()),
    ]
    return context.answer("\n".join(lines), data)


def history(context: Context, _command: Command) -> Answer:
    """The newest first."""
    found = context.store.settings.generations()
    data = [
        {"generation": g.number, "applied_at": iso(g.applied_ms), "digest": g.digest, "files": files}
        for g, files in found
    ]
    rows = [f"{g.number}\t{iso(g.applied_ms)}\t{g.digest[:12]}\t{', '.join(files)}\n" for g, files in found]
    return context.answer("".join([HISTORY_HEADER, *rows]), data)


def diff(context: Context, command: Command) -> Answer:
    """From one generation, by default the one before the active one, to the active one."""
    settings = context.store.settings
    active = settings.last_generation()
    assert active is not None, "there is a generation from the start on"
    wanted = _wanted(context, command, active)
    before = settings.texts(wanted)
    if before is None:
        raise context.refuse("E511", f"generation {wanted} is not kept", "`config history` lists those that are")
    lines = differences(before, settings.texts(active.number) or {})
    if context.as_json:
        return context.answer("", {"from": wanted, "to": active.number, "diff": "".join(lines)})
    return Answer(lines)


def _wanted(context: Context, command: Command, active: Generation) -> int:
    if not command.words:
        earlier = [generation.number for generation, _ in context.store.settings.generations()[1:2]]
        return earlier[0] if earlier else active.number
    (word,) = command.words
    if not (word.isascii() and word.isdigit() and len(word) < 16):
        raise context.refuse("E511", f"`{word}` is no number of a generation", "`config history` lists them")
    return int(word)
