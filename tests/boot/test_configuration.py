"""A start with files that have lost `Authorization` is noticed."""

from __future__ import annotations

import pytest

from schedappliance.boot import configuration
from schedappliance.boot.configuration import FirstConfiguration, has_lost_authorization
from schedappliance.model.configuration import Configuration
from schedappliance.store.tables import Store
from tests.support.core import open_quickly

GUARDED = 'Authorization { Role "all" { allow = ( "^.*" ) users = ( "root" ) } }\n'


def lost(texts: dict[str, str]) -> bool:
    """Whether a start with files without `Authorization` reports that it is lost. `texts`: the last generation."""
    store = Store(open_quickly(None))
    with store.transaction():
        store.settings.add_generation("before", 0, tuple(texts.items()))
    is_lost = has_lost_authorization(store, FirstConfiguration(Configuration(), "now", ()))
    store.close()
    return is_lost


def test_a_lost_authorization_is_reported() -> None:
    assert lost({"/etc/sched.conf": 'include "roles.conf"\n', "/etc/roles.conf": GUARDED})
    assert lost({"/etc/sched.conf": GUARDED.replace("Authorization", "AUTHORIZATION")})
    assert not lost({"/etc/sched.conf": "A = Authorization\n"})


def test_the_last_generation_is_not_loaded_without_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "load_texts", lambda *_: pytest.fail("files are loaded twice"))
    assert not lost({"/etc/sched.conf": "A = 1\n"})
