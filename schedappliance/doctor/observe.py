"""Looks at the machine and the places of one appliance, for `doctor`. Law: it changes nothing, and takes no lock."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.doctor.facts import Console, Executable, Facts, Folder, Holding, Person, Relative, Step, Way
from schedappliance.doctor.inotify_trial import watch_failure
from schedappliance.doctor.mounts import parse_mounts
from schedappliance.doctor.paths import step_at, way_to
from schedappliance.edge.console.unix_socket import listener_pid
from schedappliance.edge.files.directories import places_of
from schedappliance.edge.spool.folders import PRIVATE, modes
from schedappliance.edge.users import user_named
from schedappliance.lockfile import lock_holder
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.configuration import Program
from schedappliance.model.files import interpreter
from schedappliance.model.loading import Loaded, spool_mistake
from schedappliance.store.database import SQLITE, check_place
from schedappliance.store.failures import StoreRefused

STORE_FILES = ("", "-wal", "-shm", ".output")


def look(file: ApplianceFile, loaded: Loaded, paths: Iterable[Path]) -> Facts:
    """What is to be seen now. `paths`: whose content was asked for when the stanza files were loaded."""
    return _Look(file, loaded, paths).facts()


@dataclass(slots=True)
class _Look:
    file: ApplianceFile
    loaded: Loaded
    paths: Iterable[Path]

    @property
    def store(self) -> Path | None:
        return self.loaded.configuration.backing_store

    def facts(self) -> Facts:
        holdings = tuple(self.holdings())
        user = self.user(holdings)
        files = tuple(way_to(path) for path in (self.file.path, *self.loaded.closure.texts))
        listed = tuple(way_to(path) for path in self.loaded.closure.listed)
        store = way_to(self.store) if self.store else None
        spool = way_to(self.file.spool) if self.file.spool else None
        console = self.console()
        executables = tuple(self.executables(user))
        folders = tuple(self.folders())
        ways = [way for way in (*files, *listed, store, spool, console and console.way) if way]
        ways += [executable.way for executable in executables]
        steps = [*(step for way in ways for step in way.steps), *(folder.step for folder in folders)]
        uids = {user.uid, *(step.uid for step in steps), *(executable.user.uid for executable in executables)}
        gids = {step.gid for step in steps if step.mode & stat.S_IWGRP}
        return Facts(
            user=user,
            sqlite=SQLITE[:3],
            files=files,
            listed=listed,
            loaded=tuple(self.said()),
            programs=len(self.loaded.configuration.programs),
            executables=executables,
            watch_failure=watch_failure(self.watched(), user),
            mounts=parse_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")),
            relative=tuple(self.relative(files)),
            store=store,
            store_files=tuple(self.store_files()),
            store_refusal=self.store_refusal(),
            free_bytes=_free(store),
            spool=spool,
            folders=folders,
            missing=tuple(self.missing(holdings)),
            console=console,
            roles_decide=self.loaded.configuration.authorization is not None,
            holdings=holdings,
            names={uid: user_named(uid).name for uid in uids},
            groups={gid: _group_name(gid) for gid in gids},
            members=_members(gids),
        )

    def said(self) -> Iterator[Diagnostic]:
        yield from self.loaded.shown()
        mistake = spool_mistake(self.file, self.loaded.configuration) if self.loaded.accepted else None
        yield from [mistake] if mistake else []

    def holdings(self) -> Iterator[Holding]:
        """The processes that use the places; asked without taking a lock, for an appliance may start at this instant."""
        found: list[tuple[str, Path, int | None]] = []
        if self.store:
            found.append(("store", self.store, lock_holder(Path(f"{self.store}.lock"))))
        if self.file.spool:
            found.append(("spool", self.file.spool, lock_holder(self.file.spool / ".lock")))
        if self.file.listen:
            found.append(("socket", self.file.listen, listener_pid(self.file.listen)))
        for place, path, pid in found:
            if pid is not None:
                yield Holding(place, path, pid, serves(pid, self.file.path))

    def user(self, holdings: tuple[Holding, ...]) -> Person:
        """As whom the appliance runs: as it does now, else as the owner of the store, else as who asks."""
        owned = [Path(f"/proc/{holding.pid}") for holding in holdings if holding.own is not False]
        if self.store:
            owned.append(self.store)
            if not os.access(self.store.parent, os.X_OK):
                # The store cannot be seen; who may see it is the owner of its directory.
                owned.append(self.store.parent)
        for path in owned:
            if step := step_at(path):
                return _person(step.uid)
        return _person(os.geteuid())

    def console(self) -> Console | None:
        if self.file.listen is None:
            return None
        group = self.file.group
        return Console(way_to(self.file.listen), self.file.mode, group if group and not _has_group(group) else None)

    def executables(self, user: Person) -> Iterator[Executable]:
        """What is not there, or is named by an option, is lint's or the run's to tell."""
        for program in self.loaded.configuration.programs.values():
            executed, runs_as = Path(program.argv[0] if program.argv else ""), _runs_as(program, user)
            if runs_as and executed.is_absolute() and "%" not in program.argv[0]:
                way = way_to(executed)
                if way.exists and stat.S_ISREG(way.last.mode):
                    tried = runs_as == _person(os.geteuid())
                    yield Executable(program.name, way, runs_as, interpreter(executed) is not None, tried)

    def folders(self) -> Iterator[Folder]:
        for name, mode in modes(self.file.spool_group is not None).items():
            if self.file.spool and (step := step_at(self.file.spool / name)):
                yield Folder(step, mode)

    def missing(self, holdings: tuple[Holding, ...]) -> Iterator[Path]:
        """What is not there of a spool that was made: its lock tells that, or the appliance that runs."""
        spool = self.file.spool
        if spool is None or not (step_at(spool / ".lock") or any(holding.own for holding in holdings)):
            return
        if _is_missing(spool):
            yield spool
        else:
            yield from (spool / name for name in PRIVATE if _is_missing(spool / name))

    def store_files(self) -> Iterator[Step]:
        for suffix in STORE_FILES if self.store else ():
            if step := step_at(Path(f"{self.store}{suffix}")):
                yield step

    def store_refusal(self) -> tuple[str, str] | None:
        """What opening would say of the place, for the user who asks."""
        try:
            if self.store:
                check_place(self.store)
        except StoreRefused as refused:
            return refused.message, refused.help
        except OSError:
            # What may not be looked at is told by the permissions on the way to it.
            pass
        return None

    def watched(self) -> list[set[Path]]:
        """Files and spool are watched each by an observer of its own; a spool that is not there yet will be made."""
        spool = self.file.spool
        return [places_of(self.paths), *([{spool / "new"}] if spool and step_at(spool) else [])]

    def relative(self, files: tuple[Way, ...]) -> Iterator[Relative]:
        """The places of what must not be lost whose names do not begin at the root directory."""
        ways = {str(way.named): way for way in files}
        named = {
            "backing_store": self.loaded.configuration.backing_store_place,
            "spool.path": self.file.spool_place,
        }
        for option, place in named.items():
            if place and not _text(*place).startswith("/") and (way := ways.get(place[0].name)):
                yield Relative(option, way)


def _is_missing(path: Path) -> bool:
    """Surely: of what may not be looked at nobody knows."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _text(source: Source, span: Span) -> str:
    return source.text[span.start : span.end].strip("\"'`")


