"""What the methods of the clients ask: a command line, and how its answer is read. `Client` and `AsyncClient` share it.

Rule: every argument is quoted here, so that no value of a caller can become a part of another command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from schedappliance.client import answers, shapes
from schedappliance.client.answers import Diagnostic
from schedappliance.client.errors import Error, NotAuthorized, Rejected, TimedOut, Unavailable
from schedappliance.client.states import LIVE
from schedappliance.client.wire import Message, joined, joined_as_is, quoted

T = TypeVar("T")
# Before a line whose answer is wanted as data.
AS_DATA = "json "
# What the appliance calls the file of a mistake in a command.
COMMAND = "<command>"
PAGE = 1000
# How long to wait for more of an output.
PAUSE_S = 0.5
LINE_ENDS = "\n\r\0"
NOT_AUTHORIZED, NOT_ENDED, STOPPING = "E512", "E514", "E505"


class OfJob(Protocol):
    """A value that names a job, such as `Job`, `NewJob` or `Run`."""

    @property
    def id(self) -> str: ...


class OfRun(Protocol):
    """A value that names a run, such as `Run` or `NewRun`."""

    @property
    def run(self) -> str: ...


# A command: a line as at the console, or its words, which are quoted.
CommandLike = str | Sequence[str]
# A time span: a number of seconds, a timedelta, or a text such as `15m`.
Span = str | float | timedelta
JobLike = str | OfJob
RunLike = str | OfRun


@dataclass(frozen=True)
class Question(Generic[T]):
    """A command, and how the data of its answer are read. `reads_failures`: its data count also if it failed."""

    line: str
    read: Callable[[Any], T]
    reads_failures: bool = False

    @property
    def request(self) -> str:
        return f"{AS_DATA}{self.line}"

    def answer(self, response: Message) -> T:
        """The answer in the response to `request`. Raises Error."""
        response = without_prefix(response)
        if response["ok"] or (self.reads_failures and response.get("data") is not None):
            return self.read(response["data"])
        raise error_in(response)


def without_prefix(response: Message) -> Message:
    """The response to `json LINE` with the places of mistakes in LINE, which is what the user of a client knows."""
    diagnostics = response.get("diagnostics")
    return (
        {**response, "diagnostics": [moved_back(one, len(AS_DATA)) for one in diagnostics]} if diagnostics else response
    )


def moved_back(diagnostic: Mapping[str, Any], by: int) -> dict[str, Any]:
    """A mistake of a command with its place in the line without its first characters; one of a file as it is."""
    if diagnostic["file"] != COMMAND or diagnostic["line"] != 1:
        return dict(diagnostic)
    columns = {name: max(1, diagnostic[name] - by) for name in ("column", "end_column")}
    return {**diagnostic, **columns}


def error_in(response: Message) -> Error:
    """The error of a response that is not `ok`."""
    message = str(response["error"])
    diagnostics: tuple[Diagnostic, ...] = shapes.read(tuple[Diagnostic, ...], response["diagnostics"])
    codes = {diagnostic.code for diagnostic in diagnostics}
    if NOT_ENDED in codes:
        return TimedOut(message)
    if STOPPING in codes:
        return Unavailable(message, unanswered=True)
    kind = NotAuthorized if NOT_AUTHORIZED in codes else Rejected
    return kind(message, diagnostics, response.get("data"))


def _asked(kind: type[T], *words: str, reads_failures: bool = False) -> Question[T]:
    return Question(joined(words), lambda data: shapes.read(kind, data), reads_failures)


def command(line: CommandLike) -> Question[Any]:
    """Raises ValueError for `watch`: nobody would read its events."""
    text = command_line(line)
    if bare_words(text)[:1] == ["watch"]:
        raise ValueError("`watch` is no single answer; iterate over the method `watch`")
    return Question(text, lambda data: data)


def bare_words(line: str) -> list[str]:
    """The words of a line in lower case, without the prefix `json`."""
    words = line.lower().split()
    while words[:1] == ["json"]:
        del words[0]
    return words


def schedule(form: str, when: str, line: CommandLike) -> Question[answers.NewJob]:
    text = f"sched {form} {quoted(when)} {command_line(line)}"
    return Question(text, lambda data: shapes.read(answers.NewJob, data))


def run(program: str, arguments: Iterable[str]) -> Question[answers.NewRun]:
    return Question(f"run {joined_as_is([program, *arguments])}", lambda data: shapes.read(answers.NewRun, data))


def run_now(job: JobLike) -> Question[answers.NewRun]:
    return _asked(answers.NewRun, "sched", "run", job_word(job))


def wait(run: RunLike, timeout: Span | None) -> Question[answers.EndedRun]:
    limit = () if timeout is None else ("timeout", span_text(timeout))
    return _asked(answers.EndedRun, "sched", "wait", run_word(run), *limit, reads_failures=True)


def stop(run: RunLike) -> Question[answers.StoppedRun]:
    return _asked(answers.StoppedRun, "sched", "stop", run_word(run))


def delete(job: JobLike) -> Question[answers.DeletedJob]:
    return _asked(answers.DeletedJob, "sched", "delete", job_word(job))


def pause(job: JobLike) -> Question[answers.PausedJob | answers.PausedJobs]:
    return Question(joined_as_is(["sched", "pause", job_word(job)]), _read_paused)


def resume(job: JobLike) -> Question[answers.PausedJob | answers.PausedJobs]:
    return Question(joined_as_is(["sched", "resume", job_word(job)]), _read_paused)


def _read_paused(data: Any) -> answers.PausedJob | answers.PausedJobs:
    paused: answers.PausedJob | answers.PausedJobs = shapes.read(answers.PausedJob | answers.PausedJobs, data)
    return paused


# How long a wait goes on without an appliance, which may be starting again, and how often it connects meanwhile.
RESTART_S, AGAIN_S = 60.0, 0.2


class Wait:
    """A wait for the end of a run, over restarts of the appliance. Instants are seconds of any clock that only grows."""

    def __init__(self, run: RunLike, timeout: float | None, now_s: float) -> None:
        self._run = run
        self._ends_s = None if timeout is None else now_s + timeout
        # When a connection was lost on which the run was waited for.
        self._lost_s: float | None = None

    def question(self, now_s: float) -> Question[answers.EndedRun]:
        return wait(self._run, None if self._ends_s is None else max(0.001, self._ends_s - now_s))

    def pause_after(self, unavailable: Unavailable, now_s: float) -> float:
        """How many seconds to wait before the next connection. Raises Error if the wait is over."""
        is_late = isinstance(unavailable.__cause__, TimeoutError)
        if unavailable.unanswered and not is_late:
            self._lost_s = now_s
        if is_late or self._lost_s is None or now_s - self._lost_s > RESTART_S:
            raise unavailable
        if self._ends_s is not None and now_s >= self._ends_s:
            raise TimedOut(f"run {run_word(self._run)} has not ended in time") from unavailable
        return AGAIN_S


def hold(reason: str, duration: Span | None) -> Question[answers.Held]:
    limit = [] if duration is None else ["for", span_text(duration)]
    return _asked(answers.Held, "sched", "hold", *limit, *([reason] if reason else []))


def release() -> Question[answers.Released]:
    return _asked(answers.Released, "sched", "release")


def _described(kind: type[T], verb: str, word: str, is_run: bool, instead: str) -> Question[T]:
    """A command that describes a job or a run, of which one is wanted. Its `read` raises ValueError for the other one."""

    def read(data: Mapping[str, Any]) -> T:
        if ("run" in data) != is_run:
            raise ValueError(f"`{word}` is {'a job' if is_run else 'a run'}; use {instead}")
        value: T = shapes.read(kind, data)
        return value

    return Question(joined(["sched", verb, word]), read)


def job(job: JobLike) -> Question[answers.JobDetails]:
    return _described(answers.JobDetails, "show", job_word(job), False, "`show_run`")


def run_details(run: RunLike) -> Question[answers.RunDetails]:
    return _described(answers.RunDetails, "show", run_word(run), True, "`show`")


def why(job: JobLike) -> Question[answers.WhyJob]:
    return _described(answers.WhyJob, "why", job_word(job), False, "`command`")


def next_due_times(job: JobLike, count: int) -> Question[answers.NextDueTimes]:
    return _asked(answers.NextDueTimes, "sched", "next", job_word(job), str(count))


def output(run: str, attempt: int | None, begin: int) -> Question[answers.OutputPart]:
    number = [] if attempt is None else ["attempt", str(attempt)]
    return _asked(answers.OutputPart, "sched", "output", run, *number, "from", str(begin))


def health() -> Question[answers.Health]:
    return _asked(answers.Health, "health")


def summary() -> Question[answers.Summary]:
    return _asked(answers.Summary, "summary")


def version() -> Question[answers.Version]:
    return _asked(answers.Version, "version")


class Pages(Generic[T]):
    """A list that is asked for in pages: `question` is that for the next page, None after the last one."""

    def __init__(self, question: Question[list[T]], limit: int | None, following: Callable[[Message], str | None]):
        self.question: Question[list[T]] | None = question
        self._left = limit
        self._following = following

    def take(self, response: Message) -> Iterator[T]:
        """The rows of a page that are wanted. Raises Error."""
        assert self.question is not None, "a page was asked for"
        rows = self.question.answer(response)[: self._left]
        if self._left is not None:
            self._left -= len(rows)
        line = None if self._left == 0 else self._following(response)
        self.question = None if line is None else Question(line, self.question.read)
        return iter(rows)


def jobs(find: str | None, limit: int | None) -> Pages[answers.Job]:
    """Each page begins after the last row as it was, so that a job which moves meanwhile leaves out no other."""
    line = joined(["sched", "list", *(["find", find] if find is not None else [])])

    def following(response: Message) -> str | None:
        rows = response["data"]
        return f"{line} limit {PAGE} after {rows[-1]['id']}@{rows[-1]['next_run_ms']}" if len(rows) == PAGE else None

    return Pages(Question(f"{line} limit {PAGE}", _rows(answers.Job)), limit, following)


def history(
    job: JobLike | None,
    state: str | Iterable[str] | None,
    since: str | datetime | timedelta | None,
    until: str | datetime | timedelta | None,
    limit: int | None,
) -> Pages[answers.Run]:
    filters = {
        "state": state if state is None or isinstance(state, str) else ",".join(state),
        "since": None if since is None else past_text(since),
        "until": None if until is None else past_text(until),
        "limit": str(PAGE if limit is None else max(1, min(PAGE, limit))),
    }
    words = [word for name, value in filters.items() if value is not None for word in (name, value)]
    line = joined(["sched", "history", *([] if job is None else [job_word(job)]), *words])
    return Pages(Question(line, _rows(answers.Run)), limit, lambda response: response.get("next"))


def _rows(kind: type[T]) -> Callable[[Any], list[T]]:
    return lambda data: [shapes.read(kind, row) for row in data]


class OutputReader:
    """Reads an output part by part. `question`: that for the next part, None after the last one.

    Without `follow`, it reads what the program had written at the first answer: a program may write forever. With it,
    it goes on until the run has ended, also in further attempts. `pause_s`: the wait before the next question.
    """

    def __init__(self, run: str, attempt: int | None = None, follow: bool = False) -> None:
        self._run = run
        self._follow = follow
        self._end: int | None = None
        self.attempt = attempt
        self.pause_s = 0.0
        self.question: Question[answers.OutputPart] | None = output(run, attempt, 0)

    def take(self, part: answers.OutputPart) -> str:
        """The text of a part."""
        self.attempt, place, self.pause_s = part.attempt, part.next, 0.0
        self._end = part.size if self._follow or self._end is None else self._end
        more = bool(part.text) and place < self._end
        if not more and self._follow:
            if part.ended and part.attempt is not None and part.attempt < part.attempts:
                self.attempt, place, more = part.attempt + 1, 0, True
            elif part.state in LIVE:
                self.pause_s, more = PAUSE_S, True
        self.question = output(self._run, self.attempt, place) if more else None
        return part.text or ""


def drop_text(lines: Iterable[CommandLike], token: str | None) -> bytes:
    """The content of a drop. Raises ValueError for a line that would be two commands, or none."""
    texts = [command_line(line) for line in lines]
    for text in texts:
        if any(end in text for end in LINE_ENDS) or not text.strip() or text.startswith("#"):
            raise ValueError(f"{text!r} is not one command")
    if token is not None and not (
        1 <= len(token) <= 128 and token.isascii() and token.isprintable() and " " not in token
    ):
        raise ValueError(f"the token {token!r} is not 1 to 128 visible ASCII characters")
    if not texts:
        raise ValueError("there is no command")
    return "".join(f"{text}\n" for text in [*([f"#id: {token}"] if token else []), *texts]).encode()


def drop_result(data: Any) -> answers.DropResult:
    """The result of a drop. Raises Rejected."""
    result: answers.DropResult = shapes.read(answers.DropResult, data)
    if result.accepted:
        return result
    errors = [one.message for one in result.diagnostics if one.severity == "error"]
    raise Rejected("; ".join(errors) or f"{result.file} is rejected", result.diagnostics, data)


def command_line(line: CommandLike) -> str:
    """A command as a line. A text is a line already; words are quoted."""
    return line if isinstance(line, str) else joined_as_is(line)


def job_word(job: JobLike) -> str:
    """The word for a job. Raises ValueError for a value that names none."""
    return job if isinstance(job, str) else _name_in(job, "id", "a job")


def run_word(run: RunLike) -> str:
    """The word for a run. Raises ValueError for a value that names none."""
    return run if isinstance(run, str) else _name_in(run, "run", "a run")


def _name_in(value: object, attribute: str, what: str) -> str:
    name = getattr(value, attribute, None)
    if not isinstance(name, str):
        raise ValueError(f"{value!r} is not {what}; give an id, or a value with `{attribute}`")
    return name


def span_text(span: Span) -> str:
    """A time span as a command takes it, in seconds with milliseconds. Raises ValueError if it is negative or infinite."""
    if isinstance(span, str):
        return span
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if not 0 <= seconds < math.inf:
        raise ValueError(f"invalid time span {span}; give a finite number of seconds, 0 or more")
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def instant_text(when: str | datetime) -> str:
    """An instant as `sched at` takes it. Raises ValueError for a datetime without a time zone, and for a date."""
    if isinstance(when, str):
        return when
    if not isinstance(when, datetime):
        raise ValueError(f"{when!r} has no time of day; write datetime(..., tzinfo=UTC)")
    if when.tzinfo is None:
        raise ValueError(f"{when!r} has no time zone; write datetime(..., tzinfo=UTC), or when.astimezone()")
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def past_text(when: str | datetime | timedelta) -> str:
    """A time to look back to: a timedelta is that long ago. Raises ValueError for a datetime without a time zone."""
    if isinstance(when, timedelta):
        return f"{math.ceil(when.total_seconds())}s"
    return instant_text(when)
