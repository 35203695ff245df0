"""Watches the time zone data of the machine, and the machine's own zone. Rule: it compares files, and decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.engine.events import ZonesChanged
from schedappliance.model.calendars.zones import Zones, this_machine

if TYPE_CHECKING:
    from schedappliance.edge.threads import Inbox


class ZoneWatch:
    """The zones in use. A change becomes an event with new ones."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.zones = Zones(this_machine())

    def check(self) -> None:
        """Compares the files of the zones in use with the contents that were read. These are a few small files."""
        if self.zones.changed():
            self.zones = Zones(this_machine(), self.zones)
            self._inbox.post(ZonesChanged(self.zones))
