"""The meaning of one value, and the errors for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.clock import local_text, time_data
from schedappliance.diagnostics import InvalidValue
from schedappliance.model import values

READERS: dict[str, Callable[[str], Any]] = {
    "duration": values.duration,
    "positive_duration": values.positive_duration,
    "period": values.period,
    "instant": values.instant,
    "boolean": values.boolean,
    "size": values.size,
    "octal": values.octal,
    "umask": values.umask,
    "integer": lambda text: values.integer(text, 0, 255),
    "choice": lambda text: values.choice(text, ("none", "any")),
}
DAY_MS = 86_400_000


def code_of(reader: str, text: str) -> str:
    """The code with which a text is rejected."""
    with pytest.raises(InvalidValue) as raised:
        READERS[reader](text)
    assert raised.value.message and raised.value.help
    return raised.value.code


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("90", 90_000),
        ("1.5", 1_500),
        ("0.001", 1),
        ("0.25", 250),
        ("007", 7_000),
        ("15m", 900_000),
        ("2h30m", 9_000_000),
        ("1d", DAY_MS),
        ("1d2h3m4s", DAY_MS + 7_384_000),
        ("90m", 5_400_000),
        ("36500d", values.MAX_DURATION_MS),
    ],
)
def test_a_duration_is_seconds_or_units(text: str, milliseconds: int) -> None:
    assert values.duration(text) == milliseconds


@pytest.mark.parametrize(
    ("reader", "text", "code"),
    [
        *(
            ("duration", text, "E203")
            for text in ("", " ", "x", "1.", ".5", "1.2345", "1e3", "1h1d", "5 m", "１", "1,5")
        ),
        *(("duration", text, "E203") for text in ("m", "1M", "1h30", "-", "-abc", "+5", "inf", "nan", "0x10", "5\n")),
        *(("duration", text, "E204") for text in ("-5", "-15m", "36501d", "9" * 15, "9" * 16, "9" * 5000)),
        *(("positive_duration", text, "E204") for text in ("0", "0.000", "0s", "0d0h")),
        *(("period", text, "E204") for text in ("0", "0.5", "0.999")),
        *(("instant", text, "E203") for text in ("", "x", "tomorrow", "-1", "1.2345", "12:30", "1e9", "１")),
        *(("instant", text, "E203") for text in ("2026-11-22", "2026-11-22T18:01:00", "2026-13-01T00:00:00Z")),
        *(("instant", text, "E204") for text in ("1795370460000", "253402300800", "9" * 40, "1969-12-31T23:59:59Z")),
        *(("boolean", text, "E203") for text in ("", "2", "maybe", "truee", "falſe")),
        *(("size", text, "E203") for text in ("", "k", "1t", "-1", "1.5k", "1 k", "9" * 13)),
        *(("octal", text, "E203") for text in ("", "66", "888", "0o660", "06600", "rw-rw----", "１２３")),
        *(("umask", text, "E203") for text in ("", "0", "22", "0o22", "00022")),
        *(("integer", text, "E203") for text in ("", "-1", "1.0", "x", "9" * 19)),
        *(("integer", text, "E204") for text in ("256", "999")),
        *(("choice", text, "E203") for text in ("", "all", "none ")),
    ],
)
def test_an_invalid_value_is_rejected_with_its_code(reader: str, text: str, code: str) -> None:
    assert code_of(reader, text) == code


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("1795370460", 1_795_370_460_000),
        ("1795370460.25", 1_795_370_460_250),
        ("253402300799", values.MAX_TIME_MS),
        ("2026-11-22T18:01:00Z", 1_795_370_460_000),
        ("2026-11-22T19:01:00+01:00", 1_795_370_460_000),
        ("2026-11-22 12:31:00-05:30", 1_795_370_460_000),
        ("20261122T180100Z", 1_795_370_460_000),
        ("2026-11-22T18:01:00.123456Z", 1_795_370_460_123),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", values.MAX_TIME_MS),
    ],
)
def test_an_instant_is_a_timestamp_or_an_iso_time_with_zone(text: str, milliseconds: int) -> None:
    assert values.instant(text) == milliseconds


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-12:00", "1969-12-31T23:59:59.5Z"])
def test_an_iso_time_has_the_same_limits_as_a_timestamp(text: str) -> None:
    assert code_of("instant", text) == "E204"


def test_the_last_time_keeps_its_milliseconds() -> None:
    assert values.instant("9000-01-01T00:00:00.999999Z") == values.instant("9000-01-01T00:00:00Z") + 999


def test_the_remedy_for_a_date_is_a_valid_time() -> None:
    with pytest.raises(InvalidValue) as raised:
        values.instant("2026-11-22")
    assert "append `Z`" not in raised.value.help


def test_a_word_that_begins_with_a_dash_is_not_called_negative() -> None:
    with pytest.raises(InvalidValue, match="invalid duration"):
        values.duration("-abc")


def test_the_remedy_for_weeks_counts_their_days() -> None:
    with pytest.raises(InvalidValue) as raised:
        values.period("2w")
    assert raised.value.help == "write days: `14d`"


def test_a_timestamp_in_milliseconds_is_explained() -> None:
    with pytest.raises(InvalidValue) as raised:
        values.instant("1795370460000")
    assert "milliseconds" in raised.value.help


@given(st.integers(0, values.MAX_DURATION_MS))
def test_a_shown_duration_is_read_back(milliseconds: int) -> None:
    assert values.duration(values.seconds_text(milliseconds)) == milliseconds
    assert values.duration(values.duration_text(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(82_800_000, "23h"), (93_690_000, "1d2h1m30s"), (1500, "1.5"), (0, "0")]
)
def test_a_duration_is_shown_with_its_units(milliseconds: int, text: str) -> None:
    assert values.duration_text(milliseconds) == text


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_the_units_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert values.duration(f"{days}d{hours}h{minutes}m{seconds}s") == values.duration(str(total)) == total * 1000


@given(st.integers(0, values.MAX_TIME_MS // 1000))
def test_a_shown_time_is_read_back(seconds: int) -> None:
    shown = time_data("at", seconds * 1000)
    assert values.instant(str(shown["at"])) == shown["at_ms"] == values.instant(str(seconds)) == seconds * 1000
    assert values.instant(local_text(seconds * 1000)) == seconds * 1000


@pytest.mark.parametrize(("text", "value"), [*values.BOOLEANS.items(), ("ON", True), ("Disabled", False)])
def test_a_boolean_has_many_spellings(text: str, value: bool) -> None:
    assert values.boolean(text) is value


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("65536", 65_536), ("64k", 65_536), ("64K", 65_536), ("1m", 1 << 20), ("2G", 1 << 31)]
)
def test_a_size_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert values.size(text) == size


def test_booleans_numbers_modes_and_choices_are_read() -> None:
    assert (values.octal("660"), values.octal("0660")) == (0o660, 0o660)
    assert (values.integer("0", 0, 255), values.integer("255", 0, 255)) == (0, 255)
    assert values.choice("ANY", ("none", "any")) == "any"
    assert values.period("1") == 1000


def test_a_misspelt_choice_gets_a_suggestion() -> None:
    with pytest.raises(InvalidValue) as raised:
        values.choice("nome", ("none", "any"))
    assert raised.value.help == "did you mean `none`?"


@pytest.mark.parametrize("reader", READERS)
@given(text=st.text() | st.from_regex(r"-?[0-9]{1,30}[.dhms0-9kM]{0,5}") | st.datetimes().map(str))
def test_a_reader_raises_only_invalid_value(reader: str, text: str) -> None:
    try:
        READERS[reader](text)
    except InvalidValue as unfit:
        assert unfit.message and unfit.help and unfit.code in ("E203", "E204")


@given(st.text(min_size=100))
def test_a_message_shortens_a_long_value(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        values.duration(text)
    assert len(raised.value.message) < 100


@pytest.mark.parametrize(("reader", "text", "example"), [(values.octal, "66", "660"), (values.umask, "22", "022")])
def test_the_example_of_a_mode_is_of_its_kind(reader: Callable[[str], Any], text: str, example: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        reader(text)
    assert raised.value.help == f'give three octal digits, such as "{example}"'
