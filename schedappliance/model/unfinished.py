"""Decides whether changed stanza files look unfinished, and how long to wait for the rest. Rule: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Source
from schedappliance.model.closure import Closure

# The wait for a text that ends inside a statement: long enough for a program that writes in pieces.
UNFINISHED_MS = 2000
# The wait for a text that is the beginning of the active one. It is valid but lacks jobs, so early acceptance does harm.
CUT_MS = 10_000

# The diagnostics of a text that ends too early.
_NOT_CLOSED = {"E102": "ends inside a bracket", "E107": "ends inside a comment"}
ONLY_ON_REQUEST = "it is not accepted by itself; restore the rest, or accept it with `config reload` or SIGHUP"


class Doubt(NamedTuple):
    """Why texts may be incomplete. After `patience_ms` without a change they are read anyway; None: only on request."""

    patience_ms: int | None
    reason: str
    remedy: str = ""


def doubt(closure: Closure, active: Mapping[str, str], accepted: bool, opens: bool = False) -> Doubt | None:
    """Why the changed texts may be incomplete, or None. A text that is rejected anyway does not wait for long.

    `opens`: the active texts contain `Authorization` and the new ones do not. A truncated file must not give everybody
    all rights without a request.
    """
    changed = changed_texts(closure, active)
    if accepted:
        for path, source in changed.items():
            if str(path) in active and active[str(path)].startswith(source.text):
                reason = f"{path} holds only the beginning of the active text"
                return (
                    Doubt(None, f"{reason}, without `Authorization`", ONLY_ON_REQUEST)
                    if opens
                    else Doubt(CUT_MS, reason)
                )
    for path, source in changed.items():
        if why := _not_finished(closure, path, source):
            return Doubt(UNFINISHED_MS, f"{path} {why}")
    return None


def changed_texts(closure: Closure, active: Mapping[str, str]) -> dict[Path, Source]:
    """The files whose text differs from the active one."""
    return {path: source for path, source in closure.texts.items() if active.get(str(path)) != source.text}


def _not_finished(closure: Closure, path: Path, source: Source) -> str | None:
    if path in closure.silent or not source.text:
        return "holds no statement"
    if not source.text.endswith("\n"):
        return "does not end with a newline"
    codes = [diagnostic.code for diagnostic in closure.diagnostics if diagnostic.source is source]
    return next((_NOT_CLOSED[code] for code in codes if code in _NOT_CLOSED), None)
