"""A store damaged by the disk: it is rejected unchanged, or the appliance works with the readable rows."""

from __future__ import annotations

import random

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.engine.effects import Stop
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, StopRequested
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.store import opening
from schedappliance.store.failures import StoreFailed
from tests.support.core import MINUTE, SECOND, Appliance, ended, some, spoken

DAMAGES = 40
LINES = ["sched list", "json sched list", "sched history", "summary", "config get b", "sched why example.com-000000009"]


def fill(appliance: Appliance) -> None:
    """Adds rows of every kind: jobs, runs in all states, outputs, overrides, drops."""
    for n in range(30):
        appliance.say(f"sched every {60 + n} run sleep {n}")
        appliance.say(f"sched in {30 + n} config set a{n} 1")
    appliance.drop("sched in 60 pid\nconfig set b 1\n")
    for _ in range(3):
        appliance.after(MINUTE)
        appliance.turn(*[ended(key, output=b"said" * 50) for key in list(appliance.state.running)[:10]])


def damaged(whole: bytes, dice: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(dice.choice((1, 1, 4))):
        offset = dice.randrange(len(data))
        end = min(len(data), offset + dice.choice((1, 1, 8, 100, 4096)))
        data[offset:end] = dice.randbytes(end - offset)
    return bytes(data)


def work(appliance: Appliance) -> None:
    """Work that reads every row."""
    appliance.after(MINUTE)
    for line in LINES:
        if (answer := appliance.ask(line)).ok:
            spoken(answer)
    appliance.turn(*[ended(key) for key in appliance.state.running])
    appliance.after(MINUTE)


@pytest.mark.slow
def test_a_store_damaged_anywhere_is_rejected_unchanged_or_works(appliance: Appliance) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    dice = random.Random(seed)
    fill(appliance)
    appliance.close()
    assert appliance.path
    whole = appliance.path.read_bytes()
    outcomes = set()
    for _ in range(DAMAGES):
        spoilt = damaged(whole, dice)
        appliance.path.write_bytes(spoilt)
        try:
            appliance.restart(after_ms=MINUTE)
            work(appliance)
            outcomes.add("works")
        except Unusable as error:
            assert appliance.path.read_bytes() == spoilt
            assert str(appliance.path) in error.message
            outcomes.add("rejected")
        except StoreFailed:
            # The first turn finds the damage after the check at start. Nothing was committed.
            assert appliance.path.read_bytes() == spoilt
        appliance.close()
    assert outcomes == {"works", "rejected"}


@pytest.mark.parametrize("packed", ["", "[", "{}", "[1]", '["rvn",["hello"],null,null,"run hello"]', "\udcff"])
def test_a_command_whose_parsed_form_is_damaged_is_parsed_again(appliance: Appliance, packed: str) -> None:
    appliance.state.places = 1
    appliance.say("run sleep 5")
    appliance.say("run hello")
    appliance.say("sched in 60 config set a 1")
    spoil(appliance, "parsed", packed)
    appliance.restart(after_ms=MINUTE)
    appliance.turn()
    assert [state for _, _, state in appliance.states()] == ["interrupted", "started", "succeeded"]


def test_a_command_that_is_no_longer_valid_text_fails_and_the_others_run(appliance: Appliance) -> None:
    appliance.say("sched in 60 config set a 1")
    spoil(appliance, "parsed", "")
    spoil(appliance, "command", "config\udcff set a 1")
    appliance.say("sched in 60 config set b 1")
    appliance.restart(after_ms=MINUTE)
    appliance.turn()
    assert appliance.states() == [(1, 1, "failed"), (2, 1, "succeeded")]
    assert appliance.history(1)[0].reason == "the command is no longer valid"
    assert appliance.data("sched history")[1]["command"] == "config\ufffd set a 1"
    appliance.after(SECOND)
    assert appliance.state.status.degraded is None


@pytest.mark.parametrize("checked", [True, False])
def test_a_run_with_an_invalid_state_is_reported_at_the_start_without_a_traceback(
    appliance: Appliance, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the store is so large that it is checked during use."""
    if not checked:
        monkeypatch.setattr(opening, "find_damage", lambda _connection, **_how: None)
    wanted = "CHECK constraint failed in runs" if checked else "the store is damaged: a run is `startdd`"
    appliance.say("run sleep 5")
    appliance.close()
    assert appliance.path
    # State and command are neighbours in the row. The index keeps its old entry.
    whole = appliance.path.read_bytes()
    assert whole.count(b"startedrun sleep 5") == 1
    appliance.path.write_bytes(whole.replace(b"startedrun sleep 5", b"startddrun sleep 5"))
    with pytest.raises((Unusable, StoreFailed), match=wanted):
        appliance.restart()


def spoil(appliance: Appliance, column: str, text: str) -> None:
    """The text holds bytes that are not UTF-8 as lone surrogates."""
    raw = text.encode(errors="surrogateescape")
    for table in ("jobs", "runs"):
        appliance.database.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {column} IS NOT NULL", (raw,))


@pytest.mark.parametrize(
    "end",
    [
        ended(RunKey(1, 1)),
        ended(RunKey(1, 1), output=b"said"),
        ProgramNotStarted(AttemptKey(RunKey(1, 1), 1), "no such file"),
        ProgramNotStarted(AttemptKey(RunKey(1, 1), 1), "too many processes", exhausted=True),
    ],
    ids=["silent", "with output", "not started", "exhausted"],
)
def test_the_end_of_a_run_missing_from_the_store_stays_queued_and_delays_nothing(
    either: Appliance, end: ProgramEnded | ProgramNotStarted
) -> None:
    """Nor does it delay a stop."""
    either.say("run hello")
    either.database.execute("DELETE FROM runs WHERE job = 1")
    either.turn(end)
    assert "the store cannot be written: the store is damaged" in either.say("summary")
    either.turn(StopRequested("SIGTERM"))
    assert some(Stop, either.effects)
