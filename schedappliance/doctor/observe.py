"""Collects the facts about the machine and the paths of one appliance. Rule: it changes nothing, and takes no lock."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from schedappliance.client.places import found_config
from schedappliance.diagnostics import Diagnostic, Unusable, as_argument
from schedappliance.doctor.access import ROOT, WRITE, may
from schedappliance.doctor.facts import (
    UNASKED,
    ConsoleSocket,
    Credentials,
    Facts,
    Folder,
    Holding,
    Lost,
    Needs,
    RelativePath,
    Step,
    Way,
)
from schedappliance.doctor.groups import gid_of, group_name, members_of, unknown_group
from schedappliance.doctor.inotify_trial import watch_failure
from schedappliance.doctor.mounts import parse_mounts
from schedappliance.doctor.paths import is_closed, step_at, way_to
from schedappliance.doctor.programs import credentials_of, needs_of
from schedappliance.doctor.running import astray, lost_files, readers_of, strangers_of, summary
from schedappliance.edge.console.unix_socket import connect, listener_pid
from schedappliance.edge.files.directories import places_of
from schedappliance.edge.log import not_a_log
from schedappliance.edge.programs.keeper_files import ENDS, SOCKET
from schedappliance.edge.programs.outputs import output_directory
from schedappliance.edge.programs.survivors import BOOT_ID, boot_id, command_of, start_ticks
from schedappliance.edge.spool.folders import PRIVATE, in_the_way, lock_path_in, modes
from schedappliance.edge.users import user_of
from schedappliance.kinds import LARGEST_OF_KERNEL, not_a_directory, not_a_file, other_kind, read_head
from schedappliance.lockfile import lock_holder
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.appliance_paths import appliance_mistake
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import UnknownZone, Zones, this_machine
from schedappliance.model.configuration import Configuration
from schedappliance.model.env_file import UnusableEnvFile, read_env_file
from schedappliance.model.loading import Loaded
from schedappliance.model.token_file import read_tokens, users_of_directory
from schedappliance.store.files import lock_path_of, log_bytes
from schedappliance.store.loss import cause_of, described, loss_of, lost_pages
from schedappliance.store.maintenance import why_unknown
from schedappliance.store.opening import SQLITE, check_kind, check_place

PROCESSES = Path("/proc")
STORE_FILES = ("", "-wal", "-shm", ".output")


def observe(file: ApplianceFile, loaded: Loaded, paths: Iterable[Path]) -> Facts:
    """The facts as they are now. `paths`: the paths that were read when the stanza files were loaded."""
    return _Observer(file, loaded, paths).facts()


def observe_needs(file: ApplianceFile, loaded: Loaded) -> Needs:
    """What the programs need, and what the appliance can give them."""
    observer = _Observer(file, loaded, ())
    holdings = tuple(observer.holdings())
    return observer.needs(observer.user(holdings), observer.daemon(holdings))


def observe_needs_at(store: Path, configuration: Configuration) -> Needs:
    """The same for the appliance that uses this store, or else for the owner of the store."""
    daemon = lock_holder(lock_path_of(store))
    step = (step_at(Path(f"/proc/{daemon}")) if daemon else None) or step_at(store)
    return needs_of(configuration.programs.values(), credentials_of(step.uid if step else os.geteuid()), daemon)


@dataclass(slots=True)
class _Observer:
    file: ApplianceFile
    loaded: Loaded
    paths: Iterable[Path]

    @property
    def store(self) -> Path | None:
        return self.loaded.configuration.backing_store

    def facts(self) -> Facts:
        holdings, zones = tuple(self.holdings()), Zones(this_machine())
        daemon, user = self.daemon(holdings), self.user(holdings)
        files = tuple(map(way_to, (self.file.path, *self.loaded.closure.texts)))
        listed = tuple(map(way_to, self.loaded.closure.listed))
        store, spool = (way_to(path) if path else None for path in (self.store, self.file.spool))
        console, zone = self.console(), zones.to_show(self.loaded.configuration.zone)
        free_bytes, free_inodes = _free(store)
        needs = self.needs(user, daemon)
        spool_refusal = self.spool_refusal()
        # What is in a directory of somebody else is not judged.
        folders = tuple(self.folders()) if spool_refusal is None else ()
        locks = tuple(self.locks(is_spool=spool_refusal is None))
        written = [*self.store_files(), *self.keeper_files(), *locks, *(folder.step for folder in folders)]
        ways = [*files, *listed, store, spool, console and console.way, *(one.way for one in needs.executables)]
        steps = [*(step for way in ways if way for step in way.steps), *written]
        gids = {step.gid for step in steps if step.mode & stat.S_IWGRP} | self.gids(spool)
        return Facts(
            needs=needs,
            sqlite=SQLITE[:3],
            files=files,
            listed=listed,
            loaded=tuple(self.loaded_diagnostics(user)),
            programs=len(self.loaded.configuration.programs),
            watch_failure=watch_failure(self.watched(), user),
            mounts=parse_mounts(mount_table(daemon)),
            relative=tuple(self.relative(files)),
            store=store,
            store_files=tuple(self.store_files()),
            locks=locks,
            keeper_files=tuple(self.keeper_files()),
            immutable=tuple(filter(_is_immutable, written)),
            log=step_at(self.file.log_file) if self.file.log_file else None,
            log_home=self.log_home(),
            store_refusal=self.store_refusal(user),
            free_bytes=free_bytes,
            free_inodes=free_inodes,
            spool=spool,
            spool_refusal=spool_refusal,
            folders=folders,
            missing=tuple(self.missing(holdings)) if spool_refusal is None else (),
            console=console,
            blocked=(*self.blocked(), *self.blocked_page(), *self.blocked_tokens(user)),
            has_roles=self.loaded.configuration.authorization is not None,
            holdings=holdings,
            hides_holders=any(map(is_closed, self.lock_paths())),
            lost=tuple(self.lost(daemon, holdings)),
            says=summary(self.file.listen, zone) if daemon and self.file.listen else UNASKED,
            hides_boot_id=_hides_boot_id(daemon),
            first_process=self.loaded.configuration.on_stop == "keep" and _is_first_process(daemon),
            damaged_zones=damaged_zones(self.loaded.configuration, zones),
            loss=self.loss(daemon),
            log_bytes=log_bytes(self.store) if self.store else 0,
            readers=tuple(readers_of(self.store)) if self.store else (),
            strangers=tuple(strangers_of(self.store)) if self.store else (),
            names=names_in(needs, [user.uid, *(step.uid for step in steps)]),
            groups={gid: group_name(gid) for gid in gids},
            members=members_of(gids),
        )

    def loaded_diagnostics(self, user: Credentials) -> Iterator[Diagnostic]:
        """The linter judges an `env_file` for the user of this process, which need not be that of the appliance."""
        files = {program.env_file_place: program.env_file for program in self.loaded.configuration.programs.values()}
        for diagnostic in self.loaded.shown():
            path = files.get((diagnostic.source, diagnostic.span)) if diagnostic.span else None
            if diagnostic.code != "W422" or path is None or not _is_env_file_of(path, user):
                yield diagnostic
        mistake = appliance_mistake(self.file, self.loaded) if self.loaded.accepted else None
        yield from [mistake] if mistake else []

    def holdings(self) -> Iterator[Holding]:
        """The processes that use store, spool and socket. No lock is tried, or an appliance could fail to start."""
        holders: list[tuple[str, Path, int | None]] = []
        if self.store:
            holders.append(("store", self.store, lock_holder(lock_path_of(self.store))))
        if self.file.spool:
            holders.append(("spool", self.file.spool, lock_holder(lock_path_in(self.file.spool))))
        if self.file.listen:
            holders.append(("socket", self.file.listen, listener_pid(self.file.listen)))
        for what, path, pid in holders:
            if pid is not None:
                yield Holding(what, path, pid, serves(pid, self.file.path))

    def daemon(self, holdings: tuple[Holding, ...]) -> int | None:
        """The pid of the daemon of this appliance. Without locks and socket, its command line tells."""
        own = [holding.pid for holding in holdings if holding.own]
        return own[0] if own else youngest(daemons(self.file.path))

    def files_behind_links(self) -> Iterator[tuple[Path, Path]]:
        """The files that a daemon has open and whose configured paths have links: those paths, and where they lead."""
        if self.store and (link := self.loaded.configuration.backing_store_link):
            yield link, self.store
        for path in (*self.lock_paths(), *([self.file.log_file] if self.file.log_file else [])):
            for link, directory in self.file.links.items():
                if path.parent == directory:
                    yield link, path

    def strays(self, daemon: int | None) -> dict[Path, Lost]:
        """See `astray`."""
        return astray(daemon, self.files_behind_links()) if daemon else {}

    def lost(self, daemon: int | None, holdings: tuple[Holding, ...]) -> Iterator[Lost]:
        """The files and directories that the daemon uses, and that are gone or replaced, or that links lead to no more."""
        if daemon is None:
            return
        strays = self.strays(daemon)
        yield from strays.values()
        files = [*self.lock_paths(), *([self.file.log_file] if self.file.log_file else [])]
        # What is in the place of one of these is a finding of its own, with another remedy.
        files = [path for path in files if not not_a_file(path)]
        if self.store:
            files += [Path(f"{self.store}{suffix}") for suffix in ("", "-wal", "-shm")]
            if _is_missing(output_directory(self.store)) and self.store.parent not in strays:
                yield Lost(output_directory(self.store), daemon)
        # A missing directory is a finding of its own.
        yield from lost_files(
            daemon, (path for path in files if path.parent not in strays and not _is_missing(path.parent))
        )
        has_listener = any(holding.what == "socket" for holding in holdings)
        is_told = self.file.listen and self.file.listen.parent in strays
        if self.file.listen and not has_listener and not is_told and self.is_refused(self.file.listen):
            yield Lost(self.file.listen, daemon, is_replaced=True)

    def is_refused(self, path: Path) -> bool:
        """Whether nobody listens on a socket, although this user may connect."""
        try:
            connect(path).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
        return False

    def user(self, holdings: tuple[Holding, ...]) -> Credentials:
        """The user of the appliance: that of its process, else the owner of the store, else the user of the doctor."""
        owned = [Path(f"/proc/{holding.pid}") for holding in holdings if holding.own is not False]
        if self.store:
            owned.append(self.store)
            if not os.access(self.store.parent, os.X_OK):
                # The store may exist without being visible; the owner of its directory can see it.
                owned.append(self.store.parent)
        for path in owned:
            if step := step_at(path):
                return credentials_of(step.uid)
        return credentials_of(os.geteuid())

    def console(self) -> ConsoleSocket | None:
        if self.file.listen is None:
            return None
        group = self.file.group
        return ConsoleSocket(way_to(self.file.listen), self.file.mode, unknown_group(group), gid_of(group))

    def needs(self, user: Credentials, daemon: int | None) -> Needs:
        return needs_of(self.loaded.configuration.programs.values(), user, daemon)

    def gids(self, spool: Way | None) -> set[int]:
        """The groups that the spool and the socket get, and those on the way to the spool of a group."""
        gids = {gid for gid in map(gid_of, (self.file.spool_group, self.file.group)) if gid is not None}
        steps = [*spool.steps, *(folder.step for folder in self.folders())] if spool and self.file.spool_group else []
        return gids | {step.gid for step in steps}

    def folders(self) -> Iterator[Folder]:
        gid = gid_of(self.file.spool_group)
        for name, mode in modes(self.file.spool_group is not None).items():
            if self.file.spool and (step := step_at(self.file.spool / name)):
                yield Folder(step, mode, gid if name != "work" else None)

    def missing(self, holdings: tuple[Holding, ...]) -> Iterator[Path]:
        """The missing directories of a spool that was created before: it has a lock file, or the appliance runs."""
        spool = self.file.spool
        daemon = self.daemon(holdings)
        if spool is None or not (step_at(spool / ".lock") or daemon) or spool in self.strays(daemon):
            return
        if _is_missing(spool):
            yield spool
        else:
            yield from (spool / name for name in PRIVATE if _is_missing(spool / name))

    def store_files(self) -> Iterator[Step]:
        for suffix in STORE_FILES if self.store else ():
            if step := step_at(Path(f"{self.store}{suffix}")):
                yield step

    def keeper_files(self) -> Iterator[Step]:
        for name in (SOCKET, ENDS):
            if self.store and (step := step_at(output_directory(self.store) / name)):
                yield step

    def locks(self, is_spool: bool) -> Iterator[Step]:
        """`is_spool`: the directory of the spool is one, and not that of somebody else."""
        not_own = lock_path_in(self.file.spool) if self.file.spool and not is_spool else None
        for path in self.lock_paths():
            if path != not_own and (step := step_at(path)):
                yield step

    def lock_paths(self) -> Iterator[Path]:
        if self.store:
            yield lock_path_of(self.store)
        if self.file.spool:
            yield lock_path_in(self.file.spool)
        if self.file.listen:
            yield Path(f"{self.file.listen}.lock")

    def store_refusal(self, user: Credentials) -> tuple[str, str] | None:
        """Why the user of the appliance could not open a store there, or why `serve` rejects the one that is there.

        What the user of the doctor may do counts only for the user of the appliance and for root.
        """
        try:
            if self.store and not self._serve_creates(self.store.parent):
                (check_place if os.geteuid() in (ROOT, user.uid) else check_kind)(self.store)
                if (
                    os.access(self.store, os.R_OK)
                    and self.store.stat().st_size
                    and (unknown := why_unknown(self.store))
                ):
                    raise unknown
        except Unusable as unusable:
            return unusable.message, unusable.help
        except OSError:
            # `access` reports the permissions on the way to the store.
            pass
        return None

    def spool_refusal(self) -> tuple[str, str] | None:
        """Why `serve` would not use the directory of the spool."""
        # `access` reports the permissions on the way to the spool, `serve` creates a missing one.
        with suppress(OSError):
            spool = self.file.spool
            if spool and (unusable := not_a_directory(spool) or in_the_way(spool)):
                return unusable.message, unusable.help
        return None

    def blocked(self) -> Iterator[tuple[str, Path, str, str]]:
        """What `serve` could not use or make: the group of the spool, the log, and the directories of socket and log."""
        if self.file.spool and (group := unknown_group(self.file.spool_group)):
            message = f"the group `{group}` of the spool does not exist"
            yield "E629", self.file.spool, message, "create it, or correct `spool.group`"
        if self.file.log_file and (unusable := not_a_log(self.file.log_file)):
            yield "E616", self.file.log_file, unusable.message, unusable.help
        for file in filter(None, (self.file.listen, self.file.log_file)):
            if unusable := not_a_directory(file.parent):
                yield "E616", file.parent, unusable.message, unusable.help
            elif file == self.file.log_file and _is_missing(file.parent):
                yield (
                    "E616",
                    file.parent,
                    "the directory of the log is missing",
                    f"create it: mkdir -p {as_argument(file.parent)}",
                )

    def blocked_page(self) -> Iterator[tuple[str, Path, str, str]]:
        """What keeps `schedappliance web` from its start. Without a section `web`, nobody wants it."""
        if not any(key.startswith("web.") for key in self.file.places):
            return
        web = self.file.web
        if group := unknown_group(web.group):
            message = f"the group `{group}` of the page does not exist"
            yield "E630", self.file.path, message, "create it, or correct `web.group`"
        for user in filter(_is_unknown, web.proxies):
            remedy = "name a user of this machine, or give a number"
            yield "E630", self.file.path, f"no user `{user}` of `web.proxies`", remedy
        if isinstance(web.listen, Path) and (step := step_at(web.listen)) and not stat.S_ISSOCK(step.mode):
            yield "E630", web.listen, "the path of the page is not a socket", "move it away, or change `web.listen`"
        if (
            isinstance(web.listen, Path)
            and _is_missing(web.listen)
            and (pid := lock_holder(Path(f"{web.listen}.lock")))
        ):
            remedy = "it makes the socket again within ten seconds; if it does not, restart it"
            yield "E630", web.listen, f"the running page (pid {pid}) has lost its socket", remedy

    def blocked_tokens(self, user: Credentials) -> Iterator[tuple[str, Path, str, str]]:
        """Why the page takes no tokens from their file. It runs as the user of the appliance, or as one of its delegates."""
        path, roles = self.file.web.tokens, self.loaded.configuration.authorization
        with suppress(OSError):
            if kind := other_kind(path.stat().st_mode):
                yield "E630", path, f"it is {kind}, and no file of tokens", "move it away, or change `web.tokens`"
                return
        if not os.access(path, os.R_OK):
            return
        uids = users_of_directory(path) if roles is None else map(_uid, roles.delegates)
        try:
            read_tokens(path, {0, user.uid, *(uid for uid in uids if uid is not None)})
        except Unusable as unusable:
            yield "E630", path, unusable.message, unusable.help

    def log_home(self) -> Way | None:
        """The directory in which `serve` makes the log, if there is none yet."""
        log = self.file.log_file
        return way_to(log.parent) if log and _is_missing(log) and log.parent.is_dir() else None

    def _serve_creates(self, directory: Path) -> bool:
        """Whether a directory is missing, and `serve` creates it for the console's socket or the spool."""
        listen, path = self.file.listen, directory.resolve()
        made = (listen.parent if listen else None, self.file.spool)
        return not directory.exists() and any(one.resolve().is_relative_to(path) for one in made if one)

    def loss(self, daemon: int | None) -> str | None:
        """What may be lost with a part of the log. While the appliance runs, log and index change between two reads."""
        if self.store is None:
            return None
        pages = lost_pages(self.store) if daemon is None else 0
        return loss_of(self.store) or (described(cause_of(pages)) if pages else None)

    def watched(self) -> list[set[Path]]:
        """The directories of the files and of the spool, one set for each observer. A missing spool will be created."""
        spool = self.file.spool
        return [places_of(self.paths), *([{spool / "new"}] if spool and step_at(spool) else [])]

    def relative(self, files: tuple[Way, ...]) -> Iterator[RelativePath]:
        """The paths of store and spool that are not absolute."""
        ways, configuration = {str(way.named): way for way in files}, self.loaded.configuration
        places = {
            "backing_store": configuration.backing_store_place if configuration.backing_store_is_relative else None,
            "spool.path": self.file.places["spool.path"] if self.file.spool_is_relative else None,
        }
        for option, place in places.items():
            if place and (way := ways.get(place[0].name)):
                yield RelativePath(option, way)


