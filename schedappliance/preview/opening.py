"""Opens a simulation of an appliance in its current state: files, a private copy of the store, and running programs.

The files are those on the disk, or those that the store keeps.

Rule: the store of the appliance is only read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import ManualClock, Moment, SystemClock, local_text
from schedappliance.core.state import new_state
from schedappliance.core.turn import Core
from schedappliance.diagnostics import Unusable
from schedappliance.edge.processors import usable_processors
from schedappliance.edge.programs.keeper_programs import pid_namespace
from schedappliance.edge.programs.keeper_reports import attempt_id, causes_of, endings_of, ends_in
from schedappliance.edge.programs.outputs import Outputs, output_directory
from schedappliance.edge.programs.survivors import boot_id, find_survivors, find_unseen
from schedappliance.edge.users import known_user
from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.events import Remains
from schedappliance.engine.records import Hold, KnownUser, ProcessKey
from schedappliance.lockfile import lock_holder
from schedappliance.model.appliance_file import ApplianceFile, node_of_host
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.configuration import Configuration
from schedappliance.model.loading import Loaded
from schedappliance.model.stored_files import load_texts
from schedappliance.preview.rows import ObservedRuns
from schedappliance.preview.simulation import Simulation
from schedappliance.store.database import Database
from schedappliance.store.files import lock_path_of
from schedappliance.store.opening import open_database
from schedappliance.store.reading import private_copy
from schedappliance.store.tables import Store, name_store

IDENTITY = "preview"
IN_MEMORY = "without a `backing_store`, jobs are in memory: only the declared jobs are known"
NO_STORE = "there is no store yet: only the declared jobs are known"
HELD = "the appliance is held: the preview assumes that it is released now"
NOT_RUNNING = "no appliance uses the store: the preview assumes that one starts now"


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The state at the start of a preview. `in_use`: an appliance runs and continues; otherwise one starts now.

    `database`: a private copy of the store. `node`: the node of a store that has none yet. `uid`: of
    the user of the appliance. `look_up`: finds a user of this machine by uid.
    """

    database: Database
    configuration: Configuration
    moment: Moment
    in_use: bool
    node: str
    boot_id: str
    cores: int
    uid: int
    look_up: Callable[[int], KnownUser]


class Opened(NamedTuple):
    """A simulation that has started, the configuration with which it started, and a note about its limits."""

    simulation: Simulation
    configuration: Configuration
    note: str | None


@contextmanager
def open_simulation(file: ApplianceFile, loaded: Loaded) -> Iterator[Opened]:
    """With the files that are on the disk. Raises Unusable and StoreFailed."""
    path = loaded.configuration.backing_store
    stored = path if path is not None and path.exists() else None
    # Read before the copy is made, so that jobs that come due during the copy are still shown.
    moment = SystemClock().moment()
    with closing(private_copy(stored) if stored else open_database(None)) as database:
        node = file.node or node_of_host(os.uname().nodename)
        yield _opened(database, loaded.configuration, moment, node, stored is not None)


@contextmanager
def open_stored(path: Path) -> Iterator[Opened]:
    """With the files that the appliance of this store has accepted last. Raises Unusable and StoreFailed."""
    moment = SystemClock().moment()
    with closing(private_copy(path)) as database:
        yield _opened(database, last_configuration(Store(database), path), moment, "", is_stored=True)


def last_configuration(store: Store, path: Path) -> Configuration:
    """The generation that was active last in a copy of the store at `path`. Raises Unusable."""
    generation = store.settings.last_generation()
    texts = store.settings.texts(generation.number) if generation else None
    if not texts:
        raise Unusable(f"the store {path} holds no stanza files", "start its appliance once")
    loaded = load_texts(texts, path)
    if not loaded.accepted:
        raise Unusable("the stanza files in the store are rejected", "correct them on the disk", loaded.shown())
    return loaded.configuration


