"""The programs of the keeper, and the processes that belong to each of them.

Rule: of the package, this file imports only spawner.py; see keeper.py.
"""

from __future__ import annotations

import os
import time

from schedappliance.edge.programs.spawner import StartRequest

# The variables that name an attempt. They show whose process an orphan is if it has left the session of its program. The last
# one tells apart two runs with the same number: a restored store gives numbers again.
NAMING = (b"SCHED_STORE", b"SCHED_RUN_ID", b"SCHED_ATTEMPT", b"SCHED_STARTED_MS")
# Places in the fields that `stat_of` returns.
STATE, PARENT, _GROUP, SESSION, START = 0, 1, 2, 3, 19


class Program(StartRequest):
    """A program: requested, running, or ended while its descendants must end too.

    All times are boot times in milliseconds; 0 means never.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.started_at = self.started_at or boot_ms()
        self.names = {text for text in self.variables if text.partition(b"=")[0] in NAMING}
        self.pid = 0
        # The inode of the file that takes its output.
        self.output = 0
        self.has_ended = False
        # Why it is being ended; empty if it is not. KILL is then due at `kill_at`.
        self.why = ""
        self.kill_at = 0
        # Set at its end: a look at /proc before this time may miss a descendant that is just being made.
        self.sure_at = 0

    def running_line(self) -> bytes:
        """The report that it runs."""
        fields = stat_of(self.pid)
        ticks = int(fields[START]) if fields else 0
        return f"running {self.id} {self.pid} {ticks} {self.why or '-'}".encode()


def pid_namespace() -> int:
    """The number of the pid namespace of this process; 0 if /proc does not show it."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    except OSError:
        return 0


def has_exited(pid: int) -> bool:
    """Whether a child has exited, or was waited for. It stays as it is."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on (see proc(5)); empty if the process is gone or a zombie.

    It uses `os.open`, since Python's files take five times as long, and each reported program causes one read.
    """
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fields = os.read(file, 4096).rpartition(b")")[2].split()
        finally:
            os.close(file)
    except OSError:
        return []
    # Fewer fields: something else is mounted there.
    return fields if len(fields) > START and fields[STATE] not in b"ZX" else []


class Processes:
    """The processes of programs, as /proc shows them at one instant.

    If two programs have the same pid, since an ended one lingers, the later one in the list counts.
    """

    def __init__(self, programs: list[Program]) -> None:
        self._programs = {program.pid: program for program in programs}
        pids = map(int, filter(str.isdigit, os.listdir("/proc")))
        self._stats = {pid: fields for pid in pids if (fields := stat_of(pid))}
        # Whether the variables of some process could not be read: it may belong to a program, but be listed under none.
        self.is_unsure = False
        # The pids of each program, with their groups.
        self._groups: dict[Program | None, list[tuple[int, int]]] = {}
        for pid, fields in self._stats.items():
            self._groups.setdefault(self._owner(pid), []).append((pid, int(fields[_GROUP])))

    def of(self, program: Program) -> list[int]:
        """The living processes that end with a program: with `tree = all` all its descendants, else its group."""
        pairs = self._groups.get(program, [])
        return [pid for pid, group in pairs if program.whole_tree or group == program.pid]

    def outside_group(self, program: Program) -> list[int]:
        """Those of `of` that a signal to the group of the program does not reach."""
        pairs = self._groups.get(program, []) if program.whole_tree else []
        return [pid for pid, group in pairs if group != program.pid]

    def _owner(self, pid: int) -> Program | None:
        """The program that a process belongs to: the process itself or the nearest of its parents that is a running program.

        If the way ends at the keeper, the process is an orphan: it belongs to the program whose session or variables it has.
        """
        while fields := self._stats.get(pid):
            program = self._programs.get(pid)
            if program and not program.has_ended:
                return program
            if int(fields[PARENT]) == os.getpid():
                session = int(fields[SESSION])
                # A process that has got the pid of an ended program leads a session of its own.
                program = self._programs.get(session) if session != pid else None
                return program or self._named(pid)
            pid = int(fields[PARENT])
        return None

    def _named(self, pid: int) -> Program | None:
        """The program whose attempt the variables of a process name."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                variables = set(file.read().split(b"\0"))
        except OSError:
            return None
        # In the middle of its exec, a process shows no variables.
        self.is_unsure |= variables == {b""}
        return next((item for item in self._programs.values() if item.names and item.names <= variables), None)
