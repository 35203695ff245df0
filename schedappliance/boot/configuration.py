"""The configuration that an appliance starts with: its stanza files, or the last generation in its store.

Rule: nothing here writes. `store_path` raises Unusable before anything is created, and `first_configuration` reads the
open store.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import local_text
from schedappliance.diagnostics import Unusable
from schedappliance.edge.files.snapshot import Reading
from schedappliance.kinds import other_kind
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.appliance_paths import appliance_mistake
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import real_path
from schedappliance.model.loading import Loaded
from schedappliance.model.stored_files import load_texts
from schedappliance.model.unfinished import doubt
from schedappliance.store.tables import Store


class LastGood(NamedTuple):
    """The option `--last-good`: bad stanza files do not prevent the start if a store holds good ones.

    `store`: the path of that store, if the bad files do not name it.
    """

    store: Path | None = None


class FirstConfiguration(NamedTuple):
    """A configuration with its texts.

    `degraded`: why it is not the one in the stanza files; None if it is. `lost_authorization`: `Authorization` was active when the
    store was last used, and the files do not contain it any more.
    """

    configuration: Configuration
    digest: str
    texts: tuple[tuple[str, str], ...]
    degraded: str | None = None
    lost_authorization: bool = False


def store_path(file: ApplianceFile, loaded: Loaded, last_good: LastGood | None) -> Path | None:
    """The path of the store, which may not exist yet; None: in memory. Raises Unusable for bad files without a store."""
    if loaded.accepted:
        if mistake := appliance_mistake(file, loaded):
            raise Unusable(diagnostics=[mistake])
        return loaded.configuration.backing_store
    if last_good is None:
        raise Unusable(diagnostics=loaded.diagnostics)
    named = last_good.store
    path = real_path(named) if named else loaded.configuration.backing_store
    where = "the files do not name it" if path is None else _why_no_file(path, named or path)
    if where is not None:
        raise Unusable(f"no store to start from: {where}", "give `--last-good=STORE`", loaded.diagnostics)
    return path


def _why_no_file(path: Path, name: Path) -> str | None:
    """Why no file can be read at a path; None if one is there. `name`: the path as it was given."""
    try:
        kind = other_kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} does not exist"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return kind and f"{name} is {kind}"


def first_configuration(reading: Reading, store: Store) -> FirstConfiguration:
    """The configuration of the files if they are good, else the last one in the store; raises Unusable if both are bad.

    Files that were cut off before their `Authorization` are not good: a crash does not accept them, as time does not.
    """
    loaded = reading.loaded
    if loaded.accepted:
        files = FirstConfiguration(loaded.configuration, reading.digest, loaded.texts)
        if (guarded := _with_authorization(store, files)) is None:
            return files
        why = doubt(loaded.closure, dict(guarded.texts), accepted=True, opens=True)
        if why is None or why.patience_ms is not None:
            return files._replace(lost_authorization=True)
        return guarded._replace(degraded=f"{why.reason}; {guarded.degraded}")
    if (last := from_store(store)) is None:
        remedy = "correct the stanza files"
        raise Unusable(
            f"the last configuration in the store {store.path} cannot be loaded either", remedy, loaded.diagnostics
        )
    return last._replace(degraded=f"the stanza files are rejected; {last.degraded}")


def from_store(store: Store) -> FirstConfiguration | None:
    """The generation that was active last; None if there is none, or if this version does not accept it.

    `degraded` says which one it is. The caller adds the reason.
    """
    generation = store.settings.last_generation()
    texts = store.settings.texts(generation.number) if generation else None
    if generation is None or not texts:
        return None
    loaded = load_texts(texts, store.path)
    if not loaded.accepted:
        return None
    zone = Zones(this_machine()).to_show(loaded.configuration.zone)
    since = f"configuration {generation.number} of {local_text(generation.applied_ms, zone)}"
    return FirstConfiguration(
        loaded.configuration, generation.digest, loaded.texts, f"{since} is active, from the store"
    )


def _with_authorization(store: Store, files: FirstConfiguration) -> FirstConfiguration | None:
    """The generation that was active last, if it has `Authorization` and the files have not; else None."""
    last = store.settings.last_generation()
    if files.configuration.authorization is not None or last is None or last.digest == files.digest:
        return None
    # Few files have it, and loading those of the last generation would double the time of the start.
    texts = store.settings.texts(last.number) or {}
    if not any("authorization" in text.lower() for text in texts.values()):
        return None
    before = from_store(store)
    return before if before is not None and before.configuration.authorization is not None else None
