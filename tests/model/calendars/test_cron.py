"""Cron expressions: their meaning and their normal form."""

from __future__ import annotations

import pytest

from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.days import (
    EVERY_DAY,
    days_from_end,
    days_of_month,
    nearest_working_day,
    nth_weekday,
    weekdays,
)

MONDAY, FRIDAY = 0, 4


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("30 2 * * 1-5", "30 2 * * MON-FRI"),
        ("  30\t2 *  * mon-fri ", "30 2 * * MON-FRI"),
        ("0,15,7,7 8-18/2 15,1 jan-mar,DEC *", "0,7,15 8-18/2 1,15 1-3,12 *"),
        ("0-59/1 0-23 * * *", "0-59 0-23 * * *"),
        ("0/20 * * * *", "0-40/20 * * * *"),
        ("*/15,7 * * * *", "*/15,7 * * * *"),
        ("*/1 */99 * * ?", "* */24 * * *"),
        ("0 0 * * 0,7", "0 0 * * SUN"),
        ("0 0 * * sat-sun", "0 0 * * SAT,SUN"),
        ("0 0 * * 0-7", "0 0 * * MON-SUN"),
        ("0 0 * * 5,3,4", "0 0 * * WED-FRI"),
        ("0 0 1 * +MON", "0 0 1 * +MON"),
        ("0 0 */2 * +MON", "0 0 */2 * MON"),
        ("0 0 LW,1,15w,L,l-3 * *", "0 0 1,L,L-3,15W,LW * *"),
        ("0 0 * * friL,5#2,1#L,0", "0 0 * * SUN,MONL,FRI#2,FRIL"),
        ("0 30 2 * * *", "30 2 * * *"),
        ("5,10 30 2 * * *", "5,10 30 2 * * *"),
        ("0 30 2 * * * *", "30 2 * * *"),
        ("0 0 0 1 1 * 2030", "0 0 0 1 1 * 2030"),
        ("0 0 0 1 1 * 2030-2035/2", "0 0 0 1 1 * 2030-2034/2"),
        ("0 0 0 1 1 * 2030/2", "0 0 0 1 1 * 2030/2"),
        ("~ ~5 5~ * ~", "0~59 0~5 5~28 * SUN~SAT"),
        ("~/15 0 ~/7 * *", "0~59/15 0 1~31/7 * *"),
        ("@daily", "0 0 * * *"),
        ("@WEEKLY", "0 0 * * SUN"),
        ("CRON_TZ=Europe/Berlin @hourly", "0 * * * *"),
    ],
)
def test_an_expression_has_a_normal_form_that_means_the_same(text: str, normal: str) -> None:
    expression = read_cron(text)
    assert expression.normal == normal
    again = read_cron(normal)
    assert (again.normal, again.days, again.months, again.years) == (
        normal,
        expression.days,
        expression.months,
        expression.years,
    )
    if "~" not in text:
        assert (again.hours, again.minutes, again.seconds) == (expression.hours, expression.minutes, expression.seconds)
    assert again.rolling == expression.rolling


def test_fields_are_sets_of_numbers() -> None:
    expression = read_cron("10-50/20,5 1,13 * feb,11 *")
    assert (expression.minutes, expression.hours, expression.seconds) == ((5, 10, 30, 50), (1, 13), (0,))
    assert (expression.months, expression.years, expression.zone) == (1 << 2 | 1 << 11, None, None)


def test_a_sixth_field_is_the_second_and_a_seventh_the_year() -> None:
    assert read_cron("15 0 0 * * *").seconds == (15,)
    assert read_cron("0 0 0 1 1 ? 2030,2032").years == frozenset({2030, 2032})


@pytest.mark.parametrize("text", ["TZ=Asia/Tokyo 0 0 * * *", "CRON_TZ=Asia/Tokyo 0 0 * * *", " TZ=Asia/Tokyo  @daily"])
def test_a_zone_stands_before_the_fields(text: str) -> None:
    assert read_cron(text).zone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ("* * *", EVERY_DAY),
        ("1,15 * *", days_of_month(frozenset({1, 15}))),
        ("* * MON", weekdays(frozenset({MONDAY}))),
        ("1 * MON", days_of_month(frozenset({1})) | weekdays(frozenset({MONDAY}))),
        ("1 * +MON", days_of_month(frozenset({1})) & weekdays(frozenset({MONDAY}))),
        ("*/10 * MON", days_of_month(frozenset({1, 11, 21, 31})) & weekdays(frozenset({MONDAY}))),
        ("1 * */9", days_of_month(frozenset({1})) & weekdays(frozenset({6}))),
        ("1 * ?", days_of_month(frozenset({1}))),
        ("L * *", days_from_end(frozenset({1}))),
        ("L-2,1 * *", days_from_end(frozenset({3})) | days_of_month(frozenset({1}))),
        ("LW * *", nearest_working_day(None)),
        ("15W * *", nearest_working_day(15)),
        ("* * FRIL", nth_weekday(FRIDAY, -1)),
        ("* * 5#2", nth_weekday(FRIDAY, 2)),
        ("* * 7#1", nth_weekday(6, 1)),
    ],
)
def test_the_day_fields_combine_as_in_vixie_cron(fields: str, days: object) -> None:
    assert read_cron(f"0 0 {fields}").days == days


@pytest.mark.parametrize(
    ("text", "rolling"),
    [
        ("* 2 * * *", True),
        ("*/10 2 * * *", True),
        ("30 * * * *", True),
        ("30 */2 * * *", True),
        ("0-59 2 * * *", False),
        ("* 30 2 * * *", False),
        ("~ 2 * * *", False),
    ],
)
def test_an_expression_rolls_if_its_minute_or_hour_begins_with_a_star(text: str, rolling: bool) -> None:
    assert read_cron(text).rolling is rolling


def test_a_tilde_picks_one_value_for_each_seed_for_ever() -> None:
    picked = [read_cron("~ 10~12 ~ * *", f"node\0job-{number}") for number in range(200)]
    assert picked[0] == read_cron("~ 10~12 ~ * *", "node\0job-0")
    assert all(len(expression.minutes) == len(expression.hours) == 1 for expression in picked)
    assert len({expression.minutes for expression in picked}) > 40
    assert {expression.hours for expression in picked} == {(10,), (11,), (12,)}
    every_month = days_of_month(frozenset(range(1, 29)))
    assert all(expression.days & every_month == expression.days for expression in picked)


def test_a_tilde_with_a_step_picks_where_the_steps_begin() -> None:
    expression = read_cron("~/15 0 * * *", "seed")
    assert len(expression.minutes) == 4
    assert {later - earlier for earlier, later in zip(expression.minutes, expression.minutes[1:], strict=False)} == {15}


def test_the_values_of_a_tilde_never_change() -> None:
    """They are kept for ever, so a new version must pick the same."""
    assert read_cron("~ ~ ~ ~ ~", "node\0job").normal == read_cron("~ ~ ~ ~ ~").normal
    expression = read_cron("~ ~ * * *", "node\0job")
    assert (expression.minutes, expression.hours) == ((0,), (10,))
