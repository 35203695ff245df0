"""The spawner: a small process that starts programs as other users for the daemon, its parent.

Rule: it runs alone, by its path, and imports nothing of this package, so that copying it takes little time. Only the
copies look users up, change credentials and execute programs. Each copy is a child of the daemon, which watches and reaps
it like any other program.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import grp
import marshal
import os
import pwd
import signal
import socket
import sys

# Importing `typing` would add a tenth to the memory of this process.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeAlias

    # argv; the variables of all programs; the variables of this program, which override them; cwd, umask, user, group,
    # stdin; whether a failed look-up is repeated.
    SpawnRequest: TypeAlias = tuple[
        tuple[str, ...], dict[str, bytes], dict[str, bytes], str, int, str | None, str | None, bytes | None, bool
    ]

# A message is one byte and three descriptors: a file with the request, the output of the program, and the report.
_DESCRIPTOR_BYTES = socket.CMSG_SPACE(3 * ctypes.sizeof(ctypes.c_int))

PASSWD, GROUP = "/etc/passwd", "/etc/group"
# Reported in the place of an error number.
LOOK_UP_FAILED = -1

_CLONE_PARENT = 0x00008000
_CLONE3 = 435
# The number of clone for each processor, for containers whose filter hides clone3.
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


INVALID = "its arguments, its variables or its directory hold a null byte or another invalid character"


class LookUpFailed(Exception):
    """A user or a group could not be looked up; the message says why. This does not mean that there is none."""


class UnusableUser(Exception):
    """A program cannot run as the user or the group that it is declared with; the message says why."""


def why_not(error: Exception, argv0: str, cwd: str) -> tuple[int, str]:
    """Why a program was not started: the error number, or 0, and the reason for the run record."""
    if isinstance(error, UnusableUser):
        return 0, str(error)
    if isinstance(error, LookUpFailed):
        return LOOK_UP_FAILED, f"the program's user or group cannot be looked up: {error}"
    if isinstance(error, ValueError):
        return 0, f"cannot start {argv0}: {INVALID}"
    if not isinstance(error, OSError):
        return 0, f"cannot start {argv0}: the appliance itself failed"
    where = f"in {cwd}" if error.filename == cwd != argv0 else argv0
    missing = _interpreter(argv0, cwd) if where == argv0 and error.errno == errno.ENOENT else ""
    return error.errno or 0, f"cannot start {where}: {missing}{error.strerror or error}"


def _interpreter(argv0: str, cwd: str) -> str:
    """The name of a script's interpreter if it is missing. It shows a carriage return at the end, a frequent mistake."""
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


def check_missing(call: str, key: int | bytes, database: str) -> None:
    """Returns if the system has no such entry. Raises LookUpFailed if it could not be asked: Python reports both as KeyError.

    `call`: the function of the C library, such as getpwnam_r. `database`: its file. If the file cannot be read, the C library
    may ask the next service, and then reports that there is no entry.
    """
    entry, buffer = ctypes.create_string_buffer(256), ctypes.create_string_buffer(1 << 20)
    result, size = ctypes.c_void_p(), ctypes.c_size_t(len(buffer))
    argument = ctypes.c_uint32(key) if isinstance(key, int) else key
    _check_readable(database)
    number = getattr(_libc, call)(argument, entry, buffer, size, ctypes.byref(result))
    if number or result.value:
        raise LookUpFailed(os.strerror(number or errno.EAGAIN))
    _check_readable(database)


