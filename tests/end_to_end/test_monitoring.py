"""`metrics` and `health` on a real daemon: while it works, is stopped by a debugger, and is down."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import Daemon, command
from tests.support.waiting import eventually
from tests.test_monitoring import named_metrics


def asked(daemon: Daemon, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return command(name, "--endpoint", str(daemon.socket_path), *words)


def test_metrics_replace_their_file_at_once(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    file = tmp_path / "sched.prom"
    file.write_text("old")
    assert asked(daemon, "metrics", "--to", str(file)).returncode == 0
    names = {family.name for family in text_string_to_metric_families(file.read_text())}
    assert {"schedappliance_up", "schedappliance_jobs", "process_open_fds"} <= names
    assert oct(file.stat().st_mode)[-3:] == "644"
    daemon.stop()
    down = asked(daemon, "metrics", "--to", str(file))
    assert down.returncode == 69 and "no appliance answers" in down.stderr
    assert "schedappliance_up 0\n" in file.read_text()
    assert [path.name for path in tmp_path.glob("*sched.prom*")] == ["sched.prom"]
    nowhere = asked(daemon, "metrics", "--to", str(tmp_path / "missing/sched.prom"))
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        f"error: cannot write {tmp_path}/missing/sched.prom: No such file or directory\n",
    )


LOAD = """
job "well" { every = 1  argv = ( "/bin/true" ) }
job "ill" { every = 1  argv = ( "/bin/false" ) }
program "tell" { argv = ( "/bin/true" )  timeout = 1m }
notify "ops" { command = "run tell" }
"""


def test_each_metric_of_the_rules_and_of_the_dashboard_is_in_a_scrape_under_load(daemon: Daemon) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + LOAD)
    daemon.start()
    daemon.drop("a.cmd", "run hello\n")
    daemon.result("a.cmd", "done")
    daemon.wait_for_state("succeeded", 3)
    daemon.wait_for_state("failed", 3)
    eventually(lambda: not daemon.rows("SELECT job FROM alerts"), "the end of all deliveries")
    families = text_string_to_metric_families(asked(daemon, "metrics").stdout)
    scraped = {sample.name.removeprefix("schedappliance_") for family in families for sample in family.samples}
    assert named_metrics() <= scraped, named_metrics() - scraped


def test_a_file_has_only_the_format_of_prometheus(daemon: Daemon, tmp_path: Path) -> None:
    done = asked(daemon, "metrics", "--json", "--to", str(tmp_path / "file"))
    assert done.returncode == 2 and "--json and --to exclude each other" in done.stderr


def test_health_tells_a_working_appliance_from_one_that_hangs_or_is_down(daemon: Daemon) -> None:
    daemon.start()
    well = asked(daemon, "health", "--ready")
    assert (well.returncode, well.stdout) == (0, "ok\n")
    daemon.conf.write_text("sched {\n")
    daemon.console("config reload")
    well = asked(daemon, "health")
    assert well.returncode == 0 and well.stdout.startswith("the stanza files were rejected: ")
    with daemon.frozen():
        hanging = asked(daemon, "health")
        assert (hanging.returncode, hanging.stdout) == (69, "")
    daemon.stop()
    assert asked(daemon, "health").returncode == 69
