"""A start notices files that have lost `Authorization`. It takes those that were cut off before it only on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.boot import configuration
from schedappliance.boot.configuration import FirstConfiguration, first_configuration
from schedappliance.edge.files.snapshot import read_files
from schedappliance.store.tables import Store
from tests.support.core import open_quickly

GUARD = 'Authorization { Role "all" { allow = ( "^.*" ) users = ( "root" ) } }\n'


def first(root: Path, before: str, now: str, included: str = "") -> FirstConfiguration:
    """What a start takes. `before` and `now`: the texts of the file. `included`: of a second one, which is gone now."""
    store = Store(open_quickly(None))
    texts = [(str(root / "sched.conf"), before), *([(str(root / "roles.conf"), included)] if included else [])]
    with store.transaction():
        store.settings.add_generation("before", 0, tuple(texts))
    (root / "sched.conf").write_text(now)
    taken = first_configuration(read_files(root / "sched.conf"), store)
    store.close()
    return taken


def test_a_lost_authorization_is_reported(tmp_path: Path) -> None:
    assert first(tmp_path, 'include "roles.conf"\n', "A = 1\n", GUARD).lost_authorization
    assert first(tmp_path, GUARD.replace("Authorization", "AUTHORIZATION"), "A = 1\n").lost_authorization
    assert not first(tmp_path, "A = Authorization\n", "A = 1\n").lost_authorization
    assert not first(tmp_path, GUARD, GUARD + "A = 1\n").lost_authorization


def test_the_last_generation_is_not_loaded_without_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "load_texts", lambda *_: pytest.fail("files are loaded twice"))
    assert not first(tmp_path, "A = 1\n", "A = 2\n").lost_authorization


def test_a_file_that_was_cut_off_before_its_authorization_is_not_taken(tmp_path: Path) -> None:
    taken = first(tmp_path, "A = 1\n" + GUARD, "A = 1\n")
    assert taken.configuration.authorization is not None
    assert (taken.digest, taken.lost_authorization) == ("before", False)
    reason = f"{tmp_path}/sched.conf holds only the beginning of the active text, without `Authorization`; configuration 1 of "
    assert taken.degraded is not None
    assert taken.degraded.startswith(reason)


def test_a_file_that_was_cut_off_after_its_authorization_is_taken(tmp_path: Path) -> None:
    taken = first(tmp_path, GUARD + "A = 1\n", GUARD)
    assert (taken.degraded, taken.lost_authorization) == (None, False)
    assert taken.digest != "before"
