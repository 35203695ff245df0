"""The rows of overrides, generations, meta and counters. Rule: only the newest generations are kept; see GENERATIONS_KEPT."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from schedappliance.clock import Moment
from schedappliance.engine.metrics import CounterKey
from schedappliance.engine.options import Override, Place
from schedappliance.engine.records import Hold, User
from schedappliance.model.option_paths import Scope
from schedappliance.store.database import Database, Table

GENERATIONS_KEPT = 100
# The tables of the counters.
_COUNTERS, _ENDED_RUNS = "counters", "ended_runs"


class Generation(NamedTuple):
    """A configuration that was accepted, and when."""

    number: int
    digest: str
    applied_ms: int


class Settings(Table):
    file = "settings"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._paths: dict[Generation, list[str]] = {}

    def overrides(self) -> list[Override]:
        return [
            Override(Place(Scope(scope, instance), option), *rest)
            for scope, instance, option, *rest in self._database.rows(self._sql["overrides"])
        ]

    def set_override(self, override: Override, user: User, origin: str, now_ms: int) -> None:
        scope, option = override.place
        row = (*scope, option, override.name, override.value, override.base, *user, origin, now_ms)
        self._database.batch.add_last(self._sql["set_override"], override.place, row)

    def drop_override(self, place: Place) -> None:
        self._database.execute(self._sql["drop_override"], (*place.scope, place.option))

    def add_generation(self, digest: str, now_ms: int, texts: tuple[tuple[str, str], ...]) -> int:
        """Stores a generation, removes those that are too old, and returns its number."""
        files = json.dumps(texts)
        cursor = self._database.execute(self._sql["add_generation"], (digest, now_ms, files))
        assert cursor.lastrowid is not None
        oldest = cursor.lastrowid - GENERATIONS_KEPT
        self._database.execute(self._sql["prune_generations"], (oldest,))
        self._paths = {generation: paths for generation, paths in self._paths.items() if generation.number > oldest}
        return cursor.lastrowid

    def generations(self) -> list[Generation]:
        """The stored generations, the newest first."""
        return [Generation(*row) for row in self._database.rows(self._sql["generations"])]

    def paths(self, generation: Generation) -> list[str]:
        """The paths of the files of a generation; none if it is no longer stored.

        They are read once, since finding them parses the texts of all files.
        """
        if generation not in self._paths:
            row = self._database.row(self._sql["generation_paths"], (generation.number,))
            if row is None:
                return []
            self._paths[generation] = json.loads(row[0])
        return self._paths[generation]

    def size(self, generation: int) -> int:
        """About how many characters the files of a generation have; 0 if it is not stored. It is faster than `texts`."""
        row = self._database.row(self._sql["generation_size"], (generation,))
        return int(row[0]) if row else 0

    def texts(self, generation: int) -> dict[str, str] | None:
        """The texts of a generation by the paths of their files; None if it is not stored."""
        row = self._database.row(self._sql["generation_files"], (generation,))
        return dict(json.loads(row[0])) if row else None

    def last_generation(self) -> Generation | None:
        row = self._database.row(self._sql["last_generation"])
        return Generation(*row) if row else None

    def hold(self) -> Hold | None:
        """The last hold, even if it is over; None if there was none."""
        since_ms, user, *rest = json.loads(self.meta("hold") or "[null, null]")
        return None if user is None else Hold(since_ms, User(*user), *rest)

    def set_hold(self, hold: Hold) -> None:
        self.set_meta("hold", json.dumps(hold))

    def meta(self, key: str) -> Any:
        """A value that belongs to the store itself; None if it was never set."""
        row = self._database.row(self._sql["get_meta"], (key,))
        return row[0] if row else None

    def last_tick(self) -> tuple[str | None, Moment | None]:
        """The name of the boot and the moment of the last tick; None if there was none."""
        boot, wall_ms, boot_ms = (self.meta(f"last_{key}") for key in ("boot_id", "wall_ms", "boot_ms"))
        return boot, None if wall_ms is None else Moment(wall_ms, boot_ms)

    def set_meta(self, key: str, value: str | int) -> None:
        self._database.execute(self._sql["set_meta"], (key, value))


class Counters(Table):
    """The counters of `metrics` that survive a restart. Rule: a counter grows in the transaction that stores what it counts."""

    file = "counters"

    def all(self) -> dict[CounterKey, int]:
        rows = self._database.rows(self._sql["counters"])
        return {(name, tuple(json.loads(labels))): value for name, labels, value in rows}

    def add(self, numbers: Mapping[CounterKey, int]) -> None:
        """Adds to counters."""
        for (name, labels), number in numbers.items():
            self._database.batch.add(_COUNTERS, self._sql["add_to_counter"], (name, json.dumps(labels), number))

    def delete(self, key: CounterKey) -> None:
        self._database.execute(self._sql["delete_counter"], (key[0], json.dumps(key[1])))

    def count_end(self, job: int, state: str) -> None:
        """Counts a run of a declared job that has ended."""
        self._database.batch.add(_ENDED_RUNS, self._sql["count_end"], (job, state))

    def ended_runs(self, jobs: Collection[int]) -> dict[int, Counter[str]]:
        """How many runs of each of these jobs ended in each state."""
        ended: dict[int, Counter[str]] = {job: Counter() for job in jobs}
        for job, state, number in (
            self._database.rows(self._sql["ended_runs"], (json.dumps(list(jobs)),)) if jobs else ()
        ):
            ended[job][state] = number
        return ended

    def forget_job(self, job: int) -> None:
        """Removes what is counted of a job that is not declared any more."""
        self._database.batch.add(_ENDED_RUNS, self._sql["forget_job"], (job,))
