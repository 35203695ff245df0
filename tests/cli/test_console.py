"""`console` with a server on a real socket, which answers as a test says."""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schedappliance.cli import errors
from schedappliance.cli.console import parse, say, send, show
from schedappliance.cli.errors import FAILED, OK, UNAVAILABLE, Failure, print_error
from schedappliance.cli.main import main
from schedappliance.cli.prompt import prompt
from schedappliance.client import console as client_console
from schedappliance.client.console import Session
from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import line_of
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.unix_socket import connect
from tests.support.waiting import PATIENCE_SECONDS

Say = Callable[[dict[str, Any]], bytes | None]


def answer(request: dict[str, Any], **rest: object) -> bytes:
    return json.dumps({"v": 1, "id": request["id"], "transaction": False, **rest}).encode() + b"\n"


def echo(request: dict[str, Any]) -> bytes:
    """The command as the output, or an error for `bad`."""
    if request["command"].startswith("bad"):
        return answer(request, ok=False, error="it is bad", verbatim=False, diagnostics=[])
    return answer(request, ok=True, output=request["command"])


class Server:
    """Answers line by line, one client after the other; an answer without its end is the connection's end.

    After the answer None the connection is the client's to end.
    """

    def __init__(self, path: Path, say: Say) -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self._say = say
        self._listening = ListeningSocket(path, 0o600, None)
        self._listening.socket.settimeout(PATIENCE_SECONDS)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.socket.accept()
            connection.settimeout(PATIENCE_SECONDS)
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    if line == b"end\n":
                        return
                    self.requests.append(json.loads(line))
                    data = self._say(self.requests[-1])
                    if data is None:
                        # The client ends the connection: closed from here it would race with what the client does.
                        connection.recv(1)
                        break
                    connection.sendall(data)
                    if not data.endswith(b"\n"):
                        break

    def close(self) -> None:
        with connect(self.path) as connection:
            connection.sendall(b"end\n")
            self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        self._listening.close()


