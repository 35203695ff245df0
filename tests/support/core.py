"""An appliance's core on a real store, with a manual clock and programs that end when a test says so."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from schedappliance.clock import ManualClock, Moment
from schedappliance.core.pruning import KEEP
from schedappliance.core.state import new_state
from schedappliance.core.turn import Core
from schedappliance.edge.spool.reading import read_drop
from schedappliance.engine.attempts import Exit, NotStarted
from schedappliance.engine.effects import (
    Answer,
    DiscardOutput,
    Effect,
    LogMessage,
    LookUpUser,
    PublishResult,
    ReadFiles,
    Reply,
    SignalProgram,
    StartProgram,
)
from schedappliance.engine.events import (
    DropClaimed,
    Event,
    FilesRead,
    LineTyped,
    ProgramEnded,
    ProgramStarted,
    Remains,
    UserLookedUp,
)
from schedappliance.engine.intake import Keep
from schedappliance.engine.metrics import PASSING, Metrics
from schedappliance.engine.options import Overrides, with_overrides
from schedappliance.engine.records import NO_UID, AttemptKey, KnownUser, ProcessKey, RunKey, User
from schedappliance.engine.reloading import prepare
from schedappliance.model.calendars.zones import Zones
from schedappliance.model.configuration import Configuration
from schedappliance.model.loading import Loaded, load
from schedappliance.store.database import Database, connect, write_ahead
from schedappliance.store.failures import StoreFailed
from schedappliance.store.history import PastRun
from schedappliance.store.opening import open_database
from schedappliance.store.tables import Store, name_store
from tests.support.memory_files import digest

NODE = "example.com"
IDENTITY = "0123456789abcdef"
BOOT = "3f1c1f9e-0000-4000-8000-000000000001"
NEXT_BOOT = "3f1c1f9e-0000-4000-8000-000000000002"
DISK_FULL = "database or disk is full"
OPERATOR = User(1000, "operator")
FILE = Path("/etc/schedappliance/sched.conf")
STORE = Path("/var/lib/schedappliance/sched.db")
# 1,700,000,000 seconds: not a full minute, so that multiples of a period and periods from now differ.
START_MS = 1_700_000_000_000
SECOND = 1000
MINUTE = 60 * SECOND

STANZAS = """\
Message_Expiration = 86400
program "hello" { argv = ( "/bin/echo" "hello" ) }
program "sleep" { argv = ( "/bin/sleep" ) args = ( "[0-9]+" ) }
program "limited" { argv = ( "/bin/sleep" "100" ) timeout = 10 kill_after = 5 }
program "expiring" {
    argv = ( "/bin/expire" "--after=%{message_expiration}" "%%{literal}" )
    env = [ AFTER = "%{Message_Expiration}" ]
}
program "unset" { argv = ( "/bin/expire" "%{nowhere_set}" ) }
"""

Kind = TypeVar("Kind", bound=Effect)


def failure(message: str, code: int) -> StoreFailed:
    """The store's exception for a SQLite error with this code."""
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return StoreFailed(error)


class FragileDatabase(Database):
    """A real database. A test decides how many commits fail, and then how many reads, as on a broken disk.

    `full`: every commit with a write fails. `is_gone`: nothing can be written or read, because of `cause`.
    """

    failing_commits = 0
    failing_reads = 0
    full = False
    is_gone = False
    cause = ("disk I/O error", sqlite3.SQLITE_IOERR)
    _changes = 0

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        if self.is_gone:
            raise failure(*self.cause)
        if sql == "BEGIN IMMEDIATE":
            self._changes = self._connection.total_changes
        elif sql == "COMMIT":
            self._commit_may_fail()
        return super().execute(sql, parameters)

    def _commit_may_fail(self) -> None:
        if self.failing_commits > 0:
            self.failing_commits -= 1
            raise failure(DISK_FULL, sqlite3.SQLITE_FULL)
        if self.full and self._connection.total_changes != self._changes:
            raise failure(DISK_FULL, sqlite3.SQLITE_FULL)

    def rows(self, sql: str, parameters: Sequence[Any] = (), fetch: Any = sqlite3.Cursor.fetchall) -> list[Any]:
        if self.failing_reads > 0 and self.failing_commits == 0:
            self.failing_reads -= 1
            raise failure("disk I/O error", sqlite3.SQLITE_IOERR)
        return super().rows(sql, parameters, fetch)


@lru_cache(maxsize=256)
def judged(text: str) -> Loaded:
    """Loads stanzas as the appliance does."""
    return load(FILE, lambda _path: text.encode())


