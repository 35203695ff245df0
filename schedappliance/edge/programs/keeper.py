"""The keeper: a small process that is the parent of all programs of an appliance, and outlives the daemon.

It starts programs for its daemon. It keeps how each ended, in memory and in a file, until a daemon has stored it. While no
daemon is there, it enforces timeouts. Without a program and a daemon it ends: at once if the last daemon has said that no other
one comes, else after 10 seconds. Descriptor 0 is the socket on which it listens, or a connection with a daemon that cannot make
a socket. Descriptor 1 is the file of ends, and 2 takes its errors.

Rule: beside spawner.py, it imports nothing of this package, to need little memory and to survive an upgrade. It talks only to
its daemon, which may be newer: keeper_link.py describes the messages, and tells the story of a program.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import os
import resource
import select
import signal
import socket
import sys
import time

if __name__ == "__main__":  # It runs without the package. The file of the spawner comes with a descriptor.
    sys.modules["schedappliance.edge.programs.spawner"] = module = type(sys)("spawner")
    # All daemons and keepers share the position in the file, so it is read from its beginning.
    text = os.pread(number := int(sys.argv[-2]), os.fstat(number).st_size, 0)
    exec(compile(text, "spawner.py", "exec"), module.__dict__)
    os.close(number)

from schedappliance.edge.programs.spawner import MESSAGE_BYTES, SpawnerLink, StartRequest, receive, request_in

# The version of the messages; the most lines in one; the most bytes of the file of ends for each end.
VERSION, MOST_LINES, BYTES_PER_END = 1, 200, 10_000
# The delay of the report of a start. Most programs of a busy appliance end earlier, and are reported once.
REPORT_AFTER_SECONDS = 0.01
# The interval at which the descendants of a program that was ended are looked for, and for how long after KILL.
LOOK_AGAIN_MS, GIVE_UP_MS = 100, 5000
# How long the keeper waits for a start that hangs: before it serves a new daemon, and before it reaps its children.
HANGING_SECONDS, BUSY_SECONDS = 2.0, 0.02
# The longest wait for another daemon, and the longest poll(): it does not count the time of a suspend, but timeouts do.
LONGEST_MS = 10_000
# The variables that name the attempt. They show whose process an orphan is if it has left the session of its program.
_NAMES = (b"SCHED_STORE=", b"SCHED_RUN_ID=", b"SCHED_ATTEMPT=", b"SCHED_STARTED_MS=")
_STATE, _PARENT, _GROUP, _SESSION, _START = 0, 1, 2, 3, 19  # Places in the fields that `stat_of` returns.
# Numbers from sys/prctl.h and spawn.h; glibc and musl agree on them.
_PR_SET_CHILD_SUBREAPER, _SETSIGDEF, _SETSIGMASK, _SETSID = 36, 0x04, 0x08, 0x80
# Larger than posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t of any C library; glibc needs 336 bytes at most.
_STRUCT_BYTES = 1024
# Signals that a program must not inherit as ignored: Python ignores the first two, and the C library may ignore 32 to 34.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, 32, 33, 34)
_BLOCKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_libc = ctypes.CDLL(None, use_errno=True)


def _texts(texts: list[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """An array as C expects it, with a null pointer at its end."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


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


class Program(StartRequest):
    """A program: requested, running, or ended while its descendants must end too. `why`: why it is being ended, or empty.

    In boot ms, 0 for never: `term_at`, TERM is due; `kill_at`, KILL is due; `sure_at`, no descendant is overlooked.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.started_at = self.started_at or boot_ms()
        self.names = {text for text in self.variables if text.startswith(_NAMES)}
        self.pid, self.why, self.kill_at, self.sure_at, self.has_ended = 0, "", 0, 0, False

    def spawn(self, output: int, stdin: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
        """Starts the program as the user of the keeper; returns its pid. `os.posix_spawn` would hold the interpreter's lock."""
        pid, actions = ctypes.c_int(), ctypes.create_string_buffer(_STRUCT_BYTES)
        argv, variables = _texts(self.argv), _texts(self.variables)
        os.umask(self.umask)
        os.chdir(self.cwd)
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

    def running_line(self) -> bytes:
        ticks = int(fields[_START]) if (fields := stat_of(self.pid)) else 0
        return f"running {self.id} {self.pid} {ticks} {self.why or '-'}".encode()


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on; empty if the process is gone or a zombie."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fields = os.read(file, 4096).rpartition(b")")[2].split()
        finally:
            os.close(file)
    except OSError:
        return []
    return fields if len(fields) > _START and fields[_STATE] not in b"ZX" else []


