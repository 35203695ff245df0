"""The screen About: the versions, the viewer and the roles, and the statistics of the appliance."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from schedappliance import __version__
from schedappliance.web.screens.look import Look

# What a package holds, and the licences under which it may be passed on.
LIBRARIES = (
    *("starlette", "uvicorn", "jinja2", "markupsafe", "anyio", "h11", "click", "idna", "typing_extensions"),
    *("lark", "pyyaml", "tzdata", "watchdog", "google-re2"),
)


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    return {
        "page_version": __version__,
        "version": await look.data_if_allowed("version"),
        "identity": await look.data_if_allowed("authz id"),
        "roles": await look.data_if_allowed("authz roles list"),
        "summary": await look.data_if_allowed("summary"),
        "libraries": [one for name in LIBRARIES if (one := _library(name))],
    }


def _library(name: str) -> tuple[str, str, str] | None:
    """The name, the version and the licence of an installed library."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return None
    named = (metadata[key] for key in ("License-Expression", "License") if key in metadata)
    licence = next(named, "see its package")
    return metadata["Name"], metadata["Version"], licence.splitlines()[0][:60]
