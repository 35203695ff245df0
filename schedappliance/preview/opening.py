"""Opens a simulation of an appliance as it is now: its files, a private copy of its store, and the programs that run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from schedappliance.clock import SystemClock
from schedappliance.core.recovery import Found
from schedappliance.edge.programs.survivors import boot_id, find_survivors
from schedappliance.edge.users import known_user
from schedappliance.engine.records import ProcessKey
from schedappliance.lockfile import lock_holder
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.loading import Loaded
from schedappliance.preview.simulation import Simulation, StartingPoint
from schedappliance.store.database import open_database
from schedappliance.store.reading import private_copy
from schedappliance.store.tables import Store

IN_MEMORY = "jobs live in memory without a `backing_store`: only the declared ones are known"
NO_STORE = "there is no store yet: only the declared jobs are known"
NOT_RUNNING = "no appliance uses the store: this is what would happen if it started now"


@contextmanager
def open_simulation(file: ApplianceFile, loaded: Loaded) -> Iterator[tuple[Simulation, str | None]]:
    """A simulation that has started, and a note on what it cannot know. Raises Unusable and StoreFailed."""
    path = loaded.configuration.backing_store
    is_stored = path is not None and path.exists()
    in_use = path is not None and lock_holder(Path(f"{path}.lock")) is not None
    # The time before the copy: what comes due while the store is copied is still to happen.
    moment = SystemClock().moment()
    with closing(private_copy(path) if path is not None and is_stored else open_database(None)) as database:
        boot, cores = boot_id(), os.cpu_count() or 1
        node = file.node or os.uname().nodename
        simulation = Simulation(StartingPoint(database, loaded, moment, in_use, node, boot, cores, known_user))
        simulation.start(_running_programs(simulation.store, boot, in_use))
        yield simulation, _note(path, is_stored, in_use)


def _running_programs(store: Store, boot: str, in_use: bool) -> Found:
    """A running appliance knows what it has started. Without one, survivors are looked for as at a start."""
    attempts = store.runs.live_attempts()
    if in_use:
        return Found({attempt.key: attempt.process or ProcessKey(0, 0) for attempt in attempts}, {})
    return Found(find_survivors(attempts, store.node, store.identity, boot), {})


def _note(path: Path | None, is_stored: bool, in_use: bool) -> str | None:
    if path is None:
        return IN_MEMORY
    if not is_stored:
        return NO_STORE
    return None if in_use else NOT_RUNNING
