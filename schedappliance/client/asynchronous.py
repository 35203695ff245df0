"""`AsyncClient`: the twin of Client for asyncio. Rule: a method differs from its twin only in how it waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
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
from schedappliance.client.client import DEFAULT_TIMEOUT_S, Appliance, Client, Location, now_s
from schedappliance.client.console import CHUNK, Connection
from schedappliance.client.errors import TimedOut, Unavailable
from schedappliance.client.events import Event, Follower
from schedappliance.client.questions import CommandLike, JobLike, Question, RunLike, Span
from schedappliance.client.wire import Message, lost

T = TypeVar("T")
# How often a task looks for the result of a drop.
RESULT_PAUSE_S = 0.25


class AsyncSession(Connection):
    """A connection whose calls are awaited."""

    async def ask(self, line: str, quiet: bool = False) -> Message:
        """As Session.ask."""
        return (await self.ask_together([line], quiet))[0]

    async def ask_together(self, lines: Sequence[str], quiet: bool = False) -> list[Message]:
        """The responses to lines that are sent at once, in their order. The appliance may carry them out in one turn."""
        connection = self._open(socket.SOCK_NONBLOCK)
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    requests = b"".join(self._wire.request(line, quiet=quiet) for line in lines)
                    await asyncio.get_running_loop().sock_sendall(connection, requests)
            except BrokenPipeError:
                # As in Session.ask.
                pass
            except OSError as error:
                raise lost(self._endpoint, error) from error
            responses = [await self.next_message(self._timeout) for _ in lines]
        except BaseException:
            # The answers may still come. They must not be read as those to the next lines.
            self.close()
            raise
        self.in_transaction = responses[-1]["transaction"]
        return responses

    def set_timeout(self, timeout: float | None) -> None:
        """How many seconds the appliance may take for each of the next responses."""
        self._timeout = timeout

    async def next_message(self, timeout: float | None) -> Message:
        """The next response or event. Raises Unavailable."""
        connection = self._open(socket.SOCK_NONBLOCK)
        while (message := self._wire.message()) is None:
            try:
                async with asyncio.timeout(timeout):
                    self._wire.add(await asyncio.get_running_loop().sock_recv(connection, CHUNK))
            except OSError as error:
                raise lost(self._endpoint, error) from error
        return message


class AsyncClient:
    """The twin of Client for asyncio: the same methods, whose results are awaited or iterated over by `async for`.

    Tasks of one event loop may share a client: their commands take turns, and `wait` and `watch` use connections of
    their own. A task that is cancelled leaves nothing behind, but the appliance may still carry out its command. A
    client cannot be used after a fork.
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
        self._turn = asyncio.Lock()
        self._session: AsyncSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        async with self._turn:
            if self._session is not None:
                self._session.close()

    async def every(self, period: Span, command: CommandLike) -> NewJob:
        return await self._ask(questions.schedule("every", questions.span_text(period), command))

    async def in_(self, delay: Span, command: CommandLike) -> NewJob:
        return await self._ask(questions.schedule("in", questions.span_text(delay), command))

    async def at(self, when: str | datetime, command: CommandLike) -> NewJob:
        return await self._ask(questions.schedule("at", questions.instant_text(when), command))

    async def cron(self, expression: str, command: CommandLike) -> NewJob:
        return await self._ask(questions.schedule("cron", expression, command))

    async def calendar(self, expression: str, command: CommandLike) -> NewJob:
        return await self._ask(questions.schedule("calendar", expression, command))

    @overload
    async def run(self, program: str, *arguments: str, wait: Literal[False] = False) -> NewRun: ...
    @overload
    async def run(
        self, program: str, *arguments: str, wait: Literal[True], timeout: float | None = None
    ) -> RunDetails: ...
    async def run(
        self, program: str, *arguments: str, wait: bool = False, timeout: float | None = None
    ) -> NewRun | RunDetails:
        new = await self._ask(questions.run(program, arguments))
        return await self.wait(new, timeout=timeout) if wait else new

    async def run_now(self, job: JobLike) -> NewRun:
        return await self._ask(questions.run_now(job))

    async def wait(self, run: RunLike, *, timeout: float | None = None) -> RunDetails:
        limit = None if timeout is None or self._timeout is None else timeout + self._timeout
        waiting, details = questions.Wait(run, timeout, now_s()), questions.run_details(run)
        while True:
            try:
                with contextlib.closing(self._new_session(limit)) as session:
                    question = waiting.question(now_s())
                    question.answer(await session.ask(question.request))
                    return details.answer(await session.ask(details.request))
            except Unavailable as unavailable:
                pause_s = waiting.pause_after(unavailable, now_s())
            await asyncio.sleep(pause_s)

    async def stop(self, run: RunLike) -> StoppedRun:
        return await self._ask(questions.stop(run))

    async def delete(self, job: JobLike) -> None:
        await self._ask(questions.delete(job))

    async def pause(self, job: JobLike) -> PausedJob | PausedJobs:
        return await self._ask(questions.pause(job))

    async def resume(self, job: JobLike) -> PausedJob | PausedJobs:
        return await self._ask(questions.resume(job))

    async def hold(self, reason: str = "", *, duration: Span | None = None) -> Held:
        return await self._ask(questions.hold(reason, duration))

    async def release(self) -> Released:
        return await self._ask(questions.release())

    def jobs(self, *, find: str | None = None, limit: int | None = None) -> AsyncIterator[Job]:
        return self._rows(questions.jobs(find, limit))

    def history(
        self,
        job: JobLike | None = None,
        *,
        state: str | Iterable[str] | None = None,
        since: str | datetime | timedelta | None = None,
        until: str | datetime | timedelta | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Run]:
        return self._rows(questions.history(job, state, since, until, limit))

    async def show(self, job: JobLike) -> JobDetails:
        return await self._ask(questions.job(job))

    async def show_run(self, run: RunLike) -> RunDetails:
        return await self._ask(questions.run_details(run))

    async def why(self, job: JobLike) -> WhyJob:
        return await self._ask(questions.why(job))

    async def next(self, job: JobLike, count: int = 10) -> NextDueTimes:
        return await self._ask(questions.next_due_times(job, count))

    async def output(self, run: RunLike, *, attempt: int | None = None) -> str:
        reader = questions.OutputReader(questions.run_word(run), attempt)
        return "".join([text async for text in self._output(reader)])

    def follow(self, run: RunLike) -> AsyncIterator[str]:
        return self._output(questions.OutputReader(questions.run_word(run), follow=True))

    async def health(self) -> Health:
        return await self._ask(questions.health())

    async def summary(self) -> Summary:
        return await self._ask(questions.summary())

    async def version(self) -> str:
        return (await self._ask(questions.version())).version

    async def command(self, command: CommandLike) -> Any:
        return await self._ask(questions.command(command))

    async def watch(self, after: int = 0, *, timeout: float | None = None) -> AsyncIterator[Event]:
        follower = Follower(after)
        silent_s = 0.0
        with contextlib.closing(self._new_session(self._timeout)) as session:
            while timeout is None or silent_s < timeout:
                try:
                    follower.begin(await session.ask(follower.line))
                    while True:
                        yield follower.take(await session.next_message(timeout))
                        silent_s = 0.0
                except Unavailable as unavailable:
                    session.close()
                    if isinstance(unavailable.__cause__, TimeoutError) and timeout is not None:
                        return
                    pause_s = follower.pause_after(unavailable)
                await asyncio.sleep(pause_s)
                silent_s += pause_s

    async def submit(self, lines: Iterable[CommandLike], *, token: str | None = None, name: str = "client") -> str:
        return await asyncio.to_thread(self._appliance.submit, questions.drop_text(lines, token), name)

    async def result(self, name: str, *, timeout: float | None = None) -> DropResult:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    with contextlib.suppress(TimedOut):
                        return self._appliance.result(name, 0)
                    await asyncio.sleep(RESULT_PAUSE_S)
        except TimeoutError:
            return self._appliance.result(name, 0)

    async def _ask(self, question: Question[T]) -> T:
        return question.answer(await self._response(question.request))

    async def _response(self, line: str) -> dict[str, Any]:
        async with self._turn:
            if self._session is None:
                self._session = self._new_session(self._timeout)
            self._session.renew()
            return await self._session.ask(line)

    def _new_session(self, timeout: float | None) -> AsyncSession:
        return AsyncSession(self._appliance.endpoint, timeout, self._appliance.on_behalf_of)

    async def _rows(self, pages: questions.Pages[T]) -> AsyncIterator[T]:
        while pages.question is not None:
            for row in pages.take(await self._response(pages.question.request)):
                yield row

    async def _output(self, reader: questions.OutputReader) -> AsyncIterator[str]:
        while reader.question is not None:
            yield reader.take(await self._ask(reader.question))
            if reader.pause_s:
                await asyncio.sleep(reader.pause_s)


for _name, _method in vars(AsyncClient).items():
    # The twins have one description.
    if not _name.startswith("_") and _method.__doc__ is None:
        _method.__doc__ = getattr(Client, _name).__doc__
