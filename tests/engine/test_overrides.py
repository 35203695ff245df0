"""The overrides behave like an immutable dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine import options
from schedappliance.engine.options import Override, Overrides, Place
from schedappliance.model.option_paths import GLOBAL

NAMES = [f"option_{number}" for number in range(13)]
overrides = st.lists(
    st.builds(
        lambda name, value: Override(Place(GLOBAL, name), name, value, None),
        st.sampled_from(NAMES),
        st.text("ab", max_size=2),
    ),
    max_size=40,
)


@pytest.fixture(autouse=True)
def few_are_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "MOST_RECENT", 3)


@given(overrides, overrides)
def test_they_have_the_entries_of_a_dictionary_in_the_same_order(first: list[Override], then: list[Override]) -> None:
    wanted, made = {override.place: override for override in first}, Overrides(first)
    for override in then:
        wanted[override.place] = override
        made = made.put(override)
        assert list(made.items()) == list(wanted.items())
        assert len(made) == len(wanted)
        for name in NAMES:
            place = Place(GLOBAL, name)
            assert made.get(place) == made.find(place) == wanted.get(place)
            assert (place in made) == (place in wanted)
    assert made == wanted


@given(overrides)
def test_deriving_new_overrides_does_not_change_the_old(then: list[Override]) -> None:
    made = Overrides()
    earlier = []
    for override in then:
        earlier.append((made, dict(made)))
        # Two may be derived from the same.
        made.put(override._replace(value="other"))
        made = made.put(override)
    assert all(dict(one) == before for one, before in earlier)


def test_a_place_that_is_not_set_raises() -> None:
    with pytest.raises(KeyError):
        Overrides()[Place(GLOBAL, "a")]
