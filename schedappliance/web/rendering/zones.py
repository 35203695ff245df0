"""The zone in which a viewer sees instants: that of the appliance, that of the browser, or UTC. A cookie keeps the choice."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from schedappliance.clock import Moment
from schedappliance.model.calendars.zones import LOCAL, Zones, this_machine
from schedappliance.web.rendering.times import Times

COOKIE, BROWSER_COOKIE = "zone", "browser-zone"
CHOICES = (("server", "Server time"), ("browser", "My time"), ("utc", "UTC"))


class ViewerZones:
    def __init__(self) -> None:
        self._zones = Zones(this_machine())
        self._names = frozenset(self._zones.names)

    def choice(self, cookies: Mapping[str, str]) -> str:
        chosen = cookies.get(COOKIE, "")
        return chosen if chosen in dict(CHOICES) else "server"

    def times(self, now: Moment, cookies: Mapping[str, str], server_zone: str | None = None) -> Times:
        """How instants are written for the browser that sent these cookies. `server_zone`: that of `sched`.

        Without it, the zone of the machine is that of the server, as in what the appliance itself writes.
        """
        choice = self.choice(cookies)
        if choice == "utc":
            return Times(*now, self._zones.to_show("UTC"), "UTC")
        name = unquote(cookies.get(BROWSER_COOKIE, ""))
        if choice == "browser" and name in self._names:
            return Times(*now, self._zones.to_show(name), name)
        is_named = server_zone is not None and server_zone != LOCAL
        return Times(*now, self._zones.to_show(server_zone), str(server_zone) if is_named else "server time")
