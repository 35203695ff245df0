"""Every workload runs, also without peers. No time is checked."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from time import time
from typing import Any

import pytest

from benchmarks import at_and_cron, burn_down, peers, starts
from benchmarks.__main__ import BY_NAME, WORKLOADS
from benchmarks.appliances import until
from benchmarks.at_and_cron import AT, CRON, LEAD_SECONDS, next_minutes, scheduled
from benchmarks.earlier import BEFORE
from benchmarks.measuring import Scale
from benchmarks.pauses import during
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


@pytest.mark.slow
@pytest.mark.parametrize("workload", [burn_down, starts], ids=lambda one: one.__name__)
def test_an_earlier_checkout_runs_in_turn(workload: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is this checkout, with a benchmark that tells which checkout measures."""
    monkeypatch.setattr(peers, "find_spec", lambda _module: None)
    earlier = tmp_path / "earlier"
    (earlier / "benchmarks").mkdir(parents=True)
    file = f"{workload.__name__.partition('.')[2]}.py"
    (earlier / "benchmarks" / file).write_text("SAME_OPTION = None\ndaemon = lambda *_: 12.5\n")
    (earlier / "benchmarks" / "__init__.py").touch()
    report = workload.run(Scale.TINY, tmp_path, earlier)
    assert report.median(BEFORE) == 12.5
    assert any("beside the earlier checkout" in check.what for check in report.checks)


def test_only_the_values_in_a_window_count() -> None:
    values = [(9.0, 1.0), (10.0, 2.0), (12.0, 3.0), (13.0, 4.0), (20.0, 5.0)]
    assert during([(10.0, 12.0), (20.0, 30.0)], values) == [2.0, 3.0, 5.0]


def test_full_minutes_leave_time_to_submit() -> None:
    assert next_minutes(600.0, 2) == [660, 720]
    assert next_minutes(660 - LEAD_SECONDS, 1) == [720]


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "atd" else f"/usr/bin/{name}")
    assert at_and_cron.absent(AT) == "at: no atd here"


@pytest.mark.skipif(at_and_cron.absent(CRON) is not None, reason="needs root and cron")
def test_cron_gets_a_table_of_its_own(tmp_path: Path) -> None:
    table = Path("/var/spool/cron/crontabs/root")
    before = table.read_bytes() if table.exists() else None
    with scheduled(tmp_path, Path("/bin/true"), 2, next_minutes(time(), 1)) as files:
        until((tmp_path / "ready").exists)
        assert len(files[CRON]) == 1 and not files[CRON][0].exists()
        assert (table.read_bytes() if table.exists() else None) == before
    assert (tmp_path / "cron").read_text().count(f"/bin/true >>{files[CRON][0]}\n") == 2
    assert (tmp_path / "log").read_text() == ""
