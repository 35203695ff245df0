"""Texts that look unfinished wait, unless a reload is requested; at last they are accepted or rejected as they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from schedappliance.core.reload import AUTHORIZATION_LOST
from schedappliance.edge.files import snapshot, watcher
from schedappliance.edge.files.snapshot import Reading, read_files
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.engine.events import ReloadRequested
from schedappliance.model.unfinished import CUT_MS, UNFINISHED_MS
from tests.reload.conftest import Watch
from tests.support.core import SECOND
from tests.support.watched_files import LONG, STANZAS, Watched, stanzas

# The longest time until a look: the audit interval and the quiet time.
SOON = AUDIT_MS + SECOND
NEW = stanzas(1)
# Cut off after a statement and its newline.
CUT = STANZAS[: STANZAS.index("job ")]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    conf = tmp_path / "sched.conf"
    conf.write_text(STANZAS)
    return conf


def waits(watched: Watched) -> str:
    return str(watched.status()["waits"] or "")


def look(watched: Watched) -> None:
    """Has the appliance look once, whatever its observer reports."""
    watched.files._check()
    watched.turn()


def test_a_file_that_is_open_for_writing_is_not_read(conf: Path, watch: Watch) -> None:
    """However long that takes, and though the text so far is valid."""
    watched = watch(conf)
    with conf.open("w") as file:
        for line in NEW.splitlines():
            file.write(f"{line}\n")
            file.flush()
            watched.pass_time(LONG)
            assert (watched.generation(), watched.outcome()) == (1, "accepted")
            assert waits(watched) == f"{conf} is open for writing"
    assert sum("it is read when it is closed" in line for line in watched.logged) <= len(NEW.splitlines())
    watched.pass_time(SOON)
    assert (watched.generation(), watched.value(), waits(watched)) == (2, 1, "")


def test_config_status_says_that_the_files_are_being_read(
    conf: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may take long to answer."""
    watched, seen = watch(conf), []

    def slow(*arguments: Any) -> Reading:
        seen.append(waits(watched))
        return read_files(*arguments)

    monkeypatch.setattr(watcher, "read_files", slow)
    conf.write_text(NEW)
    watched.pass_time(SOON)
    assert seen == ["the stanza files are being read"]
    assert (watched.generation(), waits(watched)) == (2, "")


def test_a_file_that_stays_open_is_warned_about_once(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    with conf.open("a") as file:
        file.write("Late = 1\n")
        file.flush()
        watched.pass_time(4 * LONG)
        assert [line for line in watched.logged if "is open for writing" in line] == [
            f"warning: {conf} is open for writing: it is read when it is closed, or by `config reload`"
        ]
        assert watched.say("config reload").startswith("OK\n")
        assert watched.say("config get late") == "Late = 1"


def test_a_shortage_is_no_reason_to_reject_the_files(conf: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch(conf)
    conf.write_text(NEW)

    def no_descriptor(_path: Path) -> BinaryIO:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "open_regular", no_descriptor)
        watched.pass_time(LONG)
        assert (watched.generation(), watched.outcome()) == (1, "accepted")
        assert waits(watched) == "the stanza files cannot be read now: Too many open files"
        assert sum("cannot be read now" in line for line in watched.logged) == 1
    watched.pass_time(SOON)
    assert (watched.generation(), watched.value(), waits(watched)) == (2, 1, "")


def test_a_text_written_by_several_writers_is_accepted_when_it_is_complete(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    conf.write_text("")
    for start in range(0, len(NEW), 20):
        with conf.open("a") as file:
            file.write(NEW[start : start + 20])
        look(watched)
        watched.pass_time(SECOND)
        assert watched.outcome() == "accepted"
    watched.pass_time(LONG)
    assert (watched.generation(), watched.value()) == (2, 1)


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ('program "hello" {\n', "ends inside a bracket", "E102"),
        ("Message_Expiration = 1\n/* and then\n", "ends inside a comment", "E107"),
        ('Message_Expiration = 1\nprogram "hello" { argv = (', "does not end with a newline", "E102"),
        ("", "holds no statement", "E117"),
        ("# nothing\n", "holds no statement", "E117"),
    ],
)
def test_a_text_that_ends_too_early_is_rejected_after_two_seconds(
    conf: Path, watch: Watch, text: str, reason: str, code: str
) -> None:
    watched = watch(conf)
    conf.write_text(text)
    look(watched)
    watched.pass_time(UNFINISHED_MS - 1)
    assert (watched.outcome(), waits(watched)) == ("accepted", f"{conf} {reason}")
    watched.pass_time(SECOND)
    assert (watched.outcome(), waits(watched)) == ("rejected", "")
    assert code in [d["code"] for d in watched.status()["last_attempt"]["diagnostics"]]
    conf.write_text(NEW)
    watched.pass_time(SOON)
    assert (watched.generation(), watched.value()) == (2, 1)


