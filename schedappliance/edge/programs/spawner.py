"""The spawner: a small process that starts programs as other users, for the daemon that it is a child of.

Law: it imports nothing of this package, so that a copy of it costs little. Only its copies look users up, change
credentials and execute; each is a child of the daemon itself, which watches and reaps it as any other program.
"""

from __future__ import annotations

import ctypes
import errno
import grp
import marshal
import os
import pwd
import signal
import socket
import sys

# The module `typing` alone would take a tenth of this process's memory.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeAlias

    # argv; the variables of all programs, and the program's own, which count more; cwd, umask, user, group.
    SpawnRequest: TypeAlias = tuple[
        tuple[str, ...], dict[str, bytes], dict[str, bytes], str, int, str | None, str | None
    ]

# Beside the one byte of a request travel a file that holds it, the program's output, and the report.
_ROOM = socket.CMSG_SPACE(3 * ctypes.sizeof(ctypes.c_int))

_CLONE_PARENT = 0x00008000
_CLONE3 = 435
# Where a container's filter hides clone3: clone by its number, which each family of processors has of its own.
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Refused(Exception):
    """Why a program cannot run as the user or the group that it is declared with."""


def why_not(error: Exception, argv0: str, cwd: str) -> tuple[int, str]:
    """What kept a program from being started: the number of the error, and the reason as it is recorded."""
    if isinstance(error, Refused):
        return 0, str(error)
    if not isinstance(error, OSError):
        return 0, f"cannot start {argv0}: {error}"
    where = f"in {cwd}" if error.filename == cwd != argv0 else argv0
    missing = _interpreter(argv0, cwd) if where == argv0 and error.errno == errno.ENOENT else ""
    return error.errno or 0, f"cannot start {where}: {missing}{error.strerror or error}"