def configuration(text: str) -> Loaded:
    """The same, but the stanzas must be accepted."""
    loaded = judged(text)
    assert loaded.accepted, [d.brief() for d in loaded.diagnostics]
    return loaded


def with_store(text: str, path: Path | None) -> str:
    """The same stanzas with a backing store. A stanza `sched`, if there is one, comes first.

    The core never opens the store. With one name for all, stanzas are parsed once, which takes 2 ms.
    """
    if path is None:
        return text
    if text.startswith("sched {"):
        return text.replace("sched {", f'sched {{ backing_store = "{STORE}"', 1)
    return f'sched {{ backing_store = "{STORE}" }}\n{text}'


def some(kind: type[Kind], effects: Iterable[Effect]) -> list[Kind]:
    """The effects of one kind, in their order."""
    return [effect for effect in effects if isinstance(effect, kind)]


def spoken(answer: Answer) -> str:
    """The whole output of an answer that is not an error."""
    assert answer.ok, answer.error
    return answer.output if isinstance(answer.output, str) else "".join(answer.output)


def dump(store: Store, *left_out: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but these."""
    rows = store._database.rows
    tables = [row[0] for row in rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return {table: sorted(rows(f"SELECT * FROM {table}"), key=repr) for table in tables if table not in left_out}


def agrees_with_its_store(appliance: Appliance) -> None:
    """Asserts that memory and store agree."""
    state, runs = appliance.state, appliance.store.runs.live()
    surviving = {key: number for key, number in state.metrics.counters.items() if key[0] not in PASSING}
    assert surviving == appliance.store.counters.all()
    _metrics_agree(state.metrics, appliance.store)
    users_are_counted(appliance.store)
    assert state.live == Counter(run.key.job for run in runs)
    assert state.pruning.bytes_of_guests == appliance.store.runs.bytes_by_user()
    assert len(state.queue) == sum(run.state == "queued" for run in runs)
    waiting = Counter(run.uid for run in appliance.store.runs.queued())
    assert state.queue.of_guests == {uid: n for uid, n in waiting.items() if uid not in state.status.trusted}
    assert set(state.running) == {attempt.key.run for attempt in appliance.store.runs.live_attempts()}
    wanted = with_overrides(state.configuration, appliance.store.settings.overrides())
    assert state.options.overrides == wanted.overrides
    assert (state.handled, state.effects) == (set(), [])
    assert (state.has_incidents, state.remind_at) == appliance.store.incidents.mirror()
    assert state.status.last_hold == appliance.store.settings.hold()
    generation = appliance.store.settings.last_generation()
    assert generation is not None
    assert state.status.digest == generation.digest


def users_are_counted(store: Store) -> None:
    """Asserts that the numbers of rows of each user are right."""
    rows = store._database.rows
    for table in ("jobs", "runs"):
        counted = dict(rows(f"SELECT uid, count(*) FROM {table} WHERE uid <> 0 GROUP BY uid"))
        assert dict(rows(f"SELECT uid, {table} FROM rows_of_users WHERE {table} <> 0")) == counted


def _metrics_agree(metrics: Metrics, store: Store) -> None:
    """Asserts that what `metrics` keep of the declared jobs is what the rows say."""
    columns = store.jobs.declared_columns()
    if kept := metrics.columns.get(store.jobs.rewrites):
        assert kept == (columns.number, columns.name, columns.interval_ms, columns.paused, columns.off)
        assert f"[{','.join(metrics.due.values())}]" == columns.next_run_ms
    assert dict(metrics.rows) == {job: runs.row(job) for job, runs in metrics.jobs.items()}
    declared = metrics.jobs.keys() & set(json.loads(columns.number))
    assert {job: metrics.jobs[job].number for job in declared} == store.counters.ended_runs(declared)


def new_core(
    store: Store,
    configuration: Configuration,
    moment: Moment,
    boot_id: str = BOOT,
    keep: Keep = KEEP,
    zones: Zones | None = None,
) -> Core:
    """A core that is not started."""
    state = new_state(
        store,
        configuration,
        moment,
        pid=4711,
        version="1.2.3",
        boot_id=boot_id,
        cores=2,
        keep=keep,
        zones=zones,
        uid=OPERATOR.uid,
    )
    return Core(state)


@cache
def _new_stores() -> tuple[sqlite3.Connection, bytes]:
    """A new store in memory, and the content of one in a file. Thousands of tests copy them: the schema takes 3 ms."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "sched.db")
        open_database(path).close()
        return open_database(None)._connection, path.read_bytes()


def open_quickly(path: Path | None) -> Database:
    """Opens the store at a path, and creates it if it is missing. Nothing waits for the disk."""
    in_memory, in_file = _new_stores()
    if path is None:
        connection = connect(":memory:")
        in_memory.backup(connection)
        return Database(connection, None)
    if path.exists() or not path.parent.is_dir():
        database = open_database(path)
    else:
        path.touch(mode=0o600)
        path.write_bytes(in_file)
        # Nobody else has it, so it needs neither locks nor a check for damage, which take 2 ms.
        database = Database(connect(str(path)), path)
        write_ahead(database._connection)
    database.execute("PRAGMA synchronous = OFF")
    return database


class Appliance:
    """A started core. `effects`: those of the last turn; `past`: those of all turns.

    `people`: the users of the machine. Look-ups in `asked` are answered at once, except for users in `late`.
    """

    keep = Keep()

    def __init__(
        self, path: Path | None, stanzas: str = STANZAS, max_running: int = 16, clock: ManualClock | None = None
    ) -> None:
        self.path = path
        self.clock = clock or ManualClock(START_MS, boot=500 * SECOND)
        self.boot_id = BOOT
        self.max_running = max_running
        self.people = {OPERATOR.uid: KnownUser(*OPERATOR)}
        self.late: set[int | str] = set()
        self.asked: list[int | str] = []
        self.past: list[Effect] = []
        self.effects: list[Effect] = []
        self._replies = 0
        self._open(stanzas, Remains({}, {}))

    def _open(self, stanzas: str, left: Remains) -> None:
        self.database = self._fragile(open_quickly(self.path))
        self.store = name_store(Store(self.database), NODE, IDENTITY, self.clock.moment().wall)
        self.stanzas = with_store(stanzas, self.path)
        loaded = configuration(self.stanzas)
        moment, zones = self.clock.moment(), self.read_zones()
        self.core = new_core(self.store, loaded.configuration, moment, self.shown_boot_id(), self.keep, zones)
        self.state = self.core.state
        self.state.places = self.max_running
        self._took(self.core.start(self.recognized(left), digest(self.stanzas), ((str(FILE), self.stanzas),)))

    def read_zones(self) -> Zones | None:
        """The time zone data at a start; None for that of this machine."""
        return None

    def shown_boot_id(self) -> str:
        """The boot id that a start sees; empty if the machine hides it."""
        return self.boot_id

    def recognized(self, left: Remains) -> Remains:
        """The part of what the last daemon left that this one recognizes."""
        return left

    def _fragile(self, database: Database) -> FragileDatabase:
        return FragileDatabase(database._connection, database.path, database._locks)

    def close(self) -> None:
        self.database.close()

    def restart(
        self,
        after_ms: int = 0,
        stanzas: str | None = None,
        survivors: Mapping[AttemptKey, ProcessKey] = {},
        outputs: Mapping[AttemptKey, tuple[bytes, int]] = {},
        causes: Mapping[AttemptKey, Exit | NotStarted] = {},
        endings: Mapping[AttemptKey, str] = {},
        unseen: Collection[AttemptKey] = (),
    ) -> list[Effect]:
        """Ends as by SIGKILL, and starts again later on the same file."""
        assert self.path is not None, "a store in memory is lost"
        self.close()
        self.clock.advance(after_ms)
        self._open(STANZAS if stanzas is None else stanzas, Remains(survivors, outputs, {}, causes, endings, unseen))
        return self.effects

    def reboot(self, after_ms: int = 0, stanzas: str | None = None) -> list[Effect]:
        """Reboots the machine. `after_ms`: the time that has passed by the wall clock; it may be negative."""
        self.boot_id = NEXT_BOOT
        self.clock = ManualClock(self.clock.moment().wall + after_ms, boot=10 * SECOND)
        return self.restart(stanzas=stanzas)

    def _took(self, effects: list[Effect]) -> list[Effect]:
        self.effects = effects
        self.past += effects
        return effects

    def turn(self, *events: Event) -> list[Effect]:
        effects = self.core.turn(events, self.clock.moment())
        while at_once := [asked for asked in some(LookUpUser, effects) if asked.who not in self.late]:
            self.asked += [asked.who for asked in at_once]
            others = [effect for effect in effects if effect not in at_once]
            effects = others + self.core.turn(map(self.looked_up, at_once), self.clock.moment())
        return self._took(effects)

    def looked_up(self, asked: LookUpUser) -> UserLookedUp:
        """The answer to a question about users."""
        if isinstance(asked.who, int):
            return UserLookedUp(self.person(asked.who))
        named = (known for known in self.people.values() if known.name == asked.who)
        return UserLookedUp(next(named, KnownUser(NO_UID, asked.who)), asked.who)

    def person(self, uid: int) -> KnownUser:
        return self.people.get(uid, KnownUser(uid, f"uid-{uid}"))

    def after(self, milliseconds: int, *events: Event) -> list[Effect]:
        """One turn, that many milliseconds later."""
        self.clock.advance(milliseconds)
        return self.turn(*events)

    def typed(self, line: str, user: User = OPERATOR) -> LineTyped:
        self._replies += 1
        return LineTyped(line, user, self._replies)

    def ask(self, line: str, user: User = OPERATOR) -> Answer:
        """The answer to a line, in its own turn."""
        event = self.typed(line, user)
        self.turn(event)
        return self.reply_to(event)

    def reply_to(self, event: LineTyped) -> Answer:
        (reply,) = [r for r in some(Reply, self.effects) if r.reply_to == event.reply_to]
        return reply.answer

    def say(self, line: str) -> str:
        """The output of a line that succeeds."""
        return spoken(self.ask(line))

    def data(self, line: str) -> Any:
        answer = self.ask(f"json {line}")
        assert answer.is_json
        return json.loads(spoken(answer))

    def error(self, line: str) -> str:
        """The error of a line that is rejected."""
        answer = self.ask(line)
        assert answer.error is not None
        assert answer.diagnostics
        return answer.error

    def history(self, job: int | None = None) -> list[PastRun]:
        """The runs, the oldest first."""
        return self.store.runs.history(job, 100_000)[::-1]

    def states(self, job: int | None = None) -> list[tuple[int, int, str]]:
        return [(*run.key, run.state) for run in self.history(job)]

    def next_runs(self) -> list[tuple[int, int | None]]:
        """Every job's number with its next run."""
        return [(row[0], row[1]) for row in self.database.rows("SELECT number, next_run_ms FROM jobs ORDER BY number")]

    def logged(self) -> str:
        return "\n".join(f"{log.level}: {log.message}" for log in some(LogMessage, self.effects))

    def started(self) -> list[StartProgram]:
        return some(StartProgram, self.effects)

    def signalled(self) -> list[tuple[RunKey, int]]:
        return [(signal.key.run, signal.signal) for signal in some(SignalProgram, self.effects)]

    def discarded(self) -> list[RunKey]:
        return [discard.key.run for discard in some(DiscardOutput, self.effects)]

    def drop(
        self, text: str, mark: str = "1~a.cmd", arrived_ms: int | None = None, user: User = OPERATOR
    ) -> PublishResult:
        """The result of a drop with this text."""
        self.turn(self.dropped(text, mark, arrived_ms, user))
        (published,) = some(PublishResult, self.effects)
        return published

    def dropped(
        self, text: str, mark: str = "1~a.cmd", arrived_ms: int | None = None, user: User = OPERATOR
    ) -> DropClaimed:
        arrived = self.clock.moment().wall if arrived_ms is None else arrived_ms
        name = mark.partition("~")[2]
        return DropClaimed(mark, name, user, arrived, *read_drop(name, text.encode()))

    def read(self, stanzas: str, reply_to: int | None = None, typed: bool = False) -> FilesRead:
        """The event that these stanzas were read and checked."""
        text = with_store(stanzas, self.path)
        return self.read_exactly(text, reply_to, typed)

    def read_exactly(self, text: str, reply_to: int | None = None, typed: bool = False) -> FilesRead:
        loaded = judged(text)
        accepted = loaded.configuration if loaded.accepted else None
        return FilesRead(reply_to, typed, digest(text), accepted, tuple(loaded.diagnostics), ((str(FILE), text),))

    def read_prepared(self, stanzas: str, reply_to: int | None = None, typed: bool = False) -> FilesRead:
        """The same event after the worker has prepared it for the options that are active now."""
        event = self.read(stanzas, reply_to, typed)
        if event.configuration is None:
            return event
        overrides = Overrides() if typed else self.state.options.overrides
        return replace(event, prepared=prepare(event.configuration, self.state.options, overrides))

    def reload_typed(self, stanzas: str) -> Answer:
        """The answer to `config reload` when the files hold this text."""
        event = self.typed("config reload")
        self.turn(event)
        (request,) = some(ReadFiles, self.effects)
        self.turn(self.read(stanzas, request.reply_to, request.typed))
        return self.reply_to(event)


def has_pid(start: StartProgram, pid: int = 300, start_ticks: int = 7) -> ProgramStarted:
    return ProgramStarted(start.key, ProcessKey(pid, start_ticks))


def ended(
    key: RunKey, status: int | None = 0, signal: int | None = None, output: bytes = b"", attempt: int = 1
) -> ProgramEnded:
    return ProgramEnded(AttemptKey(key, attempt), Exit(None if signal else status, signal), output, len(output))
