"""What the programs need, and what the appliance or its systemd unit does not give them.

A program inherits the restrictions of the appliance. Rule: it decides from the facts alone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from schedappliance.diagnostics import Diagnostic
from schedappliance.doctor.facts import UNLIMITED, Executable, Needs
from schedappliance.edge.programs.cgroups import NOT_DELEGATED

ROOT = 0
# Capabilities, from linux/capability.h.
CAP_SETGID, CAP_SETUID, CAP_SYS_NICE, CAP_SYS_RESOURCE = 1 << 6, 1 << 7, 1 << 23, 1 << 24
# The names of limits in systemd units.
SYSTEMD = {"nofile": "NOFILE", "memory": "AS", "cpu": "CPU", "nproc": "NPROC", "fsize": "FSIZE", "core": "CORE"}
FAILS = "every run of the program fails"


def unmet_needs(needs: Needs) -> Iterator[Diagnostic]:
    yield from _foreign_users(needs)
    yield from _denied_resources(needs)
    yield from _denied_privileges(needs)
    yield from _hidden_paths(needs)


def _foreign_users(needs: Needs) -> Iterator[Diagnostic]:
    """Programs that name a user or a group to which the appliance cannot change."""
    may_change = needs.rights is None or not ~needs.rights.capabilities & (CAP_SETUID | CAP_SETGID)
    if needs.user.uid == ROOT and may_change:
        yield from _unmapped_users(needs)
        return
    why = "it lacks the capabilities CAP_SETUID and CAP_SETGID"
    remedy = f"give it both, or remove `user` and `group`; {FAILS}"
    if needs.user.uid != ROOT:
        why = "the appliance does not run as root"
        remedy = f"run the appliance as root, or remove `user` and `group`; {FAILS}"
    for program in needs.users:
        if (program.user.uid, program.user.gid) != (needs.user.uid, needs.user.gid):
            message = f"program `{program.program}` cannot run as this user or group: {why}"
            yield Diagnostic("E619", message, remedy, program.source, program.span)


def _unmapped_users(needs: Needs) -> Iterator[Diagnostic]:
    """Programs whose users and groups the user namespace of the appliance does not have, as in a rootless container."""
    maps = needs.rights.maps if needs.rights else needs.maps
    for program in needs.users if maps else ():
        is_own = (program.user.uid, program.user.gid) == (needs.user.uid, needs.user.gid)
        assert maps is not None
        if not is_own and (why := maps.lacks(program.user)):
            message = f"program `{program.program}` cannot run as this user or group: the user namespace of the appliance {why}"
            remedy = f"give the container more users and groups (`/etc/subuid`, `/etc/subgid`), or remove `user` and `group`; {FAILS}"
            yield Diagnostic("E619", message, remedy, program.source, program.span)


def _denied_resources(needs: Needs) -> Iterator[Diagnostic]:
    """Priorities and limits that the daemon may not give to a program."""
    rights = needs.rights
    # These two capabilities count in the first user namespace only.
    powers = rights.capabilities if rights and rights.maps is None else 0
    for program in needs.restrained if rights else ():
        assert rights is not None
        if program.nice is not None and program.nice < rights.nice and not powers & CAP_SYS_NICE:
            message = (
                f"program `{program.program}` cannot have this nice value: the appliance may give {rights.nice} or more"
            )
            remedy = f"set `Nice=` of its systemd unit, or raise `nice`; {FAILS}"
            yield Diagnostic("E624", message, remedy, *program.places["nice"])
        for option in {"memory_max", "cpu_weight"} & program.places.keys() if not rights.has_cgroup else ():
            message = f"program `{program.program}` cannot have `{option}`: {NOT_DELEGATED}"
            remedy = f"set both in its systemd unit, or remove the option; {FAILS}"
            yield Diagnostic("E624", message, remedy, *program.places[option])
        for limit in program.limits:
            most = rights.limits[limit.name]
            if limit.name == "nofile" and limit.hard > rights.most_files != UNLIMITED:
                message = f"program `{program.program}` cannot have the limit `nofile`: the kernel allows {rights.most_files} at most"
                remedy = f"raise the sysctl `fs.nr_open`, or lower the limit; {FAILS}"
                yield Diagnostic("E624", message, remedy, *program.places["limits"])
            elif limit.hard > most != UNLIMITED and not powers & CAP_SYS_RESOURCE:
                message = f"program `{program.program}` cannot have the limit `{limit.name}`: the appliance may give {most} at most"
                remedy = f"raise `Limit{SYSTEMD[limit.name]}=` of its systemd unit, or lower the limit; {FAILS}"
                yield Diagnostic("E624", message, remedy, *program.places["limits"])


def _denied_privileges(needs: Needs) -> Iterator[Diagnostic]:
    """Executables such as sudo and ping, which work only with the privileges that their files give."""
    for executable in needs.executables if needs.rights and needs.rights.no_new_privileges else ():
        if executable.place and (gain := _gain(executable)):
            message = f"program `{executable.program}` gains no privileges by the {gain} of {executable.way.last.path}"
            remedy = "set `NoNewPrivileges=no` and what it then needs in the systemd unit of the appliance, or use another program"
            yield Diagnostic("W627", f"{message}: the appliance has NoNewPrivileges", remedy, *executable.place)


def _gain(executable: Executable) -> str:
    """How the user of a program gains privileges by its executable; empty if it gains none. The kernel ignores the bits of scripts."""
    file, user = executable.way.last, executable.user
    if executable.is_script:
        return ""
    if file.mode & stat.S_ISUID and file.uid != user.uid:
        return "set-user-ID"
    if file.mode & stat.S_ISGID and file.mode & stat.S_IXGRP and file.gid not in user.gids:
        return "set-group-ID"
    return "capabilities" if executable.has_capabilities and user.uid != ROOT else ""


# The options of systemd units that hide these directories from a service.
_HIDERS = {
    **dict.fromkeys((Path("/home"), Path("/root"), Path("/run/user")), "ProtectHome="),
    **dict.fromkeys((Path("/tmp"), Path("/var/tmp")), "PrivateTmp="),
    Path("/dev"): "PrivateDevices=",
}


def _hidden_paths(needs: Needs) -> Iterator[Diagnostic]:
    for hidden in needs.hidden:
        hiders = (_HIDERS[path] for path in (hidden.first, *hidden.first.parents) if path in _HIDERS)
        option = next(hiders, "InaccessiblePaths=")
        message = (
            f"program `{hidden.program}` cannot use its `{hidden.option}`: the appliance does not see {hidden.first}"
        )
        remedy = f"change `{option}` of its systemd unit, or use another path; {FAILS}"
        yield Diagnostic("E628", message, remedy, hidden.source, hidden.span)
