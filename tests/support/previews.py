"""Previews of an appliance of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from schedappliance.engine.events import Remains
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.preview.opening import StartingPoint, simulation_from
from schedappliance.preview.report import mark_text
from schedappliance.preview.rows import Row
from schedappliance.preview.simulation import Simulation
from schedappliance.store.reading import private_copy
from tests.support.core import NODE, OPERATOR, Appliance, configuration

NOTHING = Remains({}, {})
UTC_ZONE = Zones(this_machine()).get("UTC")


@contextmanager
def simulated(
    appliance: Appliance, *, in_use: bool = True, remains: Remains = NOTHING, stanzas: str | None = None
) -> Iterator[Simulation]:
    """A simulation that starts now. `stanzas`: what the files hold then; otherwise what is in effect."""
    assert appliance.path
    files = configuration(stanzas).configuration if stanzas else appliance.state.options.files
    moment, boot = appliance.clock.moment(), appliance.boot_id
    with closing(private_copy(appliance.path)) as database:
        simulation = simulation_from(
            StartingPoint(database, files, moment, in_use, NODE, boot, 2, OPERATOR.uid, appliance.person)
        )
        simulation.start(remains)
        yield simulation


def previewed(
    appliance: Appliance,
    milliseconds: int,
    *,
    in_use: bool = True,
    remains: Remains = NOTHING,
    stanzas: str | None = None,
) -> list[Row]:
    with simulated(appliance, in_use=in_use, remains=remains, stanzas=stanzas) as simulation:
        return list(simulation.rows(milliseconds))


def summarized(rows: list[Row], began_ms: int) -> list[tuple[int, int, str]]:
    """The job of each row, the seconds from the start to its due time, and its mark."""
    return [(row.key.job if row.key else 0, (row.due_ms - began_ms) // 1000, mark_text(row, UTC_ZONE)) for row in rows]
