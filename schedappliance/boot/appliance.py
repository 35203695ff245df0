"""Starts an appliance: opens its parts in order, and assigns each effect to a device. Rule: this module only connects parts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import schedappliance.boot.modules  # noqa: F401  # loads what is imported late
from schedappliance import __version__
from schedappliance.boot import opening
from schedappliance.boot.audit import Audit
from schedappliance.boot.configuration import (
    FirstConfiguration,
    LastGood,
    first_configuration,
    store_path,
)
from schedappliance.boot.limits import check_kernel_files, check_limits
from schedappliance.boot.opening import Frame
from schedappliance.boot.process import (
    Descriptors,
    ProcessMeter,
    keep_capabilities,
    leave_deleted_directory,
    raise_limit,
    report_crashes,
    reset_signals,
    shorten_slice,
    tune_garbage_collector,
)
from schedappliance.boot.service import LEAST_WATCHDOG_MS, ServiceReports
from schedappliance.clock import SystemClock
from schedappliance.core.reload import AUTHORIZATION_LOST
from schedappliance.core.state import State, new_state
from schedappliance.core.turn import Core
from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.server import ConsoleServer
from schedappliance.edge.files.background import in_background
from schedappliance.edge.files.snapshot import Reading, read_files
from schedappliance.edge.files.watcher import Watcher
from schedappliance.edge.log import Log, open_log_file
from schedappliance.edge.loop import AUDIT_MS, Loop
from schedappliance.edge.processors import usable_processors
from schedappliance.edge.programs.keeper_programs import pid_namespace
from schedappliance.edge.programs.launcher import Launcher
from schedappliance.edge.programs.survivors import HIDDEN_BOOT_REMEDY, boot_id
from schedappliance.edge.spool.device import Spool
from schedappliance.edge.systemd import notify_socket
from schedappliance.edge.threads import Inbox
from schedappliance.edge.users import LookUps, Users
from schedappliance.edge.zones import ZoneWatch
from schedappliance.engine import effects
from schedappliance.engine.effects import (
    DiscardOutput,
    Effect,
    EndWatches,
    FilesAccepted,
    Happened,
    LookUpUser,
    MakePreview,
    PublishResult,
    PutBack,
    PutOff,
    ReadFiles,
    ReadOutput,
    Reply,
    SignalProgram,
    StartProgram,
    Stop,
)
from schedappliance.engine.events import ReloadRequested, Remains, StopRequested
from schedappliance.engine.intake import Keep
from schedappliance.lockfile import LockLost
from schedappliance.model.appliance_file import usable_appliance_file
from schedappliance.model.calendars.zones import Zones
from schedappliance.store.failures import StoreFailed
from schedappliance.store.tables import Store
from schedappliance.syntax.grammars import grammar_text

OK = 0
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# The kernel sends SIGIO when somebody opens a leased file. The others come from mistaken scripts.
WITHOUT_MEANING = (signal.SIGIO, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)


def serve(config: Path, last_good: LastGood | None) -> int:
    """Runs the appliance in the foreground until it is told to stop; returns its exit status. Raises Unusable, LockLost."""
    with ExitStack() as stack:
        # The files. A mistake in them is reported before anything is created.
        # All paths are absolute, since the store keeps them, and this directory may be deleted.
        file = usable_appliance_file(_absolute(config))
        reading = _first_reading(file.config)
        path = store_path(file, reading.loaded, last_good)

        # The process: its mask, limits and log. From here on, signals wait until the loop runs.
        descriptors = _prepare_process()
        clock = SystemClock()
        descriptor = 2 if file.log_file is None else open_log_file(file.log_file)
        log = Log(file.log_level, file.log_format, clock, descriptor, file.log_fields, file.log_file)
        stack.callback(log.close)
        log.take_over()
        stack.enter_context(_with_end_in_log(log, shows_errors=descriptor == 2 and file.log_format == "text"))
        for diagnostic in reading.loaded.shown() if reading.loaded.accepted else ():
            log.logger.warning(diagnostic.brief())
        frame = Frame(file, stack, log, Loop(clock, Inbox()), descriptors)
        _watch_signals(frame, descriptor)
        reports = _service_reports(frame)

        # The directories of socket and spool, which other users may access; then the store, for this user alone.
        opening.make_console_directory(frame)
        spool = opening.prepare_spool(frame, path)
        os.umask(0o077)
        store = opening.open_store(frame, path, reading.loaded.configuration)

        # The first configuration, the socket, the programs that still run, and the first turn, which recovers their runs.
        first = first_configuration(reading, store)
        console = opening.prepare_console(frame, store.path)
        zones = ZoneWatch(frame.loop.inbox)
        state = _new_state(frame, store, first, _boot_id(frame), zones.zones)
        opening.check_last_daemon(store, state.boot)
        launcher = opening.open_programs(frame, store)
        watcher = opening.open_files(frame, lambda: state.options)
        core = Core(state)
        remains = opening.adopt_programs(launcher.supervisor, store, first.configuration, state.boot)
        if first.configuration.programs:
            launcher.keeper.prepare()
        beginning = _recover(frame, core, remains, first)

        # From here on, clients, drops and edits arrive.
        if console:
            console.open()
        if spool:
            opening.open_spool(frame, spool, store)
        active = FilesAccepted(first.texts, first.configuration.authorization is not None)
        watcher.open(reading, active, is_active=not first.degraded)
        launcher.audit_outputs()
        where = file.listen or "no console"
        beginning.append(
            effects.LogMessage("info", f"schedappliance {__version__} is ready: node {store.node}, {where}")
        )
        opening.check_store(frame, store)
        Audit(frame, store, spool, console, zones).run()
        _run(frame, core, beginning, launcher, watcher, console, spool, zones, reports)
    return OK


@contextmanager
def _with_end_in_log(log: Log, shows_errors: bool) -> Iterator[None]:
    """Logs why the appliance ends. `shows_errors`: the log goes where the command line shows the reason anyway."""
    try:
        yield
    except (Unusable, LockLost) as error:
        if not shows_errors:
            mistakes = error.diagnostics if isinstance(error, Unusable) else ()
            for line in filter(None, [*(mistake.brief() for mistake in mistakes), str(error)]):
                log.logger.error("%s", line)
        raise


def _first_reading(root: Path) -> Reading:
    with in_background():
        return read_files(root)


def _service_reports(frame: Frame) -> ServiceReports | None:
    """The reports to systemd; None if systemd did not start the daemon."""
    socket = notify_socket(os.environ, os.getpid())
    if socket is None:
        return None
    frame.stack.callback(socket.close)
    if socket.watchdog_ms is not None and socket.watchdog_ms < LEAST_WATCHDOG_MS:
        message = "WatchdogSec is %d s, but an idle appliance reports every %d s; set it to %d s or more"
        numbers = (socket.watchdog_ms, AUDIT_MS, LEAST_WATCHDOG_MS)
        frame.log.logger.warning(message, *(number // 1000 for number in numbers))
    reports = ServiceReports(socket)
    reports.opening()
    return reports


def _prepare_process() -> Descriptors:
    # The grammars may have been moved away when the first unusual line or the first calendar arrives.
    for name in ("command", "common", "cron", "calendar"):
        grammar_text(name)
    leave_deleted_directory()
    keep_capabilities()
    os.umask(0o022)
    descriptors = raise_limit()
    check_kernel_files()
    check_limits()
    return descriptors


def _watch_signals(frame: Frame, log: int) -> None:
    """Gives WITHOUT_MEANING handlers that do nothing: these signals would end the process, and programs inherit SIG_IGN.

    `log`: the descriptor of the log, for a signal that ends the process.
    """
    report_crashes(log)
    post = frame.loop.inbox.post
    stops: dict[int, Callable[[], None]] = {
        number: partial(post, StopRequested(number.name, on_stop=number == signal.SIGTERM)) for number in STOPPING
    }
    others: dict[int, Callable[[], None]] = {number: lambda: None for number in WITHOUT_MEANING}
    frame.loop.watch_signals(
        others | stops | {signal.SIGHUP: partial(_hang_up, frame), signal.SIGUSR1: frame.log.reopen}
    )
    reset_signals()


def _hang_up(frame: Frame) -> None:
    for call in frame.on_hangup:
        frame.loop.inbox.post(call)
    frame.loop.inbox.post(ReloadRequested("SIGHUP"))


def _absolute(path: Path) -> Path:
    """Links stay in the path: the paths in the appliance file are relative to the directory in which it was named."""
    try:
        return path.absolute()
    except FileNotFoundError:
        return path


def _boot_id(frame: Frame) -> str:
    boot = boot_id()
    if not boot:
        what = "/proc does not show the id of this boot, by which programs and boots are recognized"
        frame.log.logger.warning("%s; %s", what, HIDDEN_BOOT_REMEDY)
    return boot


def _new_state(frame: Frame, store: Store, first: FirstConfiguration, boot: str, zones: Zones) -> State:
    state = new_state(
        store,
        first.configuration,
        frame.loop.clock.moment(),
        pid=os.getpid(),
        version=__version__,
        boot_id=boot,
        namespace=str(pid_namespace() or ""),
        cores=usable_processors(),
        keep=Keep(frame.file.keep_ms, frame.file.keep_results),
        zones=zones,
        uid=os.geteuid(),
    )
    state.status = replace(state.status, last_good=first.degraded)
    if first.degraded:
        frame.log.logger.warning("degraded: %s", first.degraded)
    if first.lost_authorization:
        state.status = replace(state.status, warnings=(AUTHORIZATION_LOST,))
        frame.log.logger.warning(AUTHORIZATION_LOST)
    return state


def _recover(frame: Frame, core: Core, remains: Remains, first: FirstConfiguration) -> list[Effect]:
    # Delays count from here. It may have taken seconds to take the programs over.
    core.state.moment = frame.loop.clock.moment()
    try:
        return core.start(remains, first.digest, first.texts)
    except StoreFailed as failed:
        remedy = "restore a backup, or recover it with sqlite3"
        raise Unusable(f"the store {core.state.store.path} cannot be written: {failed}", remedy) from failed


def _run(
    frame: Frame,
    core: Core,
    beginning: list[Effect],
    launcher: Launcher,
    watcher: Watcher,
    console: ConsoleServer | None,
    spool: Spool | None,
    zones: ZoneWatch,
    reports: ServiceReports | None,
) -> None:
    process = ProcessMeter()
    frame.stack.callback(process.close)
    core.state.measure_devices = partial(_measure, frame, core.state.store, console, process)
    perform = _performers(frame, core.state.store, launcher, watcher, console, spool, zones)
    tune_garbage_collector()
    shorten_slice()
    frame.loop.run(core, perform, beginning, frame.log, launcher.is_busy, reports.after_turn if reports else None)
    frame.log.logger.info("stopped")


def _measure(frame: Frame, store: Store, console: ConsoleServer | None, process: ProcessMeter) -> Mapping[str, float]:
    """What the devices add to `metrics`."""
    clients = console.measure() if console else {}
    return {**clients, "log_lines_lost_total": frame.log.lost_total, **store.sizes(), **process.measure()}


def _performers(
    frame: Frame,
    store: Store,
    launcher: Launcher,
    watcher: Watcher,
    console: ConsoleServer | None,
    spool: Spool | None,
    zones: ZoneWatch,
) -> Mapping[type, Callable[[Any], None]]:
    """The device that carries out each type of effect."""

    def read(effect: ReadFiles) -> None:
        # The files are checked against the present zone data, so the core must have it too.
        zones.check()
        watcher.read(effect)

    def start(effect: StartProgram) -> None:
        launcher.start(replace(effect, log_fields=opening.log_fields(store, effect.key)))

    def stop(_effect: Stop) -> None:
        launcher.leave()
        frame.loop.stop()

    performers: dict[type, Callable[[Any], None]] = {
        StartProgram: start if launcher.supervisor.collector.output_log else launcher.start,
        SignalProgram: launcher.signal,
        DiscardOutput: launcher.supervisor.discard,
        ReadOutput: launcher.supervisor.read_output,
        ReadFiles: read,
        FilesAccepted: watcher.note_accepted,
        LookUpUser: Users(frame.loop.inbox, LookUps()).look_up,
        effects.LogMessage: frame.log.write,
        Stop: stop,
    }
    if console:
        performers[Reply] = console.reply
        performers[PutOff] = console.put_off
        performers[Happened] = console.watchers.publish
        performers[EndWatches] = console.end_watches
        performers[MakePreview] = opening.open_previews(frame, store.path).make
    if spool:
        performers[PublishResult] = spool.publish
        performers[PutBack] = spool.put_back
    return performers
