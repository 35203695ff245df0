"""The alert that a transport delivers: how it is read, and its text for people.

Rule: every attempt of a delivery has the same key, so that a receiver recognizes an alert that it already has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from schedappliance.clock import local_text, span_text
from schedappliance.diagnostics import counted
from schedappliance.visible import visible, visible_lines

MOST_IN_HEADER = 200


class NotDelivered(Exception):
    """The alert was not delivered. `may_pass`: another attempt may succeed."""

    def __init__(self, reason: str, may_pass: bool) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


class Message(NamedTuple):
    """An alert.

    `text`: the alert as JSON. `key`: the run that delivers it, else the digest of the text. `store`: distinguishes stores
    of the same node.
    """

    text: str
    notify: str
    node: str
    subject: str
    events: list[dict[str, Any]]
    key: str
    store: str


def read_message(text: str, environment: Mapping[str, str]) -> Message:
    """Reads an alert. Raises ValueError, KeyError and TypeError for a text that is none."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("v") != 1 or not data.get("events"):
        raise ValueError("it is not an alert of version 1")
    key = environment.get("SCHED_RUN_ID") or sha256(text.encode(errors="replace")).hexdigest()[:16]
    store = environment.get("SCHED_STORE", "")
    return Message(text, str(data["notify"]), str(data["node"]), str(data["subject"]), list(data["events"]), key, store)


def alert_for_test(now_ms: int) -> dict[str, Any]:
    """The alert that a test delivers."""
    event = {"kind": "test", "at_ms": now_ms, "subject": "test", "summary": "this is only a test", "reason": None}
    event |= {"incident": None, "count": 1, "since_ms": now_ms, "reminder": False, "run": None, "output": None}
    return {"v": 1, "notify": "test", "node": "test", "subject": "[test] this is only a test", "events": [event]}


def header_text(text: str) -> str:
    """A text of others as a header may hold it: one line, not long, without control characters.

    Python takes `=?` for the beginning of an encoded word, and writes what that holds into the header: also line ends.
    """
    line = visible(" ".join(text.split())).replace("=?", "= ?")
    return line if len(line) <= MOST_IN_HEADER else f"{line[: MOST_IN_HEADER - 3]}..."


def body(message: Message, most: int = 0) -> str:
    """The alert as people read it. `most`: characters of the output of an event; 0: all that the alert has."""
    return visible_lines("\n\n".join("\n".join(_lines(event, most)) for event in message.events) + "\n")


def _lines(event: dict[str, Any], most: int) -> list[str]:
    run, lines = event["run"] or {}, [str(event["summary"])]
    facts = {
        "command": run.get("command"),
        "run": run.get("run"),
        "due": local_text(run["due_ms"]) if run else None,
        "took": _took(run),
        "attempts": run.get("attempts"),
        "incident": event["incident"]
        and f"{event['incident']}, {counted(event['count'], 'event')} since {local_text(event['since_ms'])}",
    }
    lines += ["", *(f"{name}: {value}" for name, value in facts.items() if value)]
    if run:
        lines.append(f"more: schedappliance console sched show {run['run']}")
    return [*lines, "", "The end of its output:", event["output"].rstrip("\n")[-most:]] if event["output"] else lines


def _took(run: Mapping[str, Any]) -> str | None:
    took_ms = run.get("took_ms")
    return None if took_ms is None or run.get("ended_ms") is None else span_text(took_ms)