def _is_env_file_of(path: str, user: Credentials) -> bool:
    """Whether a file of variables is right for an appliance of this user."""
    try:
        read_env_file(path, user.uid)
    except UnusableEnvFile:
        return False
    return True


def _is_immutable(step: Step) -> bool:
    """Whether nobody may write what owner and mode allow the user of the doctor to write, although no mount is read-only."""
    if stat.S_ISLNK(step.mode) or not may(credentials_of(os.geteuid()), step, WRITE) or os.access(step.path, os.W_OK):
        return False
    with suppress(OSError):
        return not os.statvfs(step.path).f_flag & os.ST_RDONLY
    return False


def _is_missing(path: Path) -> bool:
    """Whether a path is missing; false if that cannot be known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _is_unknown(user: str) -> bool:
    return _uid(user) is None


def _uid(user: str) -> int | None:
    """The number of a user, who is named or numbered; None for one whom the system does not know."""
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def names_in(needs: Needs, others: Iterable[int] = ()) -> dict[int, str]:
    """The names of the users of the programs, of the owners of what they reach, and of other users."""
    users = {one.user.uid for one in needs.executables} | {one.user.uid for one in needs.reached}
    ways = [one.way for one in needs.executables] + [one.way for one in needs.reached]
    owners = {step.uid for way in ways for step in way.steps}
    return {uid: user_of(uid).name for uid in {*users, *owners, *others}}


def _free(store: Way | None) -> tuple[int | None, int | None]:
    """The free bytes and inodes for the store. None if that is unknown, as the inodes of a file system without a limit."""
    if store is None:
        return None, None
    try:
        system = os.statvfs(store.last.path)
    except OSError:
        return None, None
    return system.f_bavail * system.f_frsize, system.f_favail if system.f_files else None


def _hides_boot_id(daemon: int | None) -> bool:
    """Whether the boot id is hidden from the daemon, which may have a /proc of its own. Only root may look there."""
    root = Path(f"/proc/{daemon}/root") if daemon else None
    if root and os.access(root / "proc", os.F_OK):
        return not boot_id(root / BOOT_ID.relative_to("/"))
    return not boot_id()


def _is_first_process(daemon: int | None) -> bool:
    """Whether the daemon is the child of a process 1 that is the same program, as `beside_orphans` starts it."""
    with suppress(OSError, ValueError):
        parent = int(_of_process(daemon, "PPid")[0])
        return _of_process(parent, "NSpid")[-1:] == ["1"] and command_of(parent) == command_of(daemon or 0)
    return False


def _of_process(pid: int | None, name: str) -> list[str]:
    """The values of a line of /proc/PID/status. Raises OSError, and ValueError if there is no such line."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    values = next((values for key, *values in lines if key == f"{name}:"), None)
    if not values:
        raise ValueError(name)
    return values


