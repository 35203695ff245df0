"""`preview` at the console: the answer follows when the child process has made it."""

from __future__ import annotations

import pytest

from schedappliance.engine.effects import MakePreview
from schedappliance.engine.events import LineTyped, PreviewMade
from tests.support.core import STANZAS, Appliance, some

HOUR = 3_600_000


def asked(appliance: Appliance, line: str) -> tuple[LineTyped, MakePreview]:
    event = appliance.typed(line)
    appliance.turn(event)
    (effect,) = some(MakePreview, appliance.effects)
    return event, effect


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("preview", (24 * HOUR, 100, False)),
        ("json preview 90m", (90 * 60_000, 100, True)),
        ("PREVIEW 1h LIMIT 5", (HOUR, 5, False)),
        ("preview limit 1000", (24 * HOUR, 1000, False)),
        ("preview 1h job example.com-000000001 limit 5", (HOUR, 5, False)),
        ("preview job nightl*", (24 * HOUR, 100, False)),
        ("preview job w[1]", (24 * HOUR, 100, False)),
    ],
)
def test_it_asks_for_a_preview(either: Appliance, line: str, wanted: tuple[int, int, bool]) -> None:
    jobs = 'job "nightly" { every = 1d  command = pid }\njob "w[1]" { every = 1d  command = pid }\n'
    either.turn(either.read(STANZAS + jobs))
    event, effect = asked(either, line)
    assert (effect.period_ms, effect.limit, effect.as_json) == wanted
    assert effect.job == (line.split()[line.split().index("job") + 1] if "job" in line else None)
    either.turn(PreviewMade(effect.reply_to, "[]", "held"))
    answer = either.reply_to(event)
    assert (answer.output, answer.is_json, answer.note) == ("[]", wanted[2], "held")
    assert not either.state.parked


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("preview soon", "invalid duration"),
        ("preview limit", "missing value of `limit`"),
        ("preview 1h limit 1001", "1001"),
        ("preview job nightly", "no job has the id or name `nightly`"),
        ("preview job n*", "no job matches `n*`"),
        ("preview job", "missing value of `job`"),
        ("preview 1h lmit 3", "unknown filter `lmit`"),
        ("sched in 5 preview", "`preview` cannot be scheduled"),
    ],
)
def test_mistakes_are_found_before_a_child_is_started(either: Appliance, line: str, error: str) -> None:
    assert error in either.error(line)
    assert not some(MakePreview, either.effects)


@pytest.mark.parametrize(("remedy", "help_"), [("", "jobs run as before"), ("wait", "jobs run as before; wait")])
def test_a_preview_that_fails_rejects_the_line(either: Appliance, remedy: str, help_: str) -> None:
    """Its remedy is that of the problem, or none if the problem says it."""
    event, effect = asked(either, "preview")
    either.turn(PreviewMade(effect.reply_to, "", problem="it took longer than 60 seconds", remedy=remedy))
    (mistake,) = either.reply_to(event).diagnostics
    assert (mistake.code, mistake.message, mistake.help) == (
        "E516",
        "there is no preview: it took longer than 60 seconds",
        help_,
    )


def test_the_stamp_changes_with_jobs_and_options_only(either: Appliance) -> None:
    stamps = [asked(either, "preview")[1].stamp for _ in range(2)]
    either.say("sched in 60 pid")
    stamps.append(asked(either, "preview")[1].stamp)
    either.say("config set message_expiration 5")
    stamps.append(asked(either, "preview")[1].stamp)
    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == 3


def test_a_full_disk_delays_no_preview(either: Appliance) -> None:
    event, effect = asked(either, "preview")
    either.database.full = True
    either.turn(either.typed("run hello"))
    assert either.state.status.degraded
    either.turn(PreviewMade(effect.reply_to, "rows"))
    assert either.reply_to(event).output == "rows"
