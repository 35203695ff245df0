"""The screen Incidents: the jobs that have failed and not recovered."""

from __future__ import annotations

from typing import Any

from schedappliance.web.screens.look import Look


async def collect(look: Look) -> dict[str, Any]:
    """Raises Unavailable."""
    rows = await look.incidents()
    lines = {one["incident"]: f"sched ack {one['incident']}" for one in rows}
    return {
        "may_list": await look.may("sched incidents"),
        "rows": rows,
        "lines": lines,
        "allowed": await look.allowed(lines.values()),
    }
