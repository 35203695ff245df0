"""`paths` names every file of an appliance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schedappliance.cli.main import main
from tests.support.daemon import Daemon, command
from tests.support.waiting import eventually


def test_each_file_that_the_daemon_makes_is_named(daemon: Daemon) -> None:
    """Or it is in a directory that is named. The files of a daemon that was killed count too."""
    file, log = daemon.etc / "appliance.yaml", daemon.var / "daemon.log"
    file.write_text(file.read_text().replace("log: {", f"log: {{ file: {log},"))
    daemon.launch()
    eventually(lambda: log.exists() and " is ready" in log.read_text(), "the start")
    daemon.run("run hello")
    daemon.drop("a.cmd", "run hello\n")
    daemon.result("a.cmd", "done")
    daemon.say("sched in 1h run hello")
    daemon.kill()
    done = command("paths", "--json", "--config", str(file))
    paths = {Path(row["path"]) for row in json.loads(done.stdout) if row["exists"]}
    made = {path for folder in (daemon.etc, daemon.var) for path in folder.rglob("*")}
    inside = {path for path in made if paths & {daemon.outputs, daemon.var / "spool"} & set(path.parents)}
    assert len(inside) > 5 and made - inside <= paths


def test_the_paths_are_printed_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "appliance.yaml").write_text("config: sched.conf\nlog: { file: log }\n")
    (tmp_path / "sched.conf").write_text('include "more.conf"\n')
    (tmp_path / "more.conf").write_text("")
    assert main(["paths", "--config", "appliance.yaml"]) == 0
    assert capsys.readouterr().out.replace(str(tmp_path), "DIR") == (
        "appliance file  DIR/appliance.yaml\n"
        "stanza file     DIR/sched.conf\n"
        "stanza file     DIR/more.conf\n"
        "log             DIR/log  (missing)\n"
    )


def test_a_path_that_cannot_be_examined_is_no_missing_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, log = tmp_path / "appliance.yaml", tmp_path / "/".join(["x" * 200] * 25)
    file.write_text(f"config: sched.conf\nlog: {{ file: {log} }}\n")
    (tmp_path / "sched.conf").write_text("")
    assert main(["paths", "--config", str(file)]) == 0
    assert f"{log}  (cannot be examined)\n" in capsys.readouterr().out
    assert main(["paths", "--json", "--config", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)[-1] == {"what": "log", "path": str(log), "exists": None}
