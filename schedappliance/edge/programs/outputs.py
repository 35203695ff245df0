"""The files that programs write to, one for each attempt, and the collector, which looks after them on a worker.

The files keep the output when the daemon is killed.

Rule: a file exists from before the start until the store holds the part of it that is kept. The disk may hang, so reading and
removing files are tasks of the worker, which run one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge import linux
from schedappliance.edge.own_directory import OwnDirectory
from schedappliance.edge.programs.looks import Looks
from schedappliance.engine.events import OutputEmptied, OutputRead, OutputUnreadable, ProgramEnded
from schedappliance.engine.output_parts import NOTHING, OutputPart, cut, left_out
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.kinds import EXHAUSTED

if TYPE_CHECKING:
    from logging import Logger

    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.looks import Writer, Writers
    from schedappliance.edge.programs.output_lines import OutputLog
    from schedappliance.edge.threads import Worker
    from schedappliance.engine.attempts import Exit
    from schedappliance.engine.effects import ReadOutput

# The name of the directory is that of the store with this suffix.
SUFFIX = ".output"
# The mode of an output. The sticky bit, which means nothing for files, tells outputs from the files of others.
MODE = 0o600 | stat.S_ISVTX
# In /proc, the kernel appends this to the name of a removed file.
_REMOVED = " (deleted)"
# The middle of an output is freed only when it is longer than this, so that most outputs need no system call for it.
SPARE_BYTES = 4 * 1024 * 1024
# The unit of st_blocks.
BLOCK_BYTES = 512
# The largest block of the usual file systems.
LARGEST_BLOCK = 64 * 1024

# How long a failed read of an output is repeated: a process may have leased the file, or descriptors may be short.
UNREADABLE_MS = 5000
READ_AGAIN_MS = 100
# The interval at which the lines of programs are passed on to the log.
PASS_ON_MS = 1000
# The disk space that the outputs of ended runs may take together, if processes that the runs left still have them open.
HELD_BYTES = 16 * 1024 * 1024

REPLACED = "the output file was replaced; what the program wrote is lost"

# Added to the attempt in the name of a file that was set aside: no attempt has such a number.
_ASIDE = 10**9

_NAME = re.compile("([0-9]+)-([0-9]+)-([0-9]+)")


def output_directory(store: Path) -> Path:
    """The directory for the outputs of a store."""
    return Path(f"{store}{SUFFIX}")


@dataclass(slots=True)
class Outputs:
    """The files of one directory. Its path is made absolute: the daemon leaves a working directory that was deleted.

    `aside`: files that were set aside: the attempt whose name each had, and that whose name it has now. `is_temporary`: there is no
    store, so that nobody needs the directory after the daemon.
    """

    directory: Path
    is_temporary: bool = False
    aside: list[tuple[AttemptKey, AttemptKey]] = field(default_factory=list)
    _above: OwnDirectory = field(init=False)
    _last: OwnDirectory | None = None

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._above = OwnDirectory(self.directory.parent)

    def path(self, key: AttemptKey) -> str:
        # Not a Path: creating one takes longer than opening the file.
        return f"{self.directory}/{key.run.job}-{key.run.occurrence}-{key.attempt}"

    def checked_path(self, key: AttemptKey) -> str:
        """The path, for use.

        Raises OSError if the directory is missing, or a link: then the file would be elsewhere.
        """
        self._check(os.lstat(self.directory))
        return self.path(key)

    def _check(self, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode):
            problem = "a symbolic link, which is not followed"
        elif not stat.S_ISDIR(status.st_mode):
            problem = os.strerror(errno.ENOTDIR)
        elif status.st_uid != os.geteuid():
            problem = f"it belongs to the user {status.st_uid}, and not to that of the appliance"
        else:
            return
        raise NotADirectoryError(errno.ENOTDIR, problem, str(self.directory))

    def open(self, key: AttemptKey) -> int:
        """A new file for an attempt.

        Raises OSError, for example if the directory is missing and cannot be made again.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_EXCL
        try:
            return os.open(self.checked_path(key), flags, MODE)
        except FileExistsError:
            # The file is left from a start that failed, or from a run of a store that was restored since.
            self._set_aside(key)
        except FileNotFoundError:
            self.make()
        return os.open(self.checked_path(key), flags, MODE)

    def _set_aside(self, key: AttemptKey) -> None:
        """Removes a file, or gives it another name if a process may still write to it, or if it is no output. Raises OSError."""
        path = self.checked_path(key)
        if not _is_output(path):
            os.rename(path, f"{path}.{os.lstat(path).st_ino}")  # noqa: PTH104
        elif not self._remove_unless_open(key):
            other = key._replace(attempt=_ASIDE + os.lstat(path).st_ino)
            os.rename(path, self.path(other))  # noqa: PTH104
            self.aside.append((key, other))

    def make(self) -> bool:
        """Makes the directory if it is missing; returns whether it was. Raises OSError if it cannot be used."""
        self._above.check()
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError:
            self._check(self.directory.lstat())
            self._last = self._last or OwnDirectory(self.directory)
            self._last.check_mounts()
            return False
        self._last = OwnDirectory(self.directory)
        return True

    def was_replaced(self) -> bool:
        """Whether another directory has the name since the last call: the old one was moved."""
        last, self._last = self._last, OwnDirectory(self.directory)
        return last is not None and last.is_other()

    def problem(self) -> str | None:
        """Why no file can be created, None if one can."""
        trial = self.directory / ".trial"
        try:
            self.make()
            trial.touch(mode=0o600)
            trial.unlink()
        except OSError as error:
            return self.why_unwritable(error)
        return None

    def why_unwritable(self, error: OSError) -> str:
        remedy = "; move it away" if isinstance(error, NotADirectoryError) else ""
        return f"outputs cannot be written to {self.directory}: {error.strerror}{remedy}"

    def is_own(self, is_copy: bool, key: AttemptKey, pid: int, must_write: bool) -> bool:
        """Whether the process of an attempt belongs to the store of these outputs: it writes to the file of the attempt.

        A process that writes to no such file has redirected its output. It counts as foreign if this store is a copy
        (`is_copy`), or if the boot of the attempt is unknown (`must_write`).
        """
        path = self.path(key)
        directory, _, name = path.rpartition("/")
        for link in (f"/proc/{pid}/fd/1", f"/proc/{pid}/fd/2"):
            if _is_same(link, path):
                return True
            other, _, target = _target(link).removesuffix(_REMOVED).rpartition("/")
            if target == name and other != directory and other.endswith(SUFFIX):
                return False
        return not (is_copy or must_write)

    def inode_for(self, key: AttemptKey, pid: int) -> int | None:
        """The inode of the file that an adopted process writes to; None if it has redirected its output."""
        name = os.path.basename(self.path(key))  # noqa: PTH119
        for link in (f"/proc/{pid}/fd/1", f"/proc/{pid}/fd/2"):
            with contextlib.suppress(OSError):
                if os.path.basename(_target(link).removesuffix(_REMOVED)) == name:  # noqa: PTH119
                    return os.stat(link).st_ino  # noqa: PTH116
        return None

    def is_empty(self, key: AttemptKey, inode: int | None) -> bool:
        """Whether nothing was written.

        It asks only for the size, which takes a sixth of the time of reading the file.
        """
        try:
            return _status(self.path(key), inode).st_size == 0
        except OSError:
            return False

    def has_writer(self, key: AttemptKey) -> bool:
        """Whether a process has the output of an attempt open for writing: then the kernel denies a read lease.

        False if there is no output, or if its file system has no leases.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.checked_path(key), flags)
        except OSError as error:
            # A process has a lease on it, or nobody knows: a shortage is no answer.
            return isinstance(error, BlockingIOError) or error.errno in EXHAUSTED
        try:
            return _is_denied(descriptor, fcntl.F_RDLCK)
        finally:
            os.close(descriptor)

    def size(self, key: AttemptKey, inode: int | None) -> int:
        """How many bytes were written; 0 if the file cannot be seen."""
        try:
            return _status(self.path(key), inode).st_size
        except OSError:
            return 0

    def read(self, key: AttemptKey, limit: int, inode: int | None = None) -> tuple[bytes, int]:
        """The output and its size in bytes. An output above the limit is cut to its head and tail, with a line between.

        The file of a cut output is emptied at once, since the row that records the end may need the disk space.
        `inode`: that of the file that the program got, if it is known.
        Raises OSError; BlockingIOError while a process of the program has a lease on the file.
        """
        path = self.checked_path(key)
        _status(path, inode)
        with open(_open(path), "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= limit:
                return file.read(), size
            head = file.read(limit // 2)
            file.seek(size - (limit - limit // 2))
            tail = file.read(limit - limit // 2)
            file.truncate(0)
            return head + left_out(size - limit) + tail, size

    def part(self, key: AttemptKey, begin: int, most: int, inode: int | None) -> OutputPart:
        """A part of the output of a running attempt. Raises OSError, as `read` does."""
        path = self.checked_path(key)
        _status(path, inode)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            size = os.fstat(descriptor).st_size
            return cut(
                lambda place, count: os.pread(descriptor, count, place),
                size,
                _hole(descriptor, begin, size),
                begin,
                most,
            )
        finally:
            os.close(descriptor)

    def remove(self, keys: Iterable[AttemptKey]) -> None:
        for key in keys:
            with contextlib.suppress(OSError):
                os.unlink(self.checked_path(key))  # noqa: PTH108

    def retire(self, keys: Iterable[AttemptKey]) -> list[AttemptKey]:
        """Removes the files of attempts that have ended. Returns those whose files a process that they left still has open.

        Removing such a file would hide it, and nobody could see what fills the disk.
        """
        return [key for key in keys if not self._remove_unless_open(key)]

    def _remove_unless_open(self, key: AttemptKey) -> bool:
        with contextlib.suppress(OSError):
            try:
                descriptor = _open(self.checked_path(key))
            except BlockingIOError:
                return False
            try:
                if _is_open_elsewhere(descriptor):
                    return False
            finally:
                os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(self.checked_path(key))  # noqa: PTH108
        return True

    def empty(self, key: AttemptKey, limit: int) -> int:
        """Empties a file that takes more disk space than the limit.

        Returns the space in bytes, 0 if it was left alone.
        """
        with contextlib.suppress(OSError):
            descriptor = _open(self.checked_path(key))
            try:
                size = os.fstat(descriptor).st_blocks * BLOCK_BYTES
                if size > limit:
                    os.ftruncate(descriptor, 0)
                    return size
            finally:
                os.close(descriptor)
        return 0

    def remove_unknown(self, known: Collection[AttemptKey]) -> list[AttemptKey]:
        """Removes the outputs of all other attempts, and nothing else. A file of somebody else may be named like a date.

        Returns those whose files a process still has open.
        """
        known_paths = set(map(self.path, known))
        held: list[AttemptKey] = []
        for path in self.directory.iterdir():
            name = _NAME.fullmatch(path.name)
            if name and str(path) not in known_paths and _is_output(path):
                job, occurrence, attempt = map(int, name.groups())
                held += self.retire([AttemptKey(RunKey(job, occurrence), attempt)])
        return held

    def punch(self, key: AttemptKey, limit: int) -> int:
        """Frees the middle of a long output. Returns how many bytes of disk space that gave, 0 if it was left alone."""
        with contextlib.suppress(OSError):
            # Most outputs are short, and opening one would break a lease of its program.
            if os.lstat(self.path(key)).st_blocks * BLOCK_BYTES > 2 * limit + SPARE_BYTES:
                return punch(Path(self.checked_path(key)), limit)
        return 0

    def free_bytes(self) -> int:
        """How much the disk can take; 0 if it cannot be seen."""
        with contextlib.suppress(OSError):
            status = os.statvfs(self.directory)
            return status.f_bavail * status.f_frsize
        return 0


def _status(path: str, inode: int | None) -> os.stat_result:
    """The status of an output.

    Raises OSError, for example if another file has its name: the output is elsewhere then.
    """
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or (inode is not None and status.st_ino != inode):
        raise OSError(errno.ESTALE, REPLACED, path)
    return status


def _is_output(path: str | Path) -> bool:
    """Whether a file was made as an output. False if it cannot be seen."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_ISVTX)


