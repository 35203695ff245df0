"""The reasons why a run did not succeed, or why it waits. This module holds the wording of all reasons.

Rule: functions that store a reason take a `Reason`, and only this module makes one. `sched why` shows the reasons, and
tests produce each of them.
"""

from __future__ import annotations

import signal
from typing import NewType

from schedappliance.clock import span_text
from schedappliance.engine.states import RunState

Reason = NewType("Reason", str)

# Missed.
WHILE_DOWN = Reason("the appliance was not running")
WHILE_BUSY = Reason("the time had passed before it could be run")
WHILE_PAUSED = Reason("the job was paused")
TOO_OLD = Reason("it is older than `catch_up_within`")
NOT_MADE_UP = Reason("`catch_up = none`")
NO_SHUTDOWN = Reason("a shutdown is never caught up")


def degraded(why: str) -> Reason:
    """Why the store could not be written at the due time."""
    return Reason(f"{WHILE_BUSY}: {why}")


def held(why: str, policy: Reason | None = None) -> Reason:
    """Why the appliance was held at the due time, and the policy by which it was not caught up."""
    text = f"the appliance was held: {why}" if why else "the appliance was held"
    return Reason(f"{text}; {policy}" if policy else text)


# Skipped, replaced.
OVERLAP = Reason("the job's last run has not ended")
OVERLAP_WAITING = Reason(f"{OVERLAP}: it waits")
ONE_WAITS = Reason("the job's last run has not ended, and another one waits for it")
TOO_MANY_WAIT = Reason("too many runs of its user wait")
NEWER = Reason("a newer run took its place")

# Cancelled.
PAUSED = Reason("the job was paused while it waited")
DELETED = Reason("the job was deleted while it waited")
REMOVED = Reason("the stanza files do not declare the job any more")
SWITCHED_OFF = Reason("the job was switched off while it waited")
TOO_MANY_ALERTS = Reason("too many alerts wait for their delivery")


def stopped_by(user: str | None) -> Reason:
    """A user stopped the run. None: the appliance ended before its store could be written, so nobody knows the name."""
    return Reason(f"stopped by {user or 'a user'}")


# Queued.
HELD = Reason("it waits until the appliance is released")
NO_PLACE = Reason("it waits for a place")
SHORT = Reason("it waits, since the machine could not start another program a moment ago")
NO_OUTPUT = Reason("it waits, since the appliance cannot start programs")
AFTER_EARLIER = Reason("it waits for the job's earlier run")
AFTER_REPLACED = Reason("it waits for the run that it replaces to end")
LOOKED_UP = Reason("it waits until its user has been looked up")

# Failed, timed out, interrupted.
UNREADABLE = Reason("the command is no longer valid")
NOT_AUTHORIZED = Reason("not authorized")
TIMEOUT = Reason("the program's timeout passed")
STOPPED = Reason("the appliance was stopped")
WHILE_RUNNING = Reason("the appliance ended while it ran")
PERHAPS_NOT_STARTED = Reason("the appliance or its keeper ended before its start was reported; it may not have run")
OUTLIVED = Reason("its keeper was killed; its exit status is not known")


def undeclared(program: str) -> Reason:
    return Reason(f"program `{program}` is not declared")


def unfit(text: str) -> Reason:
    """The mistake in the arguments, or in the options that they refer to."""
    return Reason(text)


def no_longer(uid: int, now: str, before: str) -> Reason:
    """The uid of the job's user belongs to another user now."""
    return Reason(f"{NOT_AUTHORIZED}: user {uid} was `{before}` and is `{now}` now")


def not_looked_up(uid: int, problem: str) -> Reason:
    """The uid may belong to its user still, but the system does not say so."""
    return Reason(f"{NOT_AUTHORIZED}: user {uid} cannot be looked up: {problem}")


def rejected(text: str) -> Reason:
    """The message of an internal command that was rejected."""
    return Reason(text)


def not_started(text: str) -> Reason:
    """The error of the machine."""
    return Reason(text)


def start_again(text: str) -> Reason:
    """The error of a machine that ran out of a resource."""
    return Reason(f"{text}; it is tried again")


def next_attempt(attempt: int, how: RunState, reason: Reason | None) -> Reason:
    return Reason(f"attempt {attempt} {how.value.replace('_', ' ')}: {reason}; the next one follows")


def not_before(recorded: str, time: str) -> Reason:
    return Reason(f"{recorded} at {time}")


def no_place(running: int, before: int | None) -> Reason:
    return Reason(f"{NO_PLACE}: as many programs run as `max_running` in `sched` allows ({running}){_others(before)}")


def kept_places(reserve: int, before: int | None) -> Reason:
    places = "the last place is" if reserve == 1 else f"the last {reserve} places are"
    return Reason(f"{NO_PLACE}: {places} kept for root and the user of the appliance{_others(before)}")


def no_place_for(program: str, running: int, before: int | None) -> Reason:
    return Reason(f"{NO_PLACE}: as many runs of `{program}` as its `max_running` allows ({running}){_others(before)}")


def _others(before: int | None) -> str:
    return f"; {before} wait before it" if before else ""


def longer_than_usual(milliseconds: int, usual_ms: int) -> Reason:
    """Why a run that has not ended is late."""
    return Reason(f"it has run for {span_text(milliseconds)}; usually it takes {span_text(usual_ms)}")


def exit_status(status: int) -> Reason:
    return Reason(f"exit status {status}")


def ended_by(number: int) -> Reason:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "real-time signal"
    return Reason(f"ended by signal {number} ({name})")
