"""What an appliance starts from: its stanza files, or, when they are bad and it may, those that its store says were active."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import iso
from schedappliance.edge.files.snapshot import Reading
from schedappliance.model.configuration import Configuration
from schedappliance.model.kept import Kept
from schedappliance.model.loading import Loaded, load
from schedappliance.store.tables import Store


class Start(NamedTuple):
    """A configuration with its texts. `degraded`: why it is not that of the files, None when it is."""

    configuration: Configuration
    digest: str
    texts: tuple[tuple[str, str], ...]
    degraded: str | None = None


def from_files(reading: Reading) -> Start:
    return Start(reading.loaded.configuration, reading.digest, reading.loaded.texts)


def from_store(store: Store) -> Start | None:
    """The generation that was active last; None when there is none, or this version does not accept it."""
    generation = store.settings.last_generation()
    texts = store.settings.texts(generation.number) if generation else None
    if generation is None or not texts:
        return None
    kept = Kept(texts)
    loaded = load(kept.root, kept.read, kept)
    if not loaded.accepted:
        return None
    # The store is where it was found, wherever it was when those files named it.
    configuration = replace(loaded.configuration, backing_store=store.path)
    since = f"configuration {generation.number} of {iso(generation.applied_ms)}"
    why = f"the stanza files are not accepted; {since} is active, as it was stored"
    return Start(configuration, generation.digest, tuple(texts.items()), why)


def opened(store: Store, begun: Start) -> bool:
    """Whether who may do what was said when the store was used last, and is not said any more."""
    last = store.settings.last_generation()
    if begun.configuration.authorization is not None or last is None or last.digest == begun.digest:
        return False
    before = from_store(store)
    return before is not None and before.configuration.authorization is not None


def stored_at(loaded: Loaded, given: Path | None) -> Path | None:
    """The store of bad files: the one that is given, else the one they still name; None when it is not there."""
    path = Path(os.path.realpath(given)) if given else loaded.configuration.backing_store
    return path if path is not None and path.is_file() else None
