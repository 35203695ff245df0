"""Wrong expressions: each gives one diagnostic that points at the mistake and says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.oncalendar import read_calendar, read_dates, read_window
from schedappliance.syntax.expressions import DATES_SHAPE, WINDOW_SHAPE
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

RANGES = "write a range of one part, as in `08..18:00`; `within` takes ranges of times of day"

TEXTS_OF_MISTAKES: list[tuple[Read, str, str, str]] = [
    (read_cron, "0 «24» * * *", "hour 24 is out of range", "give 0 to 23"),
    (read_cron, "0 0 * * «Mpn»", "invalid day of week `Mpn`", "did you mean `MON`?"),
    (read_cron, "0 «22-2» * * *", "range `22-2` ends before it begins", "write `22-23,0-2`"),
    (read_cron, "0 0 * * «fri-mon»", "range `fri-mon` ends before it begins", "write `FRI-SUN,MON`"),
    (
        read_cron,
        "0 0 1 1 * «2030»",
        "day of week 2030 is out of range",
        "a year needs seven fields: `0 0 0 1 1 * 2030`",
    ),
    (read_cron, "*/«0» * * * *", "step 0 never advances", "give 1 or more, or leave the step out"),
    (read_cron, "0 0 * * «1MON»", "invalid day of week `1MON`", "did you mean `MON`?"),
    (read_cron, "5«-» * * * *", "nothing follows `-`", "give a value after it, or leave `-` out"),
    (
        read_cron,
        "«@»1234567890",
        "unexpected character `@`",
        "write a nickname as `@daily`; `at` takes instants",
    ),
    (
        read_cron,
        "«@every 5m»",
        "`@every 5m` is a period, not a cron expression",
        "write `every` with `5m` in place of `cron`",
    ),
    (
        read_cron,
        "5 2 * * * «root /bin/x -a»",
        "a command stands after the five fields",
        "keep `5 2 * * *` and write the rest as `command` or `argv`",
    ),
    (
        read_cron,
        "«Mon..Fri 02:30»",
        "this is a calendar expression, not a cron expression",
        "write `calendar` in place of `cron`",
    ),
    (read_cron, "«@reboot»", "`@reboot` is not a time", "a `job` stanza takes `at = boot`"),
    (
        read_cron,
        "30 2 * * 1-5 «Europe/Berlin»",
        "the time zone stands after the fields",
        "write it before them: `TZ=Europe/Berlin 30 2 * * 1-5`",
    ),
    (
        read_cron,
        "30 2 * * * «bin/backup»",
        "a command stands after the five fields",
        "keep `30 2 * * *` and write the rest as `command` or `argv`",
    ),
    (
        read_calendar,
        "«every 5 minutes»",
        "`every 5 minutes` is a period, not a calendar expression",
        "write `every` with a duration, such as `5m`",
    ),
    (
        read_calendar,
        "Mon«#»1",
        "unexpected character `#`",
        "write the first Friday as `Fri *-*-1..7`, the second one as `Fri *-*-8..14`",
    ),
    (read_calendar, "«Mpn» 10:00", "invalid weekday `Mpn`", "did you mean `Mon`?"),
    (read_calendar, "«Fri..Mon»", "`Fri..Mon` ends before it begins: weeks begin on Monday", "write `Fri..Sun,Mon`"),
    (read_calendar, "«24»:00", "hour 24 is out of range", "give 0 to 23"),
    (read_calendar, "12:00:«60»", "second 60 is out of range", "give 0 to 59; system time has no leap seconds"),
    (read_calendar, "12:00:00«.»5", "unexpected character `.`", "due times are whole seconds: leave the fraction out"),
    (read_calendar, "2026-01-01«T10»:00", "unexpected `T10`", "write a blank in place of `T`"),
    (read_calendar, "2:30«pm»", "unexpected `pm`", "write hours from 0 to 23, as in `14:30`"),
    (
        read_calendar,
        "08:00«-»18:00",
        "unexpected `-`",
        RANGES,
    ),
    (
        read_calendar,
        "08:00:00..18«:»00:00",
        "unexpected `:`",
        RANGES,
    ),
    (
        read_calendar,
        "«@12345»",
        "`@12345` is not a calendar expression",
        "write `at` with `12345` in place of `calendar`",
    ),
    (read_cron, "«30~10» * * * *", "range `30~10` ends before it begins", "write the smaller number first"),
    (read_dates, "«daily»", "invalid weekday `daily`", DATES_SHAPE),
    (read_dates, "«Mpn»", "invalid weekday `Mpn`", "did you mean `Mon`?"),
    (read_window, "«daily» 08:00..18:00", "invalid weekday `daily`", WINDOW_SHAPE),
    (read_window, "08:0«/»5", "unexpected `/`", WINDOW_SHAPE),
    (
        read_calendar,
        "«30 2 * * *»",
        "this is a cron expression, not a calendar expression",
        "write `cron` in place of `calendar`",
    ),
]


def test_the_list_has_more_than_two_hundred_expressions() -> None:
    assert len({line for _, line in BAD}) > 200


def _mistake(read: Read, marked: str) -> InvalidValue:
    """The mistake that a reader finds in a text, at the part between the marks."""
    text = marked.replace("«", "").replace("»", "")
    with pytest.raises(InvalidValue) as raised:
        read(text)
    invalid = raised.value
    assert (invalid.code, invalid.span is None) == ("E212", False)
    assert invalid.span is not None
    start, end = invalid.span
    assert f"{text[:start]}«{text[start:end]}»{text[end:]}" == marked
    return invalid


@pytest.mark.parametrize(("read", "marked"), BAD, ids=[f"{read.__name__}-{visible(line)}" for read, line in BAD])
def test_a_wrong_expression_gives_one_diagnostic_at_its_place(read: Read, marked: str) -> None:
    invalid = _mistake(read, marked)
    for part in (invalid.message, invalid.help):
        assert part and part[-1] not in ".!" and not part[0].isupper()


@pytest.mark.parametrize(("read", "marked", "message", "remedy"), TEXTS_OF_MISTAKES)
def test_a_mistake_has_a_message_and_a_remedy(read: Read, marked: str, message: str, remedy: str) -> None:
    invalid = _mistake(read, marked)
    assert (invalid.message, invalid.help) == (message, remedy)


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
