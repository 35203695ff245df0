"""The REST API on a real daemon: each operation gives its command, and the document describes what comes back."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message, Scope

from schedappliance.clock import SystemClock
from schedappliance.model.commands import FORMS, CommandForm, canonical_line, read_command
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.api.openapi import document
from schedappliance.web.api.operations import OPERATIONS, Operation
from schedappliance.web.api.problems import STATUSES
from schedappliance.web.api.routes import API_PATH, BOUND, api, is_bound
from schedappliance.web.appliance import feed as feeds
from schedappliance.web.appliance import gateway as gateways
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway
from tests.support.daemon import STANZAS, Daemon

OWN = Viewer(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), "socket")
DECLARED = """\
program "echo" { argv = ( "/bin/echo" ) args = ( ".*" ".*" ) }
job "nightly" { every = 1d  command = "run hello" }
job "broken" { every = 1d  argv = ( "/bin/false" ) }
job "sleeper" { every = 1d  argv = ( "/bin/sleep" "1000" )  kill_after = 1 }
notify "ops" { command = "run hello" }
"""
DOCUMENT = document(API_PATH)
NAMES = [f"{one.method} {one.path}" for one in OPERATIONS]


class Answer:
    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.text = b"".join(message.get("body", b"") for message in messages[1:]).decode()

    @property
    def data(self) -> Any:
        return json.loads(self.text)


class Api:
    """The API of a daemon. `viewer`: who asks."""

    def __init__(self, endpoint: Path, viewer: Viewer = OWN) -> None:
        self.endpoint, self.viewer = endpoint, viewer
        self.feed = Feed(endpoint, SystemClock(), 0, lambda: None)

    def ask(
        self, method: str, path: str, body: Any = None, *headers: tuple[str, str], kind: str = "application/json"
    ) -> Answer:
        return asyncio.run(self._ask(method, path, body, headers, kind))

    async def _ask(self, method: str, path: str, body: Any, headers: tuple[tuple[str, str], ...], kind: str) -> Answer:
        gateway = Gateway(self.endpoint, SystemClock())
        try:
            content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            pairs = [("content-type", kind), *headers] if content else headers
            requests = iter([{"type": "http.request", "body": content, "more_body": False}])
            messages: list[Message] = []

            async def receive() -> Message:
                return next(requests, {"type": "http.disconnect"})

            async def send(message: Message) -> None:
                messages.append(message)

            app = Starlette(routes=[Mount(API_PATH, app=api(gateway, self.feed))])
            await app(scope_of(method, path, pairs, self.viewer), receive, send)
            return Answer(messages)
        finally:
            gateway.close()


def scope_of(method: str, path: str, headers: Any, viewer: Viewer) -> Scope:
    target, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": unquote(target if target.startswith("/api") else f"{API_PATH}{target}"),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "state": {"viewer": viewer},
    }


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, STANZAS % (tmp_path / "etc") + DECLARED)
    yield daemon
    daemon.end()


@pytest.fixture
def site(daemon: Daemon) -> Api:
    """A daemon on which every example of the document works: each job has run, and a drop was rejected."""
    daemon.start()
    daemon.say("sched every 1d run hello")
    for line in ("sched run nightly", "sched run nightly", "sched run broken"):
        daemon.say(f"sched wait {daemon.say(line).strip()}")
    daemon.say("sched run sleeper")
    daemon.drop("wrong.cmd", "run no-such-program\n")
    daemon.result("wrong", "failed")
    return Api(daemon.socket_path)


def _example(operation: Operation) -> tuple[str, Any]:
    """The address and the body of the example in the document."""
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    path, query = operation.path, {}
    for parameter in described["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(str(parameter["example"]), safe=""))
        elif "example" in parameter:
            query[parameter["name"]] = parameter["example"]
    body = described.get("requestBody")
    return f"{path}?{urlencode(query)}" if query else path, body and body["content"]["application/json"]["example"]


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_each_operation_has_a_name_of_its_own() -> None:
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names) == len(OPERATIONS) + 1


def test_the_api_serves_its_document(tmp_path: Path) -> None:
    answer = Api(tmp_path / "nobody").ask("GET", "/openapi.json")
    assert (answer.status, answer.data) == (200, DOCUMENT)


@pytest.mark.slow
def test_every_example_works_and_gives_what_the_document_says(site: Api) -> None:
    """In the order of the table."""
    for operation in OPERATIONS:
        path, body = _example(operation)
        answer = site.ask(operation.method, path, body)
        assert answer.status == operation.status, (operation, answer.text)
        described = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"][str(answer.status)]
        schema = {**described["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
        errors = list(Draft202012Validator(schema).iter_errors(answer.data))
        assert errors == [], (operation.path, answer.text)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.line is None], ids=lambda one: one.summary)
def test_each_operation_gives_a_command(operation: Operation) -> None:
    values = {one.name: one.example for one in (*operation.query, *operation.body) if one.example is not None}
    line = operation.command_of(operation.examples, values)
    read = read_command(line)
    assert read.command is not None, (line, [one.message for one in read.diagnostics])


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.name)
def test_every_command_can_be_given_but_those_of_a_connection(form: CommandForm) -> None:
    for line in (form.name, f"  {form.usage}", f"JSON json {form.name.upper()} x"):
        assert is_bound(line) == (form.name in BOUND)


HOSTILE = ["a b", 'a" b', "--all", "a; shutdown", "a\tb", "'", '"', "", "\\", "ü\u202e", "x limit 5"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if "{" in one.path], ids=lambda one: one.summary)
def test_no_part_of_an_address_becomes_another_command(operation: Operation, value: str) -> None:
    path: Mapping[str, Any] = {**operation.examples, next(iter(operation.examples)): value}
    command = read_command(operation.command_of(path, {})).command
    if command is not None:
        assert command.form in operation.command.replace(" ", "_") or command.form.startswith(("sched", "spool"))
        assert command.words[0].startswith(value), canonical_line(command)
        assert len(command.words) == len([word for word in operation.command.split() if "{" in word])


@pytest.mark.slow
def test_lists_come_in_pages(site: Api, daemon: Daemon) -> None:
    for _ in range(5):
        daemon.say("sched every 1d run hello")
    for path, key, whole in (("/jobs", "id", "sched list"), ("/runs", "run", "sched history")):
        rows, following = [], f"{API_PATH}{path}?limit=2"
        while following:
            page = site.ask("GET", following).data
            assert len(page["items"]) <= 2
            rows += page["items"]
            following = page["next"]
        assert [row[key] for row in rows] == [row[key] for row in daemon.data(whole)]
        assert len(rows) > 2


@pytest.mark.slow
def test_a_filter_stays_on_the_next_page(site: Api) -> None:
    page = site.ask("GET", "/runs?job=nightly&state=succeeded&limit=1").data
    assert "job=nightly" in page["next"] and "state=succeeded" in page["next"]
    other = site.ask("GET", page["next"]).data
    assert [row["name"] for row in (*page["items"], *other["items"])] == ["nightly", "nightly"]


@pytest.mark.slow
def test_errors_are_problems_with_the_diagnostics_of_the_appliance(site: Api) -> None:
    answer = site.ask("GET", "/jobs/nigtly")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    problem = answer.data
    assert (problem["status"], problem["title"]) == (404, "No such job or run")
    assert problem["type"].endswith("/schedappliance/lint/explanations/E501.md")
    assert (Path(__file__).parents[3] / problem["type"].partition("/blob/main/")[2]).exists()
    assert problem["diagnostics"][0]["code"] == "E501" and "did you mean" in problem["diagnostics"][0]["help"]
    for method, path, body, status in (
        ("POST", "/runs", {"program": "no-such"}, 404),
        ("DELETE", "/jobs/nightly", None, 409),
        ("POST", "/jobs", {"in": "soon", "command": "run hello"}, 422),
        ("POST", "/jobs", {"in": "5", "command": "rum hello"}, 422),
        ("POST", "/command", {"command": "x" * 65_536}, 413),
        ("GET", "/runs?state=late", None, 422),
        ("GET", "/preview?duration=soon", None, 422),
    ):
        answer = site.ask(method, path, body)
        assert answer.status == status, answer.text
        assert answer.data["diagnostics"], answer.text


@pytest.mark.slow
def test_the_columns_of_a_mistake_are_those_of_the_command(site: Api) -> None:
    """The page adds `json`, and every column was five too far."""
    for command, place in (("run no-such", (5, 12)), ("sched in 5 run no-such", (16, 23)), ("sched lst", (7, 10))):
        (mistake,) = site.ask("POST", "/command", {"command": command}).data["diagnostics"]
        assert (mistake["column"], mistake["end_column"]) == place, command


@pytest.mark.parametrize("code", STATUSES)
def test_each_code_with_a_status_of_its_own_exists(code: str) -> None:
    assert (Path(__file__).parents[3] / f"schedappliance/lint/explanations/{code}.md").exists()


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status"),
    [
        ("GET", "/jobs?limt=3", None, "", 400),
        ("GET", "/jobs?limit=3&limit=4", None, "", 400),
        ("GET", "/version?x=1", None, "", 400),
        ("POST", "/runs", None, "", 415),
        ("POST", "/runs", b"program=hello", "application/x-www-form-urlencoded", 415),
        ("POST", "/runs", b'{"program": "hello"}', "text/plain", 415),
        ("POST", "/runs", b"{", "application/json", 400),
        ("POST", "/runs", b"[" * 60_000, "application/json", 400),
        ("POST", "/runs", b"[]", "application/json", 400),
        ("POST", "/runs", b"{}", "application/json", 400),
        ("POST", "/runs", b'{"program": 5}', "application/json", 400),
        ("POST", "/runs", b'{"program": "hello", "arguments": ["\\ud800"]}', "application/json", 400),
        ("POST", "/runs", b'{"program": "hello", "arguments": "a"}', "application/json", 400),
        ("POST", "/runs", b'{"program": "hello", "arguments": [1]}', "application/json", 400),
        ("POST", "/runs", b'{"program": "hello", "user": "root"}', "application/json", 400),
        ("POST", "/jobs", b'{"command": "run hello"}', "application/json", 400),
        ("POST", "/jobs", b'{"command": "run hello", "in": "5", "at": "noon"}', "application/json", 400),
        ("POST", "/command", b'{"command": "watch"}', "application/json", 400),
        ("POST", "/command", b'{"command": ""}', "application/json", 400),
        ("POST", "/command", b'{"command": []}', "application/json", 400),
        ("POST", "/jobs", b'{"command": " ", "in": "5"}', "application/json", 400),
        ("POST", "/command", b'{"command": " JSON json  QUIT"}', "application/json", 400),
        ("POST", "/command", b'{"command": ["config", "begin"]}', "application/json", 400),
        ("GET", "/nothing", None, "", 404),
        ("GET", "/runs/a/b", None, "", 404),
        ("PUT", "/jobs", None, "", 405),
        ("GET", "/command", None, "", 405),
        ("GET", "/events?after=x", None, "", 400),
        ("GET", "/events?after=" + "9" * 30, None, "", 400),
        ("GET", "/version", None, "", 503),
        ("GET", "/events", None, "", 503),
    ],
)
def test_a_wrong_request_is_a_problem(
    tmp_path: Path, method: str, path: str, body: bytes | None, kind: str, status: int
) -> None:
    """Nobody answers at this console, so nothing was sent to an appliance."""
    answer = Api(tmp_path / "nobody").ask(method, path, body, kind=kind)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.data["status"] == status and answer.data["title"] and answer.data["detail"]


def test_a_read_ends_as_soon_as_the_page_knows_that_the_appliance_is_silent(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for 30 seconds, and then said that the answer was lost. A change is still awaited."""
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.01)
    daemon.start()
    site = Api(daemon.socket_path)
    site.feed._be_late()
    with daemon.frozen():
        monkeypatch.setattr(gateways, "PATIENCE_SECONDS", 1e6)
        assert site.ask("GET", "/version").status == 503
        monkeypatch.setattr(gateways, "PATIENCE_SECONDS", 0.01)
        assert site.ask("POST", "/command", {"command": "version"}).status == 504


