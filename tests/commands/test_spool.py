"""`spool list|why|retry`, and how long results are stored."""

from __future__ import annotations

import json

import pytest

from schedappliance.engine.effects import PublishResult, PutBack
from schedappliance.engine.events import DropPutBack, SpoolSeen
from schedappliance.engine.intake import Keep, SpoolBacklog, WaitingDrop
from schedappliance.engine.records import User
from tests.support.core import MINUTE, SECOND, START_MS, Appliance, some

DAY = 24 * 60 * MINUTE
OTHER = User(1001, "other")
SEEN = SpoolBacklog(3, 2, (WaitingDrop("slow.cmd", "is being written", START_MS),))
GOOD, BAD = "sched in 60 pid\nconfig get message_expiration\n", "sched in soon pid\n"


def filled(appliance: Appliance) -> Appliance:
    appliance.turn(SpoolSeen(SEEN), appliance.dropped(GOOD, "1~a.cmd"), appliance.dropped(BAD, "2~b.cmd"))
    return appliance


def test_the_list_shows_waiting_files_and_the_last_results(either: Appliance) -> None:
    filled(either)
    head, *rows = either.say("spool list").splitlines()
    assert head == "FILE\tSTATE\tTIME\tUSER\tANSWER"
    assert [row.split("\t")[:2] for row in rows] == [["slow.cmd", "waiting"], ["b.cmd", "failed"], ["a.cmd", "done"]]
    assert [row.split("\t")[4] for row in rows] == ["is being written", "invalid duration `soon`", "2 commands"]
    data = either.data("spool list")
    assert ["\t".join(d[key] or "-" for key in ("file", "state", "time", "user", "answer")) for d in data] == [
        row.replace("+00:00", "Z") for row in rows
    ]


def test_the_list_of_an_unused_spool_is_empty(either: Appliance) -> None:
    assert either.say("spool list") == "FILE\tSTATE\tTIME\tUSER\tANSWER\n"


def test_why_shows_each_line_of_the_result(either: Appliance) -> None:
    filled(either)
    assert either.say("spool why a.cmd") == (
        "a.cmd: done at 2023-11-14T22:13:20+00:00 for user operator\n"
        "\ta.cmd:1: example.com-000000001\n"
        "\ta.cmd:2: Message_Expiration = 86400\n"
    )
    assert either.say("spool why b") == (
        "b.cmd: failed at 2023-11-14T22:13:20+00:00 for user operator\n"
        "\tb.cmd:1:10: E203 invalid duration `soon`; write seconds or units: `90`, `1.5`, `15m`, `2h30m`, `1d`\n"
    )
    (row,) = either.data("spool why a.cmd")
    assert (row["state"], row["result"]["results"][0]["output"]) == ("done", "example.com-000000001")


def test_why_shows_results_of_an_earlier_version(either: Appliance) -> None:
    result = {"file": "a.cmd", "results": [{"command": "sched in 60 pid", "output": "x"}], "diagnostics": []}
    either.store.drops.add("1~a.cmd", "a.cmd", OTHER, START_MS, True, json.dumps(result))
    assert either.say("spool why a.cmd").endswith("\n\tsched in 60 pid: x\n")


def test_why_shows_what_a_file_waits_for(either: Appliance) -> None:
    filled(either)
    assert either.say("spool why slow.cmd").startswith("slow.cmd: waiting since 2023-11-14T22:13:20+00:00: it is being")


@pytest.mark.parametrize("name", ["e.tmp", ".hid.cmd"])
def test_a_file_that_is_ignored_for_its_name_is_listed_and_explained(either: Appliance, name: str) -> None:
    why = "is ignored, since its name means work in progress"
    either.turn(SpoolSeen(SpoolBacklog(0, 1, (), (WaitingDrop(name, why, START_MS),))))
    assert [(row["file"], row["state"], row["answer"]) for row in either.data("spool list")] == [(name, "waiting", why)]
    assert either.say(f"spool why {name}") == f"{name}: waiting since 2023-11-14T22:13:20+00:00: it {why}\n"


def test_a_file_that_was_rejected_for_its_name_is_not_retried(either: Appliance) -> None:
    either.drop(BAD, "2~b_c.cmd~refused")
    assert either.error("spool retry b_c.cmd~refused") == (
        "b_c.cmd~refused cannot be retried: its name was rejected; drop it again under another name"
    )
    assert some(PutBack, either.effects) == []