def _check_readable(database: str) -> None:
    try:
        os.close(os.open(database, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise LookUpFailed(f"{database}: {error.strerror}") from None


def groups_of(name: str, gid: int) -> list[int]:
    """The groups of a user. Raises LookUpFailed; without the check, the groups of an unreadable file would be missing."""
    _check_readable(GROUP)
    groups = os.getgrouplist(name, gid)
    _check_readable(GROUP)
    return groups


def variables(entry: pwd.struct_passwd | None, uid: int) -> dict[str, str]:
    """The environment variables of a user. A user without an entry, as in containers, has the number as name."""
    name, home, shell = (entry.pw_name, entry.pw_dir, entry.pw_shell) if entry else (str(uid), "/", "")
    return {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell or "/bin/sh"}


def credentials(
    user: str | None, group: str | None, is_repeated: bool = True
) -> tuple[int, int, list[int], dict[str, str]]:
    """The uid, gid, supplementary groups and variables for a user and a group, as the system knows them now.

    A group without a user gets no supplementary groups, as in a systemd unit with `Group=` and without `User=`.
    Raises UnusableUser, and LookUpFailed. `is_repeated`: whether a look-up that fails is made again. If not, a number
    needs no entry: a container may have no file of users.
    """
    own = os.geteuid()
    gid = os.getegid() if group is None else _gid(group)
    if user is None:
        return own, gid, [], {}
    entry = _user(user, is_repeated)
    uid = entry.pw_uid if entry else int(user)
    if group is None and entry and (uid != own or own == 0):
        gid = entry.pw_gid
    elif group is None and uid != own:
        raise UnusableUser(f"user {user} has no entry on this machine, so its group is unknown; set `group`")
    return uid, gid, groups_of(entry.pw_name, gid) if entry else [], variables(entry, uid)


def _user(name: str, is_repeated: bool) -> pwd.struct_passwd | None:
    if not (name.isascii() and name.isdigit()):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            check_missing("getpwnam_r", name.encode(), PASSWD)
            raise UnusableUser(f"there is no user `{name}` on this machine") from None
    try:
        return pwd.getpwuid(int(name))
    except KeyError:
        if is_repeated:
            check_missing("getpwuid_r", int(name), PASSWD)
        return None


def _gid(name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        check_missing("getgrnam_r", name.encode(), GROUP)
        raise UnusableUser(f"there is no group `{name}` on this machine") from None


def become(uid: int, gid: int, groups: list[int], wanted: str) -> None:
    """Changes the credentials for good. `wanted`: their names for errors. Without root, only the present ones work."""
    if os.geteuid() != 0 and (uid, gid) == (os.geteuid(), os.getegid()):
        return
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except PermissionError as error:
        what = "the appliance needs root for it" if os.geteuid() != 0 else error.strerror
        raise UnusableUser(f"cannot run as {wanted}: {what}") from None
    except OSError as error:
        # UnusableUser has no error number. With EAGAIN, the user has too many processes, and a later start may succeed.
        raise OSError(error.errno, f"cannot run as {wanted}: {error.strerror}") from None
    is_changed = os.getresuid() == (uid, uid, uid) and os.getresgid() == (gid, gid, gid)
    if not is_changed or {*os.getgroups(), gid} != {*groups, gid} or (uid != 0 and _regains_root()):
        raise UnusableUser(f"cannot run as {wanted}: the program could regain the appliance's rights")


def _regains_root() -> bool:
    """Whether this process can become root again, which must fail."""
    try:
        os.seteuid(0)
    except PermissionError:
        return False
    return True


def _change_owner(output: int, uid: int) -> None:
    """Gives the output to the user, so that the program can open /dev/stdout and /dev/stderr by their names."""
    try:
        os.fchown(output, uid, -1)
    except OSError:
        # The change needs root. Without the change, the program can still write to the open descriptor.
        return


def file_of(stdin: bytes) -> int:
    """A file without a name that holds the standard input of a program; its descriptor is more than 2.

    A pipe would block its writer while the program does not read, and would end with it.
    """
    file = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        written = 0
        while written < len(stdin):
            written += os.write(file, stdin[written:])
        os.lseek(file, 0, os.SEEK_SET)
        return file if file > 2 else fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:
        os.close(file)
        raise


def execute(daemon: int, request: SpawnRequest, output: int) -> None:
    """Turns this copy into the program. Returns only if the daemon has ended. Raises the error that prevents the start."""
    argv, base, own, cwd, umask, user, group, stdin, is_repeated = request
    uid, gid, groups, user_variables = credentials(user, group, is_repeated)
    _change_owner(output, uid)
    if stdin is not None:
        os.dup2(file_of(stdin), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    become(uid, gid, groups, f"user `{user}`" if user is not None else f"group `{group}`")
    os.umask(umask)
    os.chdir(cwd)
    # If the daemon has ended, the next daemon may have searched for survivors already. It would miss this program.
    if os.getppid() == daemon:
        os.execve(argv[0], argv, {**base, **_encoded(user_variables), **own})


def _encoded(variables: dict[str, str]) -> dict[str, bytes]:
    return {name: value.encode(errors="surrogateescape") for name, value in variables.items()}


def read_request(file: int) -> SpawnRequest:
    request: SpawnRequest = marshal.loads(os.pread(file, os.fstat(file).st_size, 0))
    return request


def _run_copy(daemon: int, request: SpawnRequest, output: int, report: int) -> NoReturn:
    """The work of a copy. The copy reports its pid, and then a failure unless the program was executed."""
    try:
        # The channel must end with the spawner, even while this copy waits for a look-up: requests that nobody has read
        # are dropped then, and their reports end.
        os.dup2(1, 0)
        os.setsid()
        os.write(report, b"%d" % os.getpid())
        execute(daemon, request, output)
    except Exception as error:
        number, reason = why_not(error, request[0][0], request[3])
        os.write(report, failure_line(number if request[-1] else max(0, number), reason))
    finally:
        os._exit(127)


def failure_line(number: int, reason: str) -> bytes:
    """The second line of a report, for a start that failed. The first line is empty if there is no process."""
    return b"\n%d %s" % (number, reason.encode(errors="backslashreplace"))


def clone(processor: str) -> int:
    """Forks, but makes the copy a child of this process's parent. Raises OSError.

    edge/linux.py holds all other calls that Python does not offer, but this process cannot import it.
    """
    arguments = (ctypes.c_uint64 * 8)(_CLONE_PARENT)
    pid: int = _libc.syscall(ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EPERM) and processor in _CLONE:
        pid = _libc.syscall(*map(ctypes.c_long, (_CLONE[processor], _CLONE_PARENT, 0, 0, 0, 0)))
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return pid


def serve(channel: socket.socket, daemon: int) -> None:
    """Makes a copy of this process for each request, until the daemon is gone."""
    processor = os.uname().machine
    while os.getppid() == daemon:
        # socket.recv_fds() ignores its flags, so programs would inherit the descriptors.
        _, passed, _, _ = channel.recvmsg(1, _DESCRIPTOR_BYTES, socket.MSG_CMSG_CLOEXEC)
        if not passed:
            return
        descriptors = memoryview(passed[0][2]).cast("i").tolist()
        file, output, report = descriptors
        # It is read before the clone, since the kernel copies each page that a copy writes to. This and load_look_ups
        # save a fifth of the CPU time of a start as another user: 1.5 ms instead of 1.9 ms.
        request = read_request(file)
        try:
            if clone(processor) == 0:
                _run_copy(daemon, request, output, report)
        except OSError as error:
            # The daemon may be gone.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.write(report, failure_line(error.errno or 0, f"cannot start a process: {error.strerror}"))
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for descriptor in descriptors:
            os.close(descriptor)


def load_look_ups(switch: str) -> None:
    """Loads the modules of the name service once, so that the copies need not. It makes no look-up, which may hang."""
    try:
        with open(switch, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            asked = [line.partition("#")[0].split() for line in lines]
    except OSError:
        return
    for service in {word for words in asked if words[:1] in (["passwd:"], ["group:"]) for word in words[1:]}:
        try:
            ctypes.CDLL(f"libnss_{service}.so.2")
        except OSError:
            # Built into the C library, missing, or not a name: the look-ups handle it.
            continue


def main() -> None:
    """Serves the channel on standard input. The argument is the pid of the daemon."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores the last two, and an exec keeps ignored signals ignored.
        signal.signal(number, signal.SIG_DFL)
    # Descriptor 1 becomes the standard input of programs; the spawner itself writes nothing.
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 1)
    os.close(empty)
    load_look_ups("/etc/nsswitch.conf")
    serve(socket.socket(fileno=0), int(sys.argv[1]))


if __name__ == "__main__":
    main()
