"""The canonical text of a calendar: the same for the same meaning, and readable again."""

from __future__ import annotations

from typing import Any

import pytest

from schedappliance.model.calendars.day_lists import DayList
from schedappliance.model.calendars.oncalendar import read_dates
from schedappliance.model.calendars.rule import CalendarRule, read_rule

DAYS = {
    "weekend": DayList((read_dates("Sat..Sun"),)),
    "holidays": DayList((read_dates("*-01-01"), read_dates("*-12-25..26"))),
}
OTHER_DAYS = {**DAYS, "holidays": DayList((read_dates("*-01-01"),))}


def cron(*expressions: str, **options: Any) -> CalendarRule:
    return CalendarRule(syntax="cron", expressions=expressions, zone="UTC", **options)


def test_the_text() -> None:
    assert cron("30 2 * * 1-5").text({}) == (
        '{"cron":["30 2 * * MON-FRI"],"dst_repeated":"first","dst_skipped":"run","zone":"UTC"}'
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (cron("0 9 * * 1-5"), cron("0 9 * * MON-FRI")),
        (cron("0 9 * * *", "0 8 * * *"), cron("0 8 * * *", "0 9 * * *", "00 09 * * *")),
        (cron("0 9 * * *"), cron("0 9 * * *", dst_skipped="run", dst_repeated="first")),
        (cron("TZ=UTC 0 9 * * *"), cron("TZ=UTC 0 9 * * *", seed="unused")),
        (cron("0 9 * * *", only=("weekend", "holidays")), cron("0 9 * * *", only=("holidays", "weekend"))),
        (cron("0 9 * * *", nth=(3, -1)), cron("0 9 * * *", nth=(-1, 3, 3))),
        (cron("0 9 * * *"), cron("0 9 * * *", move="next")),
        (cron("* * * * *", within=("Mon..Fri 8:00..18:00",)), cron("* * * * *", within=("Mon,Tue..Fri 08:00..18:00",))),
    ],
)
def test_the_same_meaning_has_the_same_text(one: CalendarRule, other: CalendarRule) -> None:
    assert one.text(DAYS) == other.text(DAYS)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"dst_skipped": "shift"},
    {"dst_repeated": "both"},
    {"within": ("Mon..Fri 08:00..18:00",)},
    {"only": ("weekend",)},
    {"excluded": ("holidays",)},
    {"excluded": ("holidays",), "move": "next"},
    {"nth": (3, -1)},
    {"each": (2, "w"), "from_ms": 1_700_000_000_000},
    {"from_ms": 0},
    {"from_day": 0},
    {"each": (2, "w"), "from_day": 20_822, "until_day": 20_900},
    {"until_ms": 0},
    {"spread": 60, "seed": "node\0name"},
    {"jitter": 60, "seed": "node\0name"},
    {"jitter": 60, "seed": "node\0other"},
]


def test_other_options_have_other_texts() -> None:
    texts = [cron("0 9 * * *", **options).text(DAYS) for options in OPTIONS]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("expression", ["0 9 * * *", "TZ=Europe/Berlin */5 * * * 1", "~ ~ * * *"])
def test_a_text_is_read_again(expression: str, options: dict[str, Any]) -> None:
    text = cron(expression, **options).text(DAYS)
    assert read_rule(text).text(DAYS) == text


def test_a_calendar_expression_is_read_again() -> None:
    rule = CalendarRule(syntax="calendar", expressions=("Mon..Fri 7:00 America/New_York", "daily"), zone="UTC")
    text = rule.text({})
    assert "America/New_York" in text and read_rule(text).text({}) == text


def test_the_dates_of_used_days_are_in_the_text() -> None:
    used, unused = cron("0 9 * * *", excluded=("holidays",)), cron("0 9 * * *", excluded=("weekend",))
    assert used.text(DAYS) != used.text(OTHER_DAYS)
    assert unused.text(DAYS) == unused.text(OTHER_DAYS)


def test_lists_of_rolling_and_fixed_expressions() -> None:
    assert cron("0 9 * * *", "*/5 * * * *").mixes_clock_rules()
    assert not cron("0 9 * * *", "*/5 * * * *", dst_skipped="run", dst_repeated="both").mixes_clock_rules()
    assert not cron("0 9 * * *", "0 8 * * *").mixes_clock_rules()
