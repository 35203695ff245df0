"""The places where a subcommand looks for the appliance file, and the error that lists them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from schedappliance.cli.appliance_file import config_path
from schedappliance.client.places import DEFAULTS, VARIABLE
from schedappliance.diagnostics import Unusable

NOBODY = 65534
NOT_NAMED = argparse.Namespace(config=None)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if Path(DEFAULTS[1]).exists():
        pytest.skip(f"this machine has {DEFAULTS[1]}")


def error() -> str:
    with pytest.raises(Unusable) as rejected:
        config_path(NOT_NAMED)
    return str(rejected.value)


def test_the_error_names_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = f"$SCHEDAPPLIANCE_CONFIG, {tmp_path}/etc/appliance.yaml, /etc/schedappliance/appliance.yaml"
    remedy = "give --config FILE, or create one of these files"
    assert error() == f"no appliance file: looked for {places}; {remedy}"


def test_a_directory_that_was_deleted_or_is_the_root_has_no_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    places = "$SCHEDAPPLIANCE_CONFIG, /etc/schedappliance/appliance.yaml"
    assert f"looked for {places};" in error()
    monkeypatch.chdir("/")
    assert f"looked for {places};" in error()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_directory_that_the_user_may_not_enter_has_no_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    os.seteuid(NOBODY)
    try:
        assert "looked for $SCHEDAPPLIANCE_CONFIG, /etc/schedappliance/appliance.yaml;" in error()
    finally:
        os.seteuid(0)


def test_a_relative_file_is_taken_where_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "appliance.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert config_path(NOT_NAMED) == Path("etc/appliance.yaml")
    monkeypatch.setenv(VARIABLE, "other.yaml")
    assert config_path(NOT_NAMED) == Path("other.yaml")
    assert config_path(argparse.Namespace(config="named.yaml")) == Path("named.yaml")
