"""`sched output`: from the store for an attempt that has ended, and from the file, by a device, for one that runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from schedappliance.engine.effects import Answer, ReadOutput, Reply
from schedappliance.engine.events import LineTyped, OutputRead
from schedappliance.engine.output_parts import LEAST_BYTES, NOTHING, PART_BYTES, READ_BYTES, OutputPart, left_out
from schedappliance.engine.records import AttemptKey, RunKey
from tests.support.core import SECOND, STANZAS, Appliance, ended, some

FIRST = RunKey(1, 1)
ONE = "example.com-000000001/1"
LINE = f"sched output {ONE}"
RETRIES = f'{STANZAS}program "p" {{ argv = ( "/bin/work" ) retries = 1 retry_delay = 1 }}\n'


def asked(appliance: Appliance, line: str = LINE) -> tuple[LineTyped, ReadOutput]:
    """Asks for the output of a running attempt: the line, and the effect that reads the file."""
    event = appliance.typed(line)
    appliance.turn(event)
    assert some(Reply, appliance.effects) == []
    (effect,) = some(ReadOutput, appliance.effects)
    return event, effect


def shown(appliance: Appliance, content: bytes, line: str = LINE, begin: int = 0, size: int | None = None) -> Answer:
    """The answer when the file holds this content from a place on."""
    event, effect = asked(appliance, line)
    assert (effect.key, effect.begin) == (AttemptKey(FIRST, 1), begin)
    end = begin + len(content)
    appliance.turn(
        OutputRead(effect.reply_to, effect.key, OutputPart(content, begin, end, end if size is None else size))
    )
    return appliance.reply_to(event)


def data(answer: Answer) -> dict[str, Any]:
    assert answer.is_json and isinstance(answer.output, str)
    return dict(json.loads(answer.output))


def test_the_output_of_an_attempt_that_has_ended_is_answered_at_once(either: Appliance) -> None:
    either.say("run hello")
    either.turn(ended(FIRST, 3, output="grün\n".encode() + b"\xff\n"))
    assert either.ask(LINE) == Answer("grün\n\ufffd\n")
    assert either.ask(f"{LINE} from 4 as base64") == Answer("bgr/Cg==", note="4 bytes before")
    assert either.data(f"{LINE} FROM 4") == {
        "run": ONE,
        "attempt": 1,
        "text": "n\n\ufffd\n",
        "from": 4,
        "next": 8,
        "size": 8,
        "ended": True,
        "truncated": False,
        "state": "failed",
        "attempts": 1,
    }
    assert either.data(f"{LINE} as base64 from 6 attempt 1")["base64"] == "/wo="
    assert either.data(f"{LINE} from 100")["next"] == 8


def test_the_output_of_a_running_attempt_is_read_by_a_device(either: Appliance) -> None:
    either.say("run hello")
    assert shown(either, b"one\n") == Answer(
        "one\n", note=f"attempt 1 of run {ONE} still runs; continue with `{LINE} from 4`"
    )
    answer = shown(either, b"two\n", f"{LINE} from 4", begin=4, size=1010)
    assert answer.note == (
        f"4 bytes before; 1,002 bytes after; attempt 1 of run {ONE} still runs; continue with `{LINE} from 8`"
    )
    row = data(shown(either, b"two\n", f"json {LINE} from 4 attempt 1", begin=4, size=1010))
    assert (row["text"], row["from"], row["next"], row["size"], row["ended"]) == ("two\n", 4, 8, 1010, False)
    assert (row["state"], row["attempts"]) == ("started", 1)
    assert not either.state.parked


def test_an_incomplete_character_is_left_to_the_next_part(either: Appliance) -> None:
    either.say("run hello")
    row = data(shown(either, b"a\xe2\x82", f"json {LINE}"))
    assert (row["text"], row["next"], row["size"]) == ("a", 1, 3)
    assert data(shown(either, b"a\xe2\x82", f"json {LINE} as base64"))["base64"] == "YQ=="
    assert shown(either, b"\xe2", f"{LINE} from 1", begin=1).output == ""
    either.turn(ended(FIRST, output=b"a\xe2\x82"))
    assert either.say(LINE) == "a\ufffd"


def test_a_long_output_is_shown_in_parts(either: Appliance) -> None:
    either.say("run hello")
    output = b"x" * (PART_BYTES - 1) + "é".encode() + b"y" * 10
    either.turn(ended(FIRST, output=output))
    row = either.data(LINE)
    assert (len(row["text"]), row["next"], row["ended"]) == (PART_BYTES - 1, PART_BYTES - 1, True)
    assert either.data(f"{LINE} from {row['next']}")["text"] == "é" + "y" * 10
    assert either.ask(LINE).note == f"12 bytes after; continue with `{LINE} from {row['next']}`"


def test_places_in_an_output_that_was_cut_count_all_that_was_written(either: Appliance) -> None:
    either.say("run hello")
    kept = b"head" + left_out(1000) + b"tail"
    either.turn(replace(ended(FIRST, output=kept), output_bytes=1008))
    row = either.data(f"{LINE} from 2")
    text = "ad" + left_out(1000).decode() + "tail"
    assert (row["text"], row["from"], row["next"], row["size"]) == (text, 2, 1008, 1008)
    assert row["truncated"] is True
    assert either.data(f"{LINE} from 504")["text"] == left_out(500).decode() + "tail"
    row = either.data(f"{LINE} from 1006")
    assert (row["text"], row["truncated"]) == ("il", False)
    assert either.ask(LINE) == Answer(kept.decode(), note="1,000 bytes left out")


def test_an_attempt_that_ends_while_its_file_is_read_is_answered_from_the_store(either: Appliance) -> None:
    either.say("run hello")
    event, effect = asked(either)
    either.turn(ended(FIRST, output=b"all\n"), OutputRead(effect.reply_to, effect.key, NOTHING))
    assert either.reply_to(event) == Answer("all\n")


def test_each_attempt_has_an_output(either: Appliance) -> None:
    either.turn(either.read(RETRIES))
    either.say("run p")
    event, effect = asked(either)
    either.turn(ended(FIRST, 1, output=b"first\n"))
    assert either.data(LINE)["state"] == "queued"
    either.after(10 * SECOND)
    assert either.data(f"{LINE} attempt 1")["attempts"] == 2
    # The last attempt is another one now, so its file is read.
    either.turn(OutputRead(effect.reply_to, effect.key, NOTHING))
    (again,) = some(ReadOutput, either.effects)
    assert again.key.attempt == 2
    either.turn(OutputRead(again.reply_to, again.key, OutputPart(b"second\n", 0, 7, 7)))
    assert either.reply_to(event).output == "second\n"
    assert either.ask(f"{LINE} attempt 1") == Answer("first\n")
    assert either.error(f"{LINE} attempt 3") == f"run {ONE} has no attempt 3; it has 2 attempts"


def test_a_run_without_attempts(either: Appliance) -> None:
    either.turn(either.read(f"sched {{ max_running = 1 }}\n{STANZAS}"))
    either.say("run hello")
    either.say("run hello")
    two = "example.com-000000002/1"
    answer = either.ask(f"sched output {two}")
    assert answer.note is not None
    assert (answer.output, answer.note.partition("queued")[0]) == ("", f"run {two} has no output: ")
    row = either.data(f"sched output {two}")
    assert (row["attempt"], row["text"], row["ended"], row["state"]) == (None, "", False, "queued")
    either.say(f"sched stop {two}")
    assert either.ask(f"sched output {two}").note == f"run {two} has no output: cancelled: stopped by operator"
    assert either.error(f"sched output {two} attempt 1") == f"run {two} has no attempt 1; it has 0 attempts"
    either.say("sched in 1 version")
    either.after(SECOND)
    assert either.ask("sched output example.com-000000003/1 from 2") == Answer(
        "schedappliance version: 1.2.3", note="2 bytes before"
    )


def test_an_output_that_cannot_be_read(either: Appliance) -> None:
    either.say("run hello")
    for line in (LINE, f"json {LINE}"):
        event, effect = asked(either, line)
        either.turn(OutputRead(effect.reply_to, effect.key, "it is gone"))
        answer = either.reply_to(event)
        assert answer.error == f"the output of run {ONE} cannot be read: it is gone; the program goes on"
        assert [mistake.code for mistake in answer.diagnostics] == ["E515"]
        assert f"rejected: the output of run {ONE}" in either.logged()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (f"sched output {ONE}", f"there is no run {ONE}; `sched history example.com-000000001` lists the stored runs"),
        ("sched output hello", "`hello` is not the id of a run; it looks like `example.com-000000001/12`"),
        (
            "sched output example.com-000000001",
            "`example.com-000000001` is not the id of a run; it is a job: `sched history example.com-000000001` lists its runs",
        ),
        (f"{LINE} frm 1", "unknown filter `frm`; did you mean `from`?"),
        (f"{LINE} from -1", "invalid number `-1`; give a whole number from 0 to 100000000000000000"),
        (f"{LINE} attempt 0", "number `0` is out of range; give a whole number from 1 to 1000000000"),
        (f"{LINE} as text", "invalid value `text`; write one of: base64"),
        (f"{LINE} from", "missing value of `from`; write `from BYTE`; usage: "),
        ("sched in 1 sched output x", "`sched output` cannot be scheduled; give it on the console"),
    ],
)
def test_a_wrong_line_is_rejected(either: Appliance, line: str, error: str) -> None:
    assert either.error(line).startswith(error)


def test_parts_get_shorter_while_many_are_read(either: Appliance) -> None:
    """Else a client that sends many lines before it reads would fill the memory."""
    either.say("run hello")
    either.turn(*(either.typed(LINE) for _ in range(2000)))
    most = [effect.most for effect in some(ReadOutput, either.effects)]
    assert (most[0], most[9], most[-1]) == (PART_BYTES, READ_BYTES // 10, LEAST_BYTES)


def test_a_full_disk_delays_no_answer(either: Appliance) -> None:
    either.say("run hello")
    event, effect = asked(either)
    either.database.full = True
    either.turn(either.typed("run hello"))
    assert either.state.status.degraded
    either.turn(OutputRead(effect.reply_to, effect.key, OutputPart(b"out", 0, 3, 3)))
    assert either.reply_to(event).output == "out"
    assert not either.state.parked


def test_a_store_that_cannot_be_read_rejects_the_line(either: Appliance) -> None:
    either.say("run hello")
    event, effect = asked(either)
    either.database.failing_reads = 10
    either.turn(OutputRead(effect.reply_to, effect.key, NOTHING))
    assert "the store cannot be read" in str(either.reply_to(event).error)
    assert not either.state.parked
