"""An edit opens each file twice: for the snapshot, and to exclude a change during the reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.edge.files import snapshot, watcher
from schedappliance.engine.effects import ReadFiles
from schedappliance.engine.options import Options, Overrides
from schedappliance.engine.reloading import Prepared, prepare
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import Folders, ReadFile
from schedappliance.model.loading import Loaded, load
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
    watched.conf.write_text(stanzas(1) + INCLUDE)
    openings = Openings(watched.conf.parent, monkeypatch)
    assert watched.say("config reload").startswith("OK\n")
    assert openings.counts == {"sched.conf": 2, "more.conf": 2}
    watched.close()


def test_a_reload_of_unchanged_files_reads_them_once_and_parses_none(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Path] = []

    def counted(root: Path, read_file: ReadFile, folders: Folders) -> Loaded:
        parsed.append(root)
        return load(root, read_file, folders)

    monkeypatch.setattr(snapshot, "load", counted)
    openings = Openings(watched.conf.parent, monkeypatch)
    assert watched.say("config reload") == "OK\njobs: 0 added, 0 changed, 0 removed, 1 unchanged"
    assert openings.counts == {"sched.conf": 1, "more.conf": 1} and not parsed
    watched.conf.write_text(stanzas(1) + INCLUDE)
    assert watched.ask("config reload").ok
    assert parsed and watched.value() == 1
    watched.close()


def test_a_reload_of_unchanged_files_drops_overrides(watched: Watched) -> None:
    assert watched.ask("config set message_expiration 7").ok
    assert "dropped: Message_Expiration = 7" in watched.say("config reload")
    assert watched.value() == 86400
    watched.close()


def test_rejected_files_are_read_again_on_request(watched: Watched) -> None:
    (watched.conf.parent / "more.conf").unlink()
    assert not watched.ask("config reload").ok
    (watched.conf.parent / "more.conf").write_text("More = 2\n")
    assert watched.ask("config reload").ok
    assert watched.say("config get more") == "More = 2"
    watched.close()


def test_files_come_prepared_for_the_active_options(watched: Watched) -> None:
    watched.say("config set program hello timeout 9")
    watched.conf.write_text(stanzas(1) + INCLUDE)
    watched.files._hint()
    watched.pass_time(SECOND)
    (event,) = watched.taken
    assert event.prepared is not None
    assert event.prepared.reloaded.options.configuration.programs["hello"].timeout_ms == 9000
    assert watched.core.state.options is event.prepared.reloaded.options
    watched.close()


@pytest.mark.parametrize("typed", [False, True])
def test_files_are_prepared_again_if_days_are_set_meanwhile(
    watched: Watched, typed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the turn would compute all of it, which takes 0.2 s with 1,000 overrides."""
    kept: list[list[str]] = []

    def prepared(files: Configuration, active: Options, overrides: Overrides) -> Prepared:
        made = prepare(files, active, overrides)
        if not kept:
            watched.say("config set days off dates ( *-05-01 )")
        kept.append([place.option for place in overrides])
        return made

    days = 'days "off" { dates = ( "*-12-25" ) }\n'
    watched.conf.write_text(STANZAS + days + INCLUDE)
    watched.say("config reload")
    watched.say("config set message_expiration 7")
    watched.taken.clear()
    monkeypatch.setattr(watcher, "prepare", prepared)
    watched.conf.write_text(STANZAS + days + "More = 2\n")
    if typed:
        watched.say("config reload")
    else:
        watched.files._check()
        watched.pass_time(SECOND)
    assert kept == ([[], ["dates"]] if typed else [["message_expiration"], ["message_expiration", "dates"]])
    (event,) = watched.taken
    assert event.prepared is not None
    days_of = watched.core.state.options.configuration.days
    assert days_of is event.prepared.reloaded.options.configuration.days
    assert [dates.normal for dates in days_of["off"].entries] == ["*-05-01"]
    watched.close()


def test_files_that_are_rejected_do_not_overtake_those_that_were_read_before(watched: Watched) -> None:
    watched.conf.write_text(stanzas(1) + INCLUDE)
    watched.files._check()
    watched.conf.write_text("job {")
    watched.files.read(ReadFiles(None, False))
    watched.pass_time(SECOND)
    assert [event.configuration is None for event in watched.taken] == [False, True]
    assert (watched.value(), watched.outcome()) == (1, "rejected")
    watched.close()
