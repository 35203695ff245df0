"""What the prompt completes, and how it asks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from schedappliance.cli.prompt import OF_JOBS, Completion, history_file

if TYPE_CHECKING:
    from schedappliance.client.console import Session


def test_the_commands_that_are_followed_by_a_job_come_from_their_usages() -> None:
    assert {"ack", "delete", "history", "next", "pause", "resume", "run", "show", "why"} == OF_JOBS


class Asked:
    """A session that keeps the lines and refuses them."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []

    def ask(self, line: str, quiet: bool = False) -> dict[str, Any]:
        self.lines.append((line, quiet))
        return {"ok": False}


class Known:
    """A session with one job."""

    def ask(self, _line: str, quiet: bool = False) -> dict[str, Any]:  # noqa: ARG002
        return {"ok": True, "data": [{"id": "n-000000001", "name": "nightly"}]}


def test_no_filter_is_offered_where_a_job_or_a_run_must_follow() -> None:
    completion = Completion(cast("Session", Known()))
    assert completion.words("sched show ") == ["nightly"]
    assert completion.words("sched output ") == []
    assert completion.words("sched history ")[-1] == "nightly" and "limit" in completion.words("sched history ")


@pytest.mark.parametrize("before", ["run ", "sched show "])
def test_the_completion_asks_without_a_line_in_the_log(before: str) -> None:
    asked = Asked()
    assert Completion(cast("Session", asked)).words(before) == []
    ((_, quiet),) = asked.lines
    assert quiet


@pytest.mark.parametrize(
    ("home", "state", "kept"),
    [
        ("home", None, "home/.local/state/schedappliance/history"),
        ("home", "", "home/.local/state/schedappliance/history"),
        ("home", "state", "state/schedappliance/history"),
        ("missing", "state", "state/schedappliance/history"),
        ("missing", None, None),
        ("home", "missing/state", None),
    ],
)
def test_the_history_is_kept_below_a_directory_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, state: str | None, kept: str | None
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / state) if state else "")
    assert history_file() == (tmp_path / kept if kept else None)
    assert not (tmp_path / "missing").exists()
    if kept:
        assert (tmp_path / kept).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / kept).parent.stat().st_mode & 0o777 == 0o700


def test_a_relative_directory_for_the_history_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So says the specification of XDG_STATE_HOME."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert history_file() == tmp_path / "home/.local/state/schedappliance/history"
    monkeypatch.setenv("HOME", "home")
    assert history_file() is None
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_another_kind_of_file_is_no_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "schedappliance/history"
    path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        request.addfinalizer(lambda: os.close(reader))
    elif kind == "link":
        path.symlink_to(tmp_path / "other")
    else:
        path.mkdir()
    assert history_file() is None
    assert not (tmp_path / "other").exists()
