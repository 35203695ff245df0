"""The screen Preview: which jobs will run, and which will not."""

from __future__ import annotations

from typing import Any

from schedappliance.client.wire import quoted
from schedappliance.web.screens.look import Look

SPANS = ("1h", "6h", "24h", "7d", "30d")
USUAL_SPAN, MOST = "24h", 200


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    span = look.query("span") if look.query("span") in SPANS else USUAL_SPAN
    job = look.query("job")
    line = f"preview {span}{f' job {quoted(job)}' if job else ''} limit {MOST}"
    values: dict[str, Any] = {"spans": SPANS, "span": span, "job": job, "may": await look.may(line)}
    if not values["may"]:
        return values | {"rows": [], "note": "", "problem": ""}
    response = await look.ask(line)
    if not response["ok"]:
        return values | {"rows": [], "note": "", "problem": response["error"]}
    return values | {"rows": response["data"], "note": response["note"] or "", "problem": ""}
