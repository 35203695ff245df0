"""The addresses of screens. Rule: every part of an address that comes from others is quoted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from schedappliance.model.listings import other_meaning

_NOT_IN_ADDRESSES = ("", ".", "..", "new")


def job_href(job: str) -> str:
    return f"/jobs/{quote(job, safe='')}"


def job_words(job: Mapping[str, Any]) -> list[str]:
    """What commands and roles call a job, or the job of a run: its name if it is declared, and its id.

    A name that may mean something else is left out: after a change of the files, a command could act on other jobs."""
    name, key = job["name"], str(job["id"])
    return [name, key] if name and other_meaning(name) is None else [key]


def job_href_of(job: Mapping[str, Any]) -> str:
    """The address of a job: its name, unless this would be that of another screen."""
    word = job_words(job)[0]
    return job_href(job["id"] if "/" in word or word in _NOT_IN_ADDRESSES else word)


def run_href(run: str) -> str:
    """The address of a run. Its id is that of its job and a number."""
    job, _, occurrence = run.rpartition("/")
    return f"/runs/{quote(job, safe='')}/{occurrence}"


def address(path: str, **query: Any) -> str:
    """An address with a query of the values that are not empty."""
    pairs = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(pairs)}" if pairs else path
