"""What /proc tells of processes: start times, groups, and the programs that outlived an earlier daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from schedappliance.engine.records import AttemptKey, ProcessKey, run_id
from schedappliance.store.runs import LiveAttempt

_STATE, _SESSION, _START = 0, 3, 19


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on (see proc(5)); None when the process is gone or a zombie.

    Read past the files of Python, which take five times as long: every start asks.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    fields = text.rpartition(b")")[2].split()
    return None if fields[_STATE] in b"ZX" else fields


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it is gone. With its pid and the boot it names it."""
    fields = _stat(pid)
    return int(fields[_START]) if fields else 0


def in_group(group: int) -> list[int]:
    """The living members of a process group."""
    # Asking for the number of the group is ten times as fast as reading /proc/PID/stat of every process.
    return [pid for pid in _pids() if _group(pid) == group and _stat(pid)]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def find_survivors(attempts: list[LiveAttempt], node: str, identity: str, boot: str) -> dict[AttemptKey, ProcessKey]:
    """The processes of attempts whose end is not recorded.

    One whose pid was recorded is known by pid and start time; one that was started just before a crash by its
    environment, and then only if it leads its session, since children inherit the environment.
    """
    found: dict[AttemptKey, ProcessKey] = {}
    for attempt in attempts:
        process = attempt.process
        if process and attempt.boot_id == boot and 0 < process.start_ticks == start_ticks(process.pid):
            found[attempt.key] = process
    unknown = {
        (run_id(node, a.key.run), str(a.key.attempt)): a.key
        for a in attempts
        if not (a.process and a.process.start_ticks) and a.boot_id == boot
    }
    if unknown:
        for pid, run, attempt_number in _started_by(identity):
            if key := unknown.get((run, attempt_number)):
                survivor = ProcessKey(pid, start_ticks(pid))
                if key not in found or survivor.start_ticks < found[key].start_ticks:
                    found[key] = survivor
    return found


def _started_by(identity: str) -> Iterator[tuple[int, str, str]]:
    """Session leaders whose environment names this store: pid, run and attempt."""
    for pid in _pids():
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        pairs = (item.partition(b"=") for item in raw.split(b"\0"))
        environment = {name: value.decode(errors="replace") for name, _, value in pairs}
        fields = _stat(pid)
        if environment.get(b"SCHED_STORE") == identity and fields and int(fields[_SESSION]) == pid:
            yield pid, environment.get(b"SCHED_RUN_ID", ""), environment.get(b"SCHED_ATTEMPT", "")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
