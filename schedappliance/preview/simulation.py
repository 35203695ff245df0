"""Drives a real core on a simulated clock: time jumps from wake to wake, and programs run for an assumed duration.

Rule: no clock is read, and no file or process of the appliance is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from statistics import median_low
from typing import TYPE_CHECKING

from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import Effect, LookUpUser, ReadFiles, SignalProgram, StartProgram, Stop
from schedappliance.engine.events import Event, FilesRead, ProgramEnded, UserLookedUp
from schedappliance.engine.records import AttemptKey, KnownUser, RunKey
from schedappliance.preview.driver import Agenda, wakes
from schedappliance.preview.rows import Mark, ObservedRuns, Row

if TYPE_CHECKING:
    from schedappliance.clock import ManualClock
    from schedappliance.core.turn import Core
    from schedappliance.engine.boots import ThisBoot
    from schedappliance.engine.events import Remains
    from schedappliance.model.calendars.pieces import Zone
    from schedappliance.model.configuration import Configuration
    from schedappliance.store.tables import Store

# The median is taken from this many newest runs, which are searched for among this many newest rows of the store.
SAMPLE_RUNS = 5
SEARCHED_RUNS = 100_000


class CopyFailed(Exception):
    """The private copy of the store cannot be written: memory or the temporary directory is full."""


class Durations:
    """The assumed durations of programs: the median of the job's last successful runs.

    If the job has none, the median of the command's successful runs in any job is used, which helps jobs that run once.
    If there are none either, the median of the runs that did not succeed is used: a program that was always ended early
    takes at least as long.
    """

    def __init__(self, ended: Iterable[tuple[int, str, int, bool]]) -> None:
        """`ended`: job, command, milliseconds and success of the runs that have ended, the newest first."""
        samples: dict[tuple[bool, int | None, str], list[int]] = {}
        for job, command, milliseconds, succeeded in ended:
            for owner in (job, None):
                sample = samples.setdefault((bool(succeeded), owner, command), [])
                if len(sample) < SAMPLE_RUNS:
                    sample.append(milliseconds)
        self._medians = {name: median_low(sample) for name, sample in samples.items()}

    def of(self, job: int, command: str) -> int:
        """Milliseconds; 0 for a command that never ran."""
        for succeeded in (True, False):
            for owner in (job, None):
                if (median := self._medians.get((succeeded, owner, command))) is not None:
                    return median
        return 0


class Simulation:
    """Drives one core from wake to wake.

    `configuration` is what every reload finds; `look_up` says who a user is on this machine.
    """

    def __init__(
        self,
        core: Core,
        runs: ObservedRuns,
        clock: ManualClock,
        configuration: Configuration,
        look_up: Callable[[int], KnownUser],
    ) -> None:
        self._core = core
        self._runs = runs
        self._clock = clock
        self._configuration = configuration
        self._look_up = look_up
        durations = self._durations = Durations(runs.lasted(SEARCHED_RUNS))
        core.state.instant.takes_no_time = lambda job: durations.of(job.number, job.text) == 0
        self._agenda: Agenda[Event] = Agenda()
        self._stopped = False

    @property
    def store(self) -> Store:
        return self._core.state.store

    @property
    def boot(self) -> ThisBoot:
        return self._core.state.boot

    @property
    def now_ms(self) -> int:
        """The wall time in the simulation."""
        return self._clock.moment().wall

    @property
    def zone(self) -> Zone:
        """The zone of `sched`; if it has none, that of the machine."""
        return self._core.state.zone

    def start(self, remains: Remains) -> None:
        """Starts the appliance; `remains`: the programs that run already."""
        began = {a.key: a.started_boot_ms for a in self._runs.live_attempts()}
        self._perform(self._core.start(remains, "", ()))
        for running in self._core.state.running.values():
            self._end(running.key, began[running.key] + self._duration(running.key.run))

    def rows(self, milliseconds: int) -> Iterator[Row]:
        """The rows of the next milliseconds, one by one. Raises CopyFailed."""
        yield from self._runs.take_rows()
        end_ms = self._clock.moment().boot + milliseconds
        for events in wakes(self._core, self._clock, self._agenda, end_ms):
            self._perform(self._core.turn(events, self._clock.moment()))
            if degraded := self._core.state.status.degraded:
                raise CopyFailed(degraded)
            yield from self._runs.take_rows()
            if self._stopped:
                now = self.now_ms
                yield Row(Mark.STOPS, now, now, None, None, "", "the appliance is shut down; nothing runs after it")
                return

    def _exit(self, key: RunKey) -> Exit:
        """The exit of a program: success."""
        running = self._core.state.running.get(key)
        return Exit() if running is None else Exit(status=running.success[0])

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, StartProgram):
                self._end(effect.key, self._clock.moment().boot + self._duration(effect.key.run))
            elif isinstance(effect, SignalProgram):
                self._end_now(effect.key)
            elif isinstance(effect, ReadFiles):
                self._plan_now(self._files_read(effect))
            elif isinstance(effect, LookUpUser):
                # Only the console asks by name.
                assert isinstance(effect.who, int)
                self._plan_now(UserLookedUp(self._look_up(effect.who)))
            elif isinstance(effect, Stop):
                self._stopped = True

    def _duration(self, key: RunKey) -> int:
        return self._durations.of(key.job, self._runs.command_of(key))

    def _end(self, key: AttemptKey, boot_ms: int) -> None:
        self._agenda.add(boot_ms, ProgramEnded(key, self._exit(key.run), b"", 0))

    def _end_now(self, key: AttemptKey) -> None:
        """Ends a program that gets SIGTERM, at once."""
        self._agenda.keep(lambda event: not (isinstance(event, ProgramEnded) and event.key == key))
        self._end(key, self._clock.moment().boot)

    def _plan_now(self, event: Event) -> None:
        self._agenda.add(self._clock.moment().boot, event)

    def _files_read(self, effect: ReadFiles) -> FilesRead:
        """The files do not change in a simulation."""
        return FilesRead(effect.reply_to, effect.typed, "", self._configuration, (), ())
