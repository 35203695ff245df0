"""However the files are changed: one new generation with the right content, or none if no content changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reload.conftest import Watch
from tests.support.file_changes import CHANGES, Change, Place
from tests.support.watched_files import LONG, STANZAS, stanzas

every_change = pytest.mark.parametrize("change", CHANGES, ids=[change.name for change in CHANGES])


@every_change
def test_a_change_gives_one_generation_or_none(tmp_path: Path, watch: Watch, change: Change) -> None:
    place = Place(tmp_path, stanzas(3600))
    change.prepare(place)
    watched = watch(place.conf)
    change.change(place)
    watched.pass_time(LONG)
    assert watched.generation() == 1 + change.generations
    assert watched.value() == (3600 if change.generations else 86400)
    assert watched.outcome() == "accepted"
    watched.assert_whole()
    watched.pass_time(LONG)
    assert watched.generation() == 1 + change.generations


def test_a_bad_edit_that_is_undone_leaves_no_trace(tmp_path: Path, watch: Watch) -> None:
    """The last attempt and the active configuration are two things: the restored text makes no new generation."""
    conf = tmp_path / "sched.conf"
    conf.write_text(STANZAS)
    watched = watch(conf)
    before = watched.status()
    conf.write_text(STANZAS.replace("program", "progam"))
    watched.pass_time(LONG)
    assert (watched.generation(), watched.outcome()) == (1, "rejected")
    assert "E201" in watched.say("config status")
    conf.write_text(STANZAS)
    watched.pass_time(LONG)
    assert (watched.generation(), watched.outcome()) == (1, "accepted")
    after = watched.status()
    assert after["last_attempt"]["diagnostics"] == []
    assert after["applied_at"] == before["applied_at"]
    watched.assert_whole()


def test_a_bad_edit_that_is_undone_before_the_look_changes_nothing(tmp_path: Path, watch: Watch) -> None:
    conf = tmp_path / "sched.conf"
    conf.write_text(STANZAS)
    watched = watch(conf)
    before = watched.status()
    conf.write_text(STANZAS.replace("program", "progam"))
    conf.write_text(STANZAS)
    watched.pass_time(LONG)
    assert watched.status() | {"watch": ""} == before | {"watch": ""}


def test_each_of_several_changes_is_accepted_once(tmp_path: Path, watch: Watch) -> None:
    """The observer watches the right directory even after it was replaced."""
    place = Place(tmp_path, "")
    names = ("rename_over", "directory_put_in_place_of_another", "truncate_and_slow_write", "rename_over")
    by_name = {change.name: change for change in CHANGES}
    by_name["rename_over"].prepare(place)
    watched = watch(place.conf)
    for number, name in enumerate(names, 1):
        by_name[name].change(place._replace(text=stanzas(number)))
        watched.pass_time(LONG)
        assert (watched.generation(), watched.value()) == (1 + number, number)
    watched.assert_whole()


def test_a_poll_that_comes_into_the_middle_of_an_edit_waits_for_its_end(tmp_path: Path, watch: Watch) -> None:
    """Two files that belong together are accepted together."""
    conf, more = tmp_path / "sched.conf", tmp_path / "more.conf"
    more.write_text("More = 1\n")
    conf.write_text(STANZAS + 'include "more.conf"\n')
    watched = watch(conf)
    poll = watched.loop.alarms.next()
    assert poll is not None
    watched.clock.advance(poll - watched.clock.moment().boot - 1)
    conf.write_text(stanzas(1) + 'include "more.conf"\n')
    watched.clock.advance(1)
    watched.turn()
    watched.turn()
    more.write_text("More = 2\n")
    watched.pass_time(LONG)
    assert (watched.generation(), watched.value(), watched.say("config get more")) == (2, 1, "More = 2")
