"""Opens each part of an appliance, and registers how it is closed. Rule: a part that cannot be opened raises Unusable."""

from __future__ import annotations

import os
import secrets
import select
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.boot.process import Descriptors
from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.server import ConsoleServer
from schedappliance.edge.files.filesystems import on_network
from schedappliance.edge.files.watcher import Watcher
from schedappliance.edge.log import Log
from schedappliance.edge.loop import Loop
from schedappliance.edge.previews import Previews
from schedappliance.edge.programs.keeper_link import KeeperLink
from schedappliance.edge.programs.keeper_reports import Ended, RunsNow, attempt_id, causes_of, endings_of
from schedappliance.edge.programs.launcher import Launcher
from schedappliance.edge.programs.output_lines import OutputLog
from schedappliance.edge.programs.outputs import Collector, Outputs, output_directory
from schedappliance.edge.programs.requested import never_requested
from schedappliance.edge.programs.supervisor import LogFields, Supervisor
from schedappliance.edge.programs.survivors import boot_id, find_survivors, find_unseen, start_ticks
from schedappliance.edge.spool.device import Spool, SpoolSettings
from schedappliance.edge.threads import Worker
from schedappliance.edge.users import LookUps, group_number
from schedappliance.engine.attempts import policy_of
from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.events import Remains
from schedappliance.engine.intake import Keep
from schedappliance.engine.options import Options
from schedappliance.engine.records import AttemptKey, ProcessKey, job_id, run_id
from schedappliance.kinds import not_a_directory, uncreatable
from schedappliance.model.appliance_file import ApplianceFile, node_of_host
from schedappliance.model.configuration import Configuration
from schedappliance.store.failures import StoreFailed
from schedappliance.store.maintenance import check_in_use
from schedappliance.store.opening import in_use
from schedappliance.store.runs import Attempt
from schedappliance.store.tables import DAEMON, PLACE, Store, place_of
from schedappliance.store.tables import open_store as open_tables

NOT_PERSISTED = "sched: scheduled jobs cannot be persisted as the backing store was omitted"
# The number of descriptors that the appliance itself needs. Clients may use half of the others.
OWN_DESCRIPTORS = 200
# A daemon that ends releases its locks some milliseconds before its process is gone.
ENDING_MS = 2000
FEWEST_CLIENTS, MOST_CLIENTS = 16, 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """The objects that the parts of one appliance share. `stack` closes the parts in reverse order.

    `on_hangup`: what else SIGHUP causes, beside a reload.
    """

    file: ApplianceFile
    stack: ExitStack
    log: Log
    loop: Loop
    descriptors: Descriptors
    on_hangup: list[Callable[[], None]] = field(default_factory=list)

    def worker(self, name: str) -> Worker:
        worker = Worker(name, self.loop.inbox)
        self.stack.callback(worker.close)
        return worker


def prepare_spool(frame: Frame, store: Path | None) -> Spool | None:
    """Creates the directories of the spool and locks it for this process; None without a spool."""
    file = frame.file
    if file.spool is None:
        return None
    keep = Keep(file.keep_ms, file.keep_results)
    is_beside_store = store is not None and file.spool.parent == store.parent
    settings = SpoolSettings(file.spool, file.spool_group, file.max_drop_bytes, file.max_waiting, keep, is_beside_store)
    spool = Spool(settings, frame.loop, frame.worker("spool"), frame.log.logger)
    try:
        spool.make_folders()
    except OSError as error:
        raise _cannot_create(error) from error
    return spool


def open_spool(frame: Frame, spool: Spool, store: Store) -> None:
    """Recovers the drops that a crash left in the spool, and starts to take drops."""
    frame.stack.callback(spool.close)
    try:
        spool.open(store.drops.last_mark())
    except OSError as error:
        remedy = "make it readable for the appliance's user"
        raise Unusable(f"cannot read {error.filename}: {error.strerror}", remedy) from error


def open_store(frame: Frame, path: Path | None, files: Configuration) -> Store:
    """Opens or creates the store. Its directory must exist, because it may be the mount point of a missing file system.

    `files`: what the stanza files say, which may name another store.
    """
    log = frame.log.logger
    host = os.uname().nodename
    node = frame.file.node or node_of_host(host)
    before = _size(path)
    try:
        is_local = path is None or on_network(path.parent) is None
        store = open_tables(path, node, secrets.token_hex(8), frame.loop.clock.moment().wall, is_local)
    except StoreFailed as failed:
        remedy = "run `schedappliance doctor` to find the cause"
        raise Unusable(f"cannot open the store {path}: {failed}", remedy) from failed
    frame.stack.callback(store.close)
    if path == files.backing_store:
        store.follow(files.backing_store_link)
    if path is None:
        log.warning(NOT_PERSISTED)
    elif before is None:
        log.info("created the store %s", path)
    elif before == 0:
        log.warning("the store %s was an empty file; a new store was created in it, without jobs and history", path)
    elif store.is_upgraded:
        log.info("upgraded the store %s from an earlier version", path)
    if path and (original := store.original(path)):
        remedy = "an appliance on the original and one on the copy run the same jobs"
        log.warning("the store %s is a copy of %s, or was moved from there; %s", path, original, remedy)
    if store.loss:
        log.warning("the store %s: %s", path, store.loss)
    if before is None and not frame.file.node and node != host:
        log.warning(
            "the host name %a cannot be a node, so the node is %s; for another one, set `node` and start with a new store",
            host,
            node,
        )
    if frame.file.node and store.node != frame.file.node:
        log.warning("`node` %s is ignored: the store was created for node %s", frame.file.node, store.node)
    return store


