"""The promises about effects: processes, starts, answers and results. Pure functions that yield what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from schedappliance.engine.effects import Answer, PublishResult, StartProgram
from schedappliance.engine.records import RunKey
from schedappliance.engine.states import RunState
from tests.simulation.invariants import over_limits
from tests.simulation.journal import LIVE, JobRow, OverrideRow
from tests.simulation.view import SLACK_MS, View

OfTheWorld = Callable[[View], Iterator[str]]
OfAStart = Callable[[View, StartProgram], Iterator[str]]
OfAnAnswer = Callable[[View, str, Answer], Iterator[str]]

# The last word of a line is unique.
MARK = re.compile(r" m\d+$")
WAIT = "run --wait "
STOPPING = "the appliance is stopping"


# Of the world, after the effects of a step


def every_process_is_known(view: View) -> Iterator[str]:
    """Every running process counts as running, also if it outlived the daemon that started it."""
    for name in view.processes:
        if name not in view.rows.started:
            yield f"{name} runs, its attempt is {view.rows.attempts.get(name)}"


def no_attempt_is_forgotten(view: View) -> Iterator[str]:
    """For everything that counts as running, the end is still to come."""
    for name in view.rows.started:
        if name not in view.processes and name not in view.untold:
            yield f"attempt {name} counts as running, and nothing will end it"


def no_program_outlives_its_timeout(view: View) -> Iterator[str]:
    """TERM is sent when the timeout has passed, and KILL if TERM did not help."""
    for process in view.processes.values() if view.turned else ():
        if process.signal_at is not None and view.elapsed > process.signal_at:
            yield f"{process.key} was to be signalled {view.elapsed - process.signal_at} ms ago: {process}"


def a_stopped_program_gets_term(view: View) -> Iterator[str]:
    """The next daemon sends it too."""
    for name, process in view.processes.items():
        attempt = view.rows.started.get(name)
        if attempt is not None and attempt.stopped_by is not None and not process.signals:
            yield f"{name} was stopped by {attempt.stopped_by}, its program got no signal"


OF_THE_WORLD: tuple[OfTheWorld, ...] = (
    every_process_is_known,
    no_attempt_is_forgotten,
    no_program_outlives_its_timeout,
    a_stopped_program_gets_term,
)


# Of the next wake, when the appliance goes to sleep


def it_wakes_in_time(view: View, at: int | None) -> Iterator[str]:
    """It wakes for the next due time, the planned end of a hold, the next attempt of a waiting run, and the programs that
    must be ended; at once if a run could start."""
    late = float("inf") if at is None else at
    for run in view.wasted() if view.elapsed < late else ():
        yield f"{run.key} could start, it sleeps until {at}: {run}"
    if view.hold_ends is not None and view.elapsed + view.hold_ends - view.moment.wall < late:
        yield f"the hold ends at {view.hold_ends}, it sleeps until {at}"
    for job in view.rows.jobs.values() if not view.is_held else ():
        waits = job.next_run_ms is not None and job.enabled and not job.paused
        if waits and view.elapsed + (job.next_run_ms or 0) - view.moment.wall < late:
            yield f"job {job.number} is due at {job.next_run_ms}, it sleeps until {at}"
    for run in view.rows.queued():
        if run.retry_at_ms is not None and view.elapsed < view.past.wakes.get(run.key, 0) < late - SLACK_MS:
            yield f"{run.key} waits until {view.past.wakes[run.key]}, it sleeps until {at}"
    for process in view.processes.values():
        if (due := process.signal_at) is not None and due < late:
            yield f"{process.key} is to be signalled at {due}, it sleeps until {at}"


# Of a start, when it is ordered


def every_start_was_committed(view: View, start: StartProgram) -> Iterator[str]:
    if start.key not in view.rows.started:
        yield f"{start.key} is started, its attempt is not stored"


def no_attempt_is_started_twice(view: View, start: StartProgram) -> Iterator[str]:
    name = start.key
    if name in view.past.started or name in view.processes:
        yield f"{name} is started again"


def limits_are_kept_by_processes(view: View, start: StartProgram) -> Iterator[str]:
    """The same limits, counted over the processes that really run."""
    if attempt := view.rows.started.get(start.key):
        running = [view.rows.started[name] for name in view.processes if name in view.rows.started]
        yield from over_limits(view, attempt, running)


def nothing_starts_without_outputs(view: View, start: StartProgram) -> Iterator[str]:
    if view.past.outputs_fail:
        yield f"{start.key} is started, although its output cannot be written"


OF_A_START: tuple[OfAStart, ...] = (
    nothing_starts_without_outputs,
    every_start_was_committed,
    no_attempt_is_started_twice,
    limits_are_kept_by_processes,
)


# Of an answer


def made_by(line: str) -> str | None:
    """The command of the job that a line makes, if no other line makes the same command."""
    words = line.split(" ", 3)
    command = words[3] if words[0] == "sched" and words[1] in ("at", "in", "every") else line.replace(WAIT, "run ")
    return command if MARK.search(line) and not line.startswith("config ") else None


def number_of(identity: str) -> int:
    """The number in the id of a job or a run."""
    return int(identity.partition("/")[0].rpartition("-")[2])


def what_is_accepted_is_stored(view: View, line: str, answer: Answer) -> Iterator[str]:
    if not answer.ok or not isinstance(answer.output, str) or line.startswith(WAIT):
        return
    command, words = made_by(line), line.split()
    rows = [change.new for change in view.changes]
    if command:
        number = number_of(answer.output)
        stored = view.past.jobs.get(number) == command
    elif words[:2] == ["config", "set"]:
        set_ones = [row.value for row in rows if isinstance(row, OverrideRow) and row.option == words[-2].lower()]
        stored = any(value in set_ones for value in (words[-1], *_later_words(view, line)))
    elif words[:2] == ["config", "unset"]:
        stored = any(change.new is None and isinstance(change.old, OverrideRow) for change in view.changes)
    elif words[:2] == ["sched", "delete"]:
        stored = number_of(words[2]) not in view.rows.jobs
    elif words[:2] == ["sched", "pause"]:
        stored = any(isinstance(row, JobRow) and row.number == number_of(words[2]) and row.paused for row in rows)
    elif words[:2] == ["sched", "stop"] and "the store cannot be written" not in answer.output:
        stored = RunKey(number_of(words[2]), int(words[2].rpartition("/")[2])) in view.past.stopped
    elif words[:2] == ["sched", "run"]:
        stored = RunKey(number_of(words[2]), int(answer.output.rpartition("/")[2])) in view.past.claimed
    else:
        return
    if not stored:
        yield f"`{line}` was answered `{answer.output}`, it is not stored"


def _later_words(view: View, line: str) -> Iterator[str]:
    """The other values that the step gives the same option, later or by a job. Only the last value of a turn is stored."""
    asked = list(view.asked)
    after = asked[asked.index(line) + 1 :] if line in asked else []
    of_jobs = [run.command for runs in view.claims.values() for run in runs]
    option = line.rpartition(" ")[0].lower()
    return (other.rpartition(" ")[2] for other in (*after, *of_jobs) if other.rpartition(" ")[0].lower() == option)


def rejected_lines_are_not_carried_out(view: View, line: str, answer: Answer) -> Iterator[str]:
    """An answer with an error and the id of a run is no rejection: the run was claimed at once, and has failed."""
    command = made_by(line)
    if command is None or answer.ok or line.startswith(WAIT):
        return
    if isinstance(answer.output, str) and answer.output:
        state = view.past.claimed.get(RunKey(number_of(answer.output), 1))
        if state is None or state in LIVE or state == RunState.SUCCEEDED:
            yield f"`{line}` was answered {answer}, its run is {state}"
    elif view.past.made[command]:
        yield f"`{line}` was rejected, but made a job: {answer.error}"


def waiting_clients_get_the_end(view: View, line: str, answer: Answer) -> Iterator[str]:
    """A client that waits for a run gets its end, unless the appliance ends first."""
    command = made_by(line)
    if not line.startswith(WAIT) or command is None or STOPPING in (answer.error or ""):
        return
    if not view.past.made[command]:
        if answer.ok:
            yield f"`{line}` was answered, it has made no job"
        return
    state = view.past.claimed[RunKey(view.past.numbers[command], 1)]
    if state in LIVE or answer.ok != (state == RunState.SUCCEEDED):
        yield f"`{line}` was answered {answer}, its run is {state}"


def may_wait(view: View, line: str) -> bool:
    """Whether the answer to a line may still wait."""
    if line == "config reload":
        return True
    command = made_by(line)
    number = view.past.numbers.get(command) if command and line.startswith(WAIT) else None
    return number is not None and RunKey(number, 1) in view.rows.live


OF_AN_ANSWER: tuple[OfAnAnswer, ...] = (
    what_is_accepted_is_stored,
    rejected_lines_are_not_carried_out,
    waiting_clients_get_the_end,
)


# Of the result of a drop


def a_drop_happens_once(view: View, lines: Sequence[str], result: PublishResult) -> Iterator[str]:
    """All lines of a drop happen or none, however often it is claimed, and its result is always the same."""
    stored = view.rows.drops.get(result.mark)
    if stored is None or (bool(stored.accepted), stored.result) != (result.accepted, result.result):
        yield f"drop {result.mark} is published as {result.result}, stored as {stored}"
    for line in lines:
        command = made_by(line)
        if command and view.past.made[command] != result.accepted:
            yield f"`{line}` of drop {result.mark} made {view.past.made[command]} jobs; accepted: {result.accepted}"
