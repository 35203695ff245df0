"""Reading the stanza files so that nothing changes meanwhile. Law: what counts is what they hold, never when they were written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from schedappliance.edge.files.directories import places_of
from schedappliance.edge.files.filesystems import on_network
from schedappliance.edge.files.leases import has_writer
from schedappliance.engine.events import FilesRead
from schedappliance.model.files import DISK, read_regular
from schedappliance.model.loading import Loaded, load
from schedappliance.model.unfinished import changed_texts

MOST_TRIES = 4
# No digest: the files did not hold still.
RESTLESS = ""


def inputs(loaded: Loaded) -> tuple[Path, ...]:
    """Every path whose content may change what was loaded."""
    closure = loaded.closure
    return (*closure.texts, *closure.missing, *closure.listed)


def places(loaded: Loaded) -> set[Path]:
    """The directories in which something may happen to what was loaded."""
    return places_of(inputs(loaded))


def contents(paths: tuple[Path, ...]) -> str:
    """A digest of what all these files hold, which names the directories have, and what cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        data = _content(path)
        digest.update(f"{path}\0{len(data)}\0".encode(errors="surrogateescape") + data)
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_regular(path)
    except IsADirectoryError:
        return _names(path)
    except OSError as error:
        return f"error {error.errno}".encode()


def _names(directory: Path) -> bytes:
    try:
        return "\0".join(DISK.visible_files(directory)).encode(errors="surrogateescape")
    except OSError as error:
        return f"error {error.errno}".encode()


def load_stable(root: Path, paths: tuple[Path, ...] = ()) -> tuple[Loaded, str]:
    """The files with the digest of their contents; after some tries as they are, and RESTLESS."""
    for _ in range(MOST_TRIES):
        before = contents(paths)
        loaded = load(root)
        if inputs(loaded) == paths and contents(paths) == before:
            return loaded, before
        paths = inputs(loaded)
    return loaded, RESTLESS


def being_written(loaded: Loaded, active: Mapping[str, str]) -> Path | None:
    """The first of the changed files that somebody has open for writing, where a lease can tell."""
    for path in changed_texts(loaded.closure, active):
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            # A server refuses leases for reasons of its own.
            if has_writer(descriptor) and not on_network(path):
                return path
        finally:
            os.close(descriptor)
    return None


def as_event(loaded: Loaded, requester: int | None, typed: bool) -> FilesRead:
    texts = tuple((str(path), source.text) for path, source in loaded.closure.texts.items())
    configuration = loaded.configuration if loaded.accepted else None
    return FilesRead(requester, typed, loaded.closure.digest, configuration, tuple(loaded.shown()), texts)