def damaged_zones(configuration: Configuration, zones: Zones) -> tuple[Path, ...]:
    """The files of the zones of `sched` and of the jobs that cannot be read as time zone data."""
    names = {configuration.zone}
    for job in configuration.jobs.values():
        if isinstance(job.schedule, CalendarRule):
            names |= {expression.zone or job.schedule.zone for expression in job.schedule.read_expressions()}
    for name in filter(None, names):
        with suppress(UnknownZone):
            zones.get(name)
    return tuple(sorted(zones.damaged))


def mount_table(daemon: int | None, processes: Path = PROCESSES) -> str:
    """The text of `mountinfo` of a daemon, which may have mounts of its own, or else of this process.

    Empty if neither can be read.
    """
    for process in (daemon, "self"):
        with suppress(OSError):
            text = read_head(processes / f"{process}" / "mountinfo", LARGEST_OF_KERNEL)
            if text:
                return text.decode(errors="surrogateescape")
    return ""


def youngest(pids: Iterable[int]) -> int | None:
    """The process that started last. Its pid need not be the largest: they begin again at their limit.

    In a container, process 1 has the same command line as the daemon, which is its child.
    """
    return max(pids, key=lambda pid: (start_ticks(pid), pid), default=None)


def daemons(config: Path) -> Iterator[int]:
    """The visible daemons that were started with an appliance file."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and serves(int(name), config):
            words = command_of(int(name), shown=65_536).split()
            if "serve" in words:
                yield int(name)


def serves(pid: int, config: Path) -> bool | None:
    """Whether a process was started with this appliance file; None if that is unknown.

    `--config` names the file, in full or shortened. Without it, `serve` finds the file by its variables and its directory.
    """
    process = Path(f"/proc/{pid}")
    try:
        words = _texts(process / "cmdline")
        start = (process / "cwd").readlink()
        file = _named_config(words)
        if not file and any("schedappliance" in word and after == "serve" for word, after in pairwise(words)):
            variables = dict(text.partition("=")[::2] for text in _texts(process / "environ"))
            file = found_config(variables, f"{process}/cwd" if start != Path("/") else None)
    except OSError:
        return None
    return (start / file).resolve() == config.resolve() if file else None


def _named_config(words: list[str]) -> Path | None:
    paths = []
    for word, after in pairwise(words):
        name, has_value, value = word.partition("=")
        if len(name) > 2 and "--config".startswith(name):
            paths.append(value if has_value else after)
    return Path(paths[-1]) if paths else None


def _texts(path: Path) -> list[str]:
    """The texts of a file in /proc that have null bytes behind them. The last one is empty. Raises OSError."""
    return read_head(path, LARGEST_OF_KERNEL).decode(errors="surrogateescape").split("\0")
