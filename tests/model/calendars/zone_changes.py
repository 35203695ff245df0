"""The changes of all zones, as `zoneinfo` has read them from the files."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo, _zoneinfo, available_timezones  # type: ignore[attr-defined]  # private: Python's own reader

ZONES = sorted(
    name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix/", "right/"))
)
START, END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1970, 2037))


@cache
def transitions(name: str) -> list[tuple[int, int]]:
    """The instants of a zone at which another offset begins, with this offset, from 1970 to 2036."""
    rules: Any = _zoneinfo.ZoneInfo.no_cache(name)
    pairs, last = [], rules._tti_before.utcoff.total_seconds()
    for instant, info in zip(rules._trans_utc, rules._ttinfos, strict=True):
        offset = info.utcoff.total_seconds()
        if offset != last and START <= instant < END:
            pairs.append((instant, int(offset)))
        last = offset
    return pairs


def random_change(random: Random) -> tuple[str, int]:
    """A zone and one of its changes: from 2020 to 2035, or from 2040 to 2090, which the rule at the end of the file gives."""
    while True:
        name = random.choice(ZONES)
        if random.random() < 0.2:
            year = random.randrange(2040, 2090)
            changes = list(_later_changes(ZoneInfo(name), year))
        else:
            changes = [instant for instant, _ in transitions(name) if instant > 1_577_836_800]
        if changes:
            return name, random.choice(changes)


def _later_changes(zone: ZoneInfo, year: int) -> list[int]:
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    offsets = [datetime.fromtimestamp(start + hour * 1800, zone).utcoffset() for hour in range(366 * 48)]
    return [start + n * 1800 for n in range(1, len(offsets)) if offsets[n - 1] != offsets[n]]
