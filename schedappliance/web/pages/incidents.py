"""The screen Incidents: the jobs that have failed and not recovered."""

from __future__ import annotations

from typing import Any

from schedappliance.client.wire import quoted
from schedappliance.web.pages.look import Look


async def collect(look: Look) -> dict[str, Any]:
    """Raises Unavailable."""
    may_list = await look.may("sched incidents")
    rows = sorted(look.feed.incidents.values(), key=lambda one: -one["since_ms"]) if may_list else []
    lines = {one["incident"]: f"sched ack {quoted(str(one['incident']))}" for one in rows}
    return {"may_list": may_list, "rows": rows, "lines": lines, "allowed": await look.allowed(lines.values())}
