"""What a running appliance says to `doctor`."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from schedappliance.doctor import observe
from schedappliance.doctor.facts import Summary
from schedappliance.doctor.running import _held, summary
from schedappliance.web.rendering.times import _Utc
from tests.support.answers import NOW_MS


def test_a_hold_may_have_no_planned_end() -> None:
    hold = {"since_ms": NOW_MS, "user": "alice", "reason": "moving"}
    said = "since 2026-11-29T14:20:03+00:00 by alice: moving"
    assert _held(hold, _Utc()) == _held(hold | {"ends_ms": None}, _Utc()) == said
    assert _held(hold | {"ends_ms": NOW_MS + 1000}, _Utc()) == said.replace(
        " by", " until 2026-11-29T14:20:04+00:00 by"
    )


@pytest.mark.parametrize("answer", ["null", "5", "[1]", "no JSON", ""])
def test_something_else_that_listens_says_nothing(tmp_path: Path, answer: str) -> None:
    assert said(tmp_path, answer) == Summary()


def test_an_error_without_diagnostics_is_named(tmp_path: Path) -> None:
    unknown = said(tmp_path, '{"error": "no memory"}').unknown
    assert unknown is not None and unknown[0].endswith("does not answer `summary`: no memory")


def said(folder: Path, answer: str) -> Summary:
    """What `doctor` takes from what listens at the console."""
    path = folder / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer.encode())

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            return summary(path, _Utc())
        finally:
            thread.join()


def test_the_youngest_daemon_started_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "start_ticks", {7: 300, 40: 200, 32_000: 100, 32_001: 100}.get)
    assert observe.youngest([40, 32_000, 7]) == 7, "pids begin again at their limit"
    assert observe.youngest([32_001, 32_000]) == 32_001, "the child of process 1 of a container"
    assert observe.youngest([]) is None
