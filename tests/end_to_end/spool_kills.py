"""Kills real daemons while they take files, at each boundary and at random instants: every file is done exactly once.

`python -m tests.end_to_end.spool_kills --kills 500 --seed N` runs it by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial, partialmethod
from itertools import count
from pathlib import Path
from typing import Any

from pytest import MonkeyPatch

from schedappliance.edge.spool.device import Spool
from schedappliance.store.database import Database
from schedappliance.store.drops import Drops
from schedappliance.store.loss import loss_of
from tests.support.daemon import APPLIANCE_FILE, Daemon
from tests.support.waiting import eventually

STANZAS = 'sched { backing_store = "../var/sched.db" }\nMessage_Expiration = 86400\n'
# The boundaries on the way of a file from new/ to its result.
BOUNDARIES = ("claimed", "synced", "before commit", "after commit", "result written", "moved")
# Files for one daemon. Some are rejected, and some repeat the id of another.
MOST_FILES, LIFE_SECONDS = 12, 0.15


def die_at(boundary: str, number: int) -> None:
    """This daemon kills itself with SIGKILL when it reaches a boundary for the given time."""
    visits = count(1)
    adds_drop = False
    execute, add = Database.execute, Drops.add

    def reach(reached: str) -> None:
        if reached == boundary and next(visits) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def noted_add(*arguments: Any) -> None:
        nonlocal adds_drop
        adds_drop = True
        add(*arguments)

    def reaching_execute(database: Database, sql: str, parameters: Any = ()) -> Any:
        nonlocal adds_drop
        commits = adds_drop and sql == "COMMIT"
        if commits:
            reach("before commit")
        rows = execute(database, sql, parameters)
        if commits:
            adds_drop = False
            reach("after commit")
        return rows

    patch = MonkeyPatch()
    patch.setattr(Spool, "__init__", partialmethod(Spool.__init__, reached=reach))
    patch.setattr(Drops, "add", noted_add)
    patch.setattr(Database, "execute", reaching_execute)


class SpoolKills:
    """One appliance, the files dropped so far, and the random source that decides where it is killed."""

    def __init__(self, root: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.daemon = Daemon(root, STANZAS, APPLIANCE_FILE.replace("debug", "warning"))
        self.spool = self.daemon.var / "spool"
        self.expected: dict[str, bool] = {}
        self.commands: set[str] = set()
        self.where: Counter[str] = Counter()

    def begin(self) -> None:
        """Creates the directories, which must exist before the first drop."""
        self.daemon.launch()
        eventually(self._answers, "the console")
        self.daemon.kill()

    def _answers(self) -> bool:
        try:
            return bool(self.daemon.say("pid"))
        except OSError:
            return False

    def drop(self) -> None:
        for _ in range(self.dice.randint(1, MOST_FILES)):
            number = len(self.expected)
            kind = self.dice.choice(("plain", "plain", "plain", "bad", "token"))
            # Of every ten files those with an id have the same one.
            command = f"config set a id-{number // 10}" if kind == "token" else f"config set a {number}"
            lines = [f"sched in 90000 {command}\n"]
            if kind == "token":
                lines.insert(0, f"#id: {number // 10}\n")
            if kind == "bad":
                lines.append("nonsense\n")
            else:
                self.commands.add(command)
            self.daemon.drop(f"{number:06}.cmd", "".join(lines))
            self.expected[f"{number:06}.cmd"] = kind != "bad"

    def kill(self) -> None:
        """One daemon: it takes files until it is killed or kills itself."""
        self.drop()
        boundary = self.dice.choice((*BOUNDARIES, "any"))
        if boundary == "any":
            self.daemon.launch()
            eventually(self._answers, "the console")
            self.drop()
            select.select([], [], [], self.dice.uniform(0, LIFE_SECONDS))
            self.daemon.kill()
        else:
            few = boundary in ("synced", "before commit", "after commit")
            self.daemon.launch(partial(die_at, boundary, 1 if few else self.dice.randint(1, 3)))
            # With fewer files than that the daemon does not reach the boundary.
            eventually(lambda: self.daemon.ended() or self._is_at_rest(), f"a death at {boundary}")
            if not self.daemon.ended():
                boundary = "at rest"
                self.daemon.kill()
        self.where[boundary] += 1

    def _is_at_rest(self) -> bool:
        return not any(os.listdir(self.spool / name) for name in ("new", "work"))

    def rest(self) -> None:
        self.daemon.launch()
        eventually(lambda: self._is_at_rest() or self.daemon.ended(), "rest")
        eventually(self._answers, "the console")
        self.daemon.assert_healthy()

    def broken(self, at_rest: bool = False) -> list[str]:
        """The promises that are broken, so far or when all files are done."""
        rows = Counter(self.daemon.rows("SELECT name, accepted FROM drops"))
        jobs = Counter(row[0] for row in self.daemon.rows("SELECT command FROM jobs"))
        wanted = {(name, int(accepted)) for name, accepted in self.expected.items()}
        results = {name: set(self._results(name)) for name in ("done", "failed")}
        faults = [f"{row} is answered {times} times" for row, times in rows.items() if times > 1]
        faults += [f"`{command}` was done {times} times" for command, times in jobs.items() if times > 1]
        faults += [f"{row} should not be answered" for row in rows if row not in wanted]
        faults += [f"`{command}` was never given" for command in jobs if command not in self.commands]
        faults += [f"{name} has two results" for name in results["done"] & results["failed"]]
        answered = {(name, int(folder == "done")) for folder in results for name in results[folder]}
        faults += [f"{row} has a result and no row" for row in answered - rows.keys()]
        faults += [loss] if (loss := loss_of(self.daemon.var / "sched.db")) else []
        if at_rest:
            faults += [f"{row} was lost" for row in wanted - rows.keys()]
            faults += [f"`{command}` was not done" for command in self.commands - jobs.keys()]
            faults += [f"{row} has no result" for row in wanted - answered]
        return faults

    def _results(self, folder: str) -> list[str]:
        """The files with a complete result in that folder."""
        names = [name for name in os.listdir(self.spool / folder) if name.endswith(".result") and name[0] != "."]
        return [json.loads((self.spool / folder / name).read_text())["file"] for name in names]


def kill_again_and_again(root: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> Counter[str]:
    """Kills the daemon `kills` times; returns where. Raises AssertionError."""
    say(f"seed {seed}")
    appliance = SpoolKills(root, seed)
    try:
        appliance.begin()
        for number in range(kills):
            appliance.kill()
            assert not (broken := appliance.broken()), f"seed {seed}, kill {number + 1}: {broken[:10]}"
        appliance.rest()
        assert not (broken := appliance.broken(at_rest=True)), f"seed {seed}, at rest: {broken[:10]}"
        say(f"{kills} kills, {len(appliance.expected)} files: {dict(appliance.where)}")
        return appliance.where
    finally:
        appliance.daemon.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.spool_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        kill_again_and_again(Path(root), options.kills, options.seed)


if __name__ == "__main__":
    main()
