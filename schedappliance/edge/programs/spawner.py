"""The spawner: a small process that starts programs as other users, or with limits, for the keeper.

For each request, it makes a copy of itself. The copy changes its credentials and limits, and becomes the program. It is a child
of the keeper, as all programs are. A copy of the keeper would take longer: after it, both threads of the keeper would have to copy
the pages of memory that they write to.

Descriptor 0 is a socket of the keeper, which passes requests of the daemon on; keeper_link.py has their format. Each comes with
the descriptors of the output, of the standard input, and perhaps of the file of a long request. The answer is the id with the
pid, or with a negative error number. Descriptor 1 takes the reasons of copies that fail, 2 the errors of the spawner.

Rule: it imports nothing of this package, for the reasons of the keeper. Only copies do what may hang.
"""

# The way of a start:
#
#   serve    A request has arrived and is parsed. `clone` makes the copy.
#   live     The copy answers with its own pid, and `execute` turns it into the program.
#   serve    The spawner answers with the same pid, in case the copy was killed before it could.
#
# If `execute` fails, the copy writes the reason to descriptor 1 and exits with 127.

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket

_MESSAGE_BYTES = 65_536
_DESCRIPTOR_BYTES = socket.CMSG_SPACE(3 * ctypes.sizeof(ctypes.c_int))
# Numbers from sched.h and unistd.h. Where a container hides clone3, the older clone is used: its number depends on the processor.
_CLONE_PARENT, _CLONE3 = 0x8000, 435
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "ppc64le": 120, "armv7l": 120, "i686": 120}
# The number of the system call ioprio_set, which no C library offers.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282, "armv7l": 314, "i686": 289}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Unfit(Exception):
    """A program cannot get its user, its priorities or its limits; the message says why."""


def become(uid: int, gid: int, groups: list[int], wanted: str) -> None:
    """Changes the credentials of this process for good. Without root, only those that it has already are possible.

    `wanted`: the user or group as errors name it.
    """
    if os.geteuid() != 0 and (uid, gid) == (os.geteuid(), os.getegid()):
        return
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except PermissionError as error:
        what = "the appliance needs root for it" if os.geteuid() != 0 else error.strerror
        raise Unfit(f"cannot run as {wanted}: {what}") from None
    except OSError as error:
        # Not Unfit, which has no error number: EAGAIN means too many processes of the user, and a later start may succeed.
        raise OSError(error.errno, f"cannot run as {wanted}: {error.strerror}") from None
    is_changed = os.getresuid() == (uid, uid, uid) and os.getresgid() == (gid, gid, gid)
    # To become root again must fail, unless the program is root.
    if not is_changed or {*os.getgroups(), gid} != {*groups, gid} or (uid != 0 and _libc.seteuid(0) == 0):
        raise Unfit(f"cannot run as {wanted}: the program could regain the appliance's rights")


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


class SpawnRequest:
    """A start that the keeper requests. It is parsed before the copy is made, since memory that a copy writes to costs time."""

    def __init__(self, data: bytes) -> None:
        head, user, cwd, *texts = data.split(b"\0")
        self.id, _, _, _, umask, identity, restraints, count, *_ = head.split(b" ")
        self.umask, self.user, self.cwd = int(umask), os.fsdecode(user), os.fsdecode(cwd)
        self.uid, self.gid, *self.groups = map(int, identity.split(b","))
        self.restraints = [os.fsdecode(text).split(" ", 1) for text in texts[: int(restraints)]]
        texts = texts[int(restraints) :]
        self.argv = texts[: int(count)]
        self.variables = dict(text.split(b"=", 1) for text in texts[int(count) :])

    def execute(self, output: int, stdin: int, keeper: int) -> None:
        """Turns this process into the program, or raises the error that prevents it. Returns only if the keeper has ended."""
        # As its owner, the program can open /dev/stdout. Without root, it is the owner already.
        _libc.fchown(output, self.uid, -1)
        for source, target in ((stdin, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        for name, words in self.restraints:
            restrain(name, words)
        become(self.uid, self.gid, self.groups, self.user)
        os.umask(self.umask)
        os.chdir(self.cwd)
        if os.getppid() == keeper:  # Without the keeper, nobody would know of this program.
            os.execve(self.argv[0], self.argv, self.variables)

    def failure(self, error: Exception) -> bytes:
        """Why the start failed: the error number, or 0; what failed; and the error in words."""
        text = f"0 user {error}" if isinstance(error, Unfit) else "0 program the appliance itself failed"
        if isinstance(error, OSError):
            part = "directory" if error.filename == self.cwd else "program"
            text = f"{error.errno or 0} {part} {error.strerror or error}"
        return text.replace("\n", " ").encode(errors="backslashreplace")[:2048]


class Spawner:
    """Starts programs for the keeper, which is the parent of this process."""

    def __init__(self) -> None:
        self.keeper, self.processor = os.getppid(), os.uname().machine
        self.channel, self.failures = socket.socket(fileno=0), os.dup(1)

    def serve(self) -> None:
        """Makes a copy for each request, until the keeper leaves."""
        while message := self.receive():
            data, descriptors = message
            output, stdin, *others = descriptors
            if data == b"\0":
                data = os.pread(others[0], os.fstat(others[0]).st_size, 0)
            request = SpawnRequest(data)
            pid = self.clone()
            if pid == 0:
                self.live(request, output, stdin)
            # The copy has answered too, unless it was killed before.
            self.answer(request, pid)
            for descriptor in descriptors:
                os.close(descriptor)

    def receive(self) -> tuple[bytes, list[int]] | None:
        """A request and its descriptors; None if the keeper has left."""
        try:
            # Not socket.recv_fds(): it ignores its flags, so programs would inherit the descriptors.
            data, items, _, _ = self.channel.recvmsg(_MESSAGE_BYTES, _DESCRIPTOR_BYTES, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:  # It was killed with answers unread.
            return None
        return (data, memoryview(items[0][2]).cast("i").tolist()) if data else None

    def answer(self, request: SpawnRequest, number: int) -> None:
        try:
            self.channel.send(b"%s %d" % (request.id, number), socket.MSG_NOSIGNAL)
        except ConnectionError:
            return

    def clone(self) -> int:
        """As fork(), but the copy is a child of the keeper. Returns a negative error number if it fails.

        fork() would also prepare the copy for more threads, which takes 0.5 ms of processor time.
        """
        arguments = (ctypes.c_uint64 * 8)(_CLONE_PARENT)
        pid: int = _libc.syscall(ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.c_long(64))
        if pid < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EPERM) and self.processor in _CLONE:
            pid = _libc.syscall(*map(ctypes.c_long, (_CLONE[self.processor], _CLONE_PARENT, 0, 0, 0, 0)))
        return pid if pid >= 0 else -ctypes.get_errno()

    def live(self, request: SpawnRequest, output: int, stdin: int) -> None:
        """The life of a copy. It answers before it becomes the program, so the keeper knows of each program that runs."""
        try:
            self.answer(request, os.getpid())
            os.setsid()
            request.execute(output, stdin, self.keeper)
        except Exception as error:
            os.write(self.failures, b"%d %s\n" % (os.getpid(), request.failure(error)))
        finally:
            os._exit(127)


def main() -> None:
    """Resets the signals that Python handles or ignores, so that a copy need not."""
    spawner = Spawner()
    os.close(3)  # This file.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    spawner.serve()


if __name__ == "__main__":
    main()
