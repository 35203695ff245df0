"""The files and directories that an appliance uses, by the keys that name them, and what is wrong with them together.

Rule: it only compares paths. What is at a path decides nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.appliance_file import SPOOL_FOLDERS, ApplianceFile
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import real_path
from schedappliance.model.loading import Loaded

# The keys for which the appliance makes files that are no directories.
_MADE = ("backing_store", "console.listen", "web.listen", "log.file", "web.tokens")


class _Use(NamedTuple):
    """The paths that one key stands for. Everything below `directories` belongs to the key too."""

    key: str
    place: tuple[Source, Span] | None
    files: tuple[Path, ...]
    directories: tuple[Path, ...] = ()


def appliance_mistake(appliance: ApplianceFile, loaded: Loaded) -> Diagnostic | None:
    """The first mistake that only the appliance file and its stanza files together show."""
    uses = list(_uses(appliance, loaded))
    mistakes = chain(_shared_paths(uses), _included(uses, appliance, loaded))
    return _spool_without_store(appliance, loaded.configuration) or next(mistakes, None)


def mistake_of_keys(appliance: ApplianceFile) -> Diagnostic | None:
    """The first key of the appliance file that uses a path of another one. The stanza files do not count."""
    return next(_shared_paths(_of_file(appliance)), None)


def _spool_without_store(appliance: ApplianceFile, configuration: Configuration) -> Diagnostic | None:
    """The spool promises that no accepted job is lost, which requires a store."""
    if appliance.spool is None or configuration.backing_store is not None:
        return None
    remedy = 'add `sched { backing_store = "..." }` to the stanza file, or remove `spool`'
    return Diagnostic("E308", "the spool needs a `backing_store`", remedy, *appliance.places["spool.path"])


def _shared_paths(uses: Iterable[_Use]) -> Iterator[Diagnostic]:
    for first, second in combinations(uses, 2):
        problem = _shared(first, second) or _shared(second, first)
        if problem and (place := second.place or first.place):
            yield Diagnostic("E216", problem, "give each of them a path of its own", *place)


def _included(uses: Iterable[_Use], appliance: ApplianceFile, loaded: Loaded) -> Iterator[Diagnostic]:
    """Files that the appliance makes in a directory whose files are read as stanza files: the next reload would fail."""
    listed = set(map(real_path, loaded.closure.listed))
    for use in uses:
        for path in use.files if use.key in _MADE else ():
            if path.parent in listed and not path.name.startswith("."):
                problem = f"`{use.key}` lies in the directory `{path.parent.name}`, whose files are included"
                place = use.place or appliance.places["config"]
                yield Diagnostic("E216", problem, "include another directory, or name another path", *place)


def _shared(one: _Use, other: _Use) -> str | None:
    """How `one` uses a path of `other`; None if it does not."""
    for path in (*one.files, *one.directories):
        if path in other.files:
            return f"`{one.key}` and `{other.key}` both use the path of `{path.name}`"
        for directory in other.directories:
            if path.is_relative_to(directory):
                return f"`{one.key}` lies in the directory `{directory.name}` of `{other.key}`"
    return None


def _uses(appliance: ApplianceFile, loaded: Loaded) -> Iterator[_Use]:
    configuration, places = loaded.configuration, appliance.places
    # Several programs may read one file.
    programs = configuration.programs.values()
    yield _Use("env_file", None, tuple(real_path(program.env_file) for program in programs if program.env_file))
    texts = (appliance.path, appliance.config, *loaded.closure.texts)
    yield _Use("config", places["config"], tuple(map(real_path, texts)))
    if store := configuration.backing_store:
        files = (store, *(Path(f"{store}{suffix}") for suffix in ("-wal", "-shm", "-journal", ".lock", ".loss")))
        yield _Use("backing_store", configuration.backing_store_place, files, (Path(f"{store}.output"),))
    yield from _of_file(appliance)


def _of_file(appliance: ApplianceFile) -> Iterator[_Use]:
    places = appliance.places
    if spool := appliance.spool:
        folders = tuple(spool / name for name in SPOOL_FOLDERS)
        yield _Use("spool.path", places["spool.path"], (spool, spool / ".lock"), folders)
    for key, socket in (("console.listen", appliance.listen), ("web.listen", appliance.web.listen)):
        if isinstance(socket, Path):
            yield _Use(key, places.get(key), (socket, Path(f"{socket}.lock"), Path(f"{socket}.new")))
    if appliance.log_file:
        yield _Use("log.file", places["log.file"], (appliance.log_file,))
    tokens = real_path(appliance.web.tokens)
    yield _Use("web.tokens", places.get("web.tokens"), (tokens, Path(f"{tokens}.new")))
