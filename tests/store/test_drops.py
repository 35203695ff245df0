"""The rows of drops, in a file and in memory."""

from __future__ import annotations

import pytest

from schedappliance.engine.records import User
from schedappliance.store.drops import FinishedDrop
from schedappliance.store.failures import StoreFailed
from schedappliance.store.tables import Store

USER, OTHER = User(1000, "operator"), User(1001, "other")


def filled(store: Store, count: int) -> Store:
    """Adds that many drops, one every millisecond. Every third is rejected."""
    for number in range(1, count + 1):
        store.drops.add(f"{number:012d}~{number % 2}.cmd", f"{number % 2}.cmd", USER, number, number % 3 != 0, "{}")
    return store


def test_a_drop_is_done_once_under_its_mark(store: Store) -> None:
    assert (store.drops.get("1~a.cmd"), store.drops.last_mark(), store.drops.oldest_ms()) == (None, None, None)
    store.drops.add("1~a.cmd", "a.cmd", USER, 5, True, "{}")
    store.drops.add("2~a.cmd", "a.cmd", OTHER, 6, False, "{ }")
    assert store.drops.get("2~a.cmd") == FinishedDrop("2~a.cmd", "a.cmd", OTHER.uid, "other", 6, False, "{ }")
    assert (store.drops.last_mark(), store.drops.oldest_ms()) == ("2~a.cmd", 5)
    with pytest.raises(StoreFailed, match="UNIQUE"):
        store.drops.add("1~a.cmd", "a.cmd", USER, 6, True, "{}")


def test_the_last_drops_of_a_name_and_of_all_come_newest_first(store: Store) -> None:
    filled(store, 9)
    assert [drop.taken_ms for drop in store.drops.named("1.cmd", 3)] == [9, 7, 5]
    assert [drop.taken_ms for drop in store.drops.newest(2)] == [9, 8]
    assert store.drops.named("2.cmd", 3) == []
    assert store.drops.counts() == (6, 3)


def test_a_token_is_known_only_to_its_user(store: Store) -> None:
    store.drops.add("1~a.cmd", "a.cmd", USER, 5, True, "{}", "deploy")
    store.drops.add("2~b.cmd", "b.cmd", OTHER, 5, True, "{}", "deploy")
    assert [store.drops.by_token(user, "deploy") for user in (USER, OTHER)] == [
        store.drops.get("1~a.cmd"),
        store.drops.get("2~b.cmd"),
    ]
    assert store.drops.by_token(USER, "other") is None
    with pytest.raises(StoreFailed, match="UNIQUE"):
        store.drops.add("3~c.cmd", "c.cmd", USER, 5, True, "{}", "deploy")


def test_drops_without_a_token_do_not_match_each_other(store: Store) -> None:
    filled(store, 3)
    assert store.drops.counts() == (2, 1)


@pytest.mark.parametrize(("most", "removed"), [(0, 0), (4, 4), (99, 8)])
def test_the_oldest_drops_are_removed_but_never_the_last(store: Store, most: int, removed: int) -> None:
    filled(store, 9)
    assert store.drops.prune(most) == removed
    assert store.drops.oldest_ms() == removed + 1
    assert store.drops.last_mark() == "000000000009~1.cmd"


def test_the_drops_of_the_user_with_the_most_are_removed_first(store: Store) -> None:
    for number in range(1, 4):
        store.drops.add(f"{number:012d}~0.cmd", "0.cmd", OTHER, number, True, "{}")
    for number in range(4, 12):
        store.drops.add(f"{number:012d}~1.cmd", "1.cmd", USER, number, False, "{}")
    assert store.drops.prune(5) == 5
    assert store.drops.counts() == (3, 3)
    assert store.drops.prune(2) == 2
    assert store.drops.counts() == (2, 2), "each has as many as the other"


@pytest.mark.parametrize(("before", "most", "removed"), [(0, 99, 0), (5, 99, 4), (5, 2, 2), (99, 99, 8)])
def test_drops_that_are_too_old_are_removed_in_small_steps(store: Store, before: int, most: int, removed: int) -> None:
    filled(store, 9)
    assert store.drops.prune_before(before, most) == removed
    assert sum(store.drops.counts()) == 9 - removed
    assert store.drops.last_mark() == "000000000009~1.cmd"