def _person(uid: int) -> Person:
    if uid == os.geteuid():
        return Person(uid, os.getegid(), frozenset({os.getegid(), *os.getgroups()}))
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Person(uid, uid, frozenset({uid}))
    return Person(uid, entry.pw_gid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def _runs_as(program: Program, user: Person) -> Person | None:
    """As whom a program runs; None when the user or the group is not known here."""
    try:
        if program.user is not None:
            is_number = program.user.isdigit()
            user = _person(int(program.user) if is_number else pwd.getpwnam(program.user).pw_uid)
        if program.group is None:
            return user
        gid = int(program.group) if program.group.isdigit() else grp.getgrnam(program.group).gr_gid
        others = os.getgrouplist(pwd.getpwuid(user.uid).pw_name, gid) if program.user is not None else ()
        return Person(user.uid, gid, frozenset({gid, *others}))
    except KeyError:
        return None


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid-{gid}"


def _members(gids: Iterable[int]) -> dict[int, frozenset[int]]:
    """The users of groups, by their entries and by the groups that users begin with."""
    users = pwd.getpwall() if gids else []
    numbers = {user.pw_name: user.pw_uid for user in users}
    members: dict[int, frozenset[int]] = {}
    for gid in gids:
        try:
            named = grp.getgrgid(gid).gr_mem
        except KeyError:
            named = []
        primary = {user.pw_uid for user in users if user.pw_gid == gid}
        members[gid] = frozenset(primary | {numbers[name] for name in named if name in numbers})
    return members


def _free(store: Way | None) -> int | None:
    if store is None:
        return None
    try:
        system = os.statvfs(store.last.path)
    except OSError:
        return None
    return system.f_bavail * system.f_frsize


def serves(pid: int, config: Path) -> bool | None:
    """Whether a process was started with `--config` of this file; None if its command line does not tell."""
    process = Path(f"/proc/{pid}")
    try:
        words = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        start = (process / "cwd").readlink()
    except OSError:
        return None
    paths = [after for word, after in pairwise(words) if word == "--config"]
    paths += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    return (start / paths[-1]).resolve() == config.resolve() if paths else None
