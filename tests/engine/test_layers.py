"""A mapping in layers is what a dictionary is, and never changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine import layers
from schedappliance.engine.layers import Layers

Entries = list[tuple[int, str]]
entries = st.lists(st.tuples(st.integers(0, 12), st.text("ab", max_size=2)), max_size=40)


@pytest.fixture(autouse=True)
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST_ABOVE", 3)


@given(entries, entries)
def test_it_has_the_entries_of_a_dictionary_in_the_same_order(first: Entries, then: Entries) -> None:
    wanted, found = dict(first), Layers(dict(first))
    for key, value in then:
        wanted[key] = value
        found = found.put(key, value)
        assert list(found.items()) == list(wanted.items())
        assert len(found) == len(wanted)
        assert [found.get(key) for key in range(13)] == [wanted.get(key) for key in range(13)]
    assert found == wanted


@given(entries)
def test_none_changes_when_another_is_made_of_it(then: Entries) -> None:
    found: Layers[int, str] = Layers()
    earlier = []
    for key, value in then:
        earlier.append((found, dict(found)))
        found = found.put(key, value)
        # Two may be made of the same.
        found.put(key + 1, "other")
    assert all(dict(one) == was for one, was in earlier)


def test_what_is_not_there_is_said() -> None:
    found = Layers({1: "a"}).put(2, "b")
    assert repr(found) == "Layers({1: 'a', 2: 'b'})"
    with pytest.raises(KeyError, match="3"):
        found[3]
