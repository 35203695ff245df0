"""The files and directories that an appliance uses, by the keys that name them, and what is wrong with them together.

Rule: it only compares paths. What is at a path decides nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.appliance_file import SPOOL_FOLDERS, ApplianceFile
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import real_path


class _Use(NamedTuple):
    """The paths that one key stands for. Everything below `directories` belongs to the key too."""

    key: str
    place: tuple[Source, Span] | None
    files: tuple[Path, ...]
    directories: tuple[Path, ...] = ()


def appliance_mistake(appliance: ApplianceFile, configuration: Configuration) -> Diagnostic | None:
    """The first mistake that only both files together show."""
    return _spool_without_store(appliance, configuration) or next(_shared_paths(appliance, configuration), None)


def _spool_without_store(appliance: ApplianceFile, configuration: Configuration) -> Diagnostic | None:
    """The spool promises that no accepted job is lost, which requires a store."""
    if appliance.spool is None or configuration.backing_store is not None:
        return None
    remedy = 'add `sched { backing_store = "..." }` to the stanza file, or remove `spool`'
    return Diagnostic("E308", "the spool needs a `backing_store`", remedy, *appliance.places["spool.path"])


def _shared_paths(appliance: ApplianceFile, configuration: Configuration) -> Iterator[Diagnostic]:
    for first, second in combinations(_uses(appliance, configuration), 2):
        path = _shared(first, second) or _shared(second, first)
        if path and (place := second.place or first.place):
            message = f"`{first.key}` and `{second.key}` both use the path of `{path.name}`"
            yield Diagnostic("E216", message, "give each of them a path of its own", *place)


def _shared(one: _Use, other: _Use) -> Path | None:
    """A path of `one` that `other` uses too."""
    for path in (*one.files, *one.directories):
        if path in other.files or any(map(path.is_relative_to, other.directories)):
            return path
    return None


def _uses(appliance: ApplianceFile, configuration: Configuration) -> Iterator[_Use]:
    places = appliance.places
    yield _Use("config", places["config"], (real_path(appliance.config), real_path(appliance.path)))
    if store := configuration.backing_store:
        files = (store, *(Path(f"{store}{suffix}") for suffix in ("-wal", "-shm", "-journal", ".lock", ".loss")))
        yield _Use("backing_store", configuration.backing_store_place, files, (Path(f"{store}.output"),))
    if spool := appliance.spool:
        folders = tuple(spool / name for name in SPOOL_FOLDERS)
        yield _Use("spool.path", places["spool.path"], (spool, spool / ".lock"), folders)
    for key, socket in (("console.listen", appliance.listen), ("web.listen", appliance.web.listen)):
        if isinstance(socket, Path):
            yield _Use(key, places[key], (socket, Path(f"{socket}.lock"), Path(f"{socket}.new")))
    if appliance.log_file:
        yield _Use("log.file", places["log.file"], (appliance.log_file,))
    yield _Use("web.tokens", places.get("web.tokens"), (real_path(appliance.web.tokens),))
