"""The appliance: wires the parts together and starts them in the order in which they can fail. Wiring only."""

from __future__ import annotations

import grp
import os
import secrets
import signal
import socket
import stat
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from schedappliance import __version__
from schedappliance.boot.configuration import Start, from_files, from_store, opened, stored_at
from schedappliance.boot.memory import settle
from schedappliance.clock import Clock, SystemClock
from schedappliance.core.recovery import Found
from schedappliance.core.reload import OPENED
from schedappliance.core.state import State, new_state
from schedappliance.core.turn import Core
from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.server import Console
from schedappliance.edge.files.snapshot import read_files
from schedappliance.edge.files.watcher import Watcher, as_event
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.log import Log
from schedappliance.edge.loop import Loop
from schedappliance.edge.process import beside_orphans, raise_limit, reset_signals
from schedappliance.edge.programs.spawning import Spawner
from schedappliance.edge.programs.supervisor import Programs
from schedappliance.edge.programs.survivors import boot_id, find_survivors
from schedappliance.edge.spool.spool import Spool, SpoolSettings
from schedappliance.edge.timers import Alarms
from schedappliance.edge.users import Users
from schedappliance.edge.worker import Worker
from schedappliance.engine import effects
from schedappliance.engine.effects import (
    DiscardOutput,
    FilesTaken,
    LookUpUsers,
    PublishResult,
    PutBack,
    ReadFiles,
    Reply,
    SignalProgram,
    StartProgram,
    Stop,
)
from schedappliance.engine.events import ReloadRequested, StopRequested
from schedappliance.engine.intake import Keep
from schedappliance.model.appliance_file import ApplianceFile, read_appliance_file
from schedappliance.model.loading import Loaded, spool_mistake
from schedappliance.model.option_paths import absent
from schedappliance.model.options import STANZAS
from schedappliance.store.failures import StoreFailed
from schedappliance.store.maintenance import check_in_use
from schedappliance.store.tables import Store, open_store

OK = 0

NOT_PERSISTED = "sched: scheduled jobs cannot be persisted as the backing store was omitted"


def serve(config: Path, last_good: bool = False, stored: Path | None = None) -> int:
    """Runs the appliance in the foreground until it is told to stop; returns its exit status. Raises Unusable.

    `last_good`: bad files do not keep it from starting if the store holds good ones; `stored`: where that store is.
    """
    return beside_orphans(partial(_serve, config, last_good, stored))


def _serve(config: Path, last_good: bool, stored: Path | None) -> int:
    with ExitStack() as stack:
        _Appliance(config, stack, last_good, stored).run()
    return OK


