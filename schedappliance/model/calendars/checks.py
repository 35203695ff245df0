"""Checks that an expression is due at some time. Rule: an expression that is due in no year is an error."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from schedappliance.diagnostics import Span
from schedappliance.model.calendars.compiling import calendar_of_expression
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.doubts import never_due
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.oncalendar import read_calendar
from schedappliance.model.calendars.zones import Machine, Zones


@lru_cache(maxsize=1024)
def check_cron(text: str) -> None:
    """Raises InvalidValue for a text that is not a cron expression, or is never due."""
    check_possible(text, read_cron(text))


@lru_cache(maxsize=1024)
def check_calendar(text: str) -> None:
    """Raises InvalidValue for a text that is not a calendar expression, or is never due."""
    check_possible(text, read_calendar(text))


def check_possible(text: str, expression: Expression) -> None:
    """Raises InvalidValue for an expression that is never due. `text`: what it was read from."""
    # Whether it is ever due does not depend on the time zone.
    calendar = calendar_of_expression(replace(expression, zone=None), "UTC", Zones(Machine()))
    if calendar.next_after(-1) is None:
        raise never_due(expression, Span(0, len(text))).error()