class Processes:
    """The processes of programs, as /proc shows them at one instant. Of two programs with one pid, the last one runs."""

    def __init__(self, programs: list[Program]) -> None:
        self._programs = {program.pid: program for program in programs}
        pids = map(int, filter(str.isdigit, os.listdir("/proc")))
        self._stats = {pid: fields for pid in pids if (fields := stat_of(pid))}
        self._of: dict[Program | None, list[tuple[int, int]]] = {}
        self.is_unsure = False
        for pid, fields in self._stats.items():
            self._of.setdefault(self._owner(pid), []).append((pid, int(fields[_GROUP])))

    def of(self, program: Program, outside: bool = False) -> list[int]:
        """The living processes of a program: all its descendants, or its group. `outside`: only those outside its group."""
        pairs = [(pid, group == program.pid) for pid, group in self._of.get(program, [])]
        return [pid for pid, inside in pairs if (program.whole_tree or inside) and not (outside and inside)]

    def _owner(self, pid: int) -> Program | None:
        """The program that a process belongs to: the process itself or the nearest of its parents that is a running program.

        If the way ends at the keeper, the process is an orphan: it belongs to the program whose session or variables it has.
        (A process that has got the pid of an ended program leads a session of its own.)
        """
        while fields := self._stats.get(pid):
            if (program := self._programs.get(pid)) and not program.has_ended:
                return program
            if int(fields[_PARENT]) == os.getpid():
                session = int(fields[_SESSION])
                return (self._programs.get(session) if session != pid else None) or self._named(pid)
            pid = int(fields[_PARENT])
        return None

    def _named(self, pid: int) -> Program | None:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                variables = set(file.read().split(b"\0"))
        except OSError:
            return None
        self.is_unsure |= variables == {b""}  # In the middle of its exec, a process shows no variables.
        return next((item for item in self._programs.values() if item.names and item.names <= variables), None)


class Starter:
    """A thread that starts the programs that one daemon requests, since a start may hang with a file system.

    `starting` is locked during a start, until the child is in `programs`. `alive` is locked until the thread ends. `current`
    is the program that is being started. `is_outdated`: the daemon is gone, but a start hangs. Requests behind it are dropped,
    and are not among those that the keeper reports as `asked`.
    """

    def __init__(self, keeper: Keeper, channel: socket.socket) -> None:
        self.keeper, self.channel = keeper, channel
        self.starting, self.alive = keeper.starting, _thread.allocate_lock()
        self.current: Program | None = None
        self.is_outdated = False
        self.spawner = SpawnerLink(keeper.failures[1])
        self.alive.acquire()
        _thread.start_new_thread(self.run, ())

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while not self.is_outdated and (message := receive(self.channel))[0]:
                self.start(*message)
                for descriptor in message[1]:
                    os.close(descriptor)
                if self.keeper.is_behind or self.keeper.early or self.keeper.failed:
                    os.write(self.keeper.wakes[1], b"\0")
        finally:
            self.spawner.leave()
            self.alive.release()
            os.write(self.keeper.wakes[1], b"\0")

    def start(self, data: bytes, descriptors: list[int]) -> None:
        keeper, (output, stdin, *_) = self.keeper, descriptors
        program = Program(request_in(data, descriptors))
        # Noted before the start, which may hang: the next daemon must learn of this request. See Asked in keeper_link.py.
        with keeper.asking:
            if self.is_outdated:
                return
            self.current = program
            if program.started_at > keeper.asked_at:
                keeper.asked_at, keeper.asked = program.started_at, set()
            if program.started_at == keeper.asked_at:
                keeper.asked.add(program.id)
        try:
            if program.id in keeper.early:
                raise OSError(errno.EAGAIN, "a signal came before the start")
            with self.starting:
                if not program.identity:
                    program.pid = program.spawn(output, stdin, keeper.attributes)
                else:
                    program.pid = self.spawner.start(program.id, data, descriptors)
                keeper.programs[program.pid] = keeper.unreported[program.pid] = program
            if not keeper.is_alarm_set:
                keeper.is_alarm_set = True
                signal.setitimer(signal.ITIMER_REAL, REPORT_AFTER_SECONDS)
        except Exception as error:
            words = program.id.encode(), program.failure(error)
            keeper.failed.append((program.id, b"unstarted %s %s" % words))
        program.argv, program.variables, self.current = [], [], None  # Only the start needs them.


