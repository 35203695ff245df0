"""Collects what the programs need, and what the running daemon can give them.

Programs inherit the privileges and the mounts of the daemon, so its process tells what its systemd unit closes. Rule: it
changes nothing.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from schedappliance.diagnostics import Source, Span
from schedappliance.doctor.access import ENTER, READ
from schedappliance.doctor.facts import (
    UNLIMITED,
    Credentials,
    Executable,
    Hidden,
    IdMaps,
    Needs,
    ProgramUser,
    Reached,
    Restrained,
    Rights,
    Way,
)
from schedappliance.doctor.paths import way_to
from schedappliance.edge.programs.cgroups import service_of
from schedappliance.edge.programs.restraints import limits_of
from schedappliance.edge.programs.spawner import Unfit
from schedappliance.kinds import LARGEST_OF_KERNEL, read_head
from schedappliance.model.configuration import Program
from schedappliance.model.files import interpreter

CAPABILITIES = "security.capability"
# The map of the first user namespace, and its inode: PROC_USER_INIT_INO of the kernel.
ALL_IDS = (range(2**32 - 1),)
FIRST_USER_NAMESPACE = 0xEFFFFFFD
# The limits by their names in /proc/PID/limits.
_LIMITS = {
    "nofile": "Max open files",
    "memory": "Max address space",
    "cpu": "Max cpu time",
    "nproc": "Max processes",
    "fsize": "Max file size",
    "core": "Max core file size",
}
_NICE = "Max nice priority"
_NAME_WIDTH = 25
_EXECUTABLE_BITS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def needs_of(programs: Iterable[Program], user: Credentials, daemon: int | None) -> Needs:
    """`user`: that of the appliance. `daemon`: the pid of the running daemon."""
    programs = tuple(programs)
    return Needs(
        user=user,
        executables=tuple(_executables(programs, user)),
        reached=tuple(_reached(programs, user)),
        users=tuple(_users(programs, user)),
        rights=rights_of(daemon) if daemon else None,
        restrained=tuple(_restrained(programs)),
        hidden=tuple(_hidden(programs, daemon)) if daemon else (),
        # The container in which the doctor runs is probably that of the appliance. What its service gets is not known yet.
        maps=None if daemon else id_maps_of(os.getpid()),
    )


def _executables(programs: Iterable[Program], user: Credentials) -> Iterator[Executable]:
    """The existing executables. The linter reports missing ones; a path that contains an option is not checked."""
    for program in programs:
        executed, runs_as = _executed(program), _runs_as(program, user)
        if executed and runs_as:
            way = way_to(executed)
            if way.exists and stat.S_ISREG(way.last.mode):
                yield Executable(
                    program.name,
                    way,
                    runs_as,
                    is_script=interpreter(executed) is not None,
                    is_checked=runs_as == credentials_of(os.geteuid()),
                    has_capabilities=_has_capabilities(way.last.path),
                    place=program.executable,
                )


def _executed(program: Program) -> Path | None:
    """The executable of a program; None if its path is relative or contains an option."""
    path = program.argv[0] if program.argv else ""
    return Path(path) if path.startswith("/") and "%" not in path else None


def _reached(programs: Iterable[Program], user: Credentials) -> Iterator[Reached]:
    """The directories, the files of variables and the interpreters of the programs."""
    for program in programs:
        runs_as = _runs_as(program, user)
        directory = way_to(Path(program.cwd))
        # The linter reports a file in the place of a directory.
        if runs_as and program.directory and directory.last.is_directory:
            yield Reached(program.name, directory, runs_as, ENTER)
        if program.env_file and program.env_file_place:
            yield Reached(program.name, way_to(Path(program.env_file)), user, READ, by_appliance=True)
        # The linter asks the kernel about the interpreter for the user of the doctor.
        if runs_as and runs_as != credentials_of(os.geteuid()) and (path := _interpreter(program)):
            yield Reached(program.name, way_to(path), runs_as, ENTER)


def _interpreter(program: Program) -> Path | None:
    """The interpreter of a script; None if its path is relative, or the executable is no script."""
    executed = _executed(program)
    name = interpreter(executed) if executed else None
    return Path(name) if name and name.startswith("/") else None


def _has_capabilities(path: Path) -> bool:
    try:
        return CAPABILITIES in os.listxattr(path)
    except OSError:
        return False


def _users(programs: Iterable[Program], user: Credentials) -> Iterator[ProgramUser]:
    """The users of the programs that name one. The linter reports those that the system does not know."""
    for program in programs:
        if program.accounts and (runs_as := _runs_as(program, user)):
            account = program.accounts[0]
            yield ProgramUser(program.name, runs_as, account.source, account.span)


def _restrained(programs: Iterable[Program]) -> Iterator[Restrained]:
    for program in programs:
        if program.resource_places:
            places = {name: (source, span) for name, source, span in program.resource_places}
            limits = tuple(limits_of(program.resources, program.kill_after_ms))
            yield Restrained(program.name, program.resources.nice, limits, places)


def _hidden(programs: Iterable[Program], daemon: int) -> Iterator[Hidden]:
    """The paths of programs that exist here and not for the daemon, which may have mounts of its own."""
    root = Path(f"/proc/{daemon}/root")
    if not os.access(root / "proc", os.F_OK):
        # Only root and the user of the daemon may look there.
        return
    for program in programs:
        for option, path, place in _named_paths(program):
            way = way_to(path)
            if way.exists and (first := _first_hidden(way, root)):
                yield Hidden(program.name, option, path, first, *place)


def _named_paths(program: Program) -> Iterator[tuple[str, Path, tuple[Source, Span]]]:
    """The paths that a program names, by their options, with their places in the files."""
    if program.executable and (path := _executed(program)):
        yield "argv", path, program.executable
        if script_runner := _interpreter(program):
            yield "argv", script_runner, program.executable
    others = (("cwd", program.cwd, program.directory), ("env_file", program.env_file, program.env_file_place))
    for option, name, place in others:
        if name and place and name.startswith("/"):
            yield option, Path(name), place


def _first_hidden(way: Way, root: Path) -> Path | None:
    """The first part of a way that the daemon does not see. A directory that its service hides may be there, but be closed."""
    for path in sorted({step.path for step in way.steps} | {link for link, _ in way.links}):
        try:
            status = (root / path.relative_to("/")).lstat()
        except OSError:
            return path
        is_closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & _EXECUTABLE_BITS
        if is_closed and path == way.last.path and way.last.mode & _EXECUTABLE_BITS:
            return path
    return None


def credentials_of(uid: int) -> Credentials:
    if uid == os.geteuid():
        return Credentials(uid, os.getegid(), frozenset({os.getegid(), *os.getgroups()}))
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Credentials(uid, uid, frozenset({uid}))
    return Credentials(uid, entry.pw_gid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def _runs_as(program: Program, user: Credentials) -> Credentials | None:
    """The credentials of a program; None if the system does not know its user or group."""
    try:
        if program.user is not None:
            is_number = program.user.isdigit()
            user = credentials_of(int(program.user) if is_number else pwd.getpwnam(program.user).pw_uid)
        if program.group is None:
            return user
        gid = int(program.group) if program.group.isdigit() else grp.getgrnam(program.group).gr_gid
        others = os.getgrouplist(pwd.getpwuid(user.uid).pw_name, gid) if program.user is not None else ()
        return Credentials(user.uid, gid, frozenset({gid, *others}))
    except KeyError:
        return None


def rights_of(pid: int) -> Rights | None:
    """What a process may give to its programs; None if it cannot be read, as for a process of another user."""
    try:
        status = dict(
            line.split(":\t", 1)
            for line in read_head(Path(f"/proc/{pid}/status"), LARGEST_OF_KERNEL).decode().splitlines()
            if ":\t" in line
        )
        capabilities, no_new_privileges = int(status["CapEff"], 16), status["NoNewPrivs"] == "1"
        pairs = _limits_of(pid)
        limits = {name: pairs[line][1] for name, line in _LIMITS.items()}
        # Without a capability, 20 minus the limit is the lowest value to which the priority can be raised.
        most = pairs[_NICE][0]
        nice = min(os.getpriority(os.PRIO_PROCESS, pid), -20 if most == UNLIMITED else 20 - most)
    except (OSError, ValueError, KeyError):
        return None
    return Rights(capabilities, limits, nice, _has_cgroup(pid), no_new_privileges, _most_files(), id_maps_of(pid))


def _limits_of(pid: int) -> dict[str, tuple[int, int]]:
    """The soft and the hard limits of a process, by their names in /proc. Raises OSError.

    Every user may read that file. The call prlimit(2) needs CAP_SYS_RESOURCE for a process of another user, which root in
    a container usually lacks.
    """
    text = read_head(Path(f"/proc/{pid}/limits"), LARGEST_OF_KERNEL).decode()
    rows = ((line[:_NAME_WIDTH].rstrip(), *line[_NAME_WIDTH:].split()[:2]) for line in text.splitlines()[1:])
    return {name: (_limit(soft), _limit(hard)) for name, soft, hard in rows}


def _limit(text: str) -> int:
    return UNLIMITED if text == "unlimited" else int(text)


def id_maps_of(pid: int) -> IdMaps | None:
    """The user namespace of a process; None for the first one, and if it is not known."""
    process = Path(f"/proc/{pid}")
    try:
        users, groups = (_ranges(read_head(process / name, LARGEST_OF_KERNEL)) for name in ("uid_map", "gid_map"))
        sets_groups = read_head(process / "setgroups", 32).strip() != b"deny"
        # Another namespace may map all numbers too, and is told apart by its inode. Only some users may see that.
        is_first = users == ALL_IDS and _user_namespace(process) in (None, FIRST_USER_NAMESPACE)
    except (OSError, ValueError):
        return None
    return None if is_first else IdMaps(users, groups, sets_groups)


def _ranges(text: bytes) -> tuple[range, ...]:
    """The numbers that a map has inside its namespace: each line gives the first, the first outside, and how many there are."""
    rows = (tuple(map(int, line.split())) for line in text.splitlines())
    return tuple(range(first, first + count) for first, _, count in rows)


def _user_namespace(process: Path) -> int | None:
    try:
        return (process / "ns" / "user").stat().st_ino
    except OSError:
        return None


def _most_files() -> int:
    try:
        return int(read_head(Path("/proc/sys/fs/nr_open"), 32))
    except (OSError, ValueError):
        return UNLIMITED


def _has_cgroup(pid: int) -> bool:
    try:
        service_of(pid)
    except Unfit:
        return False
    return True