def _opened(database: Database, configuration: Configuration, moment: Moment, node: str, is_stored: bool) -> Opened:
    path = configuration.backing_store
    in_use = path is not None and lock_holder(lock_path_of(path)) is not None
    boot, cores = boot_id(), usable_processors()
    hold = _lasting_hold(Store(database))
    uid = path.stat().st_uid if path is not None and is_stored else os.geteuid()
    point = StartingPoint(database, configuration, moment, in_use, node, boot, cores, uid, known_user)
    simulation = simulation_from(point)
    simulation.start(_running_programs(simulation.store, path, simulation.boot, in_use))
    notes = filter(None, (_store_note(path, is_stored, in_use), _note_on(hold, simulation.zone)))
    return Opened(simulation, configuration, "; ".join(notes) or None)


def simulation_from(point: StartingPoint) -> Simulation:
    """A simulation that has not started."""
    moment = point.moment
    clock = ManualClock(moment.wall, moment.boot)
    # If no appliance runs, all due times before its start passed without one.
    started_ms = 0 if point.in_use else moment.wall
    runs = ObservedRuns(point.database, lambda: clock.moment().wall, started_ms)
    store = name_store(Store(point.database, runs), point.node, IDENTITY, moment.wall)
    if (hold := _lasting_hold(store)) and hold.ends_ms is None:
        with store.transaction():
            store.settings.set_hold(hold._replace(until_ms=moment.wall))
    # The ends of simulated runs are no news. The stanzas stay, since they limit the programs that deliver alerts.
    silent = {name: replace(notify, when=(), again_ms=0) for name, notify in point.configuration.notify.items()}
    configuration = replace(point.configuration, notify=silent)
    state = new_state(
        store,
        configuration,
        moment,
        pid=0,
        version="",
        boot_id=point.boot_id,
        cores=point.cores,
        zones=Zones(this_machine()),
        uid=point.uid,
    )
    state.status = replace(state.status, started=Moment(started_ms, moment.boot))
    runs.explain = lambda job, due_ms: state.schedules.explain(job, due_ms, state.options.configuration)
    return Simulation(Core(state), runs, clock, configuration, point.look_up)


def _lasting_hold(store: Store) -> Hold | None:
    hold = store.settings.hold()
    return None if hold is None or hold.until_ms is not None else hold


def _note_on(hold: Hold | None, zone: Zone) -> str | None:
    if hold is None or hold.ends_ms is None:
        return HELD if hold else None
    return f"the appliance is held until {local_text(hold.ends_ms, zone)}: the preview assumes that it is not released before"


def _running_programs(store: Store, path: Path | None, boot: ThisBoot, in_use: bool) -> Remains:
    """The running programs. The store of a running appliance lists them; otherwise survivors are looked for."""
    attempts = store.runs.live_attempts()
    if path is None:
        return Remains({}, {})
    if in_use:
        return Remains({attempt.key: attempt.process or ProcessKey(0, 0) for attempt in attempts}, {})
    ids = {attempt_id(attempt.key, attempt.started_ms): attempt.key for attempt in attempts}
    try:
        known = {ids[report.id]: report for report in ends_in(output_directory(path)) if report.id in ids}
    except OSError as error:
        message = f"the ends of programs in {output_directory(path)} cannot be read: {error.strerror}"
        raise Unusable(message, "see that its disk is healthy") from error
    unknown = [attempt for attempt in attempts if attempt.key not in known]
    outputs, boot = Outputs(output_directory(path)), boot._replace(namespace=str(pid_namespace() or ""))
    is_own = partial(outputs.is_own, store.original(path) is not None)
    survivors = find_survivors(unknown, store.node, store.identity, boot, is_own)
    unseen = find_unseen([one for one in unknown if one.key not in survivors], boot, outputs.has_writer)
    return Remains(survivors, {}, {}, causes_of(known), endings_of(known), unseen)


def _store_note(path: Path | None, is_stored: bool, in_use: bool) -> str | None:
    if path is None:
        return IN_MEMORY
    if not is_stored:
        return NO_STORE
    return None if in_use else NOT_RUNNING
