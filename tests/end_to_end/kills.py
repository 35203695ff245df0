"""Kills a working appliance again and again at random instants: nothing is lost, and nothing is done twice.

`python -m tests.end_to_end.kills --kills 200 --seed N` runs it by hand. A seed fixes the plan, but not the history.
"""

from __future__ import annotations

import argparse
import random
import select
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread

from schedappliance.store.loss import loss_of
from tests.support.crash_evidence import MADE, MAKER, Evidence, command_of, confirmed_by_result, gather, number_in
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import eventually

# Each program writes its run and attempt, in one write, before it does anything else.
STANZAS = """\
sched {{ backing_store = "../var/sched.db" catch_up = {catch_up} max_running = 6 }}
program "note" {{ argv = ( "/bin/sh" "-c" "{note}" ) args = any }}
program "made" {{ argv = ( "/bin/sh" "-c" "{note}" ) }}
program "slow" {{ argv = ( "/bin/sh" "-c" "{note}; exec sleep 1.2" ) overlap = {overlap} }}
program "rerun" {{ argv = ( "/bin/sh" "-c" "{note}; exec sleep 0.3" ) on_interrupt = rerun }}
program "fails" {{ argv = ( "/bin/sh" "-c" "{note}; exit 1" ) retries = 2 retry_delay = 0.1 }}
job "first" {{ every = 1 command = "run note" }}
job "second" {{ every = 1 offset = 0.2 command = "run note" }}
job "maker" {{ every = 1 offset = 0.4 command = "{maker}" }}
job "slow" {{ every = 1 offset = 0.5 command = "run slow" }}
job "rerun" {{ every = 1 offset = 0.7 command = "run rerun" }}
job "fails" {{ every = 2 offset = 0.9 command = "run fails" }}
"""
assert MAKER.endswith(MADE)
# About the longest time of a start, and of the life after it.
START_SECONDS, LIFE_SECONDS = 0.6, 0.3
# Due times are multiples of the first. Claims and starts after a due time take about as long as the second.
DUE_EVERY, BUSY_SECONDS = 0.1, 0.02
# Drops and runs wait while no daemon runs. In the end all of them must be done.
MOST_WAITING = 20


def wait(seconds: float) -> None:
    """Lets time pass. The tests try out the instant of a kill, so here they sleep."""
    select.select([], [], [], seconds)