class Keeper:
    """Serves one daemon after the other, on the main thread. Starters add to the fields that are marked with `+`."""

    def __init__(self, since: int) -> None:
        self.asked_at, self.asked, self.asking = since, set[str](), _thread.allocate_lock()
        self.programs: dict[int, Program] = {}  # + By pid: those that run.
        self.ending = list[Program]()  # They run, and were sent a signal, or the daemon does not know them.
        self.lingering = list[Program]()  # They have ended, but some of their descendants are left.
        self.next_kill_ms, self.await_ms = 0, LONGEST_MS
        self.outbox: list[bytes] = []  # Lines that the daemon has not got yet.
        self.daemon: socket.socket | None = None
        self.early: dict[str, tuple[int, int, str]] = {}  # By id: signals that came before the start.
        self.starters: list[Starter] = []
        self.starting = _thread.allocate_lock()
        self.failed: list[tuple[str, bytes]] = []  # + The starts that failed.
        self.unreported: dict[int, Program] = {}  # + By pid: programs whose starts are not reported yet.
        self.is_alarm_set = False  # + The alarm that reports them is set.
        self.is_behind = False  # Children may have ended that are not reaped yet.
        self.reasons: dict[bytes, bytes] = {}  # By pid: why copies of the spawner failed.
        self.failures, self.wakes = (os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) for _ in range(2))
        self.attributes = spawn_attributes()
        self.poll = select.poll()
        self.poll.register(self.wakes[0], select.POLLIN)
        lines = os.pread(1, os.fstat(1).st_size, 0).splitlines()
        # By id: the lines about ends that no daemon has stored yet.
        self.ends = {line.split()[1].decode(): line for line in lines if line.count(b" ") > 1}

    def serve(self, listener: socket.socket) -> None:
        """Serves one daemon after the other, until there is no program, and no daemon comes."""
        listener.setblocking(False)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.listen()  # A second time: SO_PEERCRED names the process that called it last, which must be this one.
            self.poll.register(listener, select.POLLIN)
        else:
            self.greet(listener)
        # A daemon that was killed may come again, and only this keeper knows what it requested.
        while self.daemon or self.programs or self.lingering or self.starters or self.poll.poll(self.await_ms):
            for descriptor, _ in self.poll.poll(self.wait_ms()):
                if descriptor == self.wakes[0]:
                    self.wake()
                elif self.daemon and descriptor == self.daemon.fileno():
                    self.hear()
                elif descriptor == listener.fileno():
                    self.accept(listener)
            self.enforce()
            self.flush()

    def accept(self, listener: socket.socket) -> None:
        """Accepts a new daemon, of the same user. The last one is gone, since a store has only one daemon."""
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
            return
        self.hear()
        self.leave()
        for starter in self.starters:  # Each ends now. One whose start hangs keeps its lock, and others get a new one.
            if not starter.is_outdated and starter.alive.acquire(timeout=HANGING_SECONDS):
                starter.alive.release()
                continue
            with self.asking:
                starter.is_outdated, self.starting = True, _thread.allocate_lock()
        connection.setblocking(False)
        self.greet(connection)

    def greet(self, connection: socket.socket) -> None:
        """Reports everything to a new daemon: what runs, and the ends. A start that hangs has no pid."""
        hanging = [program for starter in self.starters if (program := starter.current)]
        self.reap()  # After `hanging`: a start that has failed since then is among the ends, so that none is left out.
        self.unreported.clear()
        programs = [*hanging, *self.programs.values()]
        lines = [*(b"asked " + name.encode() for name in self.asked), *(program.running_line() for program in programs)]
        head = b"keeper %d %d %d" % (VERSION, os.getpid(), self.asked_at)
        self.daemon, self.outbox = connection, [head, *lines, *self.ends.values(), b"ready"]
        self.await_ms = LONGEST_MS
        self.poll.register(connection, select.POLLIN)

    def leave(self) -> None:
        if self.daemon:
            self.poll.unregister(self.daemon)
            self.daemon.close()
            self.daemon = None

    def hear(self) -> None:
        """Carries out the lines of the daemon. Signals are sent together: they share one look at all processes."""
        signals: dict[str, tuple[int, int, str]] = {}
        try:
            while self.daemon:
                data, descriptors = receive(self.daemon, socket.MSG_DONTWAIT)
                if not data:
                    self.leave()
                self.starters += [Starter(self, socket.socket(fileno=number)) for number in descriptors]
                for verb, *words in map(str.split, data.decode().splitlines()):
                    if verb == "signal":
                        signals[words[0]] = int(words[1]), int(words[2]), words[3]
                    elif verb == "forget":
                        self.forget(words)
                    elif verb == "end":
                        self.await_ms = 0
                    elif verb == "enforce":
                        self.ending += [program for program in list(self.programs.values()) if program.id in words]
        except ConnectionResetError:
            self.hear()  # The daemon was killed with reports unread. This error comes once, before what the daemon has sent.
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                self.leave()
        self.send_signals(signals)

    def forget(self, names: list[str]) -> None:
        """Forgets ends that a daemon has stored. If the file has become too large for those left, it is written again."""
        for name in names:
            self.ends.pop(name, None)
            self.early.pop(name, None)
        if not self.ends or os.fstat(1).st_size > BYTES_PER_END * len(self.ends):
            os.ftruncate(1, 0)
            write_end(*self.ends.values())

    def send_signals(self, signals: dict[str, tuple[int, int, str]]) -> None:
        """Sends signals (number, milliseconds until KILL, why) to programs: to their groups, and to processes outside these."""
        started = {program.id: program for program in list(self.programs.values())} if signals else {}
        self.early |= {name: words for name, words in signals.items() if name not in started and name not in self.ends}
        programs = [started[name] for name in signals if name in started]
        if not programs:
            return
        processes = Processes([*self.lingering, *started.values()])
        for program in programs:
            number, kill_after, why = signals[program.id]
            self.early.pop(program.id, None)
            if not program.why:
                program.kill_at = boot_ms() + kill_after
                self.ending.append(program)
            if number == signal.SIGKILL:
                program.kill_at = 0
            program.why = why
            if _libc.kill(-program.pid, number):  # The group does not exist yet, or nobody is left.
                _libc.kill(program.pid, number)
            for pid in processes.of(program, outside=True):
                _libc.kill(pid, number)

    def wake(self) -> None:
        """Handles what a signal or a starter has reported."""
        if signal.SIGALRM in os.read(self.wakes[0], 4096):
            self.is_alarm_set = False  # First, so that a start from here on sets the next alarm.
            while self.unreported:
                self.outbox.append(self.unreported.popitem()[1].running_line())
        self.send_signals(dict(self.early))
        self.starters = [item for item in self.starters if item.alive.locked()]
        self.reap()

    def reap(self) -> None:
        """Keeps the failures of starts, and the ends of children."""
        while self.failed:
            self.keep_end(*self.failed.pop())
        ended = []
        while (child := ended_child()) in self.programs:
            ended.append(os.wait4(child, os.WNOHANG))
        # The child is a program that is being started, or no program: an orphan, or a spawner.
        ended += self.reap_all() if child else []
        self.is_behind &= child != 0
        self.note_ends(ended)

    def reap_all(self) -> list[tuple[int, int, resource.struct_rusage]]:
        """Reaps the children that have ended. While a start lasts, only those in `programs`.

        Otherwise the end of a child could be lost: the thread that started it may not have added its program yet.
        """
        hangs = any(starter.is_outdated for starter in self.starters)
        is_free = not hangs and self.starting.acquire(timeout=BUSY_SECONDS)
        if not is_free:
            self.is_behind = True  # From here on, a starter wakes this thread after its start.
            is_free = not hangs and self.starting.acquire(blocking=False)
        self.is_behind = not is_free
        ended = []
        try:
            for child in [] if is_free else list(self.programs):
                ended.append(os.wait4(child, os.WNOHANG))
            while is_free and (result := os.wait4(-1, os.WNOHANG))[0]:
                ended.append(result)
        except ChildProcessError:
            pass
        if is_free:
            self.starting.release()
        return ended

    def note_ends(self, ended: list[tuple[int, int, resource.struct_rusage]]) -> None:
        """Keeps the ends of children that are programs. A program that was ended by a signal lingers if descendants are left."""
        programs = [(self.programs.pop(pid), status, usage) for pid, status, usage in ended if pid in self.programs]
        for program, _, _ in programs:
            program.has_ended = True
        signalled = [program for program, _, _ in programs if program.why]
        processes = Processes([*signalled, *self.lingering, *self.programs.values()]) if signalled else None
        for program, status, usage in programs:
            self.unreported.pop(program.pid, None)
            lingers = bool(processes and (processes.of(program) or processes.is_unsure))
            if lingers:
                program.sure_at = boot_ms() + LOOK_AGAIN_MS
                program.kill_at = program.kill_at or boot_ms()
                self.lingering.append(program)
            self.keep_end_of(program, status, usage, lingers)

    def keep_end_of(self, program: Program, status: int, usage: resource.struct_rusage, lingers: bool) -> None:
        """Keeps the end of a program. A copy of the spawner that did not become the program has written the reason."""
        code = os.waitstatus_to_exitcode(status)
        if program.identity and code == 127 and (reason := self.reason_of(program.pid)):
            self.keep_end(program.id, b"unstarted %s %s" % (program.id.encode(), reason))
            return
        figures = f"{time.time_ns() // 1_000_000} {(usage.ru_utime + usage.ru_stime) * 1000:.0f} {usage.ru_maxrss}"
        words = f"ended {program.id} {program.pid} {code} {figures} {program.why or '-'} {int(lingers)}"
        self.keep_end(program.id, words.encode())

    def reason_of(self, pid: int) -> bytes:
        """The reason that a copy of the spawner has written; empty if the copy did become the program."""
        try:
            lines = os.read(self.failures[0], MESSAGE_BYTES).splitlines()
            self.reasons |= dict(line.split(b" ", 1) for line in lines)
        except BlockingIOError:
            pass
        return self.reasons.pop(b"%d" % pid, b"")

    def keep_end(self, name: str, line: bytes) -> None:
        self.early.pop(name, None)
        self.ends[name] = line
        self.outbox.append(line)
        write_end(line)

    def flush(self) -> None:
        """Sends as many lines as the daemon takes. A daemon that reads nothing does not stop the keeper."""
        self.outbox = self.outbox if self.daemon else []
        while self.daemon and self.outbox:
            try:
                self.daemon.send(b"\n".join(self.outbox[:MOST_LINES]), socket.MSG_NOSIGNAL)
                del self.outbox[:MOST_LINES]
            except BlockingIOError:
                break
            except OSError:
                self.hear()  # It may have requested starts just before it ended.
                self.leave()
        if self.daemon:
            self.poll.modify(self.daemon, select.POLLIN | (select.POLLOUT if self.outbox else 0))

    def next_signals(self) -> list[tuple[int, Program]]:
        """The programs with the boot times of their next signals. While a daemon is there, it sends TERM itself."""
        self.ending = [program for program in self.ending if not program.has_ended]
        programs = self.ending if self.daemon else list(self.programs.values())
        times = [(program.kill_at if program.why else program.term_at, program) for program in programs]
        return [(at, program) for at, program in times if at]

    def wait_ms(self) -> int | None:
        """The milliseconds until something is due; None for never."""
        due = [at for at, _ in self.next_signals()] + ([self.next_kill_ms] if self.lingering else [])
        return min(LONGEST_MS, max(0, min(due) - boot_ms())) if due else None

    def enforce(self) -> None:
        """Sends TERM and KILL where they are due."""
        now, kill, term = boot_ms(), int(signal.SIGKILL), int(signal.SIGTERM)
        due = [program for at, program in self.next_signals() if at <= now]
        self.send_signals({p.id: (kill, 0, p.why) if p.why else (term, p.kill_after, "timeout") for p in due})
        if self.lingering and self.next_kill_ms <= now:
            self.kill_lingering(now)

    def kill_lingering(self, now: int) -> None:
        """Kills the descendants that are left. This is repeated, since each of them may have started others meanwhile."""
        self.next_kill_ms = now + LOOK_AGAIN_MS
        processes = Processes([*self.lingering, *self.programs.values()])
        for program in list(self.lingering):
            rest = processes.of(program)
            for pid in rest if program.kill_at <= now else ():
                _libc.kill(pid, signal.SIGKILL)
            if (not rest and program.sure_at <= now) or program.kill_at + GIVE_UP_MS <= now:
                self.lingering.remove(program)
                self.outbox.append(b"gone " + program.id.encode())


def ended_child() -> int:
    """The pid of a child that has ended and was not reaped; 0 for none."""
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return result.si_pid if result else 0


def write_end(*lines: bytes) -> None:
    """Adds lines to the file of ends. If the disk is full, nothing is lost as long as this process lives."""
    try:  # An empty line first: the disk may have had no room for the end of the last line.
        os.write(1, b"".join(b"\n%s\n" % line for line in lines))
    except OSError:
        return


def main() -> None:
    """Becomes the parent of orphans, and serves. Signals that are meant for the daemon do not end the keeper."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    if sys.argv[0].startswith("/proc/self/fd/"):
        # Not closed: with another file under this number, a traceback would show lines of that file, or wait for them.
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), int(sys.argv[0].rpartition("/")[2]), inheritable=False)
    keeper = Keeper(int(sys.argv[-3]))
    signal.set_wakeup_fd(keeper.wakes[1], warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)
    keeper.serve(socket.socket(fileno=0))
    os._exit(0)


if __name__ == "__main__":
    main()