ROLES = """
Authorization {
  delegates = ( "%s" )
  Role "page" { allow = ( "." ) users = ( "%s" ) }
  Role "one" { allow = ( "^sched show nightly$" "^authz id$" ) users = ( "daemon" ) }
}
"""


@pytest.mark.slow
def test_the_roles_of_the_viewer_decide(daemon: Daemon) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + ROLES % (OWN.name, OWN.name))
    daemon.start()
    user = Viewer("daemon", pwd.getpwnam("daemon").pw_uid, "proxy")
    stranger = Viewer("nobody", pwd.getpwnam("nobody").pw_uid, "token")
    nobody = Viewer("no-such-user", None, "proxy")
    for viewer, allowed in ((user, {"/jobs/nightly", "/identity"}), (stranger, set()), (nobody, set())):
        site = Api(daemon.socket_path, viewer)
        for operation in OPERATIONS:
            path, body = _example(operation)
            answer = site.ask(operation.method, path, body)
            expected = 200 if operation.method == "GET" and path in allowed else 403
            assert answer.status == expected, (viewer, path, answer.text)
            assert expected == 200 or "nightly" not in answer.data.get("detail", "")
        assert site.ask("GET", "/events").status == 403
    assert Api(daemon.socket_path, user).ask("GET", "/identity").data["user"] == "daemon"


@pytest.mark.slow
@pytest.mark.parametrize("has_roles", [False, True])
def test_nobody_becomes_root_on_the_way(daemon: Daemon, has_roles: bool) -> None:
    """Even if the doors let a root in who is not the user of the page."""
    if has_roles:
        daemon.conf.write_text(daemon.conf.read_text() + ROLES % (OWN.name, OWN.name))
    daemon.start()
    gateway = Gateway(daemon.socket_path, SystemClock(), own_user="somebody-else")

    async def ask() -> Mapping[str, Any]:
        try:
            return await gateway.ask(Viewer("root", 0, "proxy"), "run hello")
        finally:
            gateway.close()

    response = asyncio.run(ask())
    assert not response["ok"] and response["diagnostics"][0]["code"] == "E512"
    assert daemon.runs() == []
