"""What was seen of a machine and of the places of one appliance. Facts only; what they mean is decided elsewhere."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schedappliance.diagnostics import Diagnostic
from schedappliance.doctor.mounts import Mount


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the kernel judges what he may do."""

    uid: int
    gid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Step:
    """One real path: what it is, whose, and who may do what. `acl`: an access list says more than the mode."""

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
        """Names in it may be changed by their owners only."""
        return bool(self.mode & stat.S_ISVTX)


@dataclass(frozen=True, slots=True)
class Way:
    """From the root directory to a path as it is named: the directories passed, then what stands there if it exists.

    `links`: the symbolic links to directories that were followed in the directory's part of the name, with their targets.
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
        return self.steps[:-1] if self.exists else self.steps


@dataclass(frozen=True, slots=True)
class Executable:
    """The file that a program starts, and as whom. `tried`: lint has asked the kernel for this user whether it can be."""

    program: str
    way: Way
    user: Person
    is_script: bool = False
    tried: bool = False


@dataclass(frozen=True, slots=True)
class Relative:
    """A place that is named from the directory of the file that names it: `option`, in the file that `way` leads to."""

    option: str
    way: Way


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of the spool and the mode that the appliance gives it."""

    step: Step
    wanted: int


@dataclass(frozen=True, slots=True)
class Console:
    """The place of the socket, the mode that it gets, and the group, if it is not known here."""

    way: Way
    mode: int
    unknown_group: str | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """A process that uses one of the places now. `own`: it was started with this configuration; None: nobody can tell."""

    place: str
    path: Path
    pid: int
    own: bool | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """`loaded`: what lint says of the files. `watch_failure`: errno and text of a trial to watch them as the appliance does.

    `missing`: what an appliance made of the spool, and somebody has removed.
    `roles_decide`: the files declare an Authorization, so that who may open the console may not yet do anything there.
    `names`, `groups` and `members` are of the users and groups that were seen.
    """

    user: Person
    sqlite: tuple[int, ...]
    files: tuple[Way, ...]
    listed: tuple[Way, ...] = ()
    loaded: tuple[Diagnostic, ...] = ()
    programs: int = 0
    executables: tuple[Executable, ...] = ()
    watch_failure: tuple[int, str] | None = None
    mounts: tuple[Mount, ...] = ()
    relative: tuple[Relative, ...] = ()
    store: Way | None = None
    store_files: tuple[Step, ...] = ()
    store_refusal: tuple[str, str] | None = None
    free_bytes: int | None = None
    spool: Way | None = None
    folders: tuple[Folder, ...] = ()
    missing: tuple[Path, ...] = ()
    console: Console | None = None
    roles_decide: bool = False
    holdings: tuple[Holding, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    members: Mapping[int, frozenset[int]] = field(default_factory=dict)
