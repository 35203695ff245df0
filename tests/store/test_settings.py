"""The rows of overrides, generations and meta, in a file and in memory."""

from __future__ import annotations

from pathlib import Path

from schedappliance.engine.options import Override, Place
from schedappliance.engine.records import User
from schedappliance.model.option_paths import GLOBAL, Scope
from schedappliance.store.settings import Generation
from schedappliance.store.tables import PLACE, Store, place_of

USER = User(1000, "operator")
SPEED = Override(Place(Scope("program", "slow"), "speed"), "Speed", "5", "3")
OTHER = Override(Place(GLOBAL, "other"), "other", "", None)


def test_the_last_override_of_an_option_counts(store: Store) -> None:
    for override in (SPEED, OTHER, SPEED._replace(value="6")):
        store.settings.set_override(override, USER, "console", 1)
    assert store.settings.overrides() == [OTHER, SPEED._replace(value="6")]


def test_an_override_is_dropped_alone(store: Store) -> None:
    for override in (SPEED, OTHER):
        store.settings.set_override(override, USER, "console", 1)
    store.settings.drop_override(Place(GLOBAL, "other"))
    assert store.settings.overrides() == [SPEED]


def test_generations_are_numbered(store: Store) -> None:
    assert store.settings.last_generation() is None
    assert [store.settings.add_generation(digest, 5, (("a", "ü"),)) for digest in ("x", "y", "x")] == [1, 2, 3]
    assert store.settings.last_generation() == Generation(3, "x", 5)


def test_the_store_holds_values_about_itself(store: Store) -> None:
    assert (store.node, store.identity) == ("example.com", "0123")
    assert [store.settings.meta(key) for key in ("node", "created_ms", "nothing")] == ["example.com", 5, None]
    store.settings.set_meta("last_tick_ms", 7)
    store.settings.set_meta("last_tick_ms", 8)
    assert store.settings.meta("last_tick_ms") == 8


def test_a_store_knows_its_place_in_a_directory_that_is_not_utf_8(store: Store) -> None:
    path = Path("/var/\udcff/sched.db")
    store.settings.set_meta(PLACE, place_of(path))
    assert store.original(path) is None
    assert store.original(Path("/var/sched.db")) == "/var/\\udcff/sched.db"
