"""Every workload runs, also without peers. No time is checked."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.__main__ import BY_NAME, WORKLOADS
from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Report, table


@pytest.mark.slow
@pytest.mark.parametrize("name", (*WORKLOADS, *BY_NAME))
def test_runs_without_peers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _module: None)
    report: Report = import_module(f"benchmarks.{name}").run(Scale.TINY, tmp_path)
    assert report.rows
    assert all(row.values and min(row.values) >= 0 for row in report.rows)
    assert not any(peer in row.name for row in report.rows for peer in peers.MODULES)
    text = json.dumps(report.as_data())
    assert name == "growth" or OURS in text
    assert report.title in table(name, report, "machine", [1.0])


@pytest.mark.parametrize("name", ["burn_down", "acceptance", "lateness", "starts", "recurrent", "idle"])
def test_names_what_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is compared with a peer."""
    monkeypatch.setattr(peers, "find_spec", lambda _module: None)
    assert peers.absent(peers.WAL) == f"{peers.WAL}: apscheduler and sqlalchemy not installed (the extra `bench`)"
    assert peers.ask(peers.HUEY, "accept", 1, Path("/nowhere")) is None
    assert "peers.absent" in Path(str(import_module(f"benchmarks.{name}").__file__)).read_text()