@pytest.mark.parametrize("command", ["spool why", "spool retry"])
def test_why_reports_an_unknown_file(either: Appliance, command: str) -> None:
    assert either.error(f"{command} x.cmd") == (
        "there is no drop `x.cmd`; there is no spool; set `spool.path` in appliance.yaml"
    )
    filled(either)
    assert either.error(f"{command} x.cmd").endswith("; 3 files wait; `spool list` shows the last results")
    either.turn(SpoolSeen(SpoolBacklog()))
    assert either.error(f"{command} aa.cmd").endswith("; did you mean `a.cmd`?")


def retried(appliance: Appliance, name: str, json_prefix: str = "") -> PutBack:
    appliance.turn(appliance.typed(f"{json_prefix}spool retry {name}"))
    (effect,) = some(PutBack, appliance.effects)
    return effect


def test_a_retry_is_answered_when_the_file_is_claimed_again(either: Appliance) -> None:
    filled(either)
    event = either.typed("spool retry b")
    either.turn(event)
    (effect,) = some(PutBack, either.effects)
    assert effect.name == "b.cmd"
    either.turn(DropPutBack(effect.reply_to, effect.name, None))
    assert either.reply_to(event).output == "b.cmd is retried"
    assert "command='spool retry b' ok" in either.logged()
    assert either.drop(GOOD, "3~b.cmd").accepted
    assert [row["state"] for row in either.data("spool why b")] == ["done", "failed"]


def test_a_retry_finds_the_failed_file_of_any_user(either: Appliance) -> None:
    """The files of two users with one name lie side by side in a shared spool."""
    filled(either)
    either.turn(either.dropped(GOOD, "3~b.cmd", user=OTHER))
    assert retried(either, "b").uid != OTHER.uid
    either.turn(either.dropped(BAD, "4~b.cmd", user=OTHER))
    assert retried(either, "b").uid == OTHER.uid, "the last one"


def test_a_retry_of_a_removed_file_says_so(either: Appliance) -> None:
    filled(either)
    event = either.typed("json spool retry b.cmd")
    either.turn(event)
    (effect,) = some(PutBack, either.effects)
    either.turn(DropPutBack(effect.reply_to, effect.name, "its file was removed"))
    assert either.reply_to(event).error == "b.cmd cannot be retried: its file was removed; drop it again"


def test_a_done_file_is_not_retried(either: Appliance) -> None:
    filled(either)
    assert either.error("spool retry a.cmd").startswith(
        "a.cmd was accepted at 2023-11-14T22:13:20+00:00; drop the file again"
    )
    assert some(PutBack, either.effects) == []


def test_the_answer_to_a_disconnected_client_is_dropped(either: Appliance) -> None:
    either.turn(DropPutBack(99, "a.cmd", None))
    assert either.effects == []


@pytest.mark.parametrize("line", ["sched in 5 spool retry a.cmd", "sched every 5 spool retry a.cmd"])
def test_a_retry_cannot_be_scheduled(either: Appliance, line: str) -> None:
    assert "cannot be scheduled" in either.error(line)


def test_the_summary_counts_files(either: Appliance) -> None:
    assert either.data("summary")["spool_waiting"] is None
    filled(either)
    data = either.data("summary")
    assert [data[f"spool_{state}"] for state in ("waiting", "in_progress", "done", "failed")] == [3, 2, 1, 1]
    assert "\tSpool in progress:  2\n" in either.say("summary")


TOKEN = "#id: deploy-7\nsched in 60 pid\n"


def test_a_second_file_with_the_same_id_does_nothing_and_gets_the_first_result(either: Appliance) -> None:
    first = either.drop(TOKEN, "1~a.cmd")
    second = either.drop(TOKEN.replace("pid", "version"), "2~b.cmd")
    assert (first.accepted, second.accepted, either.store.jobs.count()) == (True, True, 1)
    assert json.loads(second.result) == {**json.loads(first.result), "file": "b.cmd", "repeats": "a.cmd"}
    assert "no command was run: a.cmd with the same id was accepted before" in either.say("spool why b")
    assert "file='b.cmd' repeats a.cmd" in "".join(str(effect) for effect in either.past)


def test_two_files_with_the_same_id_in_one_turn_are_one(either: Appliance) -> None:
    either.turn(either.dropped(TOKEN, "1~a.cmd"), either.dropped(TOKEN, "2~b.cmd"))
    assert [published.accepted for published in some(PublishResult, either.effects)] == [True, True]
    assert either.store.jobs.count() == 1


def test_the_id_of_another_user_is_another_id(either: Appliance) -> None:
    either.drop(TOKEN, "1~a.cmd")
    event = either.dropped(TOKEN, "2~b.cmd")
    either.turn(type(event)(event.mark, event.name, OTHER, START_MS, event.source, event.lines, (), event.token))
    (published,) = some(PublishResult, either.effects)
    assert "repeats" not in json.loads(published.result)
    assert either.store.jobs.count() == 2


