"""Cron expressions, calendar expressions and time zones, as far as the appliance takes them.

Rule: what cron and systemd take and the appliance does not is an InvalidValue, so that no stanza is written for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from schedappliance.diagnostics import InvalidValue, Span
from schedappliance.model.calendars.compiling import calendar_of_expression
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.doubts import Doubt, never_due, unknown_zone
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.oncalendar import read_calendar
from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones


@dataclass(frozen=True, slots=True)
class Expressions:
    """Reads expressions on a machine with some time zone data."""

    zones: Zones

    def cron(self, text: str) -> Expression:
        """The meaning of a cron expression that is due at some time. Raises InvalidValue."""
        return self._due(read_cron(text), text)

    def calendar(self, text: str) -> Expression:
        """The meaning of a calendar expression that is due at some time, in a known zone. Raises InvalidValue."""
        expression = read_calendar(text)
        if expression.zone:
            self.check_zone(expression.zone)
        return self._due(expression, text)

    def check_zone(self, name: str) -> None:
        """Raises InvalidValue for a zone that is not in the data. `local` is that of the machine which runs the jobs."""
        if name == LOCAL:
            return
        try:
            self.zones.get(name)
        except UnknownZone as error:
            raise _invalid(unknown_zone(error, self.zones, Span(0, len(name)))) from None

    def _due(self, expression: Expression, text: str) -> Expression:
        # cron and systemd take February 30 without a word.
        if calendar_of_expression(replace(expression, zone=None), "UTC", self.zones).next_after(0) is None:
            raise _invalid(never_due(expression, Span(0, len(text))))
        return expression


def _invalid(doubt: Doubt) -> InvalidValue:
    return InvalidValue(doubt.message, doubt.remedy, doubt.code, doubt.span)
