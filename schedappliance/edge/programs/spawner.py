"""Starts of programs as other users, or with priorities and limits: by the spawner, a child of the keeper.

The keeper forks the spawner for the first such start. For each start, the spawner makes a copy of itself that changes its
credentials and becomes the program. The copy is a child of the keeper, too. Copies of the keeper itself would take longer: it
has two threads, and after each copy both must copy the pages of memory that they write to.

A request to the spawner is the daemon's message, unchanged (keeper_link.py has the format), with descriptors for the output,
the standard input and, if the request is long, a file. Its answer is the id and the pid, or a negative error number. The copy
answers before it becomes the program, and the spawner answers too, since the copy may have been killed. So the keeper knows
each program, and may make a request again if nobody answers.

Rule: this file imports nothing of the package, as keeper.py explains. Only copies touch what may hang.
"""

# The way of a start:
#
#   serve            A request has arrived and is parsed. `clone` makes the copy.
#   become_program   The copy answers with its own pid, and `execute` turns it into the program.
#   serve            The spawner answers with the same pid, in case the copy was killed before it could.
#
# If `execute` fails, the copy writes the reason into the pipe `failures` and exits with 127. Where the system offers no
# call that makes a copy, the spawner itself becomes the program, and the keeper forks another one for the next start.

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import socket
import sys

# The largest message. A start may bring three descriptors: the output, the standard input, and a file with a long request.
MESSAGE_BYTES = 65_536
_DESCRIPTOR_BYTES = socket.CMSG_SPACE(3 * ctypes.sizeof(ctypes.c_int))
# From sched.h and unistd.h. Some seccomp filters hide clone3, as RestrictNamespaces= of systemd does. Then clone is called, by
# these numbers.
_CLONE_PARENT, _CLONE3 = 0x8000, 435
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220} if ctypes.sizeof(ctypes.c_void_p) == 8 else {}
_UNAVAILABLE = (errno.ENOSYS, errno.EPERM, errno.EINVAL)
# The number of the system call ioprio_set, which no C library offers.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282, "armv7l": 314, "i686": 289}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Unfit(Exception):
    """A program cannot get its user, its priorities or its limits; the message says why."""


def become(uid: int, gid: int, groups: list[int], wanted: str) -> None:
    """Changes the credentials of this process for good. `wanted`: the user or group as errors name it.

    Without the right to do so, a process can keep only its own user and group. It then also keeps its further groups. In a
    container, root may lack this right, and a user namespace may not know a group.
    """
    is_own = (uid, gid) == (os.geteuid(), os.getegid())
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        if is_own and error.errno in (errno.EPERM, errno.EINVAL):
            return
        if error.errno != errno.EPERM:
            # Not Unfit, which has no error number: EAGAIN means too many processes of the user, and a later start may succeed.
            raise OSError(error.errno, f"cannot run as {wanted}: {error.strerror}") from None
        what = "the appliance needs root for it" if os.geteuid() != 0 else error.strerror
        raise Unfit(f"cannot run as {wanted}: {what}") from None
    is_changed = os.getresuid() == (uid, uid, uid) and os.getresgid() == (gid, gid, gid)
    # To become root again must fail, unless the program is root.
    if not is_changed or {*os.getgroups(), gid} != {*groups, gid} or (uid != 0 and _can_become_root()):
        raise Unfit(f"cannot run as {wanted}: the program could regain the appliance's rights")


def _can_become_root() -> bool:
    try:
        os.seteuid(0)
    except PermissionError:
        return False
    return True


