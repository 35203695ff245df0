"""The daemon's side of the keeper: its start, the connection with it, and the messages on it.

Rule: a request that a keeper may have read is never made again. Otherwise the program could be started twice.
"""

# Requests of starts go over a channel of their own, so that a start that hangs blocks only other starts. All other
# messages are lines. An id names an attempt and the time of its start, since a restored store may give the same numbers
# to another run. Times are milliseconds. WHY is the reason for which a program is being ended, or `-`.
#
# To the keeper:
#
#   starts                          comes with the descriptor of the channel
#   files                           comes with the descriptors of another socket and of another file of ends, since the
#                                   present ones were removed; since VERSION 2
#   signal ID NUMBER KILL_AFTER WHY
#   forget ID ...                   the ends of these programs are stored
#   enforce ID                      the daemon does not know the program, so it will not send TERM after its timeout
#   end                             no daemon comes any more
#
# To the daemon:
#
#   keeper VERSION PID ASKED_AT NAMESPACE
#                                   the first line to a new daemon; the pid namespace tells whose pids these are
#   asked ID                        see Asked in requested.py
#   running ID PID TICKS WHY        PID is 0 while the start hangs; TICKS is the start in /proc/PID/stat
#   ended ID PID STATUS TIME CPU MEMORY WHY LINGERS TOOK INODE
#                                   STATUS below 0 is a signal; TIME is wall time; MEMORY is in KiB; LINGERS is 1 if
#                                   some of its processes are left; TOOK is its duration; INODE is that of its output
#   unstarted ID NUMBER PART TEXT   NUMBER is the error number, or 0; `program`, `directory` or `user` is the PART that
#                                   failed
#   gone ID                         a program that lingered has no process any more, or the keeper gives up
#   ready                           the report to a new daemon is complete
#
# A request brings the descriptors of the output and of the standard input. It consists of texts with null bytes between
# them: the head, the user as errors name it, the directory, the restraints (`nice 5`), the
# arguments, and the variables (`NAME=VALUE`). The head consists of words:
#
#   ID TERM_AT KILL_AFTER TREE UMASK IDENTITY RESTRAINTS ARGUMENTS STARTED_AT
#
# TERM_AT is the boot time of its timeout, or 0. IDENTITY is UID,GID,GROUP,... or `-` for that of the keeper. RESTRAINTS
# and ARGUMENTS are the numbers of these texts. STARTED_AT is the boot time of the decision to start it. A request that
# is too long for a message is in a file: the message is one null byte, and brings the descriptor of the file too.

# A program and its keeper, if everything goes well: the daemon requests the start over the channel. A thread of the keeper
# (Starter) starts the program. After 10 ms the keeper reports `running`, unless the program has ended by then. It reaps the
# program, writes `ended` into the file of ends, and sends it. When the daemon has stored the end, it sends `forget`.
#
# What can go wrong, and what then happens:
#
#   the start hangs in a file system  Only the starter hangs. The keeper goes on to serve and to reap.
#   the daemon is killed              The keeper sends TERM itself when a timeout passes, and keeps the ends. The next daemon
#                                     connects (`take_over`) and hears everything: what runs, what has ended, what was asked.
#   the keeper is killed              Its programs go on. Their exit statuses are lost, except those in the file of ends.
#   a program leaves children behind  If the program was ended by a signal, the keeper ends them too (`lingering`), and then
#                                     reports `gone`.
#   its files are removed             The daemon makes others (`restore_files`), so that the next daemon can take it over.
#                                     Without a daemon, the keeper does. A daemon that finds no socket waits for that.
#   the disk is full                  The keeper keeps the ends in memory, and runs until its file has all of them.

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.unix_socket import connect, peer_pid, peer_uid
from schedappliance.edge.programs import keeper, spawner
from schedappliance.edge.programs.inherited import restore_limit, restore_oom_score
from schedappliance.edge.programs.keeper_files import ENDS, LASTING, SOCKET, TEMPORARY, listen
from schedappliance.edge.programs.keeper_paths import (
    Identity,
    KeeperUnreachable,
    Warn,
    ends_file,
    free_socket_name,
    identities_in,
    identity,
    sockets_in,
    unreachable,
)
from schedappliance.edge.programs.keeper_programs import boot_ms, pid_namespace
from schedappliance.edge.programs.keeper_reports import Report, TreeGone, ends_in, reports
from schedappliance.edge.programs.requested import Asked, asked_in
from schedappliance.edge.programs.survivors import keepers_of
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.kinds import EXHAUSTED

