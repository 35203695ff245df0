"""Right values for the words of the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.web.rendering import formats
from schedappliance.web.rendering.times import Times

# 2027-03-28T00:59:59Z: a second before the clocks of Berlin are put forward.
BEFORE_CHANGE = 1_806_195_599_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def in_zone(name: str, now_ms: int = BEFORE_CHANGE) -> Times:
    return Times(now_ms, 0, Zones(this_machine()).get(name), name)


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (0, "now"),
        (999, "now"),
        (-999, "now"),
        (1000, "in 1 s"),
        (-1000, "1 s ago"),
        (4 * MINUTE + 59_000, "in 4 min 59 s"),
        (5 * MINUTE + 59_000, "in 5 min"),
        (-5 * MINUTE - 59_000, "5 min ago"),
        (2 * HOUR + 3 * MINUTE, "in 2 h 3 min"),
        (-3 * DAY - HOUR, "3 d 1 h ago"),
    ],
)
def test_an_instant_relative_to_now(distance: int, text: str) -> None:
    assert in_zone("UTC").relative(BEFORE_CHANGE + distance) == text


def test_an_instant_in_a_zone_around_a_clock_change() -> None:
    berlin = in_zone("Europe/Berlin")
    assert berlin.absolute(BEFORE_CHANGE) == "2027-03-28 01:59:59 +01:00"
    assert berlin.absolute(BEFORE_CHANGE + 1000) == "2027-03-28 03:00:00 +02:00"
    assert berlin.clock(BEFORE_CHANGE + 1000) == "03:00"
    assert berlin.day(BEFORE_CHANGE) == "2027-03-28"
    assert in_zone("America/Lima").day(BEFORE_CHANGE) == "2027-03-27"


def test_an_instant_that_no_clock_shows() -> None:
    assert in_zone("UTC").absolute(10**18) == f"@{10**15}"


def test_the_element_of_an_instant() -> None:
    berlin = in_zone("Europe/Berlin")
    assert berlin.time(BEFORE_CHANGE - MINUTE) == (
        '<time datetime="2027-03-28T00:58:59+00:00" title="2027-03-28 01:58:59 +01:00 Europe/Berlin">1 min ago</time>'
    )
    assert berlin.instant(BEFORE_CHANGE - MINUTE) == (
        '<time datetime="2027-03-28T00:58:59+00:00" title="1 min ago, Europe/Berlin">2027-03-28 01:58:59 +01:00</time>'
    )
    assert berlin.time(None) == '<span class="muted">–</span>'


def test_a_sentence_of_the_appliance_is_in_the_zone_of_the_viewer() -> None:
    said = "it runs next at 1806195599 (2027-03-28T01:59:59+01:00): <soon>\u202e; 1806195599 (a number)"
    text = in_zone("UTC").sentence(said)
    assert text == (
        'it runs next at <time datetime="2027-03-28T00:59:59+00:00" title="now, UTC">2027-03-28 00:59:59 +00:00</time>'
        ": &lt;soon&gt;\\u{202e}; 1806195599 (a number)"
    )
    assert in_zone("UTC").sentence("") == ""


def test_a_zone_with_a_hostile_name_is_escaped() -> None:
    assert '"><script' not in Times(0, 0, Zones(this_machine()).get("UTC"), '"><script>').time(0)


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(None, ""), (4200, "4.2 s"), (-3, "0 ms"), (42, "42 ms"), (100, "0.1 s"), (HOUR, "1 h")]
)
def test_a_duration(milliseconds: int | None, text: str) -> None:
    assert formats.took(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (13_736_346, "13.1 MiB"),
        (14 * 1024**2 - 1, "13.9 MiB"),
        (2**40 * 5000, "5000.0 TiB"),
    ],
)
def test_a_size(count: int | None, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("status", "signal", "text"),
    [
        (None, None, ""),
        (0, None, "exit status 0"),
        (3, None, "exit status 3"),
        (None, 9, "signal 9 (KILL)"),
        (None, 99, "signal 99"),
    ],
)
def test_how_a_program_ended(status: int | None, signal: int | None, text: str) -> None:
    assert formats.exit_words(status, signal) == text


def test_states_have_words_kinds_and_shapes() -> None:
    assert (formats.state("timed_out"), formats.kind_of("timed_out"), formats.shape_of("timed_out")) == (
        "timed out",
        "bad",
        "cross",
    )
    assert (formats.kind_of("disabled in its file"), formats.shape_of("disabled in its file")) == ("plain", "dot")
    assert formats.kind_of("failing") == "bad"


@given(st.text())
def test_nothing_that_is_shown_is_invisible(text: str) -> None:
    assert formats.shown(text).isprintable()
    assert all(line.replace("\t", "").isprintable() for line in formats.shown_lines(text).split("\n"))
