"""Changes the files of a working appliance all the time, also to invalid ones: no occurrence is lost or run twice.

`python -m tests.end_to_end.reloads --reloads 1000 --seed N` runs it by hand. A seed fixes the plan, not the history.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.kills import wait
from tests.support.crash_evidence import Evidence, gather
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import eventually

JOBS = 10
STANZAS = """\
sched {{ backing_store = "../var/sched.db" max_running = {places} }}
Pace = {pace}
program "note" {{ argv = ( "/bin/sh" "-c" "echo $SCHED_RUN_ID $SCHED_ATTEMPT >> {lines}" ) overlap = parallel }}
{jobs}"""
JOB = 'job "{name}" {{ every = 1 offset = 0.{name} command = "run note"{more} }}\n'
BAD = ("broken =\n", 'progam "more" { }\n', 'job "more" { every = 1 command = "run nothing" }\n', "sched {\n")
# The ways in which a change reaches the appliance, with their weights.
WAYS = {"typed": 12, "signal": 3, "event": 1}


class Reloads:
    """One appliance with its files, and the random source that decides their changes."""

    def __init__(self, root: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self.lines = root / "lines"
        self.ways: Counter[str] = Counter()
        self.daemon = Daemon(root, self._text(0), APPLIANCE_FILE.replace("debug", "info"))

    def _text(self, pace: int, more: str = "") -> str:
        jobs = "".join(JOB.format(name=name, more=more) for name in range(JOBS))
        return STANZAS.format(places=self._dice.randint(20, 40), pace=pace, lines=self.lines, jobs=jobs)

    def _write(self, text: str) -> None:
        if self._dice.random() < 0.5:
            self.daemon.conf.write_text(text)
        else:
            aside = self.daemon.etc / ".next"
            aside.write_text(text)
            aside.rename(self.daemon.conf)

    def reload(self, number: int) -> None:
        """One change. An invalid change is rejected, and the previous configuration stays active."""
        bad = self._dice.random() < 0.2
        self._write(self._text(number) + (self._dice.choice(BAD) if bad else ""))
        (way,) = self._dice.choices(list(WAYS), list(WAYS.values()))
        self.ways[f"{way}, {'bad' if bad else 'good'}"] += 1
        if way == "typed":
            answer = self.daemon.say("config reload")
            assert answer.endswith("Reconfigure failed.\n") if bad else answer.startswith("OK\n"), answer
        elif way == "signal":
            assert self.daemon.process
            self.daemon.process.send_signal(signal.SIGHUP)
        elif not bad:
            shown = f"Pace = {number}\n"
            eventually(lambda: self.daemon.say("config get pace") == shown or self.daemon.ended(), shown)
        wait(self._dice.uniform(0, 0.02))

    def rest(self) -> Evidence:
        """Waits until every job has run, nothing more falls due, and every run has ended."""
        run = "SELECT count(DISTINCT job) FROM runs"
        eventually(lambda: self.daemon.rows(run) == [(JOBS,)] or self.daemon.ended(), "a run of every job")
        self._write(self._text(0, " enabled = no"))
        assert self.daemon.say("config reload").startswith("OK\n")
        live = "SELECT 1 FROM runs WHERE state IN ('queued', 'started')"
        eventually(lambda: not self.daemon.rows(live) or self.daemon.ended(), "rest")
        self.daemon.assert_healthy()
        assert self.daemon.stop() == 0
        return gather(self.daemon.var / "sched.db", self.lines, {})


def reload_again_and_again(root: Path, reloads: int, seed: int, say: Callable[[str], None] = print) -> Evidence:
    """Makes `count` changes and checks the promises at the end. Raises AssertionError."""
    say(f"seed {seed}")
    appliance = Reloads(root, seed)
    try:
        appliance.daemon.start()
        for number in range(1, reloads + 1):
            appliance.reload(number)
            if number % 100 == 0:
                say(f"reload {number}: {appliance.daemon.say('summary').splitlines()[1].strip()}")
        evidence = appliance.rest()
        assert not (broken := evidence.broken_at_rest()), f"seed {seed}: {broken[:10]}"
        say(f"at rest: {evidence}; {dict(appliance.ways)}")
        return evidence
    finally:
        appliance.daemon.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.reloads", description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        reload_again_and_again(Path(root), options.reloads, options.seed)


if __name__ == "__main__":
    main()
