"""`spool list|why|retry`: what became of the files that programs dropped, and what still lies there."""

from __future__ import annotations

import json
from typing import Any

from schedappliance.clock import iso
from schedappliance.commands.context import Context, Retried
from schedappliance.diagnostics import counted, did_you_mean, shortened
from schedappliance.engine.effects import Answer
from schedappliance.engine.intake import Held, Waiting
from schedappliance.model.commands import Command
from schedappliance.store.drops import FinishedDrop

MOST_LISTED = 100
HEADER = "FILE\tSTATE\tTIME\tUSER\tANSWER\n"


def list_drops(context: Context, _command: Command) -> Answer:
    """What is left alone for now, then the last results, the newest first."""
    seen = context.status.spool or Waiting()
    finished = context.store.drops.last(MOST_LISTED)
    data = [_held(held) for held in seen.held] + [_outcome(drop) for drop in finished]
    rows = [f"{d['file']}\t{d['state']}\t{d['time']}\t{d['user'] or '-'}\t{d['answer']}\n" for d in data]
    return context.answer("".join([HEADER, *rows]), data)


def why(context: Context, command: Command) -> Answer:
    """Why a file still lies there, and what the last ones of its name were answered."""
    name = _name(command)
    held = [h for h in (context.status.spool or Waiting()).held if h.name in (name, command.words[0])]
    finished = context.store.drops.named(name, MOST_LISTED)
    if not held and not finished:
        raise _unknown(context, command.words[0])
    data = [_held(one) for one in held] + [_told(drop) for drop in finished]
    lines = [f"{one.name}: not taken since {iso(one.since_ms)}: it {one.why}\n" for one in held]
    for drop in finished:
        lines += _explained(drop)
    return context.answer("".join(lines), data)


def retry(context: Context, command: Command) -> Retried:
    """Only the last file of a name is kept; answered when it is claimed again."""
    name = _name(command)
    finished = context.store.drops.named(name, 1)
    if not finished:
        raise _unknown(context, command.words[0])
    if finished[0].accepted:
        message = f"{name} was done at {iso(finished[0].taken_ms)}"
        raise context.refuse("E513", message, "drop it again to have it done once more")
    return Retried(name)


def _name(command: Command) -> str:
    """A file by its name, with or without its ending."""
    (word,) = command.words
    return word if word.endswith((".cmd", "~refused")) else f"{word}.cmd"


def _unknown(context: Context, typed: str) -> Exception:
    waiting = context.status.spool
    names = [drop.name for drop in context.store.drops.last(MOST_LISTED)]
    if waiting is None:
        help = "there is no spool; set `spool.path` in appliance.yaml"
    elif waiting.waiting > len(waiting.held):
        help = f"{waiting.waiting} files wait to be taken; `spool list` shows the last results"
    else:
        help = did_you_mean(typed, names, "`spool list` shows the last results; older ones are not kept")
    return context.refuse("E513", f"no file `{shortened(typed)}` was taken", help)


def _held(held: Held) -> dict[str, Any]:
    return {"file": held.name, "state": "waiting", "time": iso(held.since_ms), "user": None, "answer": held.why}


def _outcome(drop: FinishedDrop) -> dict[str, Any]:
    result = json.loads(drop.result)
    errors = [d for d in result["diagnostics"] if d["severity"] == "error"]
    answer = errors[0]["message"] if errors else counted(len(result["results"]), "command")
    state = "done" if drop.accepted else "failed"
    return {"file": drop.name, "state": state, "time": iso(drop.taken_ms), "user": drop.user, "answer": answer}


def _told(drop: FinishedDrop) -> dict[str, Any]:
    return {**_outcome(drop), "result": json.loads(drop.result)}


def _explained(drop: FinishedDrop) -> list[str]:
    result = json.loads(drop.result)
    lines = [f"{drop.name}: {'done' if drop.accepted else 'failed'} at {iso(drop.taken_ms)} for user {drop.user}\n"]
    if "repeats" in result:
        lines.append(f"\tnothing was done: the work of its id was done by {result['repeats']}\n")
    for one in result["results"]:
        answer = json.dumps(one["data"], ensure_ascii=False) if "data" in one else one["output"]
        lines.append(f"\t{one['command']}: {answer.rstrip()}\n".replace("\n", "\n\t\t").removesuffix("\t\t"))
    for d in result["diagnostics"]:
        remedy = f"; {d['help']}" if d["help"] else ""
        lines.append(f"\t{d['file']}:{d['line']}:{d['column']}: {d['code']} {d['message']}{remedy}\n")
    if more := result.get("more_diagnostics"):
        lines.append(f"\tand {more} more\n")
    return lines