def _interpreter(argv0: str, cwd: str) -> str:
    """Of a script that is there, the interpreter if that is missing; a carriage return at its end is shown."""
    directory = script = -1
    try:
        directory = os.open(cwd, os.O_PATH | os.O_CLOEXEC)
        script = os.open(argv0, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        line, _, _ = os.read(script, 256).partition(b"\n")
    except OSError:
        return ""
    finally:
        for descriptor in (directory, script):
            if descriptor >= 0:
                os.close(descriptor)
    if not line.startswith(b"#!"):
        return ""
    name = line[2:].strip(b" \t").split(b" ")[0].split(b"\0")[0]
    if not name or os.access(name, os.F_OK):
        return ""
    return f"its interpreter {name.decode(errors='replace').encode('unicode_escape').decode()}: "


def variables(entry: pwd.struct_passwd | None, uid: int) -> dict[str, str]:
    """What the environment says of the user; one without an entry, as in containers, goes by the number."""
    name, home, shell = (entry.pw_name, entry.pw_dir, entry.pw_shell) if entry else (str(uid), "/", "")
    return {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell or "/bin/sh"}


def credentials(user: str | None, group: str | None) -> tuple[int, int, list[int], dict[str, str]]:
    """The ids, supplementary groups and variables of a user and a group as the system knows them now.

    A group alone has no supplementary groups beside it, as a service of systemd with `Group=` and no `User=`.
    """
    own = os.geteuid()
    gid = os.getegid() if group is None else _group(group)
    if user is None:
        return own, gid, [], {}
    entry = _user(user)
    uid = entry.pw_uid if entry else int(user)
    if group is None and entry and (uid != own or own == 0):
        gid = entry.pw_gid
    elif group is None and uid != own:
        raise Refused(f"user {user} has no entry on this machine, so that its group is not known; give `group`")
    return uid, gid, os.getgrouplist(entry.pw_name, gid) if entry else [], variables(entry, uid)


def _user(name: str) -> pwd.struct_passwd | None:
    if not (name.isascii() and name.isdigit()):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            raise Refused(f"there is no user `{name}` on this machine") from None
    try:
        return pwd.getpwuid(int(name))
    except KeyError:
        return None


def _group(name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Refused(f"there is no group `{name}` on this machine") from None


def become(uid: int, gid: int, groups: list[int], wanted: str) -> None:
    """Takes on other credentials for good. Without root nothing is changed, and only one's own may be `wanted`."""
    if os.geteuid() != 0 and (uid, gid) == (os.geteuid(), os.getegid()):
        return
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except PermissionError as error:
        what = "the appliance needs root for it" if os.geteuid() != 0 else error.strerror
        raise Refused(f"cannot run as {wanted}: {what}") from None
    except OSError as error:
        # EAGAIN passes: too many processes of that user.
        raise OSError(error.errno, f"cannot run as {wanted}: {error.strerror}") from None
    taken = os.getresuid() == (uid, uid, uid) and os.getresgid() == (gid, gid, gid)
    if not taken or {*os.getgroups(), gid} != {*groups, gid} or (uid != 0 and _can_become_root()):
        raise Refused(f"cannot run as {wanted}: the appliance's own rights could be taken back")


def _can_become_root() -> bool:
    try:
        os.seteuid(0)
    except PermissionError:
        return False
    return True


def _give(output: int, uid: int) -> None:
    """Makes the output file the user's, or the names /dev/stdout and /dev/stderr could not be opened."""
    try:
        os.fchown(output, uid, -1)
    except OSError:
        # Without the right to do that; writing to it works all the same.
        return


def execute(daemon: int, request: SpawnRequest, output: int) -> None:
    """From the clone to the program. Returns only when the daemon is gone; raises what keeps it from being started."""
    argv, base, own, cwd, umask, user, group = request
    uid, gid, groups, found = credentials(user, group)
    _give(output, uid)
    os.dup2(1, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    become(uid, gid, groups, f"user `{user}`" if user is not None else f"group `{group}`")
    os.umask(umask)
    os.chdir(cwd)
    # An appliance that starts again has looked for survivors already: one more would run unseen.
    if os.getppid() == daemon:
        os.execve(argv[0], argv, {**base, **encoded(found), **own})


def encoded(variables: dict[str, str]) -> dict[str, bytes]:
    """As bytes that were read, whatever the locale: the output of a failed run stands among them."""
    return {name: value.encode(errors="surrogateescape") for name, value in variables.items()}


def read(request: int) -> SpawnRequest:
    """What stands in the file of a request."""
    found: SpawnRequest = marshal.loads(os.pread(request, os.fstat(request).st_size, 0))
    return found


def _live(daemon: int, request: SpawnRequest, output: int, report: int) -> NoReturn:
    """A copy's life. The report is its pid, then nothing more if the program was executed, else why it was not."""
    try:
        os.setsid()
        os.write(report, b"%d" % os.getpid())
        execute(daemon, request, output)
    except Exception as error:
        os.write(report, told(*why_not(error, request[0][0], request[3])))
    finally:
        os._exit(127)


def told(number: int, reason: str) -> bytes:
    """The second line of the report on a start that failed; the first is empty when there is no process."""
    return b"\n%d %s" % (number, reason.encode(errors="backslashreplace"))


def clone(processor: str) -> int:
    """As fork(), but the copy is a child of this process's parent; raises OSError.

    The only call of this program that Python does not offer, made here since the program can import no other module.
    """
    arguments = (ctypes.c_uint64 * 8)(_CLONE_PARENT)
    pid: int = _libc.syscall(ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EPERM) and processor in _CLONE:
        pid = _libc.syscall(*map(ctypes.c_long, (_CLONE[processor], _CLONE_PARENT, 0, 0, 0, 0)))
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return pid


def serve(channel: socket.socket, daemon: int) -> None:
    """Answers requests, one copy for each, until the daemon is gone."""
    processor = os.uname().machine
    while os.getppid() == daemon:
        # Not recv_fds(): it forgets its flags, and the programs would inherit the descriptors.
        _, passed, _, _ = channel.recvmsg(1, _ROOM, socket.MSG_CMSG_CLOEXEC)
        if not passed:
            return
        descriptors = memoryview(passed[0][2]).cast("i").tolist()
        file, output, report = descriptors
        # Whatever a copy writes to is copied first, so what can be is done before.
        request = read(file)
        try:
            if clone(processor) == 0:
                _live(daemon, request, output, report)
        except OSError as error:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.write(report, told(error.errno or 0, f"cannot start a process: {error.strerror}"))
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for descriptor in descriptors:
            os.close(descriptor)


def load_look_ups(switch: str) -> None:
    """Loads the modules that look-ups will ask, or every copy would; nobody is looked up, since that may hang."""
    try:
        with open(switch, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            asked = [line.partition("#")[0].split() for line in lines]
    except OSError:
        return
    for service in {word for words in asked if words[:1] in (["passwd:"], ["group:"]) for word in words[1:]}:
        try:
            ctypes.CDLL(f"libnss_{service}.so.2")
        except OSError:
            # Built into the C library, not there, or no name at all: the look-ups know what to do.
            continue


def main() -> None:
    """The channel is standard input; the argument is the pid of the daemon."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores the last two, and that would outlast the exec.
        signal.signal(number, signal.SIG_DFL)
    # Nothing is written there; it is what programs get to read.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    load_look_ups("/etc/nsswitch.conf")
    serve(socket.socket(fileno=0), int(sys.argv[1]))


if __name__ == "__main__":
    main()
