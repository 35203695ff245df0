"""An edit opens each file twice: for the snapshot, and to exclude a change during the reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.core import SECOND
from tests.support.faulty_observers import SilentObserver
from tests.support.file_openings import Openings
from tests.support.watched_files import STANZAS, Watched, stanzas

INCLUDE = 'include "more.conf"\n'


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    (tmp_path / "sched.conf").write_text(STANZAS + INCLUDE)
    (tmp_path / "more.conf").write_text("More = 1\n")
    return Watched(tmp_path / "sched.conf", SilentObserver)


def test_an_edit_opens_each_file_twice(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.conf.write_text(stanzas(1) + INCLUDE)
    openings = Openings(watched.conf.parent, monkeypatch)
    watched.files._hint()
    watched.pass_time(SECOND)
    assert (watched.generation(), watched.value()) == (2, 1)
    assert openings.counts == {"sched.conf": 2, "more.conf": 2}
    watched.close()


def test_a_newly_included_file_is_opened_twice_too(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    (watched.conf.parent / "new.conf").write_text("New = 1\n")
    watched.conf.write_text(stanzas(1) + 'include "new.conf"\n')
    openings = Openings(watched.conf.parent, monkeypatch)
    watched.files._hint()
    watched.pass_time(SECOND)
    assert watched.say("config get new") == "New = 1"
    assert openings.counts == {"sched.conf": 2, "new.conf": 2, "more.conf": 1}
    watched.close()


def test_a_hint_without_a_change_opens_each_file_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    openings = Openings(watched.conf.parent, monkeypatch)
    watched.files._hint()
    watched.pass_time(SECOND)
    assert openings.counts == {"sched.conf": 1, "more.conf": 1}
    watched.close()


def test_a_requested_reload_opens_each_file_twice(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    openings = Openings(watched.conf.parent, monkeypatch)
    assert watched.say("config reload").startswith("OK\n")
    assert openings.counts == {"sched.conf": 2, "more.conf": 2}
    watched.close()
