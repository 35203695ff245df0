"""Reads the expressions and time zones of crontabs and timers, and rejects those that no stanza can hold.

Rule: what cron or systemd accepts and the appliance rejects raises InvalidValue, so that no stanza is written for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.diagnostics import Span
from schedappliance.model.calendars.checks import check_possible
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.doubts import unknown_zone
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.oncalendar import read_calendar
from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones


@dataclass(frozen=True, slots=True)
class Expressions:
    """Reads expressions on a machine with some time zone data."""

    zones: Zones

    def cron(self, text: str) -> Expression:
        """The meaning of a cron expression that is due at some time. Raises InvalidValue."""
        expression = read_cron(text)
        # cron and systemd accept February 30 without a message.
        check_possible(text, expression)
        return expression

    def calendar(self, text: str) -> Expression:
        """The meaning of a calendar expression that is due at some time, in a known zone. Raises InvalidValue."""
        expression = read_calendar(text)
        if expression.zone:
            self.check_zone(expression.zone)
        check_possible(text, expression)
        return expression

    def check_zone(self, name: str) -> None:
        """Raises InvalidValue for a zone that is not in the data. `local` is that of the machine which runs the jobs."""
        if name == LOCAL:
            return
        try:
            self.zones.get(name)
        except UnknownZone as error:
            raise unknown_zone(error, self.zones, Span(0, len(name))).error() from None