def test_a_text_without_its_last_newline_is_accepted_after_two_seconds(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    conf.write_text(NEW.rstrip())
    look(watched)
    watched.pass_time(UNFINISHED_MS - 1)
    assert (watched.generation(), waits(watched)) == (1, f"{conf} does not end with a newline")
    watched.pass_time(SECOND)
    assert (watched.generation(), watched.value()) == (2, 1)


def test_a_mistake_in_a_complete_text_is_reported_at_once(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    conf.write_text(NEW.replace("program", "progam"))
    look(watched)
    assert watched.outcome() == "rejected"


def test_the_beginning_of_the_active_text_waits_for_the_rest(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    conf.write_text(CUT)
    look(watched)
    watched.pass_time(CUT_MS - SECOND)
    assert (watched.generation(), waits(watched)) == (1, f"{conf} holds only the beginning of the active text")
    conf.write_text(NEW)
    watched.pass_time(LONG)
    assert (watched.generation(), watched.value()) == (2, 1)
    assert not any("holds only the beginning" in line for line in watched.logged)


def test_the_beginning_of_the_active_text_is_accepted_at_last_with_a_warning(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    conf.write_text(CUT)
    look(watched)
    watched.pass_time(CUT_MS - 1)
    assert watched.generation() == 1
    watched.pass_time(SECOND)
    assert watched.generation() == 2
    assert watched.status()["last_attempt"]["outcome"] == "accepted"
    remedy = "for 10 seconds, so it is accepted; restore the rest if it was cut off"
    assert f"warning: {conf} holds only the beginning of the active text {remedy}" in watched.logged
    watched.assert_whole()


def test_the_ten_seconds_begin_anew_with_each_change(conf: Path, watch: Watch) -> None:
    watched = watch(conf)
    for end in range(3):
        conf.write_text(CUT[: CUT.index("\n") + 1] if end % 2 else CUT)
        look(watched)
        watched.pass_time(CUT_MS - SECOND)
    assert watched.generation() == 1
    watched.pass_time(SOON)
    assert watched.generation() == 2


@pytest.mark.parametrize("text", [CUT, NEW.rstrip()])
def test_a_requested_reload_does_not_wait(conf: Path, watch: Watch, text: str) -> None:
    watched = watch(conf)
    conf.write_text(text)
    look(watched)
    assert watched.generation() == 1
    assert watched.say("config reload").startswith("OK\n")
    assert (watched.generation(), waits(watched)) == (2, "")
    conf.write_text(STANZAS.rstrip())
    watched.turn(ReloadRequested("SIGHUP"))
    watched.turn()
    assert (watched.generation(), watched.value()) == (3, 86400)
    watched.pass_time(LONG)
    assert watched.generation() == 3


def test_an_included_file_may_be_empty(conf: Path, watch: Watch) -> None:
    more = conf.parent / "more.conf"
    conf.write_text(STANZAS + 'include "more.conf"\n')
    more.write_text("More = 1\n")
    watched = watch(conf)
    more.write_text("")
    watched.pass_time(CUT_MS + SOON)
    assert (watched.generation(), watched.outcome()) == (2, "accepted")
    watched.pass_time(LONG)
    assert watched.generation() == 2


def test_an_unchanged_file_is_not_doubted(conf: Path, watch: Watch) -> None:
    """Only a changed file can be unfinished."""
    more = conf.parent / "more.conf"
    more.write_text("More = 1")
    conf.write_text(STANZAS + 'include "more.conf"\n')
    watched = watch(conf)
    conf.write_text(NEW + 'include "more.conf"\n')
    look(watched)
    assert (watched.generation(), watched.value()) == (2, 1)


def test_a_new_empty_file_delays_the_others_only_for_two_seconds(conf: Path, watch: Watch) -> None:
    """It is not the beginning of an active text."""
    folder = conf.parent / "more"
    folder.mkdir()
    conf.write_text(STANZAS + 'include "more"\n')
    watched = watch(conf)
    (folder / "new.conf").write_text("")
    conf.write_text(NEW + 'include "more"\n')
    watched.pass_time(UNFINISHED_MS + SOON)
    assert (watched.generation(), watched.value()) == (2, 1)


def test_an_unchanged_file_that_is_open_for_writing_delays_nothing(conf: Path, watch: Watch) -> None:
    more = conf.parent / "more.conf"
    more.write_text("More = 1\n")
    conf.write_text(STANZAS + 'include "more.conf"\n')
    watched = watch(conf)
    with more.open("a"):
        conf.write_text(NEW + 'include "more.conf"\n')
        look(watched)
        assert (watched.generation(), watched.value()) == (2, 1)


AUTHORIZATION = 'Authorization { Role "admin" { allow = ( "." ) users = ( 0 ) } }\n'


@pytest.fixture
def guarded(conf: Path) -> Path:
    conf.write_text(STANZAS + AUTHORIZATION)
    return conf


def is_guarded(watched: Watched) -> bool:
    return watched.core.state.configuration.authorization is not None


@pytest.mark.parametrize("cut", [STANZAS, STANZAS.rstrip(), CUT])
def test_a_cut_that_removes_authorization_is_never_accepted_by_itself(guarded: Path, watch: Watch, cut: str) -> None:
    watched = watch(guarded)
    guarded.write_text(cut)
    watched.pass_time(4 * LONG)
    assert is_guarded(watched)
    reason = f"{guarded} holds only the beginning of the active text, without `Authorization`"
    remedy = "it is not accepted by itself; restore the rest, or accept it with `config reload` or SIGHUP"
    assert [line for line in watched.logged if "beginning" in line] == [f"warning: {reason}: {remedy}"]
    assert watched.core.state.status.waits == reason
    guarded.write_text(NEW + AUTHORIZATION)
    watched.pass_time(SOON)
    assert is_guarded(watched)
    assert watched.core.state.configuration.options["message_expiration"].value == "1"


def test_a_signal_accepts_the_cut_and_warns(guarded: Path, watch: Watch) -> None:
    watched = watch(guarded)
    guarded.write_text(STANZAS)
    watched.pass_time(LONG)
    assert is_guarded(watched)
    watched.turn(ReloadRequested("SIGHUP"))
    watched.turn()
    assert (watched.generation(), is_guarded(watched)) == (2, False)
    assert f"warning: {AUTHORIZATION_LOST}" in watched.logged
    assert watched.status()["warnings"] == [AUTHORIZATION_LOST]
    guarded.write_text(STANZAS + AUTHORIZATION)
    watched.pass_time(SOON)
    assert is_guarded(watched)


def test_a_cut_of_another_file_waits_only_ten_seconds(guarded: Path, watch: Watch) -> None:
    """The roles are in another file, which stays."""
    more = guarded.parent / "more.conf"
    guarded.write_text(f'include "more.conf"\n{AUTHORIZATION}')
    more.write_text(STANZAS)
    watched = watch(guarded)
    more.write_text(CUT)
    watched.pass_time(CUT_MS + SOON)
    assert is_guarded(watched)
    assert watched.core.state.configuration.jobs == {}


def test_the_removal_of_a_file_with_roles_is_warned_about(guarded: Path, watch: Watch) -> None:
    roles = guarded.parent / "conf.d" / "roles.conf"
    roles.parent.mkdir()
    roles.write_text(AUTHORIZATION)
    guarded.write_text(STANZAS + 'include "conf.d"\n')
    watched = watch(guarded)
    assert is_guarded(watched)
    roles.unlink()
    watched.pass_time(SOON)
    assert not is_guarded(watched)
    assert f"warning: {AUTHORIZATION_LOST}" in watched.logged


@pytest.mark.parametrize("changed", [{"is_settled": False}, {"perhaps_open": Path("/sched.conf")}])
def test_no_other_doubt_ends_that_about_a_cut_before_authorization(guarded: Path, changed: dict[str, Any]) -> None:
    active = dict(read_files(guarded).loaded.texts)
    guarded.write_text(STANZAS)
    reading = read_files(guarded, None, active)
    why, another = (watcher.doubt_of(one, active, guarded=True) for one in (reading, reading._replace(**changed)))
    assert why is not None and why.patience_ms is None
    assert another == why


def test_without_authorization_a_file_that_is_not_closed_is_read_only_on_request(guarded: Path) -> None:
    active = dict(read_files(guarded).loaded.texts)
    guarded.write_text(f"# Another text\n{STANZAS}")
    reading = read_files(guarded, None, active)._replace(perhaps_open=guarded)
    patience = [
        why.patience_ms for is_guarded in (True, False) if (why := watcher.doubt_of(reading, active, is_guarded))
    ]
    assert patience == [None, CUT_MS]
