"""What reloaded files make active: the options, and the jobs whose rows may change. A worker prepares most of it.

Rule: a preparation only spares work. Whatever has changed since it was made is computed again, so the result is the same
as without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from weakref import ref

from schedappliance.engine.declared import changed_jobs
from schedappliance.engine.options import Options, Override, Overrides, differing, is_counted_on, with_overrides
from schedappliance.model.configuration import Configuration
from schedappliance.model.option_paths import Scope


class Reloaded(NamedTuple):
    """The options with new files. `outdated`: the overrides that are dropped. `jobs`: the names of those that may have changed."""

    options: Options
    outdated: list[Override]
    jobs: frozenset[str]


class Prepared(NamedTuple):
    """A reload as of the moment when its files had been read.

    `files`: those that were active, as a reference that does not keep them in memory. `of_stanzas`: the overrides of
    that moment. `overrides`: those that the reload was to keep.
    """

    files: ref[Configuration]
    of_stanzas: Mapping[Scope, tuple[Override, ...]]
    overrides: Overrides
    reloaded: Reloaded


def set_since(earlier: Overrides, now: Overrides) -> Overrides:
    """The overrides that were set since."""
    return Overrides(override for place, override in now.items() if earlier.find(place) != override)


def prepare(files: Configuration, active: Options, overrides: Overrides) -> Prepared:
    """Prepares a reload. `overrides`: those that it would keep now."""
    return Prepared(ref(active.files), active.of_stanzas, overrides, _reload(files, active, overrides))


def is_outdated(prepared: Prepared, active: Options) -> bool:
    """Whether other files were accepted since, or an override has changed on which overrides of jobs may count."""
    return prepared.files() is not active.files or any(
        map(is_counted_on, differing(prepared.of_stanzas, active.of_stanzas))
    )


def reload(files: Configuration, active: Options, overrides: Overrides, prepared: Prepared | None) -> Reloaded:
    """What `files` make active, with these overrides of the active options. `prepared`: for the same files, a moment ago."""
    if prepared is None or is_outdated(prepared, active):
        return _reload(files, active, overrides)
    before, known, jobs = prepared.reloaded
    if overrides is prepared.overrides and active.of_stanzas is prepared.of_stanzas:
        return prepared.reloaded
    others = set(differing(prepared.of_stanzas, active.of_stanzas))
    # An override of a stanza that has lost another one since may fit now.
    dropped = {override for override in known if override.place.scope not in others}
    options = before.following(Overrides(o for o in overrides.values() if o not in dropped))
    others.update(differing(before.of_stanzas, options.of_stanzas))
    if any(map(is_counted_on, others)):
        return _reload(files, active, overrides)
    unknown = (
        o for place, o in options.overrides.items() if place.scope in others or prepared.overrides.find(place) != o
    )
    changed = options.outdated(unknown)
    dropped.update(changed)
    return Reloaded(
        options.without(override.place for override in changed),
        [override for override in overrides.values() if override in dropped],
        jobs.union(stanza.name for stanza in others if stanza.stanza == "job"),
    )


def _reload(files: Configuration, active: Options, overrides: Overrides) -> Reloaded:
    options = with_overrides(files, overrides)
    outdated = options.outdated()
    options = options.without(override.place for override in outdated)
    return Reloaded(options, outdated, frozenset(changed_jobs(active.configuration, options.configuration)))