def _size(path: Path | None) -> int | None:
    """The size of a store; None if there is no file, or if it cannot be seen."""
    try:
        return path.stat().st_size if path and path.is_file() else None
    except OSError:
        return None


def check_last_daemon(store: Store, boot: ThisBoot) -> None:
    """Raises Unusable if the daemon that used the store last still lives, although it holds no lock any more.

    It waits a moment for a daemon that is ending. The daemon of the original does not use a copy.
    """
    words = str(store.settings.meta(DAEMON) or "").split()
    if store.path is None or len(words) != 3 or not boot.includes(words[2]) or store.original(store.path):
        return
    daemon = ProcessKey(int(words[0]), int(words[1]))
    if daemon.pid == os.getpid() or start_ticks(daemon.pid) != daemon.start_ticks:
        return
    with suppress(OSError):
        pidfd = os.pidfd_open(daemon.pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(ENDING_MS)
        os.close(pidfd)
    if start_ticks(daemon.pid) == daemon.start_ticks:
        raise in_use(store.path, str(daemon.pid))


def check_store(frame: Frame, store: Store) -> None:
    """Checks a large store while it is used. If the store is damaged, the appliance ends without another turn."""
    path, log = store.path, frame.log.logger
    if path is None or not store.unchecked or store.is_view:
        return

    def check() -> None:
        try:
            check_in_use(path)
            log.info("the store check found no damage")
        except StoreFailed as failed:
            log.warning("the store could not be checked: %s", failed)

    worker = Worker("check", frame.loop.inbox)
    # The check only reads, so a stop of the appliance does not wait for it.
    frame.stack.callback(worker.close, seconds=0)
    worker.submit(check)


def prepare_console(frame: Frame, store: Path | None) -> ConsoleServer | None:
    """Binds the socket, so that clients can connect. Their answers follow when the console is opened. None: no console."""
    file = frame.file
    if file.listen is None:
        return None
    group = group_number(file.group, "console.group") if file.group is not None else None
    is_apart = store is None or file.listen.parent != store.parent
    listener = ListeningSocket(file.listen, file.mode, group, is_apart, waits=True)
    most = max(FEWEST_CLIENTS, min(MOST_CLIENTS, (frame.descriptors.now - OWN_DESCRIPTORS) // 2))
    console = ConsoleServer(listener, frame.loop, LookUps(), file.idle_timeout_ms, most, frame.log.logger)
    frame.on_hangup.append(console.audit)
    frame.stack.callback(console.close)
    return console


def make_console_directory(frame: Frame) -> None:
    try:
        if frame.file.listen:
            if unusable := not_a_directory(frame.file.listen.parent):
                raise unusable
            frame.file.listen.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_create(error) from error


def open_programs(frame: Frame, store: Store) -> Launcher:
    outputs, limit = _outputs(frame, store.path), frame.descriptors.before
    keeper = KeeperLink(outputs, limit)
    frame.stack.callback(keeper.close)
    worker, collector = frame.worker("programs"), frame.worker("collector")
    log = OutputLog(outputs.part, frame.log.pass_on, frame.loop.clock) if frame.file.log_programs else None
    logger = frame.log.logger
    supervisor = Supervisor(frame.loop, outputs, Collector(frame.loop, outputs, collector, logger, log), keeper, logger)
    frame.stack.callback(supervisor.discard_all)
    return Launcher(frame.loop, outputs, supervisor, worker, keeper, LookUps(), frame.log.logger)


def _outputs(frame: Frame, store: Path | None) -> Outputs:
    """The outputs, in a directory beside the store.

    Without a store, the directory is removed at the end: by the keeper, if the daemon was killed.
    """
    if store is None:
        directory = Path(frame.stack.enter_context(tempfile.TemporaryDirectory(prefix="schedappliance-")))
        return Outputs(directory, is_temporary=True)
    outputs = Outputs(output_directory(store))
    try:
        outputs.make()
    except NotADirectoryError as error:
        raise Unusable(outputs.why_unwritable(error)) from error
    except OSError as error:
        raise _cannot_create(error) from error
    return outputs


def adopt_programs(supervisor: Supervisor, store: Store, configuration: Configuration, boot: ThisBoot) -> Remains:
    """Takes over the programs that an earlier daemon left running, and reads the outputs of those that have ended."""
    attempts, outputs = store.runs.live_attempts(), supervisor.outputs
    programs = configuration.programs
    limits = {one.key: (one.policy or policy_of(programs.get(one.program))).output_limit for one in attempts}
    ids = {attempt_id(attempt.key, attempt.started_ms): attempt.key for attempt in attempts}
    fields = {key: log_fields(store, key) for key in limits} if supervisor.collector.output_log else {}
    try:
        reports = supervisor.take_over(ids, limits, fields)
        others = [attempt for attempt in attempts if attempt.key not in reports]
        adopted = _adopt_without_keeper(supervisor, store, boot, others, limits, fields)
        unseen = find_unseen([one for one in others if one.key not in adopted], boot, outputs.has_writer)
        for key in unseen:
            supervisor.wait_for_unseen(key, limits[key], fields.get(key))
    except OSError as error:
        remedy = "raise the limit on descriptors, or stop the programs"
        message = f"cannot watch the programs that an earlier daemon left running: {error.strerror}"
        raise Unusable(message, remedy) from error
    namespace = supervisor.keeper.link.namespace if supervisor.keeper.link else ""
    running = {key: item for key, item in reports.items() if isinstance(item, RunsNow)}
    adopted |= {key: ProcessKey(item.pid, item.ticks, namespace) for key, item in running.items()}
    ends = {key: item for key, item in reports.items() if isinstance(item, Ended)}
    texts: dict[AttemptKey, tuple[bytes, int]] = {}
    for key in limits.keys() - adopted.keys() - unseen:
        try:
            texts[key] = outputs.read(key, limits[key], ends[key].inode if key in ends else None)
        except OSError as error:
            # Without an end, the attempt may have ended before its output was made.
            if key in ends or not isinstance(error, FileNotFoundError):
                texts[key] = supervisor.collector.replace_unreadable(key, error)
    supervisor.collector.keep_held(outputs.remove_unknown(limits))
    alive = {*adopted, *unseen}
    silent = {
        attempt_id(attempt.key, attempt.started_ms): attempt
        for attempt in others
        if attempt.key not in alive and not texts.get(attempt.key, (b"", 0))[1]
    }
    causes = causes_of(reports)
    if not _is_copy(store):
        causes |= never_requested(silent, supervisor.keeper.asked, boot_id())
    return Remains(adopted, texts, _own_settings(store, boot.name), causes, endings_of(reports), unseen)


def _is_copy(store: Store) -> bool:
    return store.path is not None and store.original(store.path) is not None


def _adopt_without_keeper(
    supervisor: Supervisor,
    store: Store,
    boot: ThisBoot,
    attempts: list[Attempt],
    limits: Mapping[AttemptKey, int],
    fields: Mapping[AttemptKey, LogFields],
) -> dict[AttemptKey, ProcessKey]:
    """Follows the programs whose keeper was killed. Raises OSError."""
    is_own = partial(supervisor.outputs.is_own, _is_copy(store))
    survivors = find_survivors(attempts, store.node, store.identity, boot, is_own)
    return {
        key: process
        for key, process in survivors.items()
        if supervisor.adopt(key, process, limits[key], fields.get(key))
    }


def log_fields(store: Store, key: AttemptKey) -> LogFields:
    """The fields of the lines that the program of an attempt writes. Stdout and stderr are one file, so none names them."""
    run = store.runs.past(key.run)
    names = (("job_name", run.name), ("program", run.program)) if run else ()
    return (
        ("event", "output"),
        ("job", job_id(store.node, key.run.job)),
        *((field, name) for field, name in names if name is not None),
        ("run", run_id(store.node, key.run)),
    )


def _own_settings(store: Store, boot: str) -> dict[str, str]:
    """The rows by which the next start recognizes a copy, and a daemon that still uses the store."""
    if store.path is None:
        return {}
    return {PLACE: place_of(store.path), DAEMON: f"{os.getpid()} {start_ticks(os.getpid())} {boot}"}


def open_previews(frame: Frame, store: Path | None) -> Previews:
    workers = frame.worker("own previews"), frame.worker("previews")
    previews = Previews(frame.file.path, store, frame.loop, workers)
    frame.stack.callback(previews.close)
    return previews


def open_files(frame: Frame, active: Callable[[], Options]) -> Watcher:
    watcher = Watcher(frame.file.config, frame.loop, frame.worker("files"), frame.log.logger, active)
    frame.stack.callback(watcher.close)
    return watcher


def _cannot_create(error: OSError) -> Unusable:
    return uncreatable(Path(error.filename), error)