def unreadable_text(error: OSError) -> tuple[str, bytes]:
    """Why an output cannot be read, and the line that stands in its place."""
    reason = "a process has leased it" if isinstance(error, BlockingIOError) else str(error.strerror)
    return reason, f"[... the output cannot be read: {reason} ...]\n".encode()


def _is_open_elsewhere(descriptor: int) -> bool:
    """Whether the file is open elsewhere too: then the kernel denies a write lease. False if there are no leases."""
    return _is_denied(descriptor, fcntl.F_WRLCK)


def _is_denied(descriptor: int, lease: int) -> bool:
    """Whether the kernel denies a lease since others have the file open. False if there are no leases."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, lease)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


def _open(path: str | Path) -> int:
    """Opens an output that its program may still use.

    Without O_NONBLOCK, a lease of the program would stop this thread.
    """
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _hole(descriptor: int, begin: int, size: int) -> tuple[int, int]:
    """The first hole from `begin` on: where it begins and ends.

    `punch` frees whole blocks. What it freed in the blocks at both ends reads as zeros, which belong to the hole too.
    """
    try:
        first = os.lseek(descriptor, begin, os.SEEK_HOLE)
        last = os.lseek(descriptor, first, os.SEEK_DATA)
    except OSError:
        # There is no hole, or the file system does not know.
        return size, size
    before = os.pread(descriptor, min(first, LARGEST_BLOCK), max(0, first - LARGEST_BLOCK))
    after = os.pread(descriptor, LARGEST_BLOCK, last)
    first, last = first - len(before) + len(before.rstrip(b"\0")), last + len(after) - len(after.lstrip(b"\0"))
    return min(first, size), min(last, size)


def _target(link: str) -> str:
    """The name of the file that a link in /proc leads to; empty if the process is gone or belongs to another user."""
    try:
        return os.readlink(link)  # noqa: PTH115
    except OSError:
        return ""


def outputs_of(pid: int) -> list[str]:
    """The files to which a process writes its stdout and its stderr; empty names if they are not known."""
    return [_target(f"/proc/{pid}/fd/{number}") for number in (1, 2)]


def _is_same(link: str, path: str) -> bool:
    try:
        return os.path.samefile(link, path)  # noqa: PTH121
    except OSError:
        return False


def punch(path: Path, limit: int) -> int:
    """Frees the disk space between the head and the tail of a file, if the file system can. Returns how much that was."""
    with contextlib.suppress(OSError):
        descriptor = _open(path)
        try:
            before = os.fstat(descriptor)
            # New output of the program moves the tail away from the hole, never into it.
            if before.st_size > 2 * limit + SPARE_BYTES:
                linux.punch_hole(descriptor, limit, before.st_size - 2 * limit)
                return max(0, before.st_blocks - os.fstat(descriptor).st_blocks) * BLOCK_BYTES
        finally:
            os.close(descriptor)
    return 0


@dataclass(slots=True)
class Collector:
    """Looks after the outputs on its worker: reads them, passes their lines on to the log, and bounds their size."""

    loop: Loop
    outputs: Outputs
    worker: Worker
    logger: Logger
    # Passes the lines of programs on to the log; None if they are not passed on.
    output_log: OutputLog | None = None
    # The outputs of ended runs that a process has open, and whether the log names them. Only tasks change it.
    held: dict[AttemptKey, bool] = field(default_factory=dict)
    looks: Looks = field(init=False)
    _will_pass_on: bool = False

    def __post_init__(self) -> None:
        self.looks = Looks(self.loop, self.outputs, self.worker, self._bound_held)

    # For the deciding thread

    def collect(self, key: AttemptKey, program: Writer, exit_of_process: Exit) -> None:
        """Reports the end of a program with its output. For a program that wrote nothing, no task is needed."""
        if self.outputs.is_empty(key, program.inode):
            self.loop.inbox.put(ProgramEnded(key, exit_of_process, b"", 0))
        else:
            until = self.loop.clock.moment().boot + UNREADABLE_MS
            self.worker.submit(partial(self._collect, key, program, exit_of_process, until))

    def read_part(self, effect: ReadOutput, is_new: bool, inode: int | None) -> None:
        """Reads a part of an output.

        `is_new`: the program is not started yet, so a file of its name is not its output.
        """
        self.worker.submit(partial(self._read_part, effect, is_new, inode))

    def discard(self, keys: list[AttemptKey]) -> None:
        """Removes outputs that the store holds now."""
        self.worker.submit(partial(self._retire, keys))

    # For all threads

    def replace_unreadable(self, key: AttemptKey, error: OSError) -> tuple[bytes, int]:
        """Makes the log say why an output cannot be read. Returns the line that stands in its place, and its size."""
        why, output = unreadable_text(error)
        self.loop.inbox.post(OutputUnreadable(key, why))
        return output, len(output)

    def hold_aside(self, key: AttemptKey) -> None:
        """Forgets the held output of this name, since another file has the name now. Holds what was set aside."""
        self.worker.submit(partial(self._hold_aside, key))

    def pass_on_later(self, running: Writers) -> None:
        """Passes the lines of the running programs on to the log, at intervals, until no program has lines to pass on."""
        if not self._will_pass_on:
            self._will_pass_on = True
            again = self.loop.clock.moment().boot + PASS_ON_MS
            self.loop.alarms.at(again, partial(self.worker.submit, partial(self._pass_on, running)))

    # Tasks of the worker

    def _pass_on(self, running: Writers) -> None:
        """A task: it comes before the tasks that collect the outputs of programs that end meanwhile."""
        # The flag comes first, so that a worker that adds a program from here on sets the next alarm.
        self._will_pass_on = False
        for key, program in running():
            if program.lines and self.output_log:
                self.pass_on_later(running)
                self.output_log.pass_on(key, program.lines, program.inode)

    def _collect(self, key: AttemptKey, program: Writer, exit_of_process: Exit, until: int) -> None:
        if program.lines and self.output_log:
            self.output_log.pass_on(key, program.lines, program.inode, is_end=True)
        try:
            output, size = self.outputs.read(key, program.output_limit, program.inode)
        except OSError as error:
            again = self.loop.clock.moment().boot + READ_AGAIN_MS
            if error.errno in EXHAUSTED and again < until:
                task = partial(self._collect, key, program, exit_of_process, until)
                self.loop.alarms.at(again, partial(self.worker.submit, task))
                return
            output, size = self.replace_unreadable(key, error)
        self.loop.inbox.post(ProgramEnded(key, exit_of_process, output, size))

    def _read_part(self, effect: ReadOutput, is_new: bool, inode: int | None) -> None:
        """If the whole output was collected before, the event of the end comes first."""
        part: OutputPart | str
        try:
            part = NOTHING if is_new else self.outputs.part(effect.key, effect.begin, effect.most, inode)
        except OSError as error:
            part = unreadable_text(error)[0]
        # Posted as a call: an end that a call of the supervisor puts into the inbox would otherwise be overtaken.
        self.loop.inbox.post(partial(self.loop.inbox.put, OutputRead(effect.reply_to, effect.key, part)))

    def _retire(self, keys: list[AttemptKey]) -> None:
        self.keep_held(self.outputs.retire(keys))

    def _hold_aside(self, key: AttemptKey) -> None:
        self.held.pop(key, None)
        while self.outputs.aside:
            earlier, aside = self.outputs.aside.pop()
            self.keep_held([aside])
            message = "a process still writes to an earlier output %s; it is in %s until the process ends"
            self.logger.warning(message, self.outputs.path(earlier), self.outputs.path(aside))

    def keep_held(self, keys: list[AttemptKey]) -> None:
        """Watches outputs of ended runs that a process still has open. Nobody reads them any more."""
        for key in keys:
            self.held.setdefault(key, False)
        if keys:
            self.looks.begin_held()

    def _bound_held(self) -> int | None:
        """Removes the outputs that no process has open any more, and empties others that are too long.

        Returns how many bytes that gave; None if no process has an output open.
        """
        emptied = 0
        held = self.outputs.retire(self.held)
        self.held = {key: self.held[key] for key in held}
        for key in held:
            size = self.outputs.empty(key, HELD_BYTES // len(held))
            emptied += size
            if size and not self.held[key]:
                self.held[key] = True
                self.loop.inbox.post(OutputEmptied(key, size))
        return emptied if held else None