class _Appliance:
    """The parts of one running appliance; `stack` ends them in the opposite order."""

    def __init__(self, config: Path, stack: ExitStack, last_good: bool, stored: Path | None) -> None:
        self.stack = stack
        self.clock: Clock = SystemClock()
        self.file = _read_file(config)
        self.reading = read_files(self.file.config)
        self.loaded = self.reading.loaded
        store = _store_path(self.file, self.loaded, last_good, stored)
        os.umask(0o022)
        self.descriptors = raise_limit()
        log = Log(self.file.log_level, self.file.log_format)
        self.stack.callback(log.close)
        log.speak_for_all()
        self.log, self.lines = log.logger, log
        for diagnostic in self.loaded.shown() if self.loaded.accepted else ():
            self.log.warning(diagnostic.brief())
        self.inbox, self.alarms = Inbox(), Alarms()
        self.loop = Loop(self.clock, self.inbox, self.alarms)
        self._watch_signals()
        self.spool = self._make_directories()
        self.store = self._open_store(store)
        self.begun = self._begun()
        self.console = self._open_console()
        self.stopped = False

    def _watch_signals(self) -> None:
        """Before anything else is made: a signal that comes early is answered when the loop runs."""
        self.loop.watch_signals(
            {
                signal.SIGTERM: lambda: self.inbox.post(StopRequested("SIGTERM")),
                signal.SIGINT: lambda: self.inbox.post(StopRequested("SIGINT")),
                signal.SIGHUP: lambda: self.inbox.post(ReloadRequested("SIGHUP")),
                # Sent when somebody opens a leased file; it would end the process, and programs would inherit SIG_IGN.
                signal.SIGIO: lambda: None,
            }
        )
        reset_signals()

    def _watch(self, descriptor: int, call: Callable[[], None]) -> None:
        self.loop.watch(descriptor, 1, lambda _events: call())

    def worker(self, name: str) -> Worker:
        worker = Worker(name, self.inbox)
        self.stack.callback(worker.close)
        return worker

    def _make_directories(self) -> Spool | None:
        """Those of the socket and the spool are made; that of the store must be there, it may be a mount."""
        spool = None
        try:
            if self.file.listen:
                self.file.listen.parent.mkdir(parents=True, exist_ok=True)
            if self.file.spool:
                spool = self._spool(self.file.spool)
                spool.make_folders()
        except OSError as error:
            raise _cannot_create(error.filename, error) from error
        return spool

    def _open_store(self, path: Path | None) -> Store:
        """Outputs and commands stand in the store: from here on what is made is nobody else's, unless it gets a mode."""
        os.umask(0o077)
        node = self.file.node or socket.gethostname()
        before = path.stat().st_size if path and path.is_file() else None
        try:
            store = open_store(path, node, secrets.token_hex(8), self.clock.moment().wall)
        except StoreFailed as failed:
            raise Unusable(
                f"cannot open the store {path}: {failed}", "`schedappliance doctor` looks for the cause"
            ) from failed
        self.stack.callback(store.close)
        if path is None:
            self.log.warning(NOT_PERSISTED)
        elif before is None:
            self.log.info("a new store is made: %s", path)
        elif before == 0:
            self.log.warning("the store %s was an empty file; a new one is made in it, without jobs and history", path)
        elif store.is_upgraded:
            self.log.info("the store %s was made by an earlier version and is brought to that of this one", path)
        if self.file.node and store.node != self.file.node:
            self.log.warning("node %s is not used: the store was created as %s", self.file.node, store.node)
        return store

    def _begun(self) -> Start:
        """What runs at first."""
        if self.loaded.accepted:
            return from_files(self.reading)
        if (found := from_store(self.store)) is None:
            remedy = "correct the stanza files"
            raise Unusable(f"{self.store.path} holds no good files either", remedy, self.loaded.diagnostics)
        self.log.warning("degraded: %s", found.degraded)
        self.inbox.post(as_event(self.reading))
        return found

    def _check_store(self) -> None:
        """A large store is checked beside its use; when it is damaged the appliance ends without another turn."""
        path = self.store.path
        if path is None or not self.store.unchecked:
            return

        def check() -> None:
            try:
                check_in_use(path)
                self.log.info("the store is well")
            except StoreFailed as failed:
                self.log.warning("the store could not be checked: %s", failed)

        worker = Worker("check", self.inbox)
        # Nobody waits for what only reads.
        self.stack.callback(worker.close, seconds=0)
        worker.submit(check)

    def _open_console(self) -> Console | None:
        if self.file.listen is None:
            return None
        listener = ListeningSocket(self.file.listen, self.file.mode, _group(self.file.group))
        names = self.worker("names")
        most = max(16, min(1000, (self.descriptors.now - 200) // 2))
        console = Console(
            listener,
            self.inbox,
            names,
            self.alarms,
            self.clock,
            self.file.idle_timeout_ms,
            most,
            self.loop.watch,
            self.loop.unwatch,
        )
        self.stack.callback(console.close)
        return console

    def run(self) -> None:
        moment = self.clock.moment()
        boot = boot_id()
        state = new_state(
            self.store,
            self.begun.configuration,
            moment,
            pid=os.getpid(),
            version=__version__,
            boot_id=boot,
            cores=os.cpu_count() or 1,
            keep=Keep(self.file.keep_ms, self.file.keep_results),
        )
        state.status.last_good = self.begun.degraded
        if opened(self.store, self.begun):
            state.status.warnings = (OPENED,)
            self.log.warning(OPENED)
        programs = self._programs()
        files = self._files()
        core, first = self._start(state, self._adopt(programs, boot))
        if self.console:
            self.console.open()
        if self.spool:
            self.stack.callback(self.spool.close)
            self._open_spool(self.spool)
        guarded = state.configuration.authorization is not None
        files.open(self.reading, FilesTaken(self.begun.texts, guarded))
        programs.audit()
        where = self.file.listen or "no console"
        first.append(effects.Log("info", f"schedappliance {__version__} is ready: node {self.store.node}, {where}"))
        perform = self._performers(programs, files)
        self._check_store()
        settle()
        self.loop.run(core, perform, first, lambda: self.stopped and not programs.lingering, self.lines.hand_over)
        self.log.info("stopped")

    def _spool(self, path: Path) -> Spool:
        file = self.file
        keep = Keep(file.keep_ms, file.keep_results)
        settings = SpoolSettings(path, file.spool_group, file.max_drop_bytes, file.max_waiting, keep)
        worker = self.worker("spool")
        return Spool(settings, self.inbox, worker, self.alarms, self.clock, self.log, self._watch, self.loop.unwatch)

    def _open_spool(self, spool: Spool) -> None:
        try:
            spool.open(self.store.drops.last_mark())
        except OSError as error:
            remedy = "make it readable for the appliance's user"
            raise Unusable(f"cannot read {error.filename}: {error.strerror}", remedy) from error

    def _programs(self) -> Programs:
        if self.store.path is None:
            directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="schedappliance-")))
        else:
            directory = Path(f"{self.store.path}.output")
            try:
                directory.mkdir(mode=0o700, exist_ok=True)
                status = directory.lstat()
            except OSError as error:
                raise _cannot_create(str(directory), error) from error
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise Unusable(f"{directory} is no directory of this user", "move it away")
        spawner = Spawner(self.descriptors.before)
        self.stack.callback(spawner.close)
        worker = self.worker("programs")
        programs = Programs(
            directory,
            self.inbox,
            worker,
            self.alarms,
            self.clock,
            self._watch,
            self.worker("collector"),
            spawner,
            self.descriptors.before,
        )
        self.stack.callback(programs.discard_all)
        return programs

    def _files(self) -> Watcher:
        files = Watcher(self.file.config, self.inbox, self.worker("files"), self.alarms, self.clock, self.log)
        self.stack.callback(files.close)
        return files

    def _adopt(self, programs: Programs, boot: str) -> Found:
        """What an earlier daemon left running, and what the others had written."""
        attempts = self.store.runs.live_attempts()
        survivors = find_survivors(attempts, self.store.node, self.store.identity, boot)
        limits = {a.key: self._output_limit(a.program) for a in attempts}
        try:
            adopted = {key: found for key, found in survivors.items() if programs.adopt(key, found, limits[key])}
        except OSError as error:
            found = "programs of an earlier start run that cannot be watched"
            remedy = "raise the limit on descriptors, or end them"
            raise Unusable(f"{found}: {error.strerror}", remedy) from error
        outputs = {key: programs.leftover(key, limit) for key, limit in limits.items() if key not in adopted}
        programs.sweep(limits)
        return Found(adopted, outputs)

    def _output_limit(self, program: str) -> int:
        declared = self.begun.configuration.programs.get(program)
        return declared.output_limit if declared else int(absent(STANZAS["program"].options["output_limit"]))

    def _start(self, state: State, found: Found) -> tuple[Core, list[Any]]:
        core = Core(state)
        try:
            return core, core.start(found, self.begun.digest, self.begun.texts)
        except StoreFailed as failed:
            remedy = "see that its disk has room and is writable"
            raise Unusable(f"the store {self.store.path} cannot be written: {failed}", remedy) from failed

    def _performers(self, programs: Programs, files: Watcher) -> dict[type, Callable[[Any], None]]:
        """Which part performs which effect."""

        def stop(_effect: Stop) -> None:
            self.stopped = True

        performers: dict[type, Callable[[Any], None]] = {
            StartProgram: programs.start,
            SignalProgram: programs.signal,
            DiscardOutput: programs.discard,
            ReadFiles: files.read,
            FilesTaken: files.taken,
            LookUpUsers: Users(self.inbox, self.worker("users")).look_up,
            effects.Log: self._write_log,
            Stop: stop,
        }
        if self.console:
            performers[Reply] = self.console.reply
        if self.spool:
            performers[PublishResult] = self.spool.publish
            performers[PutBack] = self.spool.put_back
        return performers

    def _write_log(self, effect: effects.Log) -> None:
        self.lines.say(effect.level, effect.message, self.loop.moment.wall)


def _read_file(config: Path) -> ApplianceFile:
    file, diagnostics = read_appliance_file(config)
    if file is None:
        raise Unusable(diagnostics=diagnostics)
    return file


def _store_path(file: ApplianceFile, loaded: Loaded, last_good: bool, stored: Path | None) -> Path | None:
    """Where the store is, or will be made; raises Unusable when the files are bad and there is no way around them."""
    if loaded.accepted:
        if mistake := spool_mistake(file, loaded.configuration):
            raise Unusable(diagnostics=[mistake])
        return loaded.configuration.backing_store
    if not last_good:
        raise Unusable(diagnostics=loaded.diagnostics)
    if (path := stored_at(loaded, stored)) is None:
        where = f"{stored} is not there" if stored else "the files do not name it"
        raise Unusable(f"no store to start from: {where}", "give `--last-good=STORE`", loaded.diagnostics)
    return path


def _cannot_create(path: str, error: OSError) -> Unusable:
    return Unusable(f"cannot create {path}: {error.strerror}", "see that its directory can be written")


def _group(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Unusable(f"there is no group {name}", "correct `console.group`") from None
