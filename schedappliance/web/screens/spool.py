"""The screen Spool: the files that wait or failed, and the last results."""

from __future__ import annotations

from typing import Any

from schedappliance.client.errors import Rejected
from schedappliance.client.wire import quoted
from schedappliance.web.screens.look import Look


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    may_list = await look.may("spool list")
    try:
        rows = await look.data("spool list") if may_list else []
    except Rejected as error:
        return {"may_list": True, "rows": [], "chosen": [], "problem": str(error), "allowed": frozenset()}
    name = look.query("file")
    retries = [f"spool retry {quoted(row['file'])}" for row in rows if row["state"] == "failed"]
    return {
        "may_list": may_list,
        "rows": rows,
        # Files of one name may have waited at different times.
        "chosen": (await look.data_if_allowed(f"spool why {quoted(name)}") or []) if name else [],
        "problem": "",
        "allowed": await look.allowed(retries),
    }
