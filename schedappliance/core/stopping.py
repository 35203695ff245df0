"""The ends of programs by signals: TERM, then KILL after `kill_after`. Also the orderly stop of the daemon, which ends all programs.

Rule: a daemon sends TERM to a program once. Another reason to end the program does not move the instant of KILL.
"""

# The way of a stop. Example: SIGTERM arrives while one program runs.
#
#   stop             The program gets TERM. From now on no run starts.
#   send_signals     `kill_after` has passed, and the program still runs: it gets KILL.
#   finish_stopping  The program has ended, or LEAVE_AFTER_MS have passed since KILL: the effect Stop ends the daemon.

from __future__ import annotations

import signal
from collections.abc import Set
from dataclasses import replace
from typing import TYPE_CHECKING

from schedappliance.core.waits import answer_all_waits
from schedappliance.engine.attempts import Ending, Running, after_term
from schedappliance.engine.effects import SignalProgram, Stop
from schedappliance.engine.records import RunKey

if TYPE_CHECKING:
    from schedappliance.core.state import State

# After KILL, an appliance that stops waits this long for the end of a program.
LEAVE_AFTER_MS = 5000


def terminate(state: State, running: Running, why: Ending) -> None:
    """Sends TERM to a program whose run was replaced or stopped, unless it was sent before."""
    if running.ending is None:
        state.effects.append(_term_signal(running, why))
        running = after_term(running, why, state.moment.boot)
    state.running[running.key.run] = replace(running, ending=why)


def _term_signal(running: Running, why: Ending) -> SignalProgram:
    return SignalProgram(running.key, signal.SIGTERM, running.kill_after_ms, why.value)


def send_signals(state: State, ended: Set[RunKey] = frozenset()) -> None:
    """Sends TERM to programs whose timeout has passed, and KILL to those that did not end in time.

    `ended`: runs whose programs have ended already, although the store could not record it.
    """
    for running in state.running.overdue(state.moment.boot):
        if running.key.run in ended:
            continue
        why = running.ending or Ending.TIMEOUT
        if running.ending is None:
            state.running[running.key.run] = after_term(running, why, state.moment.boot)
            number = signal.SIGTERM
        else:
            state.running[running.key.run] = replace(running, kill_at=None, killed_at=state.moment.boot)
            number = signal.SIGKILL
        state.effects.append(SignalProgram(running.key, number, running.kill_after_ms, why.value))


def stop(state: State, reason: str, ended: Set[RunKey] = frozenset(), keeps: bool = False) -> None:
    """Begins to stop: no run starts any more, and every running program gets TERM, then KILL after its `kill_after`.

    `keeps`: the programs run on instead, and the next daemon takes them over. With a store in memory they end all the same:
    the next daemon would not know them.
    """
    if state.stopping:
        return
    state.stopping = True
    state.keeps_programs = keeps and state.store.path is not None
    how = "run on" if state.keeps_programs else "are running"
    state.log("info", f"stopping: {reason}; {len(state.running)} programs {how}")
    if state.keeps_programs:
        return
    for running in list(state.running.values()):
        if running.ending is None and running.key.run not in ended and not running.is_unseen:
            state.running[running.key.run] = after_term(running, Ending.SHUTDOWN, state.moment.boot)
            state.effects.append(_term_signal(running, Ending.SHUTDOWN))


def finish_stopping(state: State, ended: Set[RunKey] = frozenset()) -> bool:
    """Ends the stop if there is no program left to wait for. Returns whether it did. `ended`: as in `send_signals`."""
    ends_at = stop_ends_at(state, ended)
    if not state.stopping or state.stopped or ends_at is None or state.moment.boot < ends_at:
        return False
    state.stopped = True
    left = {} if state.keeps_programs else dict(state.running.items())
    for key in (key for key, running in left.items() if key not in ended and not running.is_unseen):
        state.log(
            "error", f"run {state.named(key)} does not end, although it was killed; the next start adopts its process"
        )
    answer_all_waits(state)
    state.effects.append(Stop())
    return True


def stop_ends_at(state: State, ended: Set[RunKey] = frozenset()) -> int | None:
    """The boot instant at which the stop gives up waiting for programs. 0: there is none to wait for.

    None: one of them has not got KILL yet. A program that cannot be seen gets no signal, so the stop does not wait for it.
    After KILL, the stop waits only LEAVE_AFTER_MS, since not even KILL ends a program that waits for a broken disk.
    """
    if state.keeps_programs:
        return 0
    waited_for = (run for key, run in state.running.items() if key not in ended and not run.is_unseen)
    killed = [running.killed_at for running in waited_for]
    ends = [at + LEAVE_AFTER_MS for at in killed if at is not None]
    return max(ends, default=0) if len(ends) == len(killed) else None
