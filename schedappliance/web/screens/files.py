"""The screen Files: the active stanza files, the result of the last reload, overrides, generations and differences."""

from __future__ import annotations

from typing import Any

from schedappliance.client.errors import Rejected
from schedappliance.web.screens.look import Look

RELOAD = "config reload"


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    generation = look.number("from")
    diff = "config diff" if generation is None else f"config diff {generation}"
    try:
        difference = await look.data_if_allowed(diff)
    except Rejected:
        difference = None
    if generation is None and difference and difference["from"] == difference["to"]:
        # There is no earlier generation.
        difference = None
    return {
        "status": await look.data_if_allowed("config status"),
        "generations": await look.data_if_allowed("config history") or [],
        "difference": difference,
        "reload": RELOAD,
        "allowed": await look.allowed([RELOAD]),
    }
