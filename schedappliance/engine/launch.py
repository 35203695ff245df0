"""Decides whether a new run may start beside the other runs of its job (`overlap`), and a program's arguments and environment.

Rule: each text of `argv` and `env` is expanded once; the result is never split or expanded again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from schedappliance.engine.attempts import EndedRun
from schedappliance.engine.reasons import (
    AFTER_EARLIER,
    AFTER_REPLACED,
    ONE_WAITS,
    OVERLAP,
    OVERLAP_WAITING,
    Reason,
    undeclared,
    unfit,
)
from schedappliance.engine.records import job_id, run_id
from schedappliance.model.commands import Command
from schedappliance.model.configuration import Program
from schedappliance.model.templates import Unset, expand

if TYPE_CHECKING:
    from schedappliance.engine.options import Options


class Admission(StrEnum):
    """The decision about a new run. `BLOCK`: it waits for the job's earlier run. `REPLACE`: it ends the earlier run first."""

    START = "start"
    SKIP = "skip"
    BLOCK = "block"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Siblings:
    """The other runs of a job. `active`: how many run or wait for a place. `blocked`: how many wait for those.

    `running`: whether one of them has a running program.
    """

    active: int
    blocked: int
    running: bool = True


def admit(overlap: str, siblings: Siblings, catching_up: bool) -> tuple[Admission, Reason | None]:
    """Decides about a new run by the `overlap` of its program, with the reason unless it may start.

    `catching_up`: the run is one of several that are caught up. Such runs follow one another, and none is skipped.
    """
    if overlap == "parallel" or not (siblings.active or siblings.blocked):
        return Admission.START, None
    if catching_up:
        return Admission.BLOCK, AFTER_EARLIER
    if overlap == "queue":
        if siblings.blocked:
            return Admission.SKIP, ONE_WAITS
        return Admission.BLOCK, AFTER_EARLIER
    if overlap == "replace":
        return Admission.REPLACE, AFTER_REPLACED
    return Admission.SKIP, OVERLAP if siblings.running else OVERLAP_WAITING


@dataclass(frozen=True, slots=True)
class CannotStart:
    """Why a program cannot be started. At run time a Reason is a plain text, so this type distinguishes a failure."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Launch:
    """A program with its expanded arguments, environment and standard input."""

    program: Program
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    stdin: str | None


def prepare(options: Options, command: Command) -> Launch | CannotStart:
    """Expands options in the arguments and the environment of a program, or says why the program cannot be started."""
    name, *arguments = command.words
    program = options.configuration.programs.get(name)
    if program is None:
        return CannotStart(undeclared(name))
    if (arguments or program.args) and (wrong := program.wrong_arguments(tuple(arguments))):
        return CannotStart(unfit(wrong.message))

    def filled(text: str) -> str:
        return expand(text, options.value) if "%" in text else text

    try:
        argv = (*map(filled, program.argv), *arguments)
        env = tuple([(variable, filled(text)) for variable, text in program.env])
        stdin = None if program.stdin is None else filled(program.stdin)
    except Unset as unset:
        return CannotStart(unfit(str(unset)))
    return Launch(program, argv, env, stdin)


# How much of an output a program gets in its environment.
TAIL_BYTES = 4096

_HALF_A_CHARACTER = re.compile(rb"\A[\x80-\xbf]{1,3}")


def failure_environment(node: str, failed: EndedRun) -> tuple[tuple[str, str], ...]:
    """The variables that describe the failed run to an `on_failure` program. An unknown exit status is empty."""
    status = failed.exit.shell_status
    return (
        ("SCHED_FAILED_JOB_ID", job_id(node, failed.key.job)),
        ("SCHED_FAILED_RUN_ID", run_id(node, failed.key)),
        ("SCHED_FAILED_COMMAND", failed.command),
        ("SCHED_FAILED_DUE_TIME", str(failed.due_ms // 1000)),
        ("SCHED_FAILED_STATE", failed.state.value),
        ("SCHED_FAILED_REASON", failed.reason or ""),
        ("SCHED_FAILED_EXIT_STATUS", "" if status is None else str(status)),
        ("SCHED_FAILED_OUTPUT", tail(failed.output).decode(errors="surrogateescape")),
    )


def tail(output: bytes) -> bytes:
    """The last bytes of an output, starting with a whole character. NUL is left out: no environment can hold it."""
    end = output[-TAIL_BYTES:]
    if len(output) > TAIL_BYTES:
        end = _HALF_A_CHARACTER.sub(b"", end)
    return end.replace(b"\0", b"")
