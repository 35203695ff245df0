"""The JSON Schemas of the answers: they are those of the dataclasses, and real answers match them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedappliance.client.schemas import ANSWERS, OTHERS, answer_kind, completed, completed_data, files
from schedappliance.client.shapes import schema
from schedappliance.model.commands import FORMS
from tests.support.daemon import STANZAS, Daemon
from tests.support.documents import DOCS

DECLARED = """\
job "nightly" { every = 1d  command = "run hello" }
job "broken" { every = 1d  argv = ( "/bin/false" ) }
notify "ops" { command = "run hello" }
"""
_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}
# One command or more for each form; RUN and JOB stand for ids, DROP for the name of a drop.
COMMANDS = {
    "sched_at": ["sched at 4000000000 run hello"],
    "sched_in": ["sched in 1d run hello"],
    "sched_every": ["sched every 1d run hello"],
    "sched_cron": ["sched cron 'TZ=UTC 0 1 * * *' run hello"],
    "sched_calendar": ["sched calendar '02:30 UTC' run hello"],
    "sched_list": ["sched list"],
    "sched_next": ["sched next nightly"],
    "sched_history": ["sched history"],
    "sched_show": ["sched show nightly", "sched show RUN", "sched show JOB", "sched show RUN output none"],
    "sched_output": ["sched output RUN", "sched output RUN as base64"],
    "sched_why": ["sched why nightly", "sched why RUN", "sched why JOB"],
    "sched_run": ["sched run nightly"],
    "sched_wait": ["sched wait RUN"],
    "sched_pause": ["sched pause nightly", "sched pause night*", "sched pause --all"],
    "sched_resume": ["sched resume nightly", "sched resume --all"],
    "sched_hold": ["sched hold", "sched hold for 1h a reason"],
    "sched_release": ["sched release", "sched release"],
    "sched_incidents": ["sched incidents"],
    "sched_ack": ["sched ack broken"],
    "run": ["run hello"],
    "run_wait": ["run --wait hello"],
    "config_get": ["config get message_expiration", "config get program hello argv"],
    "config_eval": ["config eval program hello kill_after"],
    "config_set": ["config set a 1", "config set program hello timeout 5m"],
    "config_unset": ["config unset a"],
    "config_show": ["config show", "config show program hello"],
    "config_showrecurse": ["config showrecurse"],
    "config_begin": ["config begin"],
    "config_commit": ["config commit"],
    "config_rollback": ["config rollback"],
    "config_reload": ["config reload"],
    "config_status": ["config status"],
    "config_history": ["config history"],
    "config_diff": ["config diff 1"],
    "authz_id": ["authz id"],
    "authz_roles_list": ["authz roles list"],
    "authz_may": ["authz may version"],
    "spool_list": ["spool list"],
    "spool_why": ["spool why DROP"],
    "spool_retry": ["spool retry DROP"],
    "help": ["help"],
    "version": ["version"],
    "pid": ["pid"],
    "health": ["health"],
    "summary": ["summary"],
    "summary_reset": ["summary reset"],
    "metrics": ["metrics"],
    "preview": ["preview 2d limit 5"],
    "watch": ["watch"],
    "sched_delete": ["sched delete NEW"],
    "sched_stop": ["sched stop LIVE"],
    "quit": ["quit"],
    "shutdown": ["shutdown"],
}


def mismatches(wanted: dict[str, Any], data: Any, place: str = "") -> list[str]:
    """Where data do not match a schema. A key that the schema does not name is one too: here both have one source."""
    if branches := wanted.get("anyOf"):
        return min((mismatches(branch, data, place) for branch in branches), key=len)
    if "enum" in wanted:
        return [] if data in wanted["enum"] else [f"{place}: {data!r} is none of {wanted['enum']}"]
    kind = wanted.get("type")
    if kind is None:
        return []
    if not isinstance(data, _TYPES[str(kind)]) or (kind in ("integer", "number") and isinstance(data, bool)):
        return [f"{place}: {data!r} is no {kind}"]
    if kind == "array":
        return [m for number, item in enumerate(data) for m in mismatches(wanted["items"], item, f"{place}[{number}]")]
    if kind != "object":
        return []
    others, known = wanted.get("additionalProperties"), wanted.get("properties", {})
    wrong = [f"{place}.{key} is missing" for key in wanted.get("required", []) if key not in data]
    for key, value in data.items():
        if key in known or others is not None:
            wrong += mismatches(known.get(key, others), value, f"{place}.{key}")
        else:
            wrong.append(f"{place}.{key} is unknown")
    return wrong


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("schemas")
    daemon = Daemon(root, STANZAS % (root / "etc") + DECLARED).start()
    yield daemon
    daemon.end()


def test_the_files_are_those_of_the_dataclasses() -> None:
    """`python -m schedappliance.client.schemas docs/answers` writes them."""
    folder = DOCS / "answers"
    assert {path.name: path.read_text() for path in folder.iterdir()} == files()


def test_every_form_of_command_has_a_schema() -> None:
    assert ANSWERS.keys() == COMMANDS.keys() == FORMS.keys() - {"json"}


def test_a_line_tells_the_kind_of_its_answer() -> None:
    for form, commands in COMMANDS.items():
        for command in commands:
            assert answer_kind(command) is ANSWERS[form], command
    assert answer_kind("SCHED  List limit 2") is ANSWERS["sched_list"]
    assert answer_kind("run wait") is ANSWERS["run"]
    assert answer_kind("hello") is answer_kind("") is Any


def test_missing_keys_get_their_defaults_at_any_depth() -> None:
    result = {"file": "b.cmd", "accepted": True, "user": "alice", "diagnostics": []}
    waits, done = {"file": "a.cmd"}, {"file": "b.cmd", "result": result | {"results": [{"line": 1, "output": "x"}]}}
    rows = completed("spool why a", {"ok": True, "data": [waits, done]})["data"]
    assert rows[0] == {"file": "a.cmd", "result": None}
    assert rows[1]["result"]["repeats"] is None
    assert rows[1]["result"]["results"] == [{"line": 1, "output": "x", "data": None, "error": None}]
    assert waits == {"file": "a.cmd"}, "the answer itself is left alone"


def test_data_that_lack_no_key_are_not_copied() -> None:
    rows = [{"id": "n-000000001"}]
    assert completed_data("sched list", rows) is rows
    assert completed("sched list", {"ok": True})["next"] is None


class _Asker:
    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rwb")

    def ask(self, command: str) -> dict[str, Any]:
        self._lines.write(json.dumps({"v": 1, "id": None, "command": command}).encode() + b"\n")
        self._lines.flush()
        while "event" in (line := json.loads(self._lines.readline())):
            assert mismatches(schema(OTHERS["event"]), line["event"]) == []
        assert mismatches(schema(OTHERS["response"]), line) == []
        return dict(line)


def test_real_answers_match_their_schemas(daemon: Daemon) -> None:
    run = daemon.run("run hello")
    daemon.drop("bad.cmd", "run helo\n")
    assert mismatches(schema(OTHERS["drop_result"]), daemon.result("bad.cmd", "failed")) == []
    daemon.drop("good.cmd", "#id: one\nrun hello\njson sched list\n")
    assert mismatches(schema(OTHERS["drop_result"]), daemon.result("good.cmd", "done")) == []
    names = {"RUN": run["run"], "JOB": run["id"], "DROP": "bad", "NEW": daemon.say("sched in 1d run hello").strip()}
    daemon.say("sched run broken")
    daemon.wait_for_state("failed")
    names["LIVE"] = daemon.say("run sleep 600").strip()
    Path(daemon.conf).write_text(daemon.conf.read_text() + 'program "more" { argv = ( "/bin/echo" ) }\n')
    with daemon.connect() as connection:
        asker = _Asker(connection)
        asker.ask("watch")
        assert not asker.ask("run helo")["ok"]
        for form, commands in COMMANDS.items():
            for command in commands:
                if form in ("config_commit", "config_rollback"):
                    asker.ask("config begin")
                for word, name in names.items():
                    command = command.replace(f" {word}", f" {name}")
                response = asker.ask(f"json {command}")
                assert response["ok"], (command, response)
                assert mismatches(schema(ANSWERS[form]), response["data"]) == [], command
                if form == "config_begin":
                    asker.ask("config rollback")


@pytest.mark.parametrize(
    ("kind", "data"),
    [(ANSWERS["pid"], {}), (ANSWERS["pid"], {"pid": "1"}), (ANSWERS["pid"], {"pid": True}), (ANSWERS["help"], [{}])],
)
def test_an_answer_that_does_not_match_is_found(kind: Any, data: Any) -> None:
    assert mismatches(schema(kind), data)
