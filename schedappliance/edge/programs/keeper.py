"""The keeper: a small process that is the parent of all programs of an appliance, and outlives the daemon.

It starts programs for its daemon. It keeps how each ended, in memory and in a file, until a daemon has stored it. While no
daemon is there, it enforces timeouts. Without a program and a daemon it ends: at once if the last daemon has said that no other
one comes. Otherwise it waits 10 seconds, and until the file has all ends. Descriptor 0 is the socket on which it listens or,
where the file system holds no sockets, the connection with its only daemon. Descriptor 1 is the file of ends, and 2 takes its
errors.

Its parts are keeper_files.py, keeper_programs.py, keeper_starts.py and spawner.py. Rule: they import nothing else of the
package, to need little memory and to survive an upgrade. The keeper talks only to its daemon, which may be newer:
keeper_link.py describes the messages, and tells the story of a program.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time

if __name__ == "__main__":  # It runs without the package. Its parts are files behind descriptors: `spawner=5,...`.
    for part, number in (word.split("=") for word in sys.argv[-2].split(",")):
        module = type(sys)(part)
        sys.modules[f"schedappliance.edge.programs.{part}"] = module
        # All daemons and keepers share the position in the file, so it is read from its beginning.
        text = os.pread(int(number), os.fstat(int(number)).st_size, 0)
        exec(compile(text, f"{part}.py", "exec"), module.__dict__)
        os.close(int(number))

from schedappliance.edge.programs.keeper_files import (
    ENDS,
    MOST_BYTES,
    SOCKET,
    TEMPORARY,
    ends_of,
    listen,
    open_ends,
    remove_directory,
)
from schedappliance.edge.programs.keeper_programs import Processes, Program, boot_ms, has_exited, pid_namespace
from schedappliance.edge.programs.keeper_starts import Starter, Starts
from schedappliance.edge.programs.spawner import MESSAGE_BYTES, receive

# The version of the messages, and the most lines in one.
VERSION = 2
MOST_LINES = 200
# If the file of ends has more bytes for each end than this, it is written again.
BYTES_PER_END = 10_000
# The interval at which the descendants of a program that was ended are looked for, and for how long after KILL.
LOOK_AGAIN_MS = 100
GIVE_UP_MS = 5000
# How long the keeper waits for a start that hangs: before it serves a new daemon, and before it reaps its children.
HANGING_SECONDS = 2.0
BUSY_SECONDS = 0.02
# The longest wait for another daemon, and the longest poll(). Timeouts count a suspend, and poll() does not.
LONGEST_MS = 10_000
# How often a keeper without a daemon looks for its files. The next daemon waits for them.
LOOK_FOR_FILES_MS = 1000
# From sys/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36
# Signals that stop the daemon, that mean something to it, or that it ignores. None of them ends the keeper.
_BLOCKED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO),
)
_libc = ctypes.CDLL(None, use_errno=True)


class Keeper:
    """Serves one daemon after the other, on the main thread. Each of its starters is a thread of its own."""

    def __init__(self, since: int) -> None:
        self.starts = Starts(since)
        self.starters: list[Starter] = []

        # Descriptor 0, and the directory in which it listens; empty if it does not.
        self.listener: socket.socket
        self.directory = ""
        # The device and the inode of the directory above.
        self.above: tuple[int, int] | None = None

        # The daemon, the lines that it has not got yet, and for how long to wait for another daemon when it is gone.
        self.daemon: socket.socket | None = None
        self.outbox: list[bytes] = []
        self.await_ms = LONGEST_MS

        # By pid: the programs that run. Starters add to it.
        self.programs = self.starts.programs
        # Those of them that were sent a signal, or that the daemon does not know.
        self.ending: list[Program] = []
        # Programs that have ended, but whose descendants must end too, and when these are looked for again.
        self.lingering: list[Program] = []
        self.next_kill_ms = 0

        # By id: the lines about ends that no daemon has stored yet.
        self.ends = ends_of(os.pread(1, min(MOST_BYTES, os.fstat(1).st_size), 0))
        # Those of them that are not in the file, since a full disk, say, has not taken them.
        self.unwritten: dict[str, bytes] = {}
        # By pid: why copies of the spawner failed.
        self.reasons: dict[bytes, bytes] = {}

        self.poll = select.poll()
        self.poll.register(self.starts.wakes[0], select.POLLIN)

    def serve(self, listener: socket.socket) -> None:
        """Serves one daemon after the other, until there is no program, and no daemon comes."""
        self.listener = listener
        listener.setblocking(False)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self.directory = sys.argv[-1]
            self.above = identity_above(self.directory)
            listener.listen()  # A second time: SO_PEERCRED names the process that called it last, which must be this one.
            self.poll.register(listener, select.POLLIN)
        else:
            self.greet(listener)
        # After a kill, another daemon may come, and only this keeper knows what was requested.
        while self.daemon or self.is_needed() or self.await_daemon():
            for descriptor, _ in self.poll.poll(self.wait_ms()):
                if descriptor == self.starts.wakes[0]:
                    self.wake()
                elif self.daemon and descriptor == self.daemon.fileno():
                    self.hear()
                elif descriptor == listener.fileno():
                    self.accept(listener)
            self.enforce()
            self.restore_files()
            self.write_ends()
            self.flush()
        if (
            self.await_ms and self.directory and sys.argv[-4] == TEMPORARY
        ):  # The daemon was killed, and removes nothing.
            remove_directory(self.directory)

    def is_needed(self) -> bool:
        """Whether it has programs, or ends that no other process can know."""
        has_programs = self.programs or self.lingering or self.starters
        return bool(has_programs or (self.await_ms and (self.unwritten or self.has_lost_ends())))

    def has_lost_ends(self) -> bool:
        """Whether nobody would find the ends, though the store is still there: their directory cannot be made again yet."""
        is_lost = self.ends and self.directory and not os.path.lexists(f"{self.directory}/{ENDS}")
        return bool(is_lost) and self.above == identity_above(self.directory)

    def await_daemon(self) -> bool:
        """Waits for another daemon. Returns whether something has come."""
        end = boot_ms() + self.await_ms
        while not (events := self.poll.poll(min(LOOK_FOR_FILES_MS, max(0, end - boot_ms())))) and boot_ms() < end:
            self.restore_files()
        return bool(events)

    def wake(self) -> None:
        """Handles what a signal or a starter has reported."""
        if signal.SIGALRM in os.read(self.starts.wakes[0], 4096):
            self.starts.is_alarm_set = False  # First, so that a start from here on sets the next alarm.
            while self.starts.unreported:
                self.outbox.append(self.starts.unreported.popitem()[1].running_line())
        # A program may have been started after its signal had come.
        self.send_signals(dict(self.starts.early))
        self.starters = [starter for starter in self.starters if starter.alive.locked()]
        self.reap()

    # The daemon

    def accept(self, listener: socket.socket) -> None:
        """Accepts a new daemon, of the same user. The last one is gone, since a store has only one daemon."""
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        # Three numbers of four bytes: pid, uid and gid.
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uid = int.from_bytes(peer[4:8], sys.byteorder)
        if uid != os.geteuid():
            return
        self.hear()
        self.leave()
        for starter in self.starters:  # Each ends now, unless its start hangs.
            if not starter.is_outdated and starter.alive.acquire(timeout=HANGING_SECONDS):
                starter.alive.release()
            else:
                starter.outdate()
        connection.setblocking(False)
        self.greet(connection)

    def greet(self, connection: socket.socket) -> None:
        """Reports everything to a new daemon: what runs, and the ends. A start that hangs has no pid."""
        hanging = [program for starter in self.starters if (program := starter.current)]
        self.reap()  # After `hanging`: a start that has failed since then is among the ends, so that none is left out.
        self.starts.unreported.clear()
        head = b"keeper %d %d %d %d" % (VERSION, os.getpid(), self.starts.asked_at, pid_namespace())
        asked = [b"asked " + name.encode() for name in self.starts.asked]
        running = [program.running_line() for program in [*hanging, *self.programs.values()]]
        self.daemon = connection
        self.outbox = [head, *asked, *running, *self.ends.values(), b"ready"]
        self.await_ms = LONGEST_MS
        self.poll.register(connection, select.POLLIN)

    def leave(self) -> None:
        """Ends the connection with the daemon."""
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
                    self.leave()  # This ends the loop.
                if data == b"files":
                    self.take_files(*descriptors)
                else:
                    self.starters += [Starter(self.starts, socket.socket(fileno=number)) for number in descriptors]
                for verb, *words in map(str.split, data.decode().splitlines()):
                    if verb == "signal":
                        signals[words[0]] = int(words[1]), int(words[2]), words[3]
                    else:
                        self.obey(verb, words)
        except ConnectionResetError:
            self.hear()  # The daemon was killed with reports unread. This error comes once, before what the daemon has sent.
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                self.leave()
        self.send_signals(signals)

    def obey(self, verb: str, words: list[str]) -> None:
        """Carries out a line that is no signal. One of a later version is ignored."""
        if verb == "forget":
            self.forget(words)
        elif verb == "end":
            self.await_ms = 0
        elif verb == "enforce":
            self.ending += [program for program in list(self.programs.values()) if program.id in words]

    def take_files(self, listener: int, ends: int) -> None:
        """Goes on with another socket and another file of ends, since the names of the present ones are gone."""
        self.take_socket(listener)
        self.take_ends(ends)

    def take_socket(self, listener: int) -> None:
        os.dup2(listener, 0)
        os.close(listener)
        self.listener.setblocking(False)
        self.listener.listen()  # See `serve`.

    def take_ends(self, ends: int) -> None:
        os.dup2(ends, 1)
        os.close(ends)
        self.unwritten = dict(self.ends)
        self.write_ends()

    def restore_files(self) -> None:
        """Makes removed files again, so that the next daemon finds them, and the directory. A daemon that is there does that itself.

        The last daemon removes them when it ends.
        """
        if self.daemon or not self.directory or not self.await_ms:
            return
        try:
            self.follow_directory()
            is_needed = self.programs or self.lingering or self.ends
            if is_needed and not os.path.lexists(self.directory) and self.above == identity_above(self.directory):
                os.mkdir(self.directory, 0o700)  # noqa: PTH102
            if not os.path.lexists(f"{self.directory}/{SOCKET}"):
                self.take_socket(listen(self.directory).detach())
            if self.ends and not os.path.lexists(f"{self.directory}/{ENDS}"):
                self.take_ends(open_ends(self.directory))
        except OSError:  # The directory above is gone too, or its disk is full.
            return

    def follow_directory(self) -> None:
        """Finds the directory again after one above it was renamed: the path of the open file of ends leads to it.

        If a directory has the first name again, that one counts: the old one was moved back, or a copy was restored.
        """
        if os.path.lexists(sys.argv[-1]):
            self.directory = sys.argv[-1]
        if os.path.lexists(self.directory) or self.above == identity_above(self.directory):
            return
        directory = os.path.dirname(os.readlink("/proc/self/fd/1"))  # noqa: PTH115, PTH120
        is_same_name = os.path.basename(directory) == os.path.basename(self.directory)  # noqa: PTH119
        if is_same_name and self.above == identity_above(directory):
            self.directory = directory

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

    # Ends of programs

    def reap(self) -> None:
        """Keeps the failures of starts, and the ends of children."""
        while self.starts.failed:
            self.keep_end(*self.starts.failed.pop())
        ended = []
        while (child := ended_child()) in self.programs:
            ended.append(os.wait4(child, os.WNOHANG))
        if child:
            # It is a program that is being started, or no program: an orphan, or a spawner.
            ended += self.reap_all()
        else:
            self.starts.is_behind = False
        self.note_ends(ended)

    def reap_all(self) -> list[tuple[int, int, resource.struct_rusage]]:
        """Reaps the children that have ended. While a start lasts, only those in `programs`.

        Otherwise the end of a child could be lost: the thread that started it may not have added its program yet.
        """
        is_free = self.lock_starts()
        ended = []
        try:
            if is_free:
                while (result := os.wait4(-1, os.WNOHANG))[0]:
                    ended.append(result)
            else:
                for child in list(self.programs):
                    ended.append(os.wait4(child, os.WNOHANG))
        except ChildProcessError:
            pass
        if is_free:
            self.starts.lock.release()
        return ended

    def lock_starts(self) -> bool:
        """Keeps programs from being started, so that `programs` is complete. Returns False if a start lasts."""
        starts = self.starts
        is_free = False
        if not any(starter.is_outdated for starter in self.starters):
            is_free = starts.lock.acquire(timeout=BUSY_SECONDS)
            if not is_free:
                starts.is_behind = True  # From here on, a starter wakes this thread after its start.
                # Once more, since a start that has ended just before wakes nobody.
                is_free = starts.lock.acquire(blocking=False)
        starts.is_behind = not is_free
        return is_free

    def note_ends(self, ended: list[tuple[int, int, resource.struct_rusage]]) -> None:
        """Keeps the ends of children that are programs. A program that was ended by a signal lingers if descendants are left."""
        programs = [(self.programs.pop(pid), status, usage) for pid, status, usage in ended if pid in self.programs]
        for program, _, _ in programs:
            program.has_ended = True
            self.starts.unreported.pop(program.pid, None)
        signalled = [program for program, _, _ in programs if program.why]
        processes = Processes([*signalled, *self.lingering, *self.programs.values()]) if signalled else None
        for program, status, usage in programs:
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
        words += f" {boot_ms() - program.started_at} {program.output}"
        self.keep_end(program.id, words.encode())

    def reason_of(self, pid: int) -> bytes:
        """The reason that a copy of the spawner has written; empty if the copy did become the program."""
        try:
            lines = os.read(self.starts.failures[0], MESSAGE_BYTES).splitlines()
            self.reasons |= dict(line.split(b" ", 1) for line in lines)
        except BlockingIOError:
            pass
        return self.reasons.pop(b"%d" % pid, b"")

    def keep_end(self, name: str, line: bytes) -> None:
        """Keeps the line about an end, and sends it to the daemon."""
        self.starts.early.pop(name, None)
        self.ends[name] = line
        self.outbox.append(line)
        self.unwritten[name] = line
        self.write_ends()

    def write_ends(self) -> None:
        """Adds the ends to the file that are not in it. If the disk takes none or only some bytes, a later call tries again."""
        # An empty line first: the disk may have had no room for the end of the last line.
        text = b"".join(b"\n%s\n" % line for line in self.unwritten.values())
        try:
            if text and os.write(1, text) == len(text):
                self.unwritten.clear()
        except OSError:
            return

    def forget(self, names: list[str]) -> None:
        """Forgets ends that a daemon has stored. If the file has become too large for those left, it is written again."""
        for name in names:
            self.ends.pop(name, None)
            self.unwritten.pop(name, None)
            self.starts.early.pop(name, None)
        if not self.ends or os.fstat(1).st_size > BYTES_PER_END * len(self.ends):
            try:
                os.ftruncate(1, 0)
            except OSError:  # The file system has become read-only.
                return
            self.unwritten = dict(self.ends)
            self.write_ends()

    # Signals

    def send_signals(self, signals: dict[str, tuple[int, int, str]]) -> None:
        """Sends signals (number, milliseconds until KILL, why) to programs: to their groups, and to processes outside these."""
        if not signals:
            return
        running = {program.id: program for program in list(self.programs.values())}
        self.starts.early |= {
            id_: words for id_, words in signals.items() if id_ not in running and id_ not in self.ends
        }
        programs = [running[id_] for id_ in signals if id_ in running]
        if not programs:
            return
        processes = Processes([*self.lingering, *running.values()])
        for program in programs:
            number, kill_after, why = signals[program.id]
            self.starts.early.pop(program.id, None)
            if not program.why:
                if has_exited(program.pid):  # Its end is its own, and is reported as such.
                    continue
                program.kill_at = boot_ms() + kill_after
                self.ending.append(program)
            if number == signal.SIGKILL:
                program.kill_at = 0
            program.why = why
            if _libc.kill(-program.pid, number):  # The group does not exist yet, or nobody is left.
                _libc.kill(program.pid, number)
            for pid in processes.outside_group(program):
                _libc.kill(pid, number)

    def next_signals(self) -> list[tuple[int, Program]]:
        """The programs with the boot times of their next signals. While a daemon is there, it sends TERM itself."""
        self.ending = [program for program in self.ending if not program.has_ended]
        programs = self.ending if self.daemon else list(self.programs.values())
        times = [(program.kill_at if program.why else program.term_at, program) for program in programs]
        return [(at, program) for at, program in times if at]

    def wait_ms(self) -> int | None:
        """The milliseconds until something is due; None for never."""
        due = [at for at, _ in self.next_signals()] + ([self.next_kill_ms] if self.lingering else [])
        due += [boot_ms() + LONGEST_MS] if self.unwritten else []
        due += [boot_ms() + LOOK_FOR_FILES_MS] if self.directory and not self.daemon else []
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


def identity_above(directory: str) -> tuple[int, int] | None:
    """The device and the inode of the directory above; None if it is gone."""
    try:
        status = os.stat(os.path.dirname(directory))  # noqa: PTH116, PTH120
    except OSError:
        return None
    return status.st_dev, status.st_ino


def ended_child() -> int:
    """The pid of a child that has ended and was not reaped; 0 for none."""
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return result.si_pid if result else 0


def main() -> None:
    """Becomes the parent of orphans, and serves. Signals that are meant for the daemon do not end the keeper."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    if sys.argv[0].startswith("/proc/self/fd/"):
        # Not closed: with another file under this number, a traceback would show lines of that file, or wait for them.
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), int(sys.argv[0].rpartition("/")[2]), inheritable=False)
    keeper = Keeper(int(sys.argv[-3]))
    signal.set_wakeup_fd(keeper.starts.wakes[1], warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)
    keeper.serve(socket.socket(fileno=0))
    os._exit(0)


if __name__ == "__main__":
    main()
