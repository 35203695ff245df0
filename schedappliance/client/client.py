"""`Client`: the calls wait for their answers. Rule: what is asked, and how an answer is read, is decided in questions.py."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, overload

from schedappliance.client import questions
from schedappliance.client.answers import (
    DropResult,
    Health,
    Held,
    Job,
    JobDetails,
    NewJob,
    NewRun,
    NextDueTimes,
    PausedJob,
    PausedJobs,
    Released,
    Run,
    RunDetails,
    StoppedRun,
    Summary,
    WhyJob,
)
from schedappliance.client.console import Session
from schedappliance.client.errors import TimedOut, Unavailable
from schedappliance.client.events import Event, Follower
from schedappliance.client.questions import CommandLike, JobLike, Question, RunLike, Span

T = TypeVar("T")
Location = str | os.PathLike[str] | None
DEFAULT_TIMEOUT_S = 30.0


class Appliance:
    """Where the appliance is, and for whom it is asked. The places that are not given are those of its file, which is read
    when it is needed."""

    def __init__(self, endpoint: Location, config: Location, spool: Location, on_behalf_of: str | None) -> None:
        self.on_behalf_of = on_behalf_of
        self._endpoint = None if endpoint is None else Path(endpoint)
        self._config = None if config is None else Path(config)
        self._spool = None if spool is None else Path(spool)

    @property
    def endpoint(self) -> Path:
        """The socket of the console. Raises Unavailable."""
        if self._endpoint is None:
            self._endpoint = self._place("console.listen", "listen", "the argument `endpoint`")
        return self._endpoint

    @property
    def spool(self) -> Path:
        """The directory of the spool. Raises Unavailable."""
        if self._spool is None:
            self._spool = self._place("spool.path", "spool", "the argument `spool`")
        return self._spool

    def _place(self, key: str, field: str, argument: str) -> Path:
        from schedappliance.client.places import appliance_file, path_in

        with _unusable_is_unavailable():
            file = appliance_file(self._config)
            return path_in(file, key, getattr(file, field), argument)

    def submit(self, data: bytes, name: str) -> str:
        """Queues a drop. Raises Unavailable if it cannot be written; then nothing is queued."""
        if self.on_behalf_of is not None:
            raise ValueError("a drop belongs to the user of this process; it cannot be on behalf of another user")
        from schedappliance.client.drop import base_of, drop

        with _unusable_is_unavailable():
            try:
                return drop(self.spool, base_of(name), data)
            except OSError as error:
                message = f"cannot write to {error.filename}: {error.strerror}; nothing was queued"
                raise Unavailable(message) from error

    def result(self, name: str, timeout: float | None) -> DropResult:
        """The result of a drop. Raises Rejected, TimedOut and Unavailable."""
        from schedappliance.client.drop import wait_for_result
        from schedappliance.clock import SystemClock

        milliseconds = None if timeout is None else round(timeout * 1000)
        with _unusable_is_unavailable():
            data = wait_for_result(self.spool, name, SystemClock(), milliseconds)
        if data is None:
            raise TimedOut(f"no result yet; it stays queued under {name}")
        return questions.drop_result(data)


def now_s() -> float:
    """The seconds since the start of the machine."""
    from schedappliance.clock import SystemClock

    return SystemClock().moment().boot / 1000


@contextlib.contextmanager
def _unusable_is_unavailable() -> Iterator[None]:
    from schedappliance.diagnostics import Unusable

    try:
        yield
    except Unusable as unusable:
        reasons = [str(unusable), *(diagnostic.brief() for diagnostic in unusable.diagnostics)]
        raise Unavailable("; ".join(filter(None, reasons))) from unusable


class Client:
    """A client of one appliance. It connects when it sends the first command, and again after a lost connection.

    `endpoint`: the socket of the console. Without it, it is that of the appliance file: `config`, or the first that
    exists of `$SCHEDAPPLIANCE_CONFIG`, `etc/appliance.yaml` and `/etc/schedappliance/appliance.yaml`. `timeout`: how
    many seconds the appliance may take for an answer; None: as long as it wants. `on_behalf_of`: the name of the user
    on whose behalf commands are given, if the user of this process is a delegate; None: the user of this process.

    Where a job is wanted, give its id, its name, or a value with an `id`. Where a run is wanted, give its id, or a value
    with a `run`. A command is one line as at the console, or a list of words, which are quoted. A time span is a number
    of seconds, a timedelta, or a text such as `15m`.

    Threads may share a client: their commands take turns, and `wait` and `watch` use connections of their own. After a
    fork, the child opens a new connection; fork only while no other thread uses the client.

    Every method may raise Rejected, NotAuthorized and Unavailable.
    """

    def __init__(
        self,
        endpoint: Location = None,
        *,
        config: Location = None,
        spool: Location = None,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        on_behalf_of: str | None = None,
    ) -> None:
        self._appliance = Appliance(endpoint, config, spool, on_behalf_of)
        self._timeout = timeout
        self._turn = threading.Lock()
        self._session: Session | None = None
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection. The next command opens a new one."""
        with self._turn:
            if self._session is not None:
                self._session.close()

    def every(self, period: Span, command: CommandLike) -> NewJob:
        """Schedules a command every `period`, first one period from now."""
        return self._ask(questions.schedule("every", questions.span_text(period), command))

    def in_(self, delay: Span, command: CommandLike) -> NewJob:
        """Schedules a command once, `delay` from now."""
        return self._ask(questions.schedule("in", questions.span_text(delay), command))

    def at(self, when: str | datetime, command: CommandLike) -> NewJob:
        """Schedules a command once: at a datetime with a time zone, or at a time as `sched at` takes it."""
        return self._ask(questions.schedule("at", questions.instant_text(when), command))

    def cron(self, expression: str, command: CommandLike) -> NewJob:
        """Schedules a command at the times of a cron expression, such as `30 2 * * 1-5`."""
        return self._ask(questions.schedule("cron", expression, command))

    def calendar(self, expression: str, command: CommandLike) -> NewJob:
        """Schedules a command at the times of a calendar expression, such as `Mon..Fri 02:30`."""
        return self._ask(questions.schedule("calendar", expression, command))

    @overload
    def run(self, program: str, *arguments: str, wait: Literal[False] = False) -> NewRun: ...
    @overload
    def run(self, program: str, *arguments: str, wait: Literal[True], timeout: float | None = None) -> RunDetails: ...
    def run(
        self, program: str, *arguments: str, wait: bool = False, timeout: float | None = None
    ) -> NewRun | RunDetails:
        """Starts a declared program now. With `wait`, returns when the run has ended, as `wait` does."""
        new = self._ask(questions.run(program, arguments))
        return self.wait(new, timeout=timeout) if wait else new

    def run_now(self, job: JobLike) -> NewRun:
        """Runs a job now; its due times do not change."""
        return self._ask(questions.run_now(job))

    def wait(self, run: RunLike, *, timeout: float | None = None) -> RunDetails:
        """Waits until a run has ended, whether it succeeded or not. Raises TimedOut after `timeout` seconds.

        After a lost connection it goes on, if an appliance answers again within a minute.
        """
        limit = None if timeout is None or self._timeout is None else timeout + self._timeout
        waiting, details = questions.Wait(run, timeout, now_s()), questions.run_details(run)
        while True:
            try:
                with contextlib.closing(self._new_session(limit)) as session:
                    question = waiting.question(now_s())
                    question.answer(session.ask(question.request))
                    return details.answer(session.ask(details.request))
            except Unavailable as unavailable:
                pause_s = waiting.pause_after(unavailable, now_s())
            threading.Event().wait(pause_s)

    def stop(self, run: RunLike) -> StoppedRun:
        """Ends the program of a run, or cancels a run that waits."""
        return self._ask(questions.stop(run))

    def delete(self, job: JobLike) -> None:
        """Deletes a job and cancels its waiting runs."""
        self._ask(questions.delete(job))

    def pause(self, job: JobLike) -> PausedJob | PausedJobs:
        """Pauses a job, or all declared jobs that match a pattern such as `backup-*`.

        `--all` is the name of a job; `command("sched pause --all")` pauses all jobs.
        """
        return self._ask(questions.pause(job))

    def resume(self, job: JobLike) -> PausedJob | PausedJobs:
        """Resumes what `pause` has paused."""
        return self._ask(questions.resume(job))

    def hold(self, reason: str = "", *, duration: Span | None = None) -> Held:
        """Lets nothing new start for a time span, or until `release`."""
        return self._ask(questions.hold(reason, duration))

    def release(self) -> Released:
        """Ends `hold`."""
        return self._ask(questions.release())

    def jobs(self, *, find: str | None = None, limit: int | None = None) -> Iterator[Job]:
        """The jobs, the next one due first. `find`: a part of the id, the name or the command."""
        return self._rows(questions.jobs(find, limit))

    def history(
        self,
        job: JobLike | None = None,
        *,
        state: str | Iterable[str] | None = None,
        since: str | datetime | timedelta | None = None,
        until: str | datetime | timedelta | None = None,
        limit: int | None = None,
    ) -> Iterator[Run]:
        """The runs of one job or of all, the newest first. A timedelta is that long ago."""
        return self._rows(questions.history(job, state, since, until, limit))

    def show(self, job: JobLike) -> JobDetails:
        """Everything about a job. Raises ValueError for a run."""
        return self._ask(questions.job(job))

    def show_run(self, run: RunLike) -> RunDetails:
        """Everything about a run, with its output. Raises ValueError for a job."""
        return self._ask(questions.run_details(run))

    def why(self, job: JobLike) -> WhyJob:
        """Why a job runs next, did not run, or will not run. Raises ValueError for a run."""
        return self._ask(questions.why(job))

    def next(self, job: JobLike, count: int = 10) -> NextDueTimes:
        """The next due times of a job."""
        return self._ask(questions.next_due_times(job, count))

    def output(self, run: RunLike, *, attempt: int | None = None) -> str:
        """The output of a run so far: of one attempt, by default of the last."""
        return "".join(self._output(questions.OutputReader(questions.run_word(run), attempt)))

    def follow(self, run: RunLike) -> Iterator[str]:
        """The output of a run, piece by piece, until the run has ended; also of further attempts."""
        return self._output(questions.OutputReader(questions.run_word(run), follow=True))

    def health(self) -> Health:
        """What is wrong with the appliance."""
        return self._ask(questions.health())

    def summary(self) -> Summary:
        """The statistics of the appliance."""
        return self._ask(questions.summary())

    def version(self) -> str:
        """The version of the appliance."""
        return self._ask(questions.version()).version

    def command(self, command: CommandLike) -> Any:
        """The data that `json COMMAND` answers, for what has no method of its own. Raises ValueError for `watch`."""
        return self._ask(questions.command(command))

    def watch(self, after: int = 0, *, timeout: float | None = None) -> Iterator[Event]:
        """What happens from now on, or after the event with the number `after`.

        After a lost connection it goes on where it was. A Gap says that events are missing. It ends after `timeout`
        seconds without an event; None: never. Raises Unavailable if no appliance answers at first.
        """
        follower = Follower(after)
        silent_s = 0.0
        with contextlib.closing(self._new_session(self._timeout)) as session:
            while timeout is None or silent_s < timeout:
                try:
                    follower.begin(session.ask(follower.line))
                    session.set_timeout(timeout)
                    while True:
                        yield follower.take(session.next_message())
                        silent_s = 0.0
                except Unavailable as unavailable:
                    session.close()
                    if isinstance(unavailable.__cause__, TimeoutError) and timeout is not None:
                        return
                    pause_s = follower.pause_after(unavailable)
                threading.Event().wait(pause_s)
                silent_s += pause_s

    def submit(self, lines: Iterable[CommandLike], *, token: str | None = None, name: str = "client") -> str:
        """Queues commands in the spool, even while the appliance is down, and returns the name of the drop.

        All of them take effect, or none. A second drop with the same token does nothing, and gets the first result.
        Raises ValueError for a line that is not one command, and with `on_behalf_of`: a drop belongs to its writer.
        """
        return self._appliance.submit(questions.drop_text(lines, token), name)

    def result(self, name: str, *, timeout: float | None = None) -> DropResult:
        """Waits for the result of a drop. Raises Rejected, and TimedOut after `timeout` seconds."""
        return self._appliance.result(name, timeout)

    def _ask(self, question: Question[T]) -> T:
        return question.answer(self._response(question.request))

    def _response(self, line: str) -> dict[str, Any]:
        if self._pid != os.getpid():
            # The connection, and perhaps the lock, belong to the parent.
            self._pid, self._turn, self._session = os.getpid(), threading.Lock(), None
        with self._turn:
            if self._session is None:
                self._session = self._new_session(self._timeout)
            self._session.renew()
            return self._session.ask(line)

    def _new_session(self, timeout: float | None) -> Session:
        return Session(self._appliance.endpoint, timeout, self._appliance.on_behalf_of)

    def _rows(self, pages: questions.Pages[T]) -> Iterator[T]:
        while pages.question is not None:
            yield from pages.take(self._response(pages.question.request))

    def _output(self, reader: questions.OutputReader) -> Iterator[str]:
        while reader.question is not None:
            yield reader.take(self._ask(reader.question))
            if reader.pause_s:
                threading.Event().wait(reader.pause_s)
