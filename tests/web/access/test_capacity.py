"""The room for requests: one viewer leaves some for the others."""

from __future__ import annotations

from schedappliance.web.access.capacity import SHARE, Capacity
from schedappliance.web.api.events import MOST_STREAMS
from schedappliance.web.appliance.gateway import CONNECTIONS, VIEWERS

# The places of the console, and its own share for one user.
CONSOLE_PLACES = 1000


def test_one_viewer_gets_a_quarter_of_the_places() -> None:
    capacity = Capacity(8)
    assert [capacity.take("alice") for _ in range(3)] == [True, True, False]
    assert capacity.take("bob")


def test_a_place_that_is_left_is_free_again() -> None:
    capacity = Capacity(4)
    assert capacity.take("alice") and not capacity.take("alice")
    capacity.give_back("alice")
    assert capacity.take("alice")


def test_no_more_places_are_taken_than_there_are() -> None:
    capacity = Capacity(4)
    assert [capacity.take(name) for name in "abcde"] == [True] * 4 + [False]
    capacity.give_back("a")
    assert capacity.take("e")


def test_fifty_viewers_can_each_have_a_stream_of_the_api() -> None:
    capacity = Capacity(MOST_STREAMS)
    assert all(capacity.take(f"viewer{number}") for number in range(50))


def test_the_connections_of_the_page_fit_into_the_share_of_one_user_at_the_console() -> None:
    followed = 2
    assert MOST_STREAMS + VIEWERS * CONNECTIONS + followed <= CONSOLE_PLACES // SHARE
