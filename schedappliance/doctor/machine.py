"""Problems of the machine: file events, locks, disk space, the version of SQLite, and paths that others use.

Rule: it decides from the facts alone.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, counted, path_diagnostic
from schedappliance.doctor.facts import Facts, Way
from schedappliance.doctor.mounts import Mount, mount_of
from schedappliance.edge.programs.survivors import BOOT_ID, HIDDEN_BOOT_REMEDY
from schedappliance.model.calendars.zones import DAMAGED
from schedappliance.store.files import LOG_LIMIT_BYTES
from schedappliance.store.loss import remedy_for
from schedappliance.store.opening import MIN_SQLITE

# Space for SQLite's log at its usual size (4 MiB), the outputs of running programs, and some growth.
MIN_FREE_BYTES = 64 * 1024 * 1024
# With less, the store may not even take a shorter `history`: the rows that it removes need space in SQLite's log first.
FULL_BYTES = 1024 * 1024
# Each running program needs one for its output, and each drop one for its result.
MIN_FREE_INODES = 1000
# Symbolic links in these directories belong to the layout of the system and do not change.
LAYOUT = frozenset({Path("/"), Path("/var")})


def machine_mistakes(facts: Facts) -> Iterator[Diagnostic]:
    yield from _mounted_files(facts)
    yield from _network_store(facts)
    yield from _network_files(facts)
    yield from _moving_paths(facts)
    yield from _watching(facts)
    yield from _store(facts)
    yield from _spool(facts)
    yield from _room(facts)
    yield from _blocked(facts)
    yield from _console(facts)
    yield from _used_by_others(facts)
    yield from _lost(facts)
    yield from _degraded(facts)
    yield from _held(facts)
    yield from _unknown(facts)
    yield from _hidden_boot(facts)
    yield from _first_process(facts)
    yield from _damaged_zones(facts)
    yield from _lost_log(facts)
    yield from _long_log(facts)
    yield from _strangers(facts)


def _mounted_files(facts: Facts) -> Iterator[Diagnostic]:
    """Files that are mount points. A mount keeps showing the old file after the file was replaced outside."""
    for way in facts.files:
        mounts = [mount for mount in facts.mounts if way.exists and mount.point == way.last.path]
        if not mounts or way.last.is_directory:
            continue
        kind = "a Kubernetes subPath mount" if mounts[-1].is_sub_path else "a mount point"
        now = "; it has been replaced already" if mounts[-1].is_replaced else ""
        message = f"the file is {kind}: an edit that replaces the file outside is never noticed{now}"
        remedy = "mount the volume without `subPath`" if mounts[-1].is_sub_path else "mount its directory instead"
        yield path_diagnostic("E601", way.named, message, remedy)


def _network(facts: Facts, way: Way | None) -> Mount | None:
    """The mount of a network file system that holds a path."""
    mount = mount_of(way.last.path, facts.mounts) if way else None
    return mount if mount and mount.is_network else None


def _named(mount: Mount) -> str:
    return f"a network file system ({mount.type}, {mount.source} on {mount.point})"


def _network_store(facts: Facts) -> Iterator[Diagnostic]:
    if facts.store and (mount := _network(facts, facts.store)):
        message = f"the store is on {_named(mount)}, where SQLite's log and locks do not work"
        yield path_diagnostic(
            "E602", facts.store.named, message, "keep it on a local disk, and copy it with `store backup`"
        )


def _network_files(facts: Facts) -> Iterator[Diagnostic]:
    # One file for each mount.
    files = {mount.point: (way, mount) for way in reversed(facts.files) if (mount := _network(facts, way))}
    for way, mount in files.values():
        message = f"the file is on {_named(mount)}: changes by other machines are found only by polling"
        remedy = "give `config reload` after an edit, or keep a local copy"
        yield path_diagnostic("W603", way.named, message, remedy)
    if facts.spool and (mount := _network(facts, facts.spool)):
        message = f"the spool is on {_named(mount)}, which reports no drops and grants no leases"
        yield path_diagnostic("W603", facts.spool.named, message, "keep it on a local disk")


def _moving_paths(facts: Facts) -> Iterator[Diagnostic]:
    for path in facts.relative:
        for link, target in path.way.links:
            if link.parent in LAYOUT:
                continue
            message = (
                f"`{path.option}` is relative to the directory of this file, behind the symbolic link {link} -> {target}: "
                "when the link changes, another path is used"
            )
            yield path_diagnostic("W604", path.way.named, message, f"give `{path.option}` an absolute path")


def _watching(facts: Facts) -> Iterator[Diagnostic]:
    failure = facts.watch_failure
    if failure is None:
        return
    of_limits = {errno.EMFILE: "fs.inotify.max_user_instances", errno.ENOSPC: "fs.inotify.max_user_watches"}
    limit = of_limits.get(failure.number)
    place, watched, news, read = facts.files[-1].named, "the files", "changes", "the directories of the files"
    if facts.spool and failure.is_spool:
        place, watched, news, read = facts.spool.named, "the spool", "drops", "its directories"
    remedy = f"raise `{limit}` with sysctl" if limit else f"let the appliance's user read {read}"
    message = f"cannot watch {watched} with inotify, so {news} are found only by slow polling: {failure.text}"
    yield path_diagnostic("W605", place, message, remedy)


def _store(facts: Facts) -> Iterator[Diagnostic]:
    if facts.sqlite < MIN_SQLITE:
        version, wanted = (".".join(map(str, version)) for version in (facts.sqlite, MIN_SQLITE[:2]))
        where = facts.store.named if facts.store else facts.files[0].named
        yield path_diagnostic(
            "E612", where, f"SQLite {version} is too old for the store", f"install SQLite {wanted} or newer"
        )
    if facts.store and facts.store_refusal:
        yield path_diagnostic("E610", facts.store.named, *facts.store_refusal)


def _spool(facts: Facts) -> Iterator[Diagnostic]:
    if facts.spool and facts.spool_refusal:
        yield path_diagnostic("E629", facts.spool.named, *facts.spool_refusal)
    for path in facts.missing:
        message = "the directory was removed: drops are not taken, or their results are not published"
        remedy = "start the appliance: it creates the missing directories of the spool"
        if any(holding.own for holding in facts.holdings):
            remedy = "wait 10 seconds, until the appliance creates it again; if it cannot, `summary` says why"
        yield path_diagnostic("E615", path, message, remedy)


def _room(facts: Facts) -> Iterator[Diagnostic]:
    if facts.store is None:
        return
    then = "on a full disk no command is accepted and no program starts"
    if facts.free_bytes is not None and facts.free_bytes < MIN_FREE_BYTES:
        free, wanted = facts.free_bytes // 1024**2, MIN_FREE_BYTES // 1024**2
        message = f"the disk of the store has {free} MiB left; {then}"
        remedy = f"free at least {wanted} MiB{', or shorten `history`' if facts.free_bytes >= FULL_BYTES else ''}"
        yield path_diagnostic("W611", facts.store.named, message, remedy)
    if facts.free_inodes is not None and facts.free_inodes < MIN_FREE_INODES:
        left = counted(facts.free_inodes, "inode")
        message = f"the disk of the store has {left} left, whatever space is free; {then}"
        yield path_diagnostic(
            "W611", facts.store.named, message, "remove files from it; `df -i` shows the inodes in use"
        )


def _blocked(facts: Facts) -> Iterator[Diagnostic]:
    for code, path, message, remedy in facts.blocked:
        yield path_diagnostic(code, path, message, remedy)


def _console(facts: Facts) -> Iterator[Diagnostic]:
    if facts.console is None:
        return
    way = facts.console.way
    if way.exists and not stat.S_ISSOCK(way.last.mode):
        yield path_diagnostic(
            "E614", way.named, "the path of the console is not a socket", "move it away, or change `console.listen`"
        )
    if not way.exists and any(holding.own for holding in facts.holdings):
        message = "the socket is missing although the appliance runs: nobody can give commands"
        remedy = "wait 10 seconds, until the appliance creates it again; if it cannot, its log says why"
        yield path_diagnostic("E614", way.named, message, remedy)
    if facts.console.unknown_group:
        message = f"the group `{facts.console.unknown_group}` of the console does not exist"
        yield path_diagnostic("E614", way.named, message, "create it, or correct `console.group`")


def _used_by_others(facts: Facts) -> Iterator[Diagnostic]:
    """An appliance with this configuration uses all its paths. One that uses only some has another configuration."""
    configured = sum(path is not None for path in (facts.store, facts.spool, facts.console))
    one_has_all = len({holding.pid for holding in facts.holdings}) == 1 and len(facts.holdings) == configured
    for holding in facts.holdings:
        if holding.own or (holding.own is None and (one_has_all or facts.hides_holders)):
            continue
        message = f"an appliance with another configuration uses this {holding.what} (pid {holding.pid})"
        remedy = f"stop it, or name another {holding.what}; if it is this one with older files, restart it"
        yield path_diagnostic("E613", holding.path, message, remedy)


def _lost(facts: Facts) -> Iterator[Diagnostic]:
    for lost in facts.lost:
        uses = f"the running appliance (pid {lost.pid})"
        message = f"{uses} uses a file or directory of this name that was moved or deleted"
        if lost.is_replaced:
            message = f"{uses} uses another file of this name, which was replaced"
        remedy = "restart the appliance, unless it mends this within ten seconds"
        if facts.store and lost.path == facts.store.named:
            remedy = "put the old file back before you restart the appliance"
        if lost.elsewhere:
            message = f"{uses} uses {lost.elsewhere}, but the links in this path lead elsewhere now"
            remedy = "change them back, or restart the appliance: it goes on with what they lead to"
        yield path_diagnostic("E616", lost.path, message, remedy)


def _degraded(facts: Facts) -> Iterator[Diagnostic]:
    if facts.says.degraded:
        message = f"the running appliance is degraded: {facts.says.degraded}"
        remedy = "remove the cause: the appliance tries again by itself"
        yield path_diagnostic("E617", facts.files[0].named, message, remedy)


def _held(facts: Facts) -> Iterator[Diagnostic]:
    if facts.says.held:
        message = f"the running appliance is held {facts.says.held}; nothing new starts"
        yield path_diagnostic("W621", facts.files[0].named, message, "end it with `sched release`")


def _unknown(facts: Facts) -> Iterator[Diagnostic]:
    """Without an answer, nobody knows whether the appliance is degraded or held."""
    if facts.says.unknown:
        yield path_diagnostic("W631", facts.files[0].named, *facts.says.unknown)


def _hidden_boot(facts: Facts) -> Iterator[Diagnostic]:
    if facts.hides_boot_id:
        message = "/proc does not show the id of this boot, by which programs and boots are recognized"
        yield path_diagnostic("W622", BOOT_ID, message, HIDDEN_BOOT_REMEDY)


def _first_process(facts: Facts) -> Iterator[Diagnostic]:
    if facts.first_process:
        message = "`on_stop = keep` cannot keep programs: the appliance is process 1, whose end also ends the keeper"
        remedy = "remove `on_stop`, and give the container enough time to stop"
        yield path_diagnostic("W625", facts.files[-1].named, message, remedy)


def _damaged_zones(facts: Facts) -> Iterator[Diagnostic]:
    for path in facts.damaged_zones:
        yield path_diagnostic("W623", path, DAMAGED, "install the package `tzdata` of the system again")


def _lost_log(facts: Facts) -> Iterator[Diagnostic]:
    if facts.store and facts.loss:
        yield path_diagnostic("E620", facts.store.named, facts.loss, remedy_for(facts.store.named))


def _long_log(facts: Facts) -> Iterator[Diagnostic]:
    if facts.store and facts.log_bytes > LOG_LIMIT_BYTES and facts.readers:
        who = ", ".join(f"pid {reader.pid} ({reader.command})" for reader in facts.readers)
        size, path = facts.log_bytes // 1024**2, Path(f"{facts.store.named}-wal")
        message = f"the log has {size} MiB, and grows while the store is read by {who}"
        yield path_diagnostic("W618", path, message, "end the long read; then SQLite cuts the log")


def _strangers(facts: Facts) -> Iterator[Diagnostic]:
    for one in facts.strangers if facts.store else ():
        assert facts.store is not None
        who = f"process {one.pid} ({one.command}) belongs to run {one.run}, which is not in the store"
        message = f"{who}: a backup was restored while it ran; it writes to {one.output}"
        remedy = "read its output there, and wait for its end or end it: the appliance only enforces its timeout"
        yield path_diagnostic("W626", facts.store.named, message, remedy)
