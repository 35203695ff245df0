"""How many processors an appliance may use: the affinity, and the quotas of control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.edge.processors import usable_processors

ALL = len(os.sched_getaffinity(0))
VERSION_1 = "4:memory:/a\n2:cpu,cpuacct:/a/b\n0::/\n"


def usable(tmp_path: Path, own: str | None, files: dict[str, str]) -> int:
    if own is not None:
        (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return usable_processors(tmp_path / "own", tmp_path / "tree")


@pytest.mark.parametrize("processors", [1, 2, 3])
def test_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(processors)))
    assert usable(tmp_path, None, {}) == processors


@pytest.mark.parametrize(
    ("own", "files", "processors"),
    [
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "200000 100000"}, 2, id="a quota"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "max 100000"}, 8, id="no quota"),
        pytest.param(
            "0::/a/b\n", {"a/cpu.max": "350000 100000", "a/b/cpu.max": "max 100000"}, 4, id="of a group above"
        ),
        pytest.param("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "600000 100000"}, 3, id="the smallest"),
        pytest.param("0::/\n", {"cpu.max": "50000 100000"}, 1, id="less than one, in a container"),
        pytest.param("0::/../../host\n", {"cpu.max": "100000 100000"}, 1, id="a name that is not visible"),
        pytest.param(VERSION_1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1"}, 8, id="version 1 without a quota"),
        pytest.param(
            VERSION_1,
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
            3,
            id="version 1",
        ),
        pytest.param("nonsense\n", {}, 8, id="unreadable"),
    ],
)
def test_the_quota_of_a_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], processors: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    assert usable(tmp_path, own, files) == processors


def test_this_machine_has_at_least_one() -> None:
    assert 1 <= usable_processors() <= ALL
