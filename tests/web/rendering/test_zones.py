"""The zone in which a viewer sees instants."""

from __future__ import annotations

import pytest

from schedappliance.clock import Moment
from schedappliance.web.rendering.zones import ViewerZones


@pytest.mark.parametrize(
    ("cookies", "zone"),
    [
        ({}, "server time"),
        ({"zone": "utc"}, "UTC"),
        ({"zone": "browser", "browser-zone": "Europe%2FBerlin"}, "Europe/Berlin"),
        ({"zone": "browser", "browser-zone": "Etc%2FGMT%2B3"}, "Etc/GMT+3"),
        ({"zone": "browser", "browser-zone": "Nowhere"}, "server time"),
        ({"zone": "browser"}, "server time"),
        ({"zone": "elsewhere"}, "server time"),
    ],
)
def test_the_cookies_of_a_browser_choose_the_zone(cookies: dict[str, str], zone: str) -> None:
    assert ViewerZones().times(Moment(0, 0), cookies).zone_name == zone


def test_the_zone_of_the_server_is_that_in_which_the_appliance_writes() -> None:
    times = ViewerZones().times(Moment(0, 0), {}, "Asia/Tokyo")
    assert (times.zone_name, times.clock(0)) == ("Asia/Tokyo", "09:00")
    assert ViewerZones().times(Moment(0, 0), {"zone": "utc"}, "Asia/Tokyo").zone_name == "UTC"
    assert ViewerZones().times(Moment(0, 0), {}, "local").zone_name == "server time"
