"""`spool list|why|retry`: the drops that wait in the spool, and the results of those that were carried out or rejected.

Rule: results come from rows of the store; the waiting drops are those that the spool reported last.
"""

from __future__ import annotations

import json
from typing import Any

from schedappliance.clock import local_text, time_data
from schedappliance.commands.outcome import AfterRetry, Outcome
from schedappliance.commands.view import View
from schedappliance.diagnostics import counted, did_you_mean, shortened
from schedappliance.engine.intake import WaitingDrop
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.commands import Command
from schedappliance.store.drops import FinishedDrop

MOST_LISTED = 100
HEADER = "FILE\tSTATE\tTIME\tUSER\tANSWER\n"


def list_drops(view: View, _command: Command) -> Outcome:
    """The drops that wait, then the last results, newest first."""
    finished = view.store.drops.newest(MOST_LISTED)
    data = [_held(held) for held in view.ask.waiting_drops()] + [_outcome(drop) for drop in finished]
    rows = [_row(d, view.zone) for d in data]
    return Outcome(view.answer("".join([HEADER, *rows]), data))


def _row(data: dict[str, Any], zone: Zone) -> str:
    time = local_text(data["time_ms"], zone)
    return f"{data['file']}\t{data['state']}\t{time}\t{data['user'] or '-'}\t{data['answer']}\n"


def explain(view: View, command: Command) -> Outcome:
    """Explains why a drop waits, and shows the results of the last drops of that name."""
    name = _drop_name(command)
    held = [h for h in view.ask.waiting_drops() if h.name in (name, command.words[0])]
    finished = view.store.drops.named(name, MOST_LISTED)
    if not held and not finished:
        raise _no_drop(view, command.words[0])
    data = [_held(one) for one in held] + [_with_result(drop) for drop in finished]
    lines = [f"{one.name}: waiting since {local_text(one.since_ms, view.zone)}: it {one.why}\n" for one in held]
    for drop in finished:
        lines += _result_lines(drop, view.zone)
    return Outcome(view.answer("".join(lines), data))


def retry(view: View, command: Command) -> Outcome:
    """Retries a failed drop. failed/ holds only the last file of a name, for each user of a shared spool.

    The answer follows when it has been put back.
    """
    name = _drop_name(command)
    finished = view.store.drops.named(name, MOST_LISTED)
    if not finished:
        raise _no_drop(view, command.words[0])
    last = {drop.uid: drop for drop in reversed(finished)}
    failed = [drop for drop in last.values() if not drop.accepted]
    if not failed:
        message = f"{name} was accepted at {local_text(finished[0].taken_ms, view.zone)}"
        raise view.reject("E513", message, "drop the file again to run its commands once more")
    if name.endswith("~refused"):
        # The name that its author gave is gone, so it would be rejected again.
        raise view.reject(
            "E513", f"{name} cannot be retried: its name was rejected", "drop it again under another name"
        )
    return Outcome(pending=AfterRetry(name, max(failed).uid))


def _drop_name(command: Command) -> str:
    """The name of a drop, which may be typed without its ending."""
    (word,) = command.words
    return word if word.endswith((".cmd", "~refused")) else f"{word}.cmd"


def _no_drop(view: View, typed: str) -> Exception:
    backlog = view.status.spool
    names = [drop.name for drop in view.store.drops.newest(MOST_LISTED)]
    if backlog is None:
        remedy = "there is no spool; set `spool.path` in appliance.yaml"
    elif backlog.waiting > len(backlog.held):
        remedy = f"{backlog.waiting} files wait; `spool list` shows the last results"
    else:
        remedy = did_you_mean(typed, names, "`spool list` shows the last results; older ones are removed")
    return view.reject("E513", f"there is no drop `{shortened(typed)}`", remedy)


def _held(held: WaitingDrop) -> dict[str, Any]:
    return {"file": held.name, "state": "waiting", **time_data("time", held.since_ms), "user": None, "answer": held.why}


def _outcome(drop: FinishedDrop) -> dict[str, Any]:
    result = json.loads(drop.result)
    errors = [d for d in result["diagnostics"] if d["severity"] == "error"]
    answer = errors[0]["message"] if errors else counted(len(result["results"]), "command")
    state = "done" if drop.accepted else "failed"
    return {"file": drop.name, "state": state, **time_data("time", drop.taken_ms), "user": drop.user, "answer": answer}


def _with_result(drop: FinishedDrop) -> dict[str, Any]:
    return {**_outcome(drop), "result": json.loads(drop.result)}


def _result_lines(drop: FinishedDrop, zone: Zone) -> list[str]:
    result = json.loads(drop.result)
    lines = [
        f"{drop.name}: {'done' if drop.accepted else 'failed'} at {local_text(drop.taken_ms, zone)} for user {drop.user}\n"
    ]
    if "repeats" in result:
        lines.append(f"\tno command was run: {result['repeats']} with the same id was accepted before\n")
    for one in result["results"]:
        answer = json.dumps(one["data"], ensure_ascii=False) if "data" in one else one["output"]
        # A result of an earlier version names the command.
        place = f"{result['file']}:{one['line']}" if "line" in one else one["command"]
        lines.append(f"\t{place}: {answer.rstrip()}\n".replace("\n", "\n\t\t").removesuffix("\t\t"))
    for d in result["diagnostics"]:
        remedy = f"; {d['help']}" if d["help"] else ""
        lines.append(f"\t{d['file']}:{d['line']}:{d['column']}: {d['code']} {d['message']}{remedy}\n")
    if more := result.get("more_diagnostics"):
        lines.append(f"\tand {more} more\n")
    return lines
