"""The places of requests: one viewer leaves places for the others."""

from __future__ import annotations

from schedappliance.web.api import MOST_STREAMS
from schedappliance.web.gateway import CONNECTIONS, VIEWERS
from schedappliance.web.places import SHARE, Places

# The places of the console, and its own share for one user.
CONSOLE_PLACES = 1000


def test_one_viewer_gets_a_quarter_of_the_places() -> None:
    places = Places(8)
    assert [places.take("alice") for _ in range(3)] == [True, True, False]
    assert places.take("bob")


def test_a_place_that_is_left_is_free_again() -> None:
    places = Places(4)
    assert places.take("alice") and not places.take("alice")
    places.leave("alice")
    assert places.take("alice")


def test_no_more_places_are_taken_than_there_are() -> None:
    places = Places(4)
    assert [places.take(name) for name in "abcde"] == [True] * 4 + [False]
    places.leave("a")
    assert places.take("e")


def test_fifty_viewers_can_each_have_a_stream_of_the_api() -> None:
    places = Places(MOST_STREAMS)
    assert all(places.take(f"viewer{number}") for number in range(50))


def test_the_connections_of_the_page_fit_into_the_share_of_one_user_at_the_console() -> None:
    followed = 2
    assert MOST_STREAMS + VIEWERS * CONNECTIONS + followed <= CONSOLE_PLACES // SHARE
