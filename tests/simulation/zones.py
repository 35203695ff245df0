"""The time zone data of a simulated machine: two zones whose clocks change every eight days, in two versions.

The files are as RFC 9636 describes them, so the appliance reads them as it reads those of a machine.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.zones import Machine, Zones
from tests.simulation.dice import DAY, HOUR, Dice
from tests.support.core import START_MS

ZONES = ("Home", "Away")
# Changes of real zones are at least a week apart.
BETWEEN_S = 8 * DAY // 1000
CHANGES = 400


class SimulatedZones:
    """`version`: which data the files hold. `local`: the zone of the machine."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.version, self.local = 1, "Home"
        self._write()

    @property
    def zones(self) -> Zones:
        """The zones as a daemon reads them that starts now."""
        none = self._folder / "none"
        return Zones(Machine(directories=(self._folder,), tz=self.local, localtime=none, timezone=none))

    def change(self, dice: Dice) -> None:
        """Exchanges the data, or moves the machine to the other zone."""
        if dice.apart(0.5):
            self.local = ZONES[self.local == ZONES[0]]
        else:
            self.version = 3 - self.version
            self._write()

    def _write(self) -> None:
        for number, name in enumerate(ZONES):
            first = START_MS // 1000 // 86_400 * 86_400 + 3600 + (number * 3 + self.version) * 86_400
            offsets = (3600 + number * 7200, 7200 + number * 7200)
            # Half an hour, as on Lord Howe, in the second version of the second zone.
            changed = (offsets[0], offsets[0] + (1800 if number and self.version == 2 else 3600))
            (self._folder / name).write_bytes(zone_file([first + n * BETWEEN_S for n in range(CHANGES)], changed))


def zone_file(changes: list[int], offsets: tuple[int, int]) -> bytes:
    """A file of version 2: at each change the other offset begins."""
    head = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    empty = head + struct.pack(">lbb", 0, 0, 0) + b"AAA\0"
    counts = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, len(changes), 2, 8)
    times = struct.pack(f">{len(changes)}q", *changes)
    kinds = bytes((n + 1) % 2 for n in range(len(changes)))
    types = struct.pack(">lbb", offsets[0], 0, 0) + struct.pack(">lbb", offsets[1], 1, 4)
    return empty + counts + times + kinds + types + b"AAA\0BBB\0" + b"\n\n"


EXPRESSIONS = (
    'cron "30 2 * * *"',
    'cron "30 2 * * 1-5"',
    'cron "15 */6 * * *"',
    'cron "~ 3 * * *"',
    'cron "0 0 L * *"',
    'calendar "*-*-* 02:30,14:45"',
    'calendar "Mon..Fri 01:59:59"',
    'calendar "*:0/30"',
)


def calendar_line(dice: Dice, command: str) -> str:
    """A line that schedules a command by a calendar, in one of the zones."""
    expression, zone = dice.picked(EXPRESSIONS), dice.picked((*ZONES, "local", "UTC"))
    syntax, text = expression.split(" ", 1)
    written = f"TZ={zone} {text[1:-1]}" if syntax == "cron" else f"{text[1:-1]} {zone}"
    return f'sched {syntax} "{written}" {command}'


LONGEST_GAP_MS = 40 * DAY + HOUR


class Model(NamedTuple):
    """What an expression means: its days and its times of day. `rolling`: it follows the clock through a change."""

    days: Callable[[date], bool]
    times: tuple[time, ...]
    rolling: bool = False


def _every_day(_day: date) -> bool:
    return True


def _is_workday(day: date) -> bool:
    return day.weekday() < 5


# By the normal form. Expressions with `~` have none, since only the appliance knows their times.
MODELS = {
    "30 2 * * *": Model(_every_day, (time(2, 30),)),
    "30 2 * * MON-FRI": Model(_is_workday, (time(2, 30),)),
    "15 */6 * * *": Model(_every_day, tuple(time(hour, 15) for hour in (0, 6, 12, 18)), rolling=True),
    "0 0 L * *": Model(lambda day: (day + timedelta(1)).day == 1, (time(),)),
    "*-*-* 02:14,30:45": Model(_every_day, (time(2, 14, 45), time(2, 30, 45))),
    "Mon..Fri *-*-* 01:59:59": Model(_is_workday, (time(1, 59, 59),)),
    "*-*-* *:00/30:00": Model(_every_day, tuple(time(n // 2, n % 2 * 30) for n in range(48)), rolling=True),
}
_LONGEST_OFFSET_S = 14 * 3600


def modelled_due(schedule: str, zones: Zones, now_ms: int) -> int | None:
    """The first due time of a calendar after an instant, found day by day. None: there is no model of the calendar."""
    rule = json.loads(schedule)
    (expression, *others) = rule.get("cron") or rule.get("calendar") or ("",)
    name = rule.get("zone")
    if expression.startswith("TZ="):
        name, expression = expression[3:].split(" ", 1)
    elif name is None and "calendar" in rule:
        expression, name = expression.rsplit(" ", 1)
    model = MODELS.get(expression)
    if model is None or others or rule.keys() - {"cron", "calendar", "zone", "dst_skipped", "dst_repeated"}:
        return None
    zone, now = zones.get(name), now_ms // 1000
    day = datetime.fromtimestamp(now, UTC).date() - timedelta(2)
    while True:
        due = [
            instant
            for when in (model.times if model.days(day) else ())
            for instant in _instants(zone, int(datetime.combine(day, when, UTC).timestamp()), model.rolling)
            if instant > now
        ]
        if due:
            # The next day may begin before this one ends by the clock, but no zone changes twice in a week.
            return min(due) * 1000
        day += timedelta(1)


def _instants(zone: Zone, local: int, rolling: bool) -> Iterator[int]:
    """The instants at which a local time is due."""
    first, last = zone.piece_at(local - _LONGEST_OFFSET_S), zone.piece_at(local + _LONGEST_OFFSET_S)
    shown = {local - piece.offset for piece in (first, last) if piece.start <= local - piece.offset < piece.end}
    if rolling:
        yield from shown
    else:
        yield min(shown, default=first.end)
