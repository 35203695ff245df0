"""The alert rules and the dashboard: Prometheus accepts them, and each metric that they name exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schedappliance.client.exposition import HELP
from schedappliance.engine.metrics import HISTOGRAMS

ROOT = Path(__file__).parents[1]
RULES = ROOT / "etc/prometheus/schedappliance.rules.yml"
DASHBOARD = ROOT / "etc/grafana/schedappliance.json"
OF_GRAFANA = {"$instance": "a", "$__rate_interval": "5m"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done


def expressions() -> Iterator[str]:
    """The expressions of the rules and of the dashboard."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@needs_promtool
def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    for file in (RULES, ROOT / "tests/rules.test.yml"):
        shutil.copy(file, tmp_path)
    promtool("check", "rules", tmp_path / RULES.name)
    promtool("test", "rules", tmp_path / "rules.test.yml")


def test_each_alert_has_its_test_and_its_row_in_the_documents() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((ROOT / "tests/rules.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    described = set(
        re.findall(r"^\| `(Schedappliance\w+)` \|", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)
    )
    assert alerts == fired == described


def test_the_documents_count_the_rules_as_the_file_does() -> None:
    number = sum(len(group["rules"]) for group in yaml.safe_load(RULES.read_text())["groups"])
    word = ("Nine", "Ten", "Eleven", "Twelve")[number - 9]
    assert f"{word} alert rules" in " ".join((ROOT / "CHANGELOG.md").read_text().split())
    assert f"has {word.lower()} rules" in (ROOT / "docs/monitoring.md").read_text()


@needs_promtool
def test_prometheus_understands_each_panel(tmp_path: Path) -> None:
    rules: list[Any] = []
    for number, expression in enumerate(expressions()):
        for name, value in OF_GRAFANA.items():
            expression = expression.replace(name, value)
        rules.append({"record": f"panel:{number}", "expr": expression})
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


def named_metrics() -> set[str]:
    """The metrics that the rules and the dashboard name."""
    return {name for text in expressions() for name in re.findall(r"schedappliance_(\w+)", text)}


def test_each_metric_that_is_named_exists() -> None:
    known = {f"{name}{part}" for name in HISTOGRAMS for part in ("_bucket", "_sum", "_count")} | set(HELP)
    assert named_metrics() and named_metrics() <= known
    assert len(json.loads(DASHBOARD.read_text())["panels"]) == 12