def test_a_rejected_drop_may_come_again_with_the_same_id(either: Appliance) -> None:
    assert not either.drop("#id: deploy-7\nsched in soon pid\n", "1~a.cmd").accepted
    assert either.drop(TOKEN, "2~a.cmd").accepted
    assert either.store.jobs.count() == 1


def test_an_id_survives_a_restart(appliance: Appliance) -> None:
    appliance.drop(TOKEN, "1~a.cmd")
    appliance.restart()
    assert "repeats" in json.loads(appliance.drop(TOKEN, "2~a.cmd").result)


@pytest.mark.parametrize("line", ["#id:", "#id: two words", f"#id: {'x' * 129}", "#id: ü"])
def test_an_invalid_id_rejects_the_file(either: Appliance, line: str) -> None:
    result = json.loads(either.drop(f"{line}\nsched in 60 pid\n").result)
    assert [(d["code"], d["line"]) for d in result["diagnostics"]] == [("E208", 1)]


def test_an_id_on_another_line_is_a_comment_with_a_warning(either: Appliance) -> None:
    published = either.drop("sched in 60 pid\n#id: deploy-7\n")
    assert published.accepted
    assert [d["code"] for d in json.loads(published.result)["diagnostics"]] == ["W410"]
    assert "repeats" not in json.loads(either.drop("sched in 60 pid\n#id: deploy-7\n", "2~a.cmd").result)


@pytest.mark.parametrize("line", ["#ID: deploy-7", "#Id:deploy-7", "#id : deploy-7", "#id=deploy-7", "#id\t= deploy-7"])
def test_a_first_line_that_is_almost_an_id_has_a_warning(either: Appliance, line: str) -> None:
    published = either.drop(f"{line}\nsched in 60 pid\n")
    (warning,) = json.loads(published.result)["diagnostics"]
    assert published.accepted and (warning["code"], warning["line"]) == ("W410", 1)
    assert "repeats" not in json.loads(either.drop(f"{line}\nsched in 60 pid\n", "2~a.cmd").result)


@pytest.mark.parametrize("line", ["# id: deploy-7", "# ID=deploy-7", "#idea: tidy up", "#identify", "#id"])
def test_other_comments_have_no_warning(either: Appliance, line: str) -> None:
    assert json.loads(either.drop(f"{line}\nsched in 60 pid\n").result)["diagnostics"] == []


def stored_drops(appliance: Appliance) -> int:
    return sum(appliance.store.drops.counts())


def test_results_are_removed_after_a_week_without_another_event(either: Appliance) -> None:
    either.drop(GOOD, "1~a.cmd")
    either.after(DAY, either.dropped(GOOD, "2~b.cmd"), either.dropped(GOOD, "3~c.cmd"))
    either.after(6 * DAY + MINUTE)
    assert stored_drops(either) == 2
    _, wake = either.core.wake()
    assert wake is not None and 0 < wake - either.clock.moment().boot <= DAY
    either.after(wake - either.clock.moment().boot)
    assert [drop.mark for drop in either.store.drops.newest(9)] == ["3~c.cmd"], "the last mark stays"


def test_the_number_of_results_is_limited_and_few_are_removed_at_once(either: Appliance) -> None:
    either.state.pruning.keep = Keep(number=50)
    for batch in range(4):
        either.turn(*(either.dropped(GOOD, f"{batch}{n:03}~{n}.cmd") for n in range(200)))
        assert stored_drops(either) <= 50 + 100
    assert either.store.drops.last_mark() == "3199~199.cmd"


def test_the_rejected_drops_of_others_do_not_take_a_token_away(either: Appliance) -> None:
    """The drop was carried out again, minutes after the first time."""
    either.state.pruning.keep = Keep(number=50)
    first = either.drop(TOKEN, "0001~pay.cmd")
    for batch in range(1, 4):
        either.turn(*(either.dropped("nonsense\n", f"{batch}{n:03}~{n}.cmd", user=OTHER) for n in range(200)))
    assert stored_drops(either) <= 50 + 100
    again = either.drop(TOKEN, "4000~pay.cmd")
    assert json.loads(again.result)["repeats"] == first.name


def test_a_failed_commit_removes_no_result_and_counts_none_twice(appliance: Appliance) -> None:
    appliance.state.pruning.keep = Keep(number=5)
    appliance.drop(GOOD, "1~a.cmd")
    appliance.database.failing_commits = 1
    appliance.turn(appliance.dropped(GOOD, "2~b.cmd"))
    assert stored_drops(appliance) == 1
    appliance.after(SECOND)
    assert (stored_drops(appliance), appliance.state.pruning.stored_results) == (2, 2)
