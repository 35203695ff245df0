"""`preview` beside a real appliance: it changes nothing, and its rows come true."""

from __future__ import annotations

import json
import random
import time
from contextlib import closing, nullcontext
from pathlib import Path
from statistics import median_low
from typing import Any

import pytest

from schedappliance.clock import ManualClock
from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import StartProgram
from schedappliance.engine.events import ProgramEnded, Remains
from schedappliance.engine.records import RunKey, job_number
from schedappliance.engine.schedule import Missed
from schedappliance.preview.rows import Mark, Row
from tests.simulation.test_preview import PlainWorld
from tests.support.core import NODE, SECOND, Appliance
from tests.support.daemon import Daemon, command
from tests.support.preview_checks import After, Before, assert_came_true
from tests.support.random_seeds import random_seeds
from tests.support.store_files import file_states
from tests.support.waiting import eventually

HOUR = 3600 * SECOND


def preview(daemon: Daemon, *arguments: str) -> list[dict[str, Any]]:
    config = str(daemon.etc / "appliance.yaml")
    done = command("preview", "--config", config, "--format", "json", "--limit", "0", *arguments)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("how", ["running", "killed", "stopped"])
def test_a_preview_changes_nothing(daemon: Daemon, how: str) -> None:
    daemon.start()
    daemon.say("sched every 5 run append")
    daemon.say("sched in 3600 shutdown")
    daemon.wait_for_state("succeeded")
    if how == "killed":
        daemon.kill()
    elif how == "stopped":
        daemon.stop()
    with daemon.frozen() if how == "running" else nullcontext():
        before = file_states(daemon.var), (daemon.etc.parent / "runs").read_text()
        rows = preview(daemon, "--for", "2h")
        assert (file_states(daemon.var), (daemon.etc.parent / "runs").read_text()) == before
    assert 700 <= sum(row["command"] == "run append" for row in rows) <= 725
    assert rows[-1]["mark"] == "stops"
    if how == "running":
        daemon.assert_healthy()


def test_a_busy_appliance_can_be_previewed_again_and_again(daemon: Daemon) -> None:
    """Neither disturbs the other."""
    daemon.start()
    daemon.say("sched every 1 run hello")
    for number in range(5):
        daemon.drop(f"{number}.cmd", 'sched in 9000 config set a "x"\n' * 500)
        rows = preview(daemon, "--for", "10s")
        assert 9 <= sum(row["command"] == "run hello" and row["mark"] == "run" for row in rows) <= 11
    daemon.result("4.cmd", "done")
    daemon.assert_healthy()
    assert "degraded" not in daemon.log


PROGRAMS = 3
COMMANDS = [f"run p{number} {seconds}" for number in range(PROGRAMS) for seconds in (0, 1, 2)]


# A preview takes seconds on a busy machine, and no job may come due until it has begun. Therefore few jobs are due in the
# first minutes, and those that overlap begin later.
OVERLAPPING_SECONDS = 600


def random_stanzas(chance: random.Random) -> str:
    overlaps = [chance.choice(["skip", "queue", "parallel", "replace"]) for _ in range(PROGRAMS)]
    programs = "".join(
        f'program "p{number}" {{ argv = ( "/bin/sleep" ) args = ( "[0-9]+" ) overlap = {overlap} }}\n'
        for number, overlap in enumerate(overlaps)
    )
    jobs = "".join(
        f'job "j{number}" {{ every = {chance.randint(60, 270)} offset = {chance.randint(0, 180)} '
        f'command = "{chance.choice(COMMANDS)}" }}\n'
        for number in range(3)
    )
    return f"sched {{ max_running = {chance.randint(1, 3)} }}\n{programs}{jobs}"


def random_line(chance: random.Random) -> str:
    inner = chance.choice(COMMANDS)
    outer = chance.choice(["", "", f"sched in {chance.randint(1, 60)} "])
    return f"sched every {chance.randint(45, 600)} {outer}{inner}"