if TYPE_CHECKING:
    from schedappliance.edge.programs.outputs import Outputs

# How long to wait for a keeper that has nothing more to do, and for the first answer of one.
END_SECONDS, ANSWER_SECONDS = 5.0, 10.0
# How often a keeper whose socket was removed is looked for.
TRIES = 100
# How much is read of the errors of a keeper, and the longest request that is sent in a message and not in a file.
ERROR_BYTES, INLINE_BYTES = 65_536, 32_768
# With -I -S, the environment cannot make the interpreter load anything.
PYTHON_OPTIONS = ("-I", "-S", "-W", "ignore", "-X", "utf8")
# The files that the keeper consists of beside keeper.py, each after those that it imports.
PARTS = ("spawner", "keeper_files", "keeper_programs", "keeper_starts")

# The first version of a keeper that takes other files.
WITH_FILES = 2
# The name of a pid namespace whose number is not known.
ANOTHER = "another"


@dataclass(slots=True, eq=False)
class Link:
    """A connection with a keeper."""

    control: socket.socket
    # For the starts.
    channel: socket.socket
    # None if an earlier daemon started the keeper.
    popen: subprocess.Popen[bytes] | None = None
    # A file in memory with the errors of the keeper.
    messages: int = -1
    pid: int = 0
    version: int = 0
    # Its pid namespace, if that is not the one of the daemon. `pid` is 0 then if the daemon cannot see the keeper.
    namespace: str = ""
    # Its socket and its file of ends, as `identity` tells; None if a keeper has no socket with a name.
    files: tuple[Identity | None, Identity | None] | None = None
    # The keeper has answered.
    is_up: bool = False
    # The keeper has ended, and gets no more requests.
    is_lost: bool = False
    _unsent: list[str] = field(default_factory=list)

    def say(self, line: str) -> bool:
        """Sends a line now, or in a later `flush`.

        Returns whether nothing is left. Only the deciding thread calls it.
        """
        self._unsent.append(line)
        return self.flush()

    def flush(self) -> bool:
        try:
            while self._unsent:
                self.control.send(self._unsent[0].encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                del self._unsent[0]
        except BlockingIOError:
            return False
        except OSError:
            # The reader of the connection notices its end.
            self._unsent.clear()
        return True

    def receive(self) -> str | None:
        """The next lines, empty if there are none yet; None at the end of the connection. Raises TimeoutError."""
        try:
            text = self.control.recv(spawner.MESSAGE_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""
        except TimeoutError:
            raise
        except OSError:
            return None
        if not text:
            return None
        if text.startswith("keeper "):
            self.version, self.pid = map(int, text.split("\n", 1)[0].split(" ")[1:3])
            self._locate(text.split("\n", 1)[0].split(" ")[4:5])
            self.is_up = True
        return text

    def _locate(self, words: list[str]) -> None:
        """Finds out whether the keeper has another pid namespace. One of an earlier version does not tell which."""
        if self.popen is not None:
            return
        here = peer_pid(self.control)
        known = [word for word in words if word != "0"]
        if (known and known != [str(pid_namespace())]) or (not known and here != self.pid):
            self.namespace = (known or [ANOTHER])[0]
            self.pid = here

    def request(self, data: bytes, descriptors: list[int]) -> None:
        """Sends a start. Raises OSError if it did not arrive; a message arrives as a whole or not at all."""
        if len(data) <= INLINE_BYTES:
            socket.send_fds(self.channel, [data], descriptors, socket.MSG_NOSIGNAL)
            return
        with open(os.memfd_create("request"), "wb", buffering=0) as file:  # noqa: PTH123
            file.write(data)
            socket.send_fds(self.channel, [b"\0"], [*descriptors, file.fileno()], socket.MSG_NOSIGNAL)

    def why_ended(self) -> str | None:
        """The errors of a keeper that ended by itself; None if it was killed, has not ended, or is not a child."""
        if self.popen is None:
            return None
        try:
            status = self.popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if status <= 0:
            return None
        text = os.pread(self.messages, ERROR_BYTES, 0).decode(errors="replace").strip()
        return text or f"exit status {status}"

    def leave(self, seconds: float) -> None:
        """Ends the connection.

        `seconds`: how long to wait at most for the end of the keeper; 0: it has programs, and runs on.
        """
        if seconds:
            self.say("end")
        with contextlib.suppress(OSError):
            self.channel.close()
            self.control.settimeout(seconds)
            self.control.shutdown(socket.SHUT_WR)
            while self.control.recv(spawner.MESSAGE_BYTES):
                continue
        if self.popen is not None and seconds:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        self.close()

    def close(self) -> None:
        if self.popen is not None:
            # `Popen` warns if it is deleted while its child runs. The keeper runs on, on purpose.
            self.popen.returncode = self.popen.poll() or 0
        for connection in (self.control, self.channel):
            connection.close()
        if self.messages >= 0:
            os.close(self.messages)
            self.messages = -1


@dataclass(slots=True)
class KeeperLink:
    """Starts the keeper when it is first needed, and another one after it was killed."""

    outputs: Outputs
    # The limit on descriptors that programs get.
    limit: int
    # Called with each new connection, on any thread.
    on_open: Callable[[Link], None] = lambda _link: None
    # Whether the keeper must run on when the daemon ends.
    is_needed: Callable[[], bool] = lambda: False
    # Called with the pid of a keeper that must answer.
    wake: Callable[[int], None] = lambda _pid: None
    warn: Warn = lambda _message: None
    # What runs in place of the keeper, for tests.
    command: Sequence[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    link: Link | None = None
    # What the keeper of an earlier daemon was asked for; None if it is unknown.
    asked: Asked | None = None
    # Why no keeper takes starts, from the first failure until a keeper has answered. Nothing is requested meanwhile.
    trouble: str | None = None
    # All that other keepers were asked for was decided before this boot time. It begins as the present, since the earlier
    # daemon has ended, and this one has requested nothing.
    _since: int = field(default_factory=lambda: boot_ms() + 1)
    # The source files of the keeper and of its parts, open from the start: an upgrade may replace the files.
    _sources: Mapping[str, int] = field(default_factory=dict)
    # What programs without a standard input read.
    _null: int = -1

    def __post_init__(self) -> None:
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        files = {name: Path(keeper.__file__).with_stem(name) for name in ("keeper", *PARTS)}
        self._sources = {name: os.open(file, os.O_RDONLY | os.O_CLOEXEC) for name, file in files.items()}

    def take_over(self, has_attempts: bool = True) -> list[Report]:
        """Connects with the keeper of an earlier daemon. Returns the last report about each program that it knows.

        Without a keeper, these are the ends in its file. `has_attempts`: some ends are not stored, so there may be a keeper.
        Raises Unusable if it does not answer, and OSError if the machine lacks what it takes to connect.
        """
        path = self.outputs.directory / SOCKET
        greeting = self._hear_greeting(path)
        if greeting is None and has_attempts:
            greeting = self._await_greeting(path)
        if greeting is None:
            return self._last_ends() if has_attempts else []
        link, text = greeting
        # What a keeper that cannot be seen has open cannot be compared with the file of the name.
        ends = Path(f"/proc/{link.pid}/fd/1") if link.pid else path.with_name(ENDS)
        link.files = identity(path), identity(ends, follow=bool(link.pid))
        self._use(link)
        self.asked = asked_in(text)
        return list({report.id: report for report in reports(text) if not isinstance(report, TreeGone)}.values())

    def _await_greeting(self, path: Path) -> tuple[Link, str] | None:
        """As `_hear_greeting`, of a keeper whose socket was removed or replaced. It makes another one within a second."""
        pids: list[int] = []
        for _ in range(TRIES):
            if not (pids := keepers_of(path.parent)):
                return None
            for pid in pids:
                self.wake(pid)
            if greeting := self._hear_greeting(path):
                return greeting
            with contextlib.suppress(OSError):
                free_socket_name(path.parent)
            threading.Event().wait(ANSWER_SECONDS / TRIES)
        remedy = "look at this process; if it is killed, the ends of its programs are lost"
        raise Unusable(f"the keeper of the running programs, process {pids[0]}, makes no socket: {path}", remedy)

    def _hear_greeting(self, path: Path) -> tuple[Link, str] | None:
        """Connects with a keeper.

        Returns the connection and all that it reports first; None without a keeper. Raises Unusable and OSError, as
        `take_over`.
        """
        try:
            control = connect(path, timeout=ANSWER_SECONDS, kind=socket.SOCK_SEQPACKET)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            return None
        with contextlib.ExitStack() as after_failure:
            after_failure.enter_context(control)
            try:
                if peer_uid(control) != os.geteuid():
                    return None
                self.wake(peer_pid(control))
                link = self._with_channel(control)
                text = ""
                after_failure.callback(link.close)
                # Behind `ready`, the same text may hold reports of what has happened since.
                while "\nready" not in text:
                    if (more := link.receive()) is None:
                        return None
                    text += f"\n{more}"
            except TimeoutError:
                remedy = "look at the process that listens on it; if it is killed, the ends of its programs are lost"
                raise Unusable(f"the keeper of the running programs does not answer: {path}", remedy) from None
            except ConnectionError:
                # It has ended just now.
                return None
            after_failure.pop_all()
        return link, text

    def _last_ends(self) -> list[Report]:
        """The ends in the file of a keeper that is gone. An error is no answer, so a failed read is repeated for a moment.

        Raises OSError if the machine lacks what it takes to read.
        """
        for _ in range(TRIES):
            with contextlib.suppress(OSError):
                return self.ends()
            threading.Event().wait(ANSWER_SECONDS / TRIES)
        try:
            return self.ends()
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            self.warn_unread(error)
            return []

    def warn_unread(self, error: OSError) -> None:
        path = self.outputs.directory / ENDS
        self.warn(f"cannot read {path}: {error.strerror}; the exit statuses that it holds are lost")

    def ends(self) -> list[Report]:
        """The ends in the file of a keeper, which may have ended itself. Raises OSError."""
        return ends_in(self.outputs.directory)

    def start(self, data: bytes, descriptors: list[int], on_link: Callable[[Link], None]) -> None:
        """Requests a start. Calls `on_link` before the link can be lost. Runs on the worker. Raises KeeperUnreachable.

        `descriptors`: those of the output and, if there is one, of the standard input.
        """
        descriptors = [*descriptors, self._null][:2]
        with self.lock:
            if self.trouble is not None:
                raise KeeperUnreachable(0, self.trouble)
            try:
                link = self._link_to_keeper()
                try:
                    link.request(data, descriptors)
                except (BrokenPipeError, ConnectionResetError):
                    link.is_lost = True
                    link = self._link_to_keeper()
                    link.request(data, descriptors)
            except OSError as error:
                raise self._failed(error) from error
            on_link(link)

    def _failed(self, error: OSError) -> KeeperUnreachable:
        """The exception for an error. Unless it is a shortage, which passes, nothing is requested until a keeper has answered."""
        failed = unreachable(error)
        if error.errno not in EXHAUSTED:
            self.trouble = failed.strerror
        return failed

    def problem(self) -> str | None:
        """Why no keeper takes starts; None if nothing is wrong. Tries again to start one. Runs on the worker."""
        with self.lock:
            if self.trouble is None:
                return None
            try:
                # Its answer shows that it serves; the loop takes it.
                self.trouble = None if self._link_to_keeper().is_up else self.trouble
            except OSError as error:
                self.trouble = unreachable(error).strerror
            return self.trouble

    def prepare(self) -> None:
        """Starts a keeper before anything is requested, so that it can tell the next daemon what was.

        It does not wait until the keeper serves. If this fails, `trouble` says why.
        """
        with self.lock:
            try:
                self._link_to_keeper()
            except OSError as error:
                self._failed(error)

    def restore_files(self) -> bool:
        """Gives the keeper another socket and file of ends if these were removed or replaced. Returns whether it did.

        Without them, the next daemon could not take the keeper over. Runs on the worker. Raises OSError.
        """
        directory = self.outputs.directory
        with self.lock, contextlib.ExitStack() as always:
            link = self.link
            if link is None or link.is_lost or link.version < WITH_FILES:
                return False
            if link.files in (None, identities_in(directory)):
                return False
            ends = ends_file(directory, self.warn)
            always.callback(os.close, ends)
            free_socket_name(directory)
            listener = always.enter_context(listen(str(directory)))
            socket.send_fds(link.control, [b"files"], [listener.fileno(), ends], socket.MSG_NOSIGNAL)
            link.files = identities_in(directory)
        return True

    def _link_to_keeper(self) -> Link:
        """The connection with a keeper that runs. Starts one if there is none. Raises OSError."""
        if self.link is not None and self.link.is_lost:
            self._since = boot_ms() + 1
        if self.link is None or self.link.is_lost:
            self._use(self._start_keeper())
        assert self.link is not None
        return self.link

    def _use(self, link: Link) -> None:
        """Uses a connection from now on. Raises OSError if the loop cannot watch it."""
        link.control.setblocking(False)
        try:
            self.on_open(link)
        except OSError:
            link.close()
            raise
        self.link = link

    def _with_channel(self, control: socket.socket) -> Link:
        """The link over a connection, with the channel for starts. Raises OSError."""
        channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer, contextlib.ExitStack() as after_failure:
            after_failure.enter_context(channel)
            socket.send_fds(control, [b"starts"], [peer.fileno()], socket.MSG_NOSIGNAL)
            after_failure.pop_all()
        return Link(control, channel)

    def _start_keeper(self) -> Link:
        """Starts a keeper, and connects with it.

        In its own session, it gets no signals of a terminal. Raises OSError.
        """
        directory = Path(self.outputs.checked_path(AttemptKey(RunKey(0, 0), 0))).parent
        parts = ",".join(f"{name}={self._sources[name]}" for name in PARTS)
        kind = TEMPORARY if self.outputs.is_temporary else LASTING
        command = self.command or (sys.executable, *PYTHON_OPTIONS, f"/proc/self/fd/{self._sources['keeper']}")
        with contextlib.ExitStack() as always, contextlib.ExitStack() as after_failure:
            ends = ends_file(directory, self.warn)
            always.callback(os.close, ends)
            messages = os.memfd_create("keeper")
            after_failure.callback(os.close, messages)
            listener, control = sockets_in(directory)
            always.enter_context(listener)
            after_failure.enter_context(control)
            is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            popen = subprocess.Popen(
                [*command, kind, str(self._since), parts, str(directory) if is_listening else "-"],
                stdin=listener.fileno(),
                stdout=ends,
                stderr=messages,
                cwd="/",
                start_new_session=True,
                pass_fds=self._sources.values(),
            )
            after_failure.callback(popen.wait)
            after_failure.callback(popen.kill)
            restore_limit(popen.pid, self.limit)
            restore_oom_score(Path(f"/proc/{popen.pid}/oom_score_adj"))
            link = self._with_channel(control)
            link.popen = popen
            link.messages = messages
            link.pid = popen.pid
            link.files = identities_in(directory) if is_listening else None
            after_failure.pop_all()
        return link

    def close(self) -> None:
        """Leaves the keeper. If it has nothing more to do, it ends: this waits for its end, and tidies up."""
        is_done = not self.is_needed()
        link, self.link = self.link, None
        for descriptor in (*self._sources.values(), self._null):
            os.close(descriptor)
        if link is not None:
            link.leave(END_SECONDS if is_done else 0)
        if is_done:
            for name in (SOCKET, ENDS):
                with contextlib.suppress(OSError):
                    (self.outputs.directory / name).unlink()
