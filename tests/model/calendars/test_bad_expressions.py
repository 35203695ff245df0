"""Wrong expressions: each gives one diagnostic that points at the mistake and says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.oncalendar import read_calendar, read_dates, read_window
from schedappliance.visible import visible
from tests.model.calendars import bad_expressions

Read = Callable[[str], object]

BAD: list[tuple[Read, str]] = [
    *((read_cron, line) for line in bad_expressions.CRON.splitlines()),
    *((read_calendar, line) for line in bad_expressions.CALENDAR.splitlines()),
    *((read_window, line) for line in bad_expressions.WINDOW.splitlines()),
    *((read_dates, line) for line in bad_expressions.DATES.splitlines()),
]
READERS: list[Read] = [read_cron, read_calendar, read_window, read_dates]

PARTS = ["5", "60", "*/7", "MON", "FRIL", "1-5", "L", "15W", "~", "?", "*:00", "*-*-*", ".."]
# Most texts of these letters are wrong, many by one sign only.
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from("0159*/-,.:~#?+@ LWMonFriTZ="), max_size=40),
    st.lists(
        st.sampled_from(["5", "60", "*/7", "MON", "FRIL", "1-5", "L", "15W", "~", "?", "*:00", "*-*-*", ".."]),
        max_size=8,
    ).map(" ".join),
)


def test_the_list_has_more_than_two_hundred_expressions() -> None:
    assert len({line for _, line in BAD}) > 200


@pytest.mark.parametrize(("read", "marked"), BAD, ids=[f"{read.__name__}-{visible(line)}" for read, line in BAD])
def test_a_wrong_expression_gives_one_diagnostic_at_its_place(read: Read, marked: str) -> None:
    text = marked.replace("«", "").replace("»", "")
    with pytest.raises(InvalidValue) as raised:
        read(text)
    invalid = raised.value
    assert (invalid.code, invalid.span is None) == ("E212", False)
    assert invalid.span is not None
    start, end = invalid.span
    assert f"{text[:start]}«{text[start:end]}»{text[end:]}" == marked
    for part in (invalid.message, invalid.help):
        assert part and part[-1] not in ".!" and not part[0].isupper()


@pytest.mark.parametrize("read", READERS)
@given(text=TEXTS)
def test_a_text_is_read_or_has_a_mistake_inside_it(read: Read, text: str) -> None:
    try:
        read(text)
    except InvalidValue as invalid:
        assert invalid.code == "E212" and invalid.span is not None
        assert 0 <= invalid.span.start <= invalid.span.end <= len(text)
        assert invalid.span.start < invalid.span.end or not text


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", ["5," * 499 + "5,5", "*" * 1001, "9" * 1001, "Mon," * 300])
def test_a_text_that_is_too_long_is_rejected_with_the_limit(read: Read, text: str) -> None:
    with pytest.raises(InvalidValue, match=r"characters; the limit is 1,000"):
        read(text)
