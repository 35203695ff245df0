"""Kills the daemon, or stops it and keeps its programs, at random instants: every run has its true exit status.

`python -m tests.end_to_end.true_ends --rounds 200 --seed N` runs it by hand. With `--keeper`, the keeper is killed too.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.end_to_end.kills import wait
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually

# Each program writes its line once, takes a random time, and exits with the status that its argument names. Another one
# runs until the end: a keeper without a program would end if the next daemon took longer than 10 seconds to come.
STANZAS = """\
sched {{ backing_store = "../var/sched.db" max_running = 200 on_stop = keep }}
program "ends" {{
  argv = ( "/bin/sh" "-c" "echo $SCHED_RUN_ID >> {lines}; sleep 0.$1; exit $2" "sh" )
  args = ( "\\\\d+" "\\\\d+" )
  overlap = parallel
}}
program "stays" {{ argv = ( "/bin/sleep" "1d" ) }}
"""
PROGRAMS = 50
LIFE_SECONDS = 0.8


class Rounds:
    """One appliance. `wanted`: the exit status of each run that was accepted."""

    def __init__(self, root: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self.lines = root / "lines"
        self.daemon = Daemon(root, STANZAS.format(lines=self.lines), APPLIANCE_FILE.replace("debug", "info"))
        self.wanted: dict[str, int] = {}

    def begin(self) -> None:
        """Starts programs, some of them before the last ones have ended."""
        statuses = [self._dice.randrange(100) for _ in range(PROGRAMS)]
        commands = "".join(f"run ends {self._dice.randrange(1, 10)} {status}\n" for status in statuses)
        names = self.daemon.exchange(commands.encode()).decode().split()
        assert len(names) == PROGRAMS, names
        self.wanted |= dict(zip(names, statuses, strict=True))

    def end(self, kills_keeper: bool) -> None:
        wait(self._dice.uniform(0, LIFE_SECONDS))
        keepers = self.daemon.keepers() if kills_keeper else []
        how = self._dice.choice(("kill", "term", "shutdown"))
        if how == "shutdown":
            self.daemon.say("shutdown --keep")
            assert self.daemon.process
            assert self.daemon.process.wait(PATIENCE_SECONDS) == 0
        elif how == "term":
            assert self.daemon.stop() == 0
        else:
            self.daemon.kill()
        for keeper in keepers:
            with suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGKILL)
        wait(self._dice.uniform(0, LIFE_SECONDS))

    def check(self, may_be_interrupted: bool) -> Counter[str]:
        """Waits until all runs have ended, and compares them with what is wanted."""
        eventually(lambda: not self.daemon.rows("SELECT 1 FROM runs WHERE state IN ('queued', 'started')"), "rest")
        rows = self.daemon.rows(
            "SELECT job, occurrence, state, exit_status FROM runs JOIN attempts USING (job, occurrence, state) "
            "WHERE state <> 'cancelled'"
        )
        ends = {f"example.com-{job:09}/{occurrence}": (state, status) for job, occurrence, state, status in rows}
        assert ends.keys() == self.wanted.keys(), ends.keys() ^ self.wanted.keys()
        for name, status in self.wanted.items():
            true = ("failed" if status else "succeeded", status)
            assert ends[name] == true or (may_be_interrupted and ends[name] == ("interrupted", None)), (
                name,
                ends[name],
            )
        lines = Counter(self.lines.read_text().split())
        assert set(lines.values()) == {1}, "no program ran twice"
        assert may_be_interrupted or lines.keys() == self.wanted.keys(), "no program was lost"
        return Counter(state for state, _ in ends.values())


def run_rounds(
    root: Path, rounds: int, seed: int, kills_keeper: bool, say: Callable[[str], None] = print
) -> Counter[str]:
    """Raises AssertionError if a run has another end than its program had."""
    say(f"seed {seed}")
    appliance = Rounds(root, seed)
    daemon = appliance.daemon
    try:
        daemon.start()
        stays = daemon.say("run stays").strip()
        daemon.wait_for_pid()
        for number in range(rounds):
            appliance.begin()
            appliance.end(kills_keeper)
            daemon.start()
            say(f"round {number + 1}")
        daemon.say(f"sched stop {stays}")
        counts = appliance.check(kills_keeper)
        assert "Traceback" not in daemon.log
        say(str(counts))
        assert daemon.say("shutdown") == ""
        eventually(daemon.ended, "the stop")
        eventually(lambda: not daemon.keepers(), "the end of the keeper")
        return counts
    finally:
        daemon.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.true_ends", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--keeper", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        run_rounds(Path(root), options.rounds, options.seed, options.keeper)


if __name__ == "__main__":
    main()
