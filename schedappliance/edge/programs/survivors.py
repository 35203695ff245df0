"""Processes in /proc: when they started, their group, and which ones outlived an earlier daemon. Also the id of this boot.

Rule: a pid alone never identifies a process, since the kernel uses pids again.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from schedappliance.edge.programs.keeper_files import ENDS
from schedappliance.edge.programs.keeper_programs import NAMING, PARENT, SESSION, START, STATE, stat_of
from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.records import AttemptKey, ProcessKey, run_id
from schedappliance.kinds import LARGEST_OF_KERNEL, read_head
from schedappliance.store.runs import Attempt

MOST_SHOWN = 80
# The values of NAMING.
AttemptNames = tuple[str, ...]
_UUID_BYTES = 36


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OFFSETS = Path("/proc/self/timens_offsets")
HIDDEN_BOOT_REMEDY = "with systemd, remove `ProcSubset=pid`; otherwise remove what is mounted over it"


def boot_id(path: Path = BOOT_ID) -> str:
    """The id of this boot, which the kernel shows at a path. Empty if it is hidden.

    In a time namespace, as some containers have, it is another one: the boot time counts from another instant there.
    """
    try:
        text = read_head(path, _UUID_BYTES + 1).strip()
    except OSError:
        return ""
    # Another file may be mounted over it.
    return text.decode("ascii") + clock_offset() if re.fullmatch(rb"[0-9a-f-]{%d}" % _UUID_BYTES, text) else ""


def clock_offset(path: Path = OFFSETS) -> str:
    """How far the time namespace of this process moves the boot time, in seconds and nanoseconds; empty if it does not."""
    try:
        line = re.search(rb"^boottime\s+(-?[0-9]+)\s+([0-9]+)$", read_head(path, 4096), re.MULTILINE)
    except OSError:
        return ""
    seconds, nanoseconds = map(int, line.groups()) if line else (0, 0)
    return f"+{seconds}.{nanoseconds:09}" if seconds or nanoseconds else ""


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if the process is gone."""
    fields = stat_of(pid)
    return int(fields[START]) if fields else 0


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped a process."""
    fields = stat_of(pid)
    return bool(fields) and fields[STATE] in b"Tt"


def copies_of(pid: int) -> list[int]:
    """The children of a process that are copies of it: they have not become another program yet, or never will."""
    words = _command_line(pid)
    tasks = Path(f"/proc/{pid}/task")
    try:
        # Each thread has children of its own.
        children = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [child for child in children if words and _command_line(child) == words]


def _command_line(pid: int) -> bytes:
    try:
        return read_head(Path(f"/proc/{pid}/cmdline"), LARGEST_OF_KERNEL)
    except OSError:
        return b""


def keepers_of(directory: Path) -> list[int]:
    """The keepers of this user for this directory of outputs: their arguments or their files of ends lead to it.

    They make a removed socket again. A keeper leads a session, and its copies do not. Any user can start a process with such
    arguments, and one with the rights of this user if a program is set-user-ID. But only this user can open a file of ends,
    wherever that was moved.
    """
    keepers = []
    for pid in _pids():
        *_, parts, named, end = (b"", b"", b"", *_command_line(pid).split(b"\0"))
        # Keepers of earlier versions do not have this part.
        if end or b"keeper_files=" not in parts:
            continue
        with suppress(OSError):
            process = Path(f"/proc/{pid}")
            is_own = process.stat().st_uid == os.geteuid() and os.getsid(pid) == pid
            # The path of a process of somebody else is not looked at: its file system may hang.
            if not is_own or not _is_file_of_ends(process / "fd" / "1"):
                continue
            # In a container, the same path may lead to another directory, and a link may make another path lead to this one.
            paths = {Path(os.fsdecode(named)), (process / "fd" / "1").readlink().parent}
            # A directory above was renamed if the file of ends is elsewhere, in a directory of the same name.
            known = [path for path in paths if path.name == Path(os.fsdecode(named)).name]
            if any(_is_same_directory(f"{process}/root{path}", directory) for path in known):
                keepers.append(pid)
    return keepers


def _is_same_directory(path: str, directory: Path) -> bool:
    try:
        return directory.samefile(path)
    except OSError:
        return False


def _is_file_of_ends(link: Path) -> bool:
    """Whether a link in /proc leads to a file of ends of this user. The file may have been moved or removed. Raises OSError."""
    name = link.readlink().name.removesuffix(" (deleted)")
    status = link.stat()
    is_private = stat.S_ISREG(status.st_mode) and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return name == ENDS and is_private and status.st_uid == os.geteuid()


def command_of(pid: int, shown: int = MOST_SHOWN) -> str:
    """The command line of a process, shortened; its name for a process that has none."""
    try:
        words = read_head(Path(f"/proc/{pid}/cmdline"), 4 * shown).decode(errors="replace").split("\0")
        name = " ".join(words).strip()[:shown]
        return name or read_head(Path(f"/proc/{pid}/comm"), MOST_SHOWN).decode(errors="replace").strip()
    except OSError:
        return "unknown"


def in_group(group: int) -> list[int]:
    """The living members of a process group."""
    # getpgid(2) takes a tenth of the time of reading /proc/PID/stat, so it comes first.
    return [pid for pid in _pids() if _group_of(pid) == group and stat_of(pid)]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def strays_of(keeper: int, known: Collection[int]) -> list[ProcessKey]:
    """The orphans of a keeper that belong to none of its running programs (`known`), as far as anybody can tell.

    They have not the session of such a program, and their variables name no attempt. A start that is not finished is a copy of
    the keeper.
    """
    strays, own = [], _command_line(keeper)
    for pid in _pids():
        fields = stat_of(pid)
        if not fields or int(fields[PARENT]) != keeper or pid in known or int(fields[SESSION]) in known:
            continue
        if own and _command_line(pid) != own and not _names_in(pid)[0]:
            strays.append(ProcessKey(pid, int(fields[START])))
    return strays


def find_survivors(
    attempts: list[Attempt], node: str, identity: str, boot: ThisBoot, is_own: Callable[[AttemptKey, int, bool], bool]
) -> dict[AttemptKey, ProcessKey]:
    """The processes of attempts whose end is not recorded.

    A recorded process is recognized by its pid and start time. A program whose pid was not recorded, since it was started just
    before a crash, or counts in another pid namespace, is recognized by its environment, if it leads its session: children
    inherit the environment.
    `is_own(key, pid, must_write)`: whether the process of an attempt belongs to this store, and not to a copy of it, which has
    the same rows. `must_write`: the boot of the attempt is unknown, so only a process that writes to its output counts.
    """
    boots = {attempt.key: boot.includes(attempt.boot_id) for attempt in attempts}
    survivors: dict[AttemptKey, ProcessKey] = {}
    for attempt in attempts:
        process = attempt.process
        is_possible = boots[attempt.key] is not False and not _is_elsewhere(attempt, boot)
        if process and is_possible and 0 < process.start_ticks == start_ticks(process.pid):
            survivors[attempt.key] = process
    unrecorded: dict[AttemptNames, AttemptKey] = {
        (identity, run_id(node, a.key.run), str(a.key.attempt), str(a.started_ms)): a.key
        for a in attempts
        if boots[a.key] is not False and (_is_elsewhere(a, boot) or not (a.process and a.process.start_ticks))
    }
    for names, process in find_named(unrecorded).items():
        survivors.setdefault(unrecorded[names], process)
    return {key: process for key, process in survivors.items() if is_own(key, process.pid, not boots[key])}


def find_unseen(
    attempts: list[Attempt], boot: ThisBoot, has_writer: Callable[[AttemptKey], bool]
) -> frozenset[AttemptKey]:
    """Those of the attempts that were not found, and that run where this process cannot see them, as in another container.

    Their pids count in another pid namespace, and a process has their output open for writing (`has_writer`).
    """
    return frozenset(
        attempt.key
        for attempt in attempts
        if _is_elsewhere(attempt, boot) and boot.includes(attempt.boot_id) is not False and has_writer(attempt.key)
    )


def _is_elsewhere(attempt: Attempt, boot: ThisBoot) -> bool:
    """Whether the pid of an attempt counts in another pid namespace."""
    return attempt.namespace not in ("", boot.namespace)


def find_named(wanted: Collection[AttemptNames] | None) -> dict[AttemptNames, ProcessKey]:
    """The session leaders whose environment names these attempts; None: any attempt.

    A child with a session of its own has the same environment. It started later than the program.
    """
    named: dict[AttemptNames, ProcessKey] = {}
    for pid in _pids() if wanted or wanted is None else ():
        names = _names_in(pid)
        fields = stat_of(pid) if names[0] else []
        if (wanted is None or names in wanted) and fields and int(fields[SESSION]) == pid:
            process = ProcessKey(pid, start_ticks(pid))
            if names not in named or process.start_ticks < named[names].start_ticks:
                named[names] = process
    return named


def _names_in(pid: int) -> AttemptNames:
    """The values of NAMING in the variables of a process; empty texts if it has none, or if they cannot be read."""
    try:
        raw = read_head(Path(f"/proc/{pid}/environ"), LARGEST_OF_KERNEL)
    except OSError:
        raw = b""
    pairs = (item.partition(b"=") for item in raw.split(b"\0"))
    environment = {name: value.decode(errors="replace") for name, _, value in pairs}
    return tuple(environment.get(name, "") for name in NAMING)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
