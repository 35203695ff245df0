"""The time zone data of a simulated machine: two zones whose clocks change every eight days, in two versions.

The files are as RFC 9636 describes them, so the appliance reads them as it reads those of a machine.
"""

from __future__ import annotations

import struct
from pathlib import Path

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
