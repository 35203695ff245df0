"""Which boot of the machine this is, whether the last tick was in it, and in which pid namespace the daemon runs.

Rule: a hidden boot id is not the id of another boot.
"""

from __future__ import annotations

from typing import NamedTuple

from schedappliance.clock import Moment

UNKNOWN_BOOT = "unknown"
# By how much the computed moment of a boot may change between two daemons of this boot.
BOOT_TOLERANCE_MS = 60_000


class ThisBoot(NamedTuple):
    """The present boot. `name`: its id, or a name that begins with UNKNOWN_BOOT.

    `has_ticked`: the last tick of this store was in this boot. `former`: the name that it had then, if it was another one.
    `namespace`: the pid namespace of the daemon; empty if it is not known.
    """

    name: str
    has_ticked: bool = False
    former: str | None = None
    namespace: str = ""

    def includes(self, name: str) -> bool | None:
        """Whether a recorded name is one of this boot; None if that is unknown, since one of the ids was hidden."""
        if name in (self.name, self.former):
            return True
        return None if _is_hidden(name) or _is_hidden(self.name) else False


def this_boot(shown: str, now: Moment, recorded: str | None, last: Moment | None) -> ThisBoot:
    """The present boot. `shown`: its id, empty if hidden. `recorded`, `last`: name of the boot and moment of the last tick."""
    name = shown or f"{UNKNOWN_BOOT}-{now.wall - now.boot}"
    if recorded is None or last is None:
        return ThisBoot(name)
    if not shown or _is_hidden(recorded):
        if not _may_be_one_boot(last, now):
            return ThisBoot(name)
        # A known id is kept while it is hidden.
        return ThisBoot(shown or recorded, True, recorded)
    return ThisBoot(name, name == recorded)


def _is_hidden(name: str) -> bool:
    return name.startswith(UNKNOWN_BOOT)


def _may_be_one_boot(last: Moment, now: Moment) -> bool:
    """Whether two moments are of one boot, as the clocks show.

    The boot clock begins at 0 in each boot. The moment of the boot, wall minus boot, is constant unless the wall clock is
    set: NTP slews both clocks alike. After a reboot it is later by at least the boot time of the last tick. So with a
    right clock, a tolerance below that boot time confuses no two boots. If the clock is set by more than the tolerance
    while no daemon runs, one boot looks like two, and a job of `at = boot` runs again. A job that runs twice is better
    than one that never runs in a new boot.
    """
    moved = abs((now.wall - now.boot) - (last.wall - last.boot))
    return last.boot <= now.boot and moved <= min(BOOT_TOLERANCE_MS, last.boot)