Serve = Callable[[Say], Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server that ends with the test."""
    servers: list[Server] = []

    def start(say: Say) -> Server:
        servers.append(Server(tmp_path / "console.sock", say))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ran(endpoint: Path, *lines: str) -> tuple[int, str, str]:
    """The exit status, and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    try:
        status = send(endpoint, lines, out, err)
    except Failure as failure:
        print_error(str(failure), err)
        status = failure.status
    return status, out.getvalue(), err.getvalue()


def test_every_line_is_a_request_with_a_number(serve: Serve) -> None:
    server = serve(echo)
    assert ran(server.path, "pid", "sched list") == (OK, "pid\nsched list\n", "")
    assert server.requests == [
        {"v": 1, "id": 1, "command": "pid"},
        {"v": 1, "id": 2, "command": "sched list"},
    ]


@pytest.mark.parametrize("line", ["", "a\nb", '"\\', "ü\U0001f600", "x" * 100_000, "\x00\x1b[31m"])
def test_any_line_arrives_as_it_was_given(serve: Serve, line: str) -> None:
    server = serve(echo)
    with closing(Session(server.path)) as session:
        response = session.ask(line)
    assert (server.requests[0]["command"], response["output"]) == (line, line)


def test_a_line_is_sent_when_the_line_before_it_is_answered(serve: Serve) -> None:
    server = serve(echo)
    sent: list[int] = []

    def lines() -> Iterator[str]:
        for number in range(3):
            sent.append(len(server.requests))
            yield str(number)

    assert send(server.path, lines(), io.StringIO(), io.StringIO()) == OK
    assert [request["command"] for request in server.requests] == ["0", "1", "2"]
    assert sent == [0, 1, 2]


def test_without_lines_nothing_is_sent(serve: Serve) -> None:
    server = serve(echo)
    assert ran(server.path) == (OK, "", "")
    assert server.requests == []


ERROR = {"ok": False, "error": "run x", "verbatim": False, "diagnostics": []}


@pytest.mark.parametrize(
    ("response", "out", "err", "status"),
    [
        ({"ok": True, "output": "4711"}, "4711\n", "", OK),
        ({"ok": True, "output": "a\nb\n"}, "a\nb\n", "", OK),
        ({"ok": True, "output": ""}, "", "", OK),
        ({"ok": True, "data": [{"command": "ü"}]}, '[{"command": "ü"}]\n', "", OK),
        ({"ok": True, "data": None}, "null\n", "", OK),
        ({**ERROR, "error": "there is no job"}, "", "error: there is no job\n", FAILED),
        ({**ERROR, "error": "as it is", "verbatim": True}, "", "as it is\n", FAILED),
        ({**ERROR, "error": "a line\nas it is", "verbatim": True}, "", "a line\nas it is\n", FAILED),
        ({"ok": True, "exit_status": 0, "output": "as it is"}, "as it is", "", OK),
        ({"ok": True, "exit_status": 3, "output": ""}, "", "", 3),
        ({"ok": True, "exit_status": 0, "data": {"a": 1}}, '{"a": 1}\n', "", OK),
        ({**ERROR, "exit_status": 143, "output": "a"}, "a", "error: run x\n", 143),
        ({**ERROR, "exit_status": 0, "output": "a\n"}, "a\n", "error: run x\n", FAILED),
        ({**ERROR, "exit_status": 7, "data": 1}, "1\n", '{"error": "run x", "diagnostics": []}\n', 7),
        ({**ERROR, "data": None}, "", '{"error": "run x", "diagnostics": []}\n', FAILED),
        ({**ERROR, "data": None, "verbatim": True}, "", '{"error": "run x", "diagnostics": []}\n', FAILED),
    ],
)
def test_a_response_is_printed_for_people(response: dict[str, Any], out: str, err: str, status: int) -> None:
    shown, errors = io.StringIO(), io.StringIO()
    assert show(response, shown, errors) == status
    assert (shown.getvalue(), errors.getvalue()) == (out, err)


def transacting(request: dict[str, Any]) -> bytes:
    """A transaction is open from `begin` to `end`."""
    return answer(request, ok=True, output="", transaction=request["command"] != "end")


def test_a_transaction_that_the_lines_leave_open_is_an_error(serve: Serve) -> None:
    """It ends with the connection, so nothing of it takes effect."""
    server = serve(transacting)
    assert ran(server.path, "begin", "set", "end") == (OK, "", "")
    for lines in (["begin"], ["begin", "set"]):
        status, _, err = ran(server.path, *lines)
        assert (status, err.startswith("error: the transaction has ended with the connection")) == (FAILED, True)


def test_a_failed_line_sets_the_exit_status_and_the_next_lines_are_sent(serve: Serve) -> None:
    server = serve(echo)
    assert ran(server.path, "a", "bad", "b") == (FAILED, "a\nb\n", "error: it is bad\n")
    assert [request["command"] for request in server.requests] == ["a", "bad", "b"]


@pytest.fixture
def late(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The notes that were printed. A server answers nothing before the first one, and then rejects every line."""
    notes: list[str] = []
    noted = threading.Event()

    def note(message: str) -> None:
        notes.append(message)
        noted.set()

    def reject(request: dict[str, Any]) -> bytes:
        # A watch has a connection of its own, and this server serves one at a time.
        is_late = noted.wait(PATIENCE_SECONDS)
        if not is_late or request["command"].startswith("watch"):
            return b"end"
        return answer(request, ok=False, error="it is bad", verbatim=False, diagnostics=[])

    monkeypatch.setattr(errors, "print_note", note)
    monkeypatch.setattr(client_console, "LATE_SECONDS", 0.01)
    serve(reject)
    yield notes
    noted.set()


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["jobs"],
        ["runs"],
        ["timeline"],
        ["top", "--once"],
        ["logs", "x"],
        ["run", "x"],
        ["why", "x"],
        ["console", "sched", "list"],
    ],
)
def test_who_waits_for_an_appliance_that_stands_still_is_told(
    words: list[str], late: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = words
    status = main([command, "--endpoint", str(tmp_path / "console.sock"), *rest])
    assert (status, "it is bad" in capsys.readouterr().err) == (FAILED, True)
    assert late[0] == "no answer for 0.01 seconds; waiting; an interrupt does not take back the command"


@pytest.mark.parametrize("line", ["sched wait j-1/1", "json sched wait j-1/1", "run --wait p", "JSON run --wait p"])
def test_an_answer_that_comes_when_a_run_ends_is_never_late(
    serve: Serve, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_console, "LATE_SECONDS", 0)
    late: list[float] = []
    server = serve(echo)
    with closing(Session(server.path, on_late=late.append)) as session:
        session.ask(line)
    assert late == []


def test_who_gives_up_is_told_that_the_command_may_still_be_carried_out(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(interrupting)
    with pytest.raises(KeyboardInterrupt):
        send(server.path, ["wait"], io.StringIO(), io.StringIO())
    assert capsys.readouterr().err == "note: interrupted; the appliance may still carry out the command\n"


def test_a_missing_appliance_is_an_error_of_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "console.sock", tmp_path / "nowhere" / "console.sock", tmp_path):
        status, out, err = ran(path, "pid")
        assert (status, out, err.count("\n")) == (UNAVAILABLE, "", 1)
        assert err.startswith(f"error: no appliance answers at {path}: ")


def test_a_stale_socket_is_not_an_appliance(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    listening = ListeningSocket(path, 0o600, None)
    path.rename(tmp_path / "stale.sock")
    listening.close()
    assert ran(tmp_path / "stale.sock", "pid")[0] == UNAVAILABLE


@pytest.mark.parametrize("data", [b"", b'{"v": 1, "id": 1, "ok": tr'])
def test_a_connection_that_ends_before_the_answer_is_an_error(serve: Serve, data: bytes) -> None:
    server = serve(lambda _request: data)
    status, out, err = ran(server.path, "pid", "version")
    assert (status, out) == (UNAVAILABLE, "")
    assert err == f"error: the appliance at {server.path} ended the connection\n"
    assert len(server.requests) == 1


def test_answers_before_the_end_of_the_connection_are_printed(serve: Serve) -> None:
    server = serve(lambda request: echo(request) if request["id"] < 3 else b"")
    status, out, err = ran(server.path, "a", "b", "c", "d")
    assert (status, out, err.count("\n")) == (UNAVAILABLE, "a\nb\n", 1)


def test_a_server_with_too_many_clients_is_quoted(serve: Serve) -> None:
    server = serve(lambda _request: b"error: too many clients; try again later\n")
    with (
        closing(Session(server.path)) as session,
        pytest.raises(Unavailable, match="too many clients; try again later"),
    ):
        session.ask("pid")
    assert ran(server.path, "pid")[0] == UNAVAILABLE


def test_an_error_has_one_prefix(serve: Serve) -> None:
    server = serve(lambda _request: b"error: too many clients; try again later\n")
    assert ran(server.path, "pid")[2] == "error: too many clients; try again later\n"


def test_a_closed_session_ends_its_connection(serve: Serve) -> None:
    server = serve(echo)
    session = Session(server.path)
    assert session.ask("a")["output"] == "a"
    session.close()
    assert ran(server.path, "d") == (OK, "d\n", "")
    assert [request["command"] for request in server.requests] == ["a", "d"]


def prompted(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return prompt(path, say)


@pytest.mark.parametrize("end", ["quit\nnever\n", " QUIT \nnever\n", ""])
def test_a_prompt_sends_each_line_until_it_is_left(
    serve: Serve, end: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(echo)
    assert prompted(server.path, f"pid\n\n  \n bad\n{end}", monkeypatch) == OK
    assert [request["command"] for request in server.requests] == ["version", "pid", "bad"]
    shown = capsys.readouterr()
    assert shown.err == "error: it is bad\n"
    assert shown.out.replace("console.sock> ", "").split() == ["version", "pid"]


def interrupting(request: dict[str, Any]) -> bytes | None:
    """For `wait` the prompt gets a Ctrl-C instead of an answer, and leaves the connection."""
    if request["command"] == "config begin":
        return answer(request, ok=True, output="", transaction=True)
    if request["command"] != "wait":
        return echo(request)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)
    return None


def test_a_prompt_goes_on_after_an_interrupted_wait(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(interrupting)
    assert prompted(server.path, "wait\npid\n", monkeypatch) == OK
    assert [request["command"] for request in server.requests] == ["version", "wait", "pid"]
    assert capsys.readouterr().out.replace("console.sock> ", "").split() == ["version", "pid"]


def test_an_interrupted_wait_ends_the_transaction(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next line was meant for the transaction; it must not take effect at once instead."""
    server = serve(interrupting)
    assert prompted(server.path, "config begin\nwait\nconfig set a 1\npid\n", monkeypatch) == OK
    assert [request["command"] for request in server.requests] == ["version", "config begin", "wait", "pid"]
    assert "the connection has ended, and the transaction with it" in capsys.readouterr().err


def test_without_an_appliance_there_is_no_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prompted(tmp_path / "console.sock", "pid\n", monkeypatch) == UNAVAILABLE
    assert capsys.readouterr().out == ""


def test_a_prompt_outlives_the_appliance(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(lambda request: b"" if request["command"] == "shutdown" else echo(request))
    assert prompted(server.path, "shutdown\npid\nquit\n", monkeypatch) == OK
    shown = capsys.readouterr()
    assert "ended the connection" in shown.err
    assert shown.out.replace("console.sock> ", "").split() == ["version", "pid"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nightly"], "nightly"),
        (["two words"], '"two words"'),
        (["--all"], "--all"),
        (["--", "--all"], '"--all"'),
        (["-rf"], "-rf"),
        (["--", "-rf"], "-rf"),
        (["--endpoint", "s", "-rf", "x"], "-rf x"),
        (["--as", "bob", "--", "--", "x"], "-- x"),
        (["x", "-rf", "--endpoint=s", "y"], "x -rf y"),
    ],
)
def test_a_word_after_a_short_name_may_begin_with_a_hyphen(arguments: list[str], words: str) -> None:
    """`schedappliance pause --all` was wrong usage. After `--`, it is the name of a job."""
    assert line_of(parse(arguments, "pause", ["sched", "pause"]).words) == f"sched pause {words}"


def test_options_of_a_short_command_may_follow_its_words() -> None:
    """`schedappliance why nightly --endpoint SOCKET` sent the option to the appliance."""
    options = parse(["nightly", "--endpoint", "s", "--as", "bob", "7", "--", "--config"], "next", ["sched", "next"])
    assert (options.endpoint, options.on_behalf_of) == (Path("s"), "bob")
    assert line_of(options.words) == "sched next nightly 7 --config"