@pytest.mark.parametrize("seed", random_seeds(1))
def test_the_preview_of_a_running_appliance_comes_true(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulated world continues from the store at the preview. Programs take as long as they took before."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    stanzas = random_stanzas(chance)
    daemon = Daemon(tmp_path, stanzas.replace("sched {", 'sched { backing_store = "../var/sched.db"', 1))
    try:
        daemon.start()
        overlapping = [
            f"sched in {OVERLAPPING_SECONDS} sched every {chance.randint(2, 6)} run p{n} 2" for n in range(PROGRAMS)
        ]
        for line in [*COMMANDS, *(random_line(chance) for _ in range(6)), *overlapping]:
            daemon.say(line)
        rows, began_ms = eventually(
            lambda: previewed_at_rest(daemon),
            "an instant at which nothing runs",
            OVERLAPPING_SECONDS,
        )
    finally:
        daemon.end()
    world = lived_on(daemon.root / "backup.db", stanzas, began_ms, monkeypatch)
    with closing(world):
        before = Before(world.appliance)
        world.run(HOUR)
        assert len(rows) > 1000
        assert_came_true(rows, After(world.appliance, before))


def is_at_rest(daemon: Daemon) -> bool:
    """Whether every command has succeeded once, and nothing runs."""
    done = {row[0] for row in daemon.rows("SELECT command FROM runs WHERE state = 'succeeded'")}
    return done.issuperset(COMMANDS) and not daemon.rows("SELECT 1 FROM runs WHERE state IN ('queued', 'started')")


def previewed_at_rest(daemon: Daemon) -> tuple[list[Row], int] | None:
    """The preview of an hour after every command has succeeded once and nothing runs; a backup; and that instant."""
    # Stopping the daemon at each look would leave it no time to run anything.
    if not is_at_rest(daemon):
        return None
    backup = daemon.root / "backup.db"
    backup.unlink(missing_ok=True)
    with daemon.frozen():
        if not is_at_rest(daemon):
            return None
        began_ms = time.time_ns() // 1_000_000
        rows = [as_row(data) for data in preview(daemon, "--for", "61m")]
        assert daemon.store("backup", backup).returncode == 0
    if rows[0].at_ms != rows[0].due_ms:
        # The job came due before the preview started, at an instant that is not known exactly.
        return None
    return [row for row in rows if row.at_ms <= began_ms + HOUR], began_ms


class LivingOn(Appliance):
    """An appliance that starts later on the store of another."""

    def __init__(self, path: Path, stanzas: str, max_running: int, began_ms: int) -> None:
        self._began = ManualClock(began_ms)
        super().__init__(path, stanzas, max_running)

    def _open(self, stanzas: str, left: Remains) -> None:
        self.clock = self._began
        super()._open(stanzas, left)


class MeasuredWorld(PlainWorld):
    """Programs take as long as the last runs of their job, or else of their command."""

    def _begin(self, start: StartProgram) -> None:
        store = self.appliance.store
        ((command,),) = store._database.rows("SELECT command FROM runs WHERE (job, occurrence) = (?, ?)", start.key.run)
        own, all_ = (
            self._took("command = ? AND r.job = ?", command, start.key.run.job),
            self._took("command = ?", command),
        )
        self.plan(median_low(own or all_), ProgramEnded(start.key, Exit(0), b"", 0))

    def _took(self, which: str, *parameters: Any) -> list[int]:
        sql = (
            "SELECT a.took_ms FROM runs r JOIN attempts a USING (job, occurrence) "
            f"WHERE a.state = 'succeeded' AND a.pid IS NOT NULL AND {which} ORDER BY r.sequence DESC LIMIT 5"
        )
        return [row[0] for row in self.appliance.store._database.rows(sql, parameters)]


def lived_on(path: Path, stanzas: str, began_ms: int, monkeypatch: pytest.MonkeyPatch) -> MeasuredWorld:
    def appliance(path: Path, stanzas: str, max_running: int) -> Appliance:
        return LivingOn(path, stanzas, max_running, began_ms)

    monkeypatch.setattr("tests.simulation.world.Appliance", appliance)
    return MeasuredWorld(path, stanzas)


def as_row(data: dict[str, Any]) -> Row:
    number = job_number(NODE, data["id"])
    assert number is not None
    return Row(
        Mark(data["mark"]),
        data["at_ms"],
        data["due_ms"],
        RunKey(number, int(data["run"].rpartition("/")[2])),
        data["declared"],
        data["command"],
        is_first=data["mark"] not in ("starts", "replaced"),
        missed=Missed(data["missed"], data["missed_since_ms"], 0) if data["missed"] else None,
        attempt=data["attempt"],
    )