def restrain(name: str, words: str) -> None:
    """Gives this process a nice value, a priority for the disk, a cgroup (its path), or a limit (number, soft, hard)."""
    try:
        if name == "nice":
            os.setpriority(os.PRIO_PROCESS, 0, int(words))
        elif name == "cgroup":
            os.write(os.open(f"{words}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC), b"0")
        elif name != "ionice":
            number, soft, hard = map(int, words.split())
            resource.setrlimit(number, (soft, hard))
        elif _libc.syscall(_IOPRIO_SET.get(os.uname().machine, -1), 1, 0, int(words)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except (OSError, ValueError) as error:
        raise Unfit(f"cannot set `{name}` of the program: {getattr(error, 'strerror', error)}") from None


class StartRequest:
    """A requested start. `identity`: uid, gid, groups; empty for those of the keeper. `user`: its name in errors."""

    def __init__(self, data: bytes) -> None:
        head, user, cwd, *texts = data.split(b"\0")
        self.id, term_at, kill_after, tree, umask, identity, restraints, count, *rest = head.decode().split(" ")
        # When its daemon decided to start it. A daemon of an earlier version does not send that.
        self.started_at = int(rest[0]) if rest else 0
        self.term_at, self.kill_after, self.umask = int(term_at), int(kill_after), int(umask)
        self.whole_tree = tree == "all"
        self.user = os.fsdecode(user)
        self.cwd = os.fsdecode(cwd)
        self.identity = [int(number) for number in identity.split(",")] if identity != "-" else []
        self.restraints = [os.fsdecode(text).split(" ", 1) for text in texts[: int(restraints)]]
        texts = texts[int(restraints) :]
        self.argv, self.variables = texts[: int(count)], texts[int(count) :]

    def execute(self, variables: dict[bytes, bytes], output: int, stdin: int, keeper: int) -> None:
        """Turns this process into the program. Returns only if the keeper has ended. Raises the error that prevents it."""
        uid, gid, *groups = self.identity
        for source, target in ((stdin, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        # Only the owner of the file can open /dev/stdout. If this fails, the program can still write to its descriptor.
        with contextlib.suppress(OSError):
            os.fchown(1, uid, -1)
        for name, words in self.restraints:
            restrain(name, words)
        become(uid, gid, groups, self.user)
        os.umask(self.umask)
        os.chdir(self.cwd)
        if os.getppid() == keeper:  # Without the keeper, nobody would know of this program.
            os.execve(self.argv[0], self.argv, variables)

    def failure(self, error: Exception) -> bytes:
        """Why the start failed: the error number, or 0; what failed; and the error in words."""
        text = f"0 user {error}" if isinstance(error, Unfit) else "0 program the appliance itself failed"
        if isinstance(error, OSError):
            part = "directory" if error.filename == self.cwd else "program"
            text = f"{error.errno or 0} {part} {error.strerror or error}"
        return text.replace("\n", " ").encode(errors="backslashreplace")[:2048]


def receive(connection: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """A message and its descriptors. With socket.recv_fds(), which ignores its flags, programs would inherit them."""
    data, items, _, _ = connection.recvmsg(MESSAGE_BYTES, _DESCRIPTOR_BYTES, flags | socket.MSG_CMSG_CLOEXEC)
    return data, memoryview(items[0][2]).cast("i").tolist() if items else []


def request_in(data: bytes, descriptors: list[int]) -> bytes:
    """The request of a message: the message itself or, if the request is long, the file of the last descriptor."""
    return os.pread(descriptors[-1], os.fstat(descriptors[-1]).st_size, 0) if data == b"\0" else data


class SpawnerLink:
    """The keeper's side of a spawner. `failures`: the pipe for the reasons of copies that fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.channel: socket.socket | None = None

    def start(self, name: str, message: bytes, descriptors: list[int]) -> int:
        """Starts a program, and returns its pid. Raises OSError.

        If the spawner was killed and nobody has answered, the request is made again.
        """
        for _ in range(2):
            channel = self.channel or self.launch()
            try:
                socket.send_fds(channel, [message], descriptors)
                while words := channel.recv(MESSAGE_BYTES).decode().split():
                    if words[0] == name:  # Otherwise it is the second answer to an earlier request.
                        return _pid_in(words[1])
            except ConnectionError:
                pass
            self.leave()
        raise OSError(errno.EAGAIN, "the process that starts programs as other users was killed")

    def launch(self) -> socket.socket:
        """Forks the spawner."""
        keeper = os.getpid()
        channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer:
            if os.fork() == 0:
                Spawner(peer, self.failures, keeper).live()
        self.channel = channel
        return channel

    def leave(self) -> None:
        if self.channel:
            self.channel.close()
            self.channel = None


def _pid_in(text: str) -> int:
    """The pid in an answer. Raises OSError if it is an error number."""
    if (number := int(text)) < 0:
        raise OSError(-number, f"cannot start a process: {os.strerror(-number)}")
    return number


class Spawner:
    """The spawner itself."""

    def __init__(self, channel: socket.socket, failures: int, keeper: int) -> None:
        self.channel, self.failures, self.keeper = channel, failures, keeper
        self.clone_number = _CLONE.get(os.uname().machine)

    def live(self) -> None:
        """Serves the keeper until it leaves. Does not return."""
        try:
            self.settle()
            self.serve()
        except ConnectionError:  # The keeper was killed with answers unread.
            pass
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)

    def settle(self) -> None:
        """Handles signals as programs must, and keeps no descriptor of the keeper but its own two and the errors."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir("/")
        own = {2, self.channel.fileno(), self.failures}
        for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - own:
            with contextlib.suppress(OSError):  # One was open only for the list.
                os.close(descriptor)
        os.open(os.devnull, os.O_RDWR)  # 0
        os.open(os.devnull, os.O_RDWR)  # 1

    def serve(self) -> None:
        while (message := receive(self.channel))[0]:
            data, descriptors = message
            request = StartRequest(request_in(data, descriptors))
            output, stdin, *_ = descriptors
            # Here and not in the copy, which must copy each page of memory that it writes to.
            variables = dict(pair.split(b"=", 1) for pair in request.variables)
            number = self.clone()
            if number == 0 or -number in _UNAVAILABLE:
                self.become_program(request, variables, output, stdin)
            self.answer(request, number)
            for descriptor in descriptors:
                os.close(descriptor)

    def answer(self, request: StartRequest, number: int) -> None:
        os.write(self.channel.fileno(), b"%s %d" % (request.id.encode(), number))

    def clone(self) -> int:
        """Like fork(), but the copy is a child of the keeper. Returns a negative error number if it fails.

        fork() would also prepare the copy for more threads, which takes 0.5 ms of processor time.
        """
        arguments = (ctypes.c_uint64 * 8)(_CLONE_PARENT)
        pid: int = _libc.syscall(ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.c_long(64))
        if pid < 0 and ctypes.get_errno() in _UNAVAILABLE and self.clone_number:
            pid = _libc.syscall(*map(ctypes.c_long, (self.clone_number, _CLONE_PARENT, 0, 0, 0, 0)))
        return pid if pid >= 0 else -ctypes.get_errno()

    def become_program(self, request: StartRequest, variables: dict[bytes, bytes], output: int, stdin: int) -> None:
        """Answers, and becomes the program. Does not return: if it fails, it writes its pid and the reason."""
        try:
            self.answer(request, os.getpid())
            # If what follows hangs, the keeper must still notice the end of the spawner.
            os.close(self.channel.fileno())
            os.setsid()
            request.execute(variables, output, stdin, self.keeper)
        except Exception as error:
            os.write(self.failures, b"%d %s\n" % (os.getpid(), request.failure(error)))
        finally:
            os._exit(127)