class Inputs:
    """The steady input of people and programs. `confirmed`: by command, the job that the console named."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.confirmed: dict[str, int] = {}
        self.rejected: list[str] = []
        self.dropped: list[str] = []
        self._daemon = daemon
        self._stop = Event()
        self._threads = [
            Thread(target=self._repeat, args=(step, random.Random(f"{seed} {step.__name__}")))
            for step in (self.type, self._drop)
        ]
        self._words = count(1)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _repeat(self, step: Callable[[random.Random], None], dice: random.Random) -> None:
        while not self._stop.wait(dice.uniform(0, 0.15)):
            # A client that gets no answer, or half of one, goes on with its next line.
            with suppress(OSError):
                step(dice)

    def _lines(self, dice: random.Random) -> list[str]:
        """Commands, each with a unique word."""
        commands = [f"run note {next(self._words)}" for _ in range(dice.randint(1, 3))]
        return [dice.choice(("", "sched in 0.2 ")) + command for command in commands]

    def type(self, dice: random.Random) -> None:
        lines = self._lines(dice)
        with self._daemon.connect() as connection, connection.makefile() as answers:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            for line in lines:
                answer = answers.readline()
                if answer.startswith("error"):
                    self.rejected.append(f"{line}: {answer}")
                elif answer.endswith("\n"):
                    self.confirmed[command_of(line)] = number_in(answer)

    def _drop(self, dice: random.Random) -> None:
        """Few enough for an appliance that is killed all the time."""
        if len(list((self._daemon.var / "spool" / "new").iterdir())) >= MOST_WAITING:
            return
        name = f"{len(self.dropped)}.cmd"
        self._daemon.drop(name, "".join(f"{line}\n" for line in self._lines(dice)))
        self.dropped.append(name)


class Kills:
    """One appliance with its inputs, and the random source that decides when it is killed."""

    def __init__(self, root: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self.lines = root / "lines"
        choices = {"catch_up": ("once", "none", "all"), "overlap": ("skip", "queue", "parallel", "replace")}
        policies = {name: self._dice.choice(values) for name, values in choices.items()}
        note = f"echo $SCHED_RUN_ID $SCHED_ATTEMPT >> {self.lines}"
        self.stanzas = STANZAS.format(note=note, maker=MAKER, **policies)
        self.daemon = Daemon(root, self.stanzas, APPLIANCE_FILE.replace("debug", "info"))
        self.inputs = Inputs(self.daemon, seed)

    def begin(self) -> None:
        self.daemon.start()
        self.inputs.start()

    def kill(self) -> None:
        """One kill: during a start, at any time, around a due time, or at an answer. Each daemon has its own log."""
        how = self._dice.choice(("starting", "any", "due", "answered"))
        if how == "starting":
            wait(self._dice.uniform(0, START_SECONDS))
        else:
            eventually(lambda: " is ready" in self.daemon.log or self.daemon.ended(), "the start")
            wait(self._dice.uniform(0, LIFE_SECONDS))
        if how == "due":
            wait(DUE_EVERY - time.time() % DUE_EVERY + self._dice.uniform(0, BUSY_SECONDS))
        self.assert_alive()
        if how == "answered":
            self.inputs.type(self._dice)
        self.daemon.kill()
        self.daemon.log_path.unlink()

    def assert_alive(self) -> None:
        assert not self.daemon.ended(), self.daemon.log[-3000:]
        assert "Traceback" not in self.daemon.log, self.daemon.log[-3000:]

    def assert_no_loss(self) -> None:
        assert (loss := loss_of(self.daemon.var / "sched.db")) is None, loss

    def evidence(self) -> Evidence:
        """The evidence while no daemon runs."""
        return gather(self.daemon.var / "sched.db", self.lines, self.inputs.confirmed)

    def rest(self) -> Evidence:
        """The last start: the inputs end, nothing more falls due, and everything that has started ends."""
        self.daemon.start()
        self.inputs.end()
        spool = self.daemon.var / "spool"
        eventually(lambda: not [*(spool / "new").iterdir(), *(spool / "work").iterdir()], "the end of the drops")
        self.daemon.conf.write_text(self.stanzas.replace(" command = ", " enabled = false command = "))
        assert self.daemon.say("config reload").startswith("OK\njobs: ")
        eventually(lambda: self._is_at_rest() or self.daemon.ended(), "rest")
        self.assert_alive()
        assert self.daemon.stop() == 0, self.daemon.log[-3000:]
        results = [spool / "done" / name.replace(".cmd", ".result") for name in self.inputs.dropped]
        for path in results:
            self.inputs.confirmed |= confirmed_by_result(path)
        return self.evidence()

    def _is_at_rest(self) -> bool:
        sql = "SELECT 1 FROM runs WHERE state IN ('queued', 'started') UNION SELECT 1 FROM jobs WHERE enabled = 1"
        return not self.daemon.rows(sql)

    def end(self) -> None:
        self.inputs.end()
        self.daemon.end()


def kill_again_and_again(root: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> Evidence:
    """Kills the appliance again and again; checks the promises after each kill and at the end. Raises AssertionError."""
    say(f"seed {seed}")
    appliance = Kills(root, seed)
    try:
        appliance.begin()
        for number in range(kills):
            appliance.kill()
            evidence = appliance.evidence()
            appliance.assert_no_loss()
            assert not (broken := evidence.broken()), f"seed {seed}, kill {number + 1}: {broken[:10]}"
            say(f"kill {number + 1}: {evidence}")
            appliance.daemon.launch()
        appliance.daemon.kill()
        evidence = appliance.rest()
        appliance.assert_no_loss()
        assert not (broken := evidence.broken_at_rest()), f"seed {seed}, at rest: {broken[:10]}"
        assert not appliance.inputs.rejected, appliance.inputs.rejected[:10]
        say(f"at rest: {evidence}, {len(appliance.inputs.dropped)} drops")
        return evidence
    finally:
        appliance.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        kill_again_and_again(Path(root), options.kills, options.seed)


if __name__ == "__main__":
    main()
