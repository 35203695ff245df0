"""The rows of overrides, generations and meta. Rule: only the newest generations are kept; see GENERATIONS_KEPT."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from schedappliance.clock import Moment
from schedappliance.engine.options import Override, Place
from schedappliance.engine.records import Hold, User
from schedappliance.model.option_paths import Scope
from schedappliance.store.database import Table

GENERATIONS_KEPT = 100


class Generation(NamedTuple):
    """A configuration that was accepted, and when."""

    number: int
    digest: str
    applied_ms: int


class Settings(Table):
    file = "settings"

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
        self._database.execute(self._sql["prune_generations"], (cursor.lastrowid - GENERATIONS_KEPT,))
        return cursor.lastrowid

    def generations(self) -> list[tuple[Generation, list[str]]]:
        """The stored generations with the paths of their files, the newest first."""
        rows = self._database.rows(self._sql["generations"])
        return [(Generation(*row[:3]), json.loads(row[3])) for row in rows]

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
