"""Starts of programs by the keeper: on threads of their own, since a start may hang with a file system.

Rule: the starters and the main thread of the keeper share what is in Starts, and nothing else. Of the package, this file
imports only the other parts of the keeper; see keeper.py.
"""

# A start, by `Starter.start`:
#
#   note        The request is noted in `asked` before the start, which may hang: the next daemon must learn of it.
#   spawn       A program of the keeper's own user is started here, by posix_spawn(3). The spawner starts the others.
#   programs    While `lock` is locked, the child and its program are entered. The main thread takes this lock before it reaps
#               children that it does not know.
#   alarm       10 ms later, the main thread reports the start, unless the program has ended by then.

from __future__ import annotations

import _thread
import ctypes
import errno
import os
import signal
import socket
import sys

from schedappliance.edge.programs.keeper_programs import Program
from schedappliance.edge.programs.spawner import SpawnerLink, receive, request_in

# The delay of the report of a start. Most programs of a busy appliance end earlier, and are reported once.
REPORT_AFTER_SECONDS = 0.01
# Numbers from spawn.h and sched.h; glibc and musl agree on them.
_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80
_CLONE_FS = 0x200
# Larger than posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t of any C library; glibc needs 336 bytes at most.
_STRUCT_BYTES = 1024
# Signals that a program must not inherit as ignored: Python ignores the first two, and the C library may ignore 32 to 34.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, 32, 33, 34)
_libc = ctypes.CDLL(None, use_errno=True)


class Starts:
    """What the starters and the main thread share.

    `since`: all that earlier keepers were asked for was decided before this boot time.
    """

    def __init__(self, since: int) -> None:
        # The latest attempts that were requested: the boot time of their start, and their ids. See Asked in requested.py.
        self.asked_at = since
        self.asked: set[str] = set()
        self.asking = _thread.allocate_lock()
        # Locked during a start, until the child is in `programs`.
        self.lock = _thread.allocate_lock()
        # By pid: the programs that run, and those of them whose starts are not reported yet.
        self.programs: dict[int, Program] = {}
        self.unreported: dict[int, Program] = {}
        # Whether the alarm that reports them is set.
        self.is_alarm_set = False
        # Ids and lines: the starts that failed.
        self.failed: list[tuple[str, bytes]] = []
        # By id: signals that came before the start.
        self.early: dict[str, tuple[int, int, str]] = {}
        # Whether children may have ended that are not reaped yet.
        self.is_behind = False
        # A pipe: why copies of the spawner failed.
        self.failures = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A pipe: its bytes wake the main thread.
        self.wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.attributes = spawn_attributes()

    def wake(self) -> None:
        """Wakes the main thread."""
        os.write(self.wakes[1], b"\0")

    def note(self, program: Program) -> None:
        """Notes that a program was requested."""
        if program.started_at > self.asked_at:
            self.asked_at = program.started_at
            self.asked = set()
        if program.started_at == self.asked_at:
            self.asked.add(program.id)

    def report_later(self) -> None:
        """Sets the alarm, unless it is set."""
        if not self.is_alarm_set:
            self.is_alarm_set = True
            signal.setitimer(signal.ITIMER_REAL, REPORT_AFTER_SECONDS)


class Starter:
    """A thread that starts the programs that one daemon requests over a channel."""

    def __init__(self, starts: Starts, channel: socket.socket) -> None:
        self.starts = starts
        self.channel = channel
        # Its own, since `outdate` gives later starters another one.
        self.lock = starts.lock
        # The program that is being started.
        self.current: Program | None = None
        # Its daemon is gone while a start hangs: the requests after that one are dropped, and not noted as `asked`.
        self.is_outdated = False
        # Locked until the thread ends.
        self.alive = _thread.allocate_lock()
        self.alive.acquire()
        self._spawner = SpawnerLink(starts.failures[1])
        _thread.start_new_thread(self._run, ())

    def outdate(self) -> None:
        """Gives this starter up while its start hangs. Later starters get a new lock, since this one holds the old."""
        with self.starts.asking:
            self.is_outdated = True
            self.starts.lock = _thread.allocate_lock()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # A directory and a umask of its own: a start that hangs may go on during one of another starter.
        _libc.unshare(_CLONE_FS)
        try:
            while not self.is_outdated and (message := receive(self.channel))[0]:
                self.start(*message)
                for descriptor in message[1]:
                    os.close(descriptor)
                if self.starts.is_behind or self.starts.early or self.starts.failed:
                    self.starts.wake()
        finally:
            self._spawner.leave()
            self.alive.release()
            self.starts.wake()

    def start(self, data: bytes, descriptors: list[int]) -> None:
        starts = self.starts
        program = Program(request_in(data, descriptors))
        with starts.asking:
            if self.is_outdated:
                return
            self.current = program
            starts.note(program)
        try:
            program.output = os.fstat(descriptors[0]).st_ino
            if program.id in starts.early:
                raise OSError(errno.EAGAIN, "a signal came before the start")
            with self.lock:
                program.pid = self._spawn(program, data, descriptors)
                starts.programs[program.pid] = starts.unreported[program.pid] = program
            starts.report_later()
        except Exception as error:
            line = b"unstarted %s %s" % (program.id.encode(), program.failure(error))
            starts.failed.append((program.id, line))
        # Only the start needs them.
        program.argv.clear()
        program.variables.clear()
        # It does not hang any more.
        self.current = None

    def _spawn(self, program: Program, data: bytes, descriptors: list[int]) -> int:
        """Starts a program, and returns its pid. Raises OSError."""
        if program.identity:
            return self._spawner.start(program.id, data, descriptors)
        output, stdin, *_ = descriptors
        return spawn(program, output, stdin, self.starts.attributes)


def spawn(program: Program, output: int, stdin: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """Starts a program as the user of the keeper; returns its pid. Raises OSError.

    It sets the directory and the umask of this thread. It calls the C library itself: `os.posix_spawn` holds the interpreter's
    lock until the program runs, and a file system that hangs would stop the keeper.
    """
    pid = ctypes.c_int()
    actions = ctypes.create_string_buffer(_STRUCT_BYTES)
    argv, variables = _texts(program.argv), _texts(program.variables)
    os.umask(program.umask)
    os.chdir(program.cwd)
    _libc.posix_spawn_file_actions_init(actions)
    try:
        for source, target in ((stdin, 0), (output, 1), (output, 2)):
            _libc.posix_spawn_file_actions_adddup2(actions, source, target)
        number = _libc.posix_spawn(ctypes.byref(pid), argv[0], actions, attributes, argv, variables)
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)
        os.chdir("/")  # So that the file system of the directory can be unmounted.
    if number:
        raise OSError(number, os.strerror(number))
    return pid.value


def spawn_attributes() -> ctypes.Array[ctypes.c_char]:
    """For posix_spawn: the program leads a session of its own, no signal is blocked, no _DEFAULT_SIGNALS is ignored."""
    attributes = ctypes.create_string_buffer(_STRUCT_BYTES)
    # The set in the kernel's own form: sigaddset() rejects the signals that the C library uses itself.
    bits = sum(1 << number - 1 for number in _DEFAULT_SIGNALS).to_bytes(8, sys.byteorder)
    _libc.posix_spawnattr_init(attributes)
    _libc.posix_spawnattr_setsigdefault(attributes, ctypes.create_string_buffer(bits, _STRUCT_BYTES))
    _libc.posix_spawnattr_setsigmask(attributes, ctypes.create_string_buffer(_STRUCT_BYTES))
    _libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID))
    return attributes


def _texts(texts: list[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """An array as C expects it, with a null pointer at its end."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
