"""The screen Runs: the history with filters, in pages, and as CSV and JSON.

Rule: what the appliance filters, it filters. The page itself only passes over rows of other programs, users and reasons.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from schedappliance.client.errors import NotAuthorized, Rejected
from schedappliance.client.questions import error_in
from schedappliance.client.states import FAILED, SHAPES
from schedappliance.client.wire import quoted
from schedappliance.web.appliance.feed import Row
from schedappliance.web.rendering.addresses import address
from schedappliance.web.rendering.formats import state as words
from schedappliance.web.screens.attachments import attachment
from schedappliance.web.screens.look import Look

EACH, PAGE, MOST_PAGES = 50, 1000, 5
MOST_EXPORTED = 100_000
# Filters that the appliance knows, and those of the page.
OF_APPLIANCE = ("state", "since", "until")
OF_PAGE = ("program", "user", "text")
# The filters that need one click, and the states that each one shows.
QUICK = {"all": "", "failed": ",".join(FAILED), "missed": "missed", "running": "started", "waiting": "queued"}
STATES = [name for name in SHAPES if name not in ("planned", "overlap")]
COLUMNS = (
    *("run", "name", "command", "program", "user", "origin", "state", "reason", "due_ms", "claimed_ms", "started_ms"),
    *("ended_ms", "took_ms", "exit_status", "exit_signal", "attempts", "cpu_ms", "memory_bytes", "missed"),
)


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    filters = _filters(look)
    job = filters["job"]
    if not await look.may("sched history") and not (job and await look.may(f"sched history {quoted(job)}")):
        return {"may_see_runs": False}
    before = look.query("before")
    rows, following, problem = list[Row](), None, ""
    try:
        rows, following = await _page(look, filters, before)
    except NotAuthorized:
        raise
    except Rejected as error:
        # The form shows what was typed, so that it can be corrected.
        problem = str(error)
    return {
        "may_see_runs": True,
        "rows": rows[:EACH],
        "problem": problem,
        "older": address("/runs", **filters, before=following) if following else None,
        "newer": address("/runs", **filters) if before else None,
        "filters": filters,
        "is_filtered": any(filters.values()),
        "quick": [
            (name, address("/runs", **filters | {"state": states}), filters["state"] == states, None)
            for name, states in QUICK.items()
        ],
        "is_open": filters["state"] not in QUICK.values() or any(filters[name] for name in filters if name != "state"),
        "state_options": _state_options(filters["state"]),
        "csv_href": address("/runs.csv", **filters),
        "json_href": address("/runs.json", **filters),
    }


def _filters(look: Look) -> dict[str, str]:
    return {name: look.query(name) for name in ("job", *OF_APPLIANCE, *OF_PAGE)}


def _state_options(chosen: str) -> list[tuple[str, str]]:
    """The states, and the combination that a link has chosen."""
    failed = ",".join(FAILED)
    options = [("", "all"), (failed, "failed, timed out or interrupted"), *((name, words(name)) for name in STATES)]
    return options if chosen in dict(options) else [*options, (chosen, words(chosen))]


def _line(filters: dict[str, str], before: str, limit: int) -> str:
    words = ["sched history", *([quoted(filters["job"])] if filters["job"] else [])]
    for name in OF_APPLIANCE:
        words += [name, quoted(filters[name])] if filters[name] else []
    words += ["before", quoted(before)] if before else []
    return " ".join([*words, f"limit {limit}"])


async def _page(look: Look, filters: dict[str, str], before: str) -> tuple[list[Row], str | None]:
    """The rows of a page, and the run before which the next one begins."""
    is_plain = not any(filters[name] for name in OF_PAGE)
    rows: list[Row] = []
    for _ in range(1 if is_plain else MOST_PAGES):
        page, following = await _rows(look, _line(filters, before, EACH if is_plain else PAGE))
        for row in page:
            rows += [row] if _matches(row, filters) else []
            if len(rows) == EACH:
                is_last = row is page[-1] and following is None
                return rows, None if is_last else row["run"]
        if following is None:
            return rows, None
        before = following
    return rows, before


async def _rows(look: Look, line: str) -> tuple[list[Row], str | None]:
    """The rows of an answer, and the run before which the next one begins. Raises Error."""
    response = await look.ask(line)
    if not response["ok"]:
        raise error_in(response)
    rows: list[Row] = response["data"]
    return rows, rows[-1]["run"] if rows and response["next"] else None


def _matches(row: Row, filters: dict[str, str]) -> bool:
    text = filters["text"].casefold()
    return (
        filters["program"] in ("", row["program"])
        and filters["user"] in ("", row["user"])
        and (not text or text in (row["reason"] or "").casefold())
    )


async def _pages(look: Look) -> AsyncIterator[list[Row]]:
    """The rows that match, page by page. The first page comes also if it has none. Raises Error."""
    filters = _filters(look)
    before: str | None = ""
    count = 0
    while before is not None and count < MOST_EXPORTED:
        rows, before = await _rows(look, _line(filters, before, PAGE))
        matching = [row for row in rows if _matches(row, filters)]
        count += len(matching)
        yield matching


async def export_csv(look: Look) -> Response:
    """Raises Error."""
    return await attachment("runs.csv", "text/csv", _csv(look))


async def _csv(look: Look) -> AsyncIterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    async for rows in _pages(look):
        writer.writerows(map(_cells, rows))
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _cells(row: Row) -> list[Any]:
    """A cell that a spreadsheet would take for a formula begins with a quote."""
    cells = [row[name] for name in COLUMNS]
    return [
        f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
        for cell in cells
    ]


async def export_json(look: Look) -> Response:
    """Raises Error."""
    return await attachment("runs.json", "application/json", _json(look))


async def _json(look: Look) -> AsyncIterator[str]:
    separator = "["
    async for rows in _pages(look):
        for row in rows:
            yield f"{separator}{json.dumps(row)}"
            separator = ",\n"
    yield "[]\n" if separator == "[" else "]\n"
