"""What the machine itself does not offer: events, locks, room, a recent SQLite, and places that nobody else uses."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.doctor.facts import Facts, Way
from schedappliance.doctor.mounts import Mount, mount_of
from schedappliance.store.database import MIN_SQLITE

# Room for SQLite's log at its usual length, the outputs of running programs, and some growth.
MIN_FREE_BYTES = 64 * 1024 * 1024
# Links that belong to the layout of the system stand here; nobody moves them while an appliance lives.
LAYOUT = frozenset({Path("/"), Path("/var")})


def machine_mistakes(facts: Facts) -> Iterator[Diagnostic]:
    yield from _mounted_files(facts)
    yield from _network_store(facts)
    yield from _network_files(facts)
    yield from _moving_places(facts)
    yield from _watching(facts)
    yield from _store(facts)
    yield from _missing(facts)
    yield from _room(facts)
    yield from _console(facts)
    yield from _used_by_others(facts)


def _say(code: str, path: Path, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, help, Source(str(path), ""))


def _mounted_files(facts: Facts) -> Iterator[Diagnostic]:
    """A mount shows the file that was mounted, whatever has its name outside by now."""
    for way in facts.files:
        mounts = [mount for mount in facts.mounts if way.exists and mount.point == way.last.path]
        if not mounts or way.last.is_directory:
            continue
        kind = "a Kubernetes subPath mount" if mounts[-1].is_sub_path else "a mount of its own"
        now = "; it has been replaced already" if mounts[-1].is_replaced else ""
        message = f"the file is {kind}: an edit that replaces it outside is never seen here{now}"
        help = "mount the volume without `subPath`" if mounts[-1].is_sub_path else "mount its directory instead"
        yield _say("E601", way.named, message, help)


def _network(facts: Facts, way: Way | None) -> Mount | None:
    """The network file system that holds a place."""
    found = mount_of(way.last.path, facts.mounts) if way else None
    return found if found and found.is_network else None


def _network_store(facts: Facts) -> Iterator[Diagnostic]:
    if facts.store and (mount := _network(facts, facts.store)):
        found = f"{mount.type}, {mount.source} on {mount.point}"
        message = f"the store is on a network file system ({found}), where SQLite's log and locks do not hold"
        yield _say("E602", facts.store.named, message, "keep it on a local disk, and copy it with `store backup`")


def _network_files(facts: Facts) -> Iterator[Diagnostic]:
    # Of many files on one mount one is named.
    files = {mount.point: (way, mount) for way in reversed(facts.files) if (mount := _network(facts, way))}
    for way, mount in files.values():
        found = f"{mount.type}, {mount.source} on {mount.point}"
        message = f"the file is on a network file system ({found}): changes made elsewhere are seen only by the poll"
        help = "give `config reload` after an edit, or keep a local copy"
        yield _say("W603", way.named, message, help)
    if facts.spool and (mount := _network(facts, facts.spool)):
        found = f"{mount.type}, {mount.source} on {mount.point}"
        message = f"the spool is on a network file system ({found}): no events and no leases tell of drops"
        yield _say("W603", facts.spool.named, message, "keep it on a local disk")


def _moving_places(facts: Facts) -> Iterator[Diagnostic]:
    for place in facts.relative:
        for link, target in place.way.links:
            if link.parent in LAYOUT:
                continue
            message = (
                f"`{place.option}` starts at the directory of this file, behind the symbolic link {link} -> {target}: "
                "when the link moves, another place is used"
            )
            yield _say("W604", place.way.named, message, f"give `{place.option}` an absolute path")


def _watching(facts: Facts) -> Iterator[Diagnostic]:
    if facts.watch_failure is None:
        return
    number, text = facts.watch_failure
    limit = {errno.EMFILE: "fs.inotify.max_user_instances", errno.ENOSPC: "fs.inotify.max_user_watches"}.get(number)
    help = f"raise `{limit}` with sysctl" if limit else "let the appliance's user read the directories of the files"
    message = f"changes cannot be seen by events, only by a slow poll: {text}"
    yield _say("W605", facts.files[-1].named, message, help)


def _store(facts: Facts) -> Iterator[Diagnostic]:
    if facts.sqlite < MIN_SQLITE:
        found, wanted = (".".join(map(str, version)) for version in (facts.sqlite, MIN_SQLITE[:2]))
        where = facts.store.named if facts.store else facts.files[0].named
        yield _say("E612", where, f"SQLite {found} is too old for the store", f"install SQLite {wanted} or newer")
    if facts.store and facts.store_refusal:
        yield _say("E610", facts.store.named, *facts.store_refusal)


def _missing(facts: Facts) -> Iterator[Diagnostic]:
    for path in facts.missing:
        message = "the directory has been removed: nothing is taken from the spool, or nothing is answered"
        yield _say("E615", path, message, "start the appliance again: it makes what is missing of the spool")


def _room(facts: Facts) -> Iterator[Diagnostic]:
    if facts.store and facts.free_bytes is not None and facts.free_bytes < MIN_FREE_BYTES:
        free, wanted = facts.free_bytes // 1024**2, MIN_FREE_BYTES // 1024**2
        message = f"the disk of the store has {free} MiB left; without room no command is taken and no program starts"
        yield _say("W611", facts.store.named, message, f"make room for at least {wanted} MiB, or shorten `history`")


def _console(facts: Facts) -> Iterator[Diagnostic]:
    if facts.console is None:
        return
    way = facts.console.way
    if way.exists and not stat.S_ISSOCK(way.last.mode):
        yield _say(
            "E614", way.named, "the path of the console is no socket", "move it away, or change `console.listen`"
        )
    if facts.console.unknown_group:
        message = f"there is no group `{facts.console.unknown_group}` for the console"
        yield _say("E614", way.named, message, "create it, or correct `console.group`")


def _used_by_others(facts: Facts) -> Iterator[Diagnostic]:
    """An appliance of this configuration uses all of its places; one that uses but some has another configuration."""
    configured = sum(place is not None for place in (facts.store, facts.spool, facts.console))
    one_has_all = len({holding.pid for holding in facts.holdings}) == 1 and len(facts.holdings) == configured
    for holding in facts.holdings:
        if holding.own or (holding.own is None and one_has_all):
            continue
        message = f"an appliance of another configuration uses this {holding.place} (pid {holding.pid})"
        help = f"stop it, or name another {holding.place}; if it is this one with older files, restart it"
        yield _say("E613", holding.path, message, help)
