"""The types of facts about a machine and one appliance. Rule: no judgement; `access` and `machine` find the problems."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.doctor.mounts import Mount
from schedappliance.edge.programs.restraints import Limit


@dataclass(frozen=True, slots=True)
class Credentials:
    """The ids by which the kernel decides about the permissions of a process."""

    uid: int
    gid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class ProgramUser:
    """The user and the group that a program names, and the place of the first of them."""

    program: str
    user: Credentials
    source: Source
    span: Span | None


@dataclass(frozen=True, slots=True)
class Step:
    """One real path with its owner and mode. `acl`: it has an access control list, which may allow more than the mode."""

    path: Path
    mode: int
    uid: int
    gid: int
    acl: bool = False

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_sticky(self) -> bool:
        """Only its owner may rename or remove a file in a sticky directory."""
        return bool(self.mode & stat.S_ISVTX)


@dataclass(frozen=True, slots=True)
class Way:
    """The directories from the root directory to the path `named`, then the file or directory of that name, if it exists.

    `links`: the symbolic links in the directory part of the name, with their targets.
    """

    named: Path
    steps: tuple[Step, ...]
    exists: bool
    links: tuple[tuple[Path, Path], ...] = ()

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def directories(self) -> tuple[Step, ...]:
        """At least the root directory, which is also the directory of itself."""
        return self.steps[:-1] or self.steps if self.exists else self.steps


# A limit that is infinite, or not known.
UNLIMITED = -1


class IdMaps(NamedTuple):
    """The users and groups of a user namespace, by number, as in a rootless container. `sets_groups`: its processes may change groups."""

    users: tuple[range, ...]
    groups: tuple[range, ...]
    sets_groups: bool

    def lacks(self, user: Credentials) -> str | None:
        """Why no process of the namespace can have these credentials; None if one can."""
        if not any(user.uid in some for some in self.users):
            return f"does not know the uid {user.uid}"
        for gid in sorted({user.gid, *user.gids}):
            if not any(gid in some for some in self.groups):
                return f"does not know the gid {gid}"
        return None if self.sets_groups else "does not let its processes change their groups"


class Rights(NamedTuple):
    """What the daemon may give to a program: its capabilities, its hard limits by name, and the lowest nice value.

    `has_cgroup`: it may make cgroups. `no_new_privileges`: its programs gain nothing by set-user-ID or file capabilities.
    `most_files`: the highest limit `nofile` that the kernel allows; UNLIMITED if it is not known. `maps`: None in the first user
    namespace, that of the machine.
    """

    capabilities: int
    limits: Mapping[str, int]
    nice: int
    has_cgroup: bool
    no_new_privileges: bool = False
    most_files: int = UNLIMITED
    maps: IdMaps | None = None


class Restrained(NamedTuple):
    """A program with priorities or limits, and the places of these options."""

    program: str
    nice: int | None
    limits: tuple[Limit, ...]
    places: Mapping[str, tuple[Source, Span]]


class Hidden(NamedTuple):
    """A path of a program that exists, and that the daemon does not see. `option` names it, `first`: its first hidden part."""

    program: str
    option: str
    path: Path
    first: Path
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class Executable:
    """The executable of a program, and its user. `is_checked`: the linter asked the kernel for the same user.

    `has_capabilities`: the file gives capabilities to its process. `place`: that of `argv` in the files.
    """

    program: str
    way: Way
    user: Credentials
    is_script: bool = False
    is_checked: bool = False
    has_capabilities: bool = False
    place: tuple[Source, Span] | None = None


class Reached(NamedTuple):
    """A path that a program needs at its start, other than its executable, and the user who must reach it.

    `bits`: the permissions that the user needs at the end of the way. `by_appliance`: the appliance itself opens it.
    """

    program: str
    way: Way
    user: Credentials
    bits: int
    by_appliance: bool = False


class Needs(NamedTuple):
    """What the programs need that an appliance, or its systemd unit, may not give them.

    `user`: that of the appliance. `rights`: None without a daemon, or if they cannot be read. `maps`: without a daemon, the user
    namespace of this process; None in the first one.
    """

    user: Credentials
    executables: tuple[Executable, ...] = ()
    reached: tuple[Reached, ...] = ()
    users: tuple[ProgramUser, ...] = ()
    rights: Rights | None = None
    restrained: tuple[Restrained, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    maps: IdMaps | None = None


@dataclass(frozen=True, slots=True)
class RelativePath:
    """A path that is relative to the directory of the file that names it. `option` names the path, `way` leads to the file."""

    option: str
    way: Way


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of the spool, and the mode and the group that the appliance gives it; None: no group."""

    step: Step
    wanted: int
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class ConsoleSocket:
    """The path of the socket, the mode that it gets, and the group that is configured for it.

    `unknown_group`: this group, if the system does not know it.
    """

    way: Way
    mode: int
    unknown_group: str | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """A process that uses the store, the spool or the socket now. `what`: which of the three.

    `own`: whether the process was started with this appliance file; None if that is unknown.
    """

    what: str
    path: Path
    pid: int
    own: bool | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A path that does not lead to the file that the daemon `pid` has open. `is_replaced`: it leads to another file.

    `elsewhere`: where that file is, if the path has a symbolic link, which leads to another directory now.
    """

    path: Path
    pid: int
    is_replaced: bool = False
    elsewhere: Path | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """A process that reads the store now."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """A process of a run that the store does not know, and the file that it writes to."""

    pid: int
    command: str
    run: str
    output: str


class WatchFailure(NamedTuple):
    """Why a directory of the files, or of the spool, cannot be watched. `number`: of the error."""

    number: int
    text: str
    is_spool: bool = False


class Summary(NamedTuple):
    """What `summary` says: why the appliance is degraded, and since when, by whom and why it is held; None if it is not.

    `unknown`: why it says nothing to this user, and the remedy; None if it does.
    """

    degraded: str | None = None
    held: str | None = None
    unknown: tuple[str, str] | None = None


# Without a running appliance.
UNASKED = Summary()


@dataclass(frozen=True, slots=True)
class Facts:
    """`loaded`: the linter's diagnostics about the files. `listed`: the included directories.

    `watch_failure`: of a trial to watch the directories. `missing`: directories that an appliance made in the spool, and
    that were removed. `has_roles`: the files declare an Authorization, so that a user who can open the console may not yet
    give any command. `store_refusal`, `spool_refusal`: message and remedy. `log_home`: the directory in which the log is
    made. `blocked`: what is needed and cannot be used, with code, path, message and remedy. `hides_holders`: the user of
    the doctor cannot tell who uses store, spool and socket. `immutable`: what nobody may write, although its owner and mode
    allow it. `says`: what `summary` says. `hides_boot_id`: the daemon cannot read the boot id. `damaged_zones`: files of
    zones of jobs. `first_process`: the daemon was started as process 1, as in a container, and `on_stop` is `keep`. `loss`:
    what may be lost with a part of the store's log. `log_bytes` and `readers`: the size of the store's log, and the
    processes that read the store now. `strangers`: the processes of runs that the store does not know. `names`, `groups`
    and `members` are of the users and groups that occur in the other facts.
    """

    needs: Needs
    sqlite: tuple[int, ...]
    files: tuple[Way, ...]
    listed: tuple[Way, ...] = ()
    loaded: tuple[Diagnostic, ...] = ()
    programs: int = 0
    watch_failure: WatchFailure | None = None
    mounts: tuple[Mount, ...] = ()
    relative: tuple[RelativePath, ...] = ()
    store: Way | None = None
    store_files: tuple[Step, ...] = ()
    locks: tuple[Step, ...] = ()
    keeper_files: tuple[Step, ...] = ()
    immutable: tuple[Step, ...] = ()
    log: Step | None = None
    log_home: Way | None = None
    store_refusal: tuple[str, str] | None = None
    free_bytes: int | None = None
    free_inodes: int | None = None
    spool: Way | None = None
    spool_refusal: tuple[str, str] | None = None
    folders: tuple[Folder, ...] = ()
    missing: tuple[Path, ...] = ()
    console: ConsoleSocket | None = None
    blocked: tuple[tuple[str, Path, str, str], ...] = ()
    has_roles: bool = False
    holdings: tuple[Holding, ...] = ()
    hides_holders: bool = False
    lost: tuple[Lost, ...] = ()
    says: Summary = UNASKED
    hides_boot_id: bool = False
    first_process: bool = False
    damaged_zones: tuple[Path, ...] = ()
    loss: str | None = None
    log_bytes: int = 0
    readers: tuple[Reader, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    members: Mapping[int, frozenset[int]] = field(default_factory=dict)

    @property
    def user(self) -> Credentials:
        """The user of the appliance."""
        return self.needs.user
