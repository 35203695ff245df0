"""The console as its clients see it: people, programs, strangers, and clients that disconnect."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from schedappliance.edge.console.unix_socket import connect
from tests.support.daemon import Daemon, command
from tests.support.terminal import on_a_terminal
from tests.support.waiting import PATIENCE_SECONDS, eventually


def request(line: str, request_id: object = 1) -> bytes:
    return json.dumps({"v": 1, "id": request_id, "command": line}).encode() + b"\n"


def test_text_is_answered_as_text_until_the_client_has_finished_sending(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.exchange(b"pid\nversion\r\n\n   \nnonsense\n").decode().splitlines()[:1] == [
        str(daemon.process and daemon.process.pid)
    ]
    answer = daemon.exchange(b"nonsense\n").decode()
    assert answer.startswith("error: unknown command `nonsense`; ")
    assert answer.count("\n") == 1
    assert daemon.exchange(b"") == b""
    unfinished = daemon.exchange(b"pid\nsched in 3600 config set x 86").decode().splitlines()
    assert unfinished[1:] == ["error: the last line does not end in a newline; it was not run; add one"]
    assert daemon.exchange(b"sched list\n").count(b"\n") == 1


def test_a_json_request_is_answered_in_json_under_its_id(daemon: Daemon) -> None:
    daemon.start()
    answers = [
        json.loads(line)
        for line in daemon.exchange(
            request("sched in 900 version", "x")
            + request("json sched list", [1])
            + request("sched delete nope", None)
            + request("config get nope", 4)
        ).splitlines()
    ]
    assert answers[0] == {"v": 1, "id": "x", "ok": True, "transaction": False, "output": "example.com-000000001"}
    assert answers[1]["id"] == [1]
    assert [row["id"] for row in answers[1]["data"]] == ["example.com-000000001"]
    assert answers[2]["ok"] is False
    assert answers[2]["diagnostics"][0]["code"] == "E501"
    assert answers[3]["error"] == "Option 'nope' is not set in scope ''."


WRONG = [
    b"{",
    b"{}",
    b'{"v": 1}',
    b'{"v": 2, "id": 1, "command": "version"}',
    b'{"v": 1, "id": 1, "command": 5}',
    b'{"v": 1, "id": 1, "command": "version", "more": 1}',
    b'{"v": 1, "id": 1, "command": "version"} x',
    b'{"v": 1, "id": 1, "command": "version\\nversion"}',
    b'{"v": 1, "id": 1, "command": "\\ud800"}',
    b'{"v": 1, "id": 1, "command": ""}',
    b'{"v": ' + b"9" * 5000 + b"}",
    b"{" + b'"a":{' * 20000,
    b'{"a":' + b"[" * 60000,
    b'{"v": 1, "id": 1, "command": "\xff"}',
]


def test_a_wrong_request_is_answered_with_what_is_wrong(daemon: Daemon) -> None:
    daemon.start()
    for wrong in WRONG:
        first, second = daemon.exchange(wrong + b"\nversion\n").decode().splitlines()
        answer = json.loads(first)
        assert answer["ok"] is False
        assert answer["error"]
        assert second.startswith("# schedappliance")
    daemon.assert_healthy()


def test_a_transaction_lasts_as_long_as_its_connection_whatever_the_client_sends(daemon: Daemon) -> None:
    daemon.start()
    lines = [request("config begin"), b"{}\n", request("config set a 1"), b"config get a\n", request("config commit")]
    answers = daemon.exchange(b"".join(lines)).splitlines()
    assert answers.pop(3) == b"a = 1"
    assert [json.loads(answer)["transaction"] for answer in answers] == [True, True, True, False]
    done = daemon.console("config", "begin")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the transaction has ended with the connection; nothing was changed; ")
    done = daemon.console(stdin="config begin\nconfig set a 2\n")
    assert (done.returncode, done.stdout) == (1, "a = 2\n")
    assert daemon.ask("config get a") == "a = 1\n"
    daemon.wait_for_log("the transaction is rolled back: its connection was closed", 2)


def test_an_id_that_is_not_valid_is_answered_with_valid_json(daemon: Daemon) -> None:
    daemon.start()

    def reject(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    for request_id in (b'"\\ud800"', b"NaN", b"Infinity", b"1e999"):
        for line in (b'{"v": 1, "id": %b, "command": "version"}', b'{"v": 2, "id": %b}', b'{"id": %b}'):
            answer = daemon.exchange(line % request_id).decode()
            assert isinstance(json.loads(answer, parse_constant=reject), dict)
    daemon.assert_healthy()


def test_pipelined_lines_are_answered_in_their_order(daemon: Daemon) -> None:
    daemon.start()
    lines = []
    for n in range(1000):
        lines.append(
            {0: request(f"config set a {n}", n), 1: request("\x01", n), 2: request("config reload", n)}[
                n % 3 if n < 30 else n % 2
            ]
        )
    answers = [json.loads(line) for line in daemon.exchange(b"".join(lines)).splitlines()]
    assert [answer["id"] for answer in answers] == list(range(1000))
    assert all(answer["ok"] is (n % 2 == 0) for n, answer in enumerate(answers) if n >= 30)


def test_many_wrong_lines_sent_at_once_are_all_answered(daemon: Daemon) -> None:
    daemon.start()
    with daemon.connect() as client:
        client.sendall(b"\xff\n" * 1000)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.count(b"\n") == 1000


def test_a_line_of_a_megabyte_is_rejected_and_the_next_one_is_answered(daemon: Daemon) -> None:
    daemon.start()
    answers = daemon.exchange(b"x" * 1_000_000 + b"\nversion\n" + b"{" * 70_000 + b"\npid\n").decode().splitlines()
    assert answers[0].startswith("error: the line is longer than 65,536 bytes")
    assert answers[1].startswith("# schedappliance")
    assert json.loads(answers[2])["ok"] is False
    assert answers[3].isdigit()
    assert len(answers) == 4


def test_a_line_of_the_maximum_length_is_accepted_as_text_and_as_json(daemon: Daemon) -> None:
    daemon.start()
    line = "config set a " + "é" * 20_000
    assert daemon.say(line).startswith('a = "é')
    assert daemon.say("config set a " + "x" * (65_536 - 13)).startswith("a = x")
    done = daemon.console(line)
    assert (done.returncode, done.stderr) == (0, "")


def test_megabytes_of_empty_lines_do_not_keep_others_waiting(daemon: Daemon) -> None:
    daemon.start()
    with daemon.connect() as bad:
        bad.setblocking(False)
        sent = answered = 0
        while sent < 1_000_000:
            try:
                sent += bad.send(b"\n" * 65536)
            except BlockingIOError:
                assert daemon.say("version").startswith("# ")
                answered += 1
    assert answered > 0


def test_arguments_that_are_not_valid_text_are_rejected(daemon: Daemon) -> None:
    daemon.start()
    done = command(
        "console", "--endpoint", str(daemon.socket_path), b"config set a \xff".decode(errors="surrogateescape")
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    daemon.assert_healthy()


def test_a_stdin_that_is_not_valid_text_is_rejected_without_a_traceback(daemon: Daemon) -> None:
    daemon.start()
    done = command(
        "console", "--endpoint", str(daemon.socket_path), input=b"version\n\xff\n".decode(errors="surrogateescape")
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    daemon.assert_healthy()


def test_a_client_that_disconnects_in_the_middle_of_a_long_list_disturbs_no_other(daemon: Daemon) -> None:
    daemon.start()
    for n in range(20):
        daemon.drop(f"{n}.cmd", f'sched in 900 config set a "{"x" * 1000}"\n' * 100)
    eventually(lambda: daemon.say("summary").count("Drops:  20"), "the drops")
    for _ in range(3):
        with daemon.connect() as client:
            client.sendall(b"sched list\nsched list\n")
            assert client.recv(100).startswith(b"JOB ID")
    with daemon.connect() as slow:
        slow.sendall(b"sched list\n")
        assert slow.recv(6) == b"JOB ID"
        assert daemon.say("sched delete example.com-000000001") == ""
        assert daemon.say("sched list").count("\n") == 2000
        slow.shutdown(socket.SHUT_WR)
        rest = b"".join(iter(lambda: slow.recv(65536), b""))
        assert rest.count(b"\n") == 2001, "the list shows the moment of the request"
    daemon.assert_healthy()


def test_clients_that_disconnect_leave_nothing_in_memory(daemon: Daemon) -> None:
    daemon.is_copy = False
    daemon.start()
    for round_ in range(2):
        if round_:
            before = daemon.peak_kb()
        for number in range(1500):
            # A socket with a timeout could not wait for a place in the backlog.
            with connect(daemon.socket_path) as client:
                client.sendall(b"x" * 65_000)
            if number % 100 == 0:
                assert daemon.say("version").startswith("# ")
    assert daemon.peak_kb() - before < 40_000, "1,500 buffers of 65,000 bytes"


def test_lists_of_long_commands_that_nobody_reads_take_little_memory(daemon: Daemon) -> None:
    """Forty clients ask for a list of 24 MB, and read none of it."""
    daemon.is_copy = False
    daemon.start()
    daemon.drop("many.cmd", "sched in 90000 run hello\n" * 400)
    eventually(lambda: daemon.say("summary").count("Drops:  1"), "the drop")
    daemon.stop()
    daemon.change("UPDATE jobs SET command = 'run hello ' || hex(zeroblob(30000))")
    daemon.start()
    before = daemon.peak_kb()
    with ExitStack() as others:
        for _ in range(40):
            client = others.enter_context(daemon.connect())
            client.sendall(b"json sched list\n")
            assert client.recv(1) == b"[", "the answer has begun"
        assert daemon.peak_kb() - before < 100_000
    assert len(daemon.say("sched list")) > 24_000_000
    daemon.assert_healthy()


def test_answers_that_nobody_reads_take_little_memory(daemon: Daemon) -> None:
    """Each client asks for 256 answers of 4 MB, and reads none of them."""
    daemon.is_copy = False
    write = "import sys; sys.stdout.write('x' * 4_000_000)"
    program = f'program "large" {{ argv = ( "{sys.executable}" "-c" "{write}" ) output_limit = 4m }}\n'
    daemon.conf.write_text(daemon.conf.read_text() + program)
    daemon.start()
    run = daemon.run("run large")["run"]
    before = daemon.peak_kb()
    with ExitStack() as others:
        for number in range(150):
            client = others.enter_context(daemon.connect())
            client.sendall(f"json sched show {run}\n".encode() * 256 if number % 2 else request("version", 1) * 256)
        for _ in range(10):
            assert daemon.say("version").startswith("# "), "a short answer finds its way"
        assert daemon.peak_kb() - before < 200_000
        waiting = daemon.connect()
        waiting.sendall(f"json sched show {run}\n".encode())
        waiting.shutdown(socket.SHUT_WR)
    # A long answer is sent when there is room for it.
    with waiting:
        answer = b"".join(iter(lambda: waiting.recv(65536), b""))
    assert json.loads(answer)["output"] == "x" * 4_000_000
    daemon.assert_healthy()


def test_a_long_id_is_rejected(daemon: Daemon) -> None:
    daemon.start()
    first, second = daemon.exchange(request("version", "x" * 60_000) + request("version", 2)).splitlines()
    assert json.loads(first)["id"] is None
    assert json.loads(first)["error"].startswith("the `id` is longer than 1,024 bytes; ")
    assert json.loads(second)["id"] == 2


def test_two_hundred_silent_clients_do_not_disturb_another(daemon: Daemon) -> None:
    daemon.start()
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(daemon.connect())
        for _ in range(20):
            assert daemon.say("version").startswith("# ")
    daemon.assert_healthy()


CROWD = """\
import contextlib, os, socket, sys
directory = os.open(sys.argv[1], os.O_PATH | os.O_DIRECTORY)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
clients, rejected = [], 0
for _ in range(1000):
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"/proc/self/fd/{directory}/console.sock")
    clients.append(client)
    with contextlib.suppress(BrokenPipeError):
        client.sendall(b"version\\n")
    rejected += client.recv(100).startswith(b"error: too many clients of one user; ")
print(rejected, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may connect as another user")
def test_a_crowd_of_clients_of_one_user_keeps_nobody_else_from_the_console(public_daemon: Daemon) -> None:
    daemon = public_daemon
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("console.sock }", "console.sock, mode: 666 }"))
    daemon.start()
    with subprocess.Popen(
        [sys.executable, "-c", CROWD, str(daemon.var)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as crowd:
        assert crowd.stdout is not None
        assert int(crowd.stdout.readline()) >= 750
        daemon.assert_healthy()
        crowd.communicate()


def test_a_silent_client_is_disconnected_and_a_waiting_one_is_not(daemon: Daemon) -> None:
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("console.sock }", "console.sock, timeout: 1 }"))
    daemon.start()
    with daemon.connect() as client:
        assert client.recv(1) == b""


def test_without_descriptors_the_appliance_neither_ends_nor_spins(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process
    pid = daemon.process.pid
    daemon.say("sched in 900 version")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (40, 20_000))
    clients = [daemon.connect() for _ in range(60)]
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client).sendall(b"sched list\n")
        used = processor_time_over(1.5, pid)
        assert not daemon.ended(), daemon.log[-2000:]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (20_000, 20_000))
    daemon.assert_healthy()
    assert used < 0.8, f"{used} s of processor time in 1.5 s"


def test_connections_that_cannot_be_accepted_cost_no_processor_time(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process
    pid = daemon.process.pid
    daemon.say("version")
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(daemon.connect())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (10, 20_000))
        stack.enter_context(daemon.connect())
        used = processor_time_over(1.5, pid)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (20_000, 20_000))
    daemon.assert_healthy()
    assert used < 0.8, f"{used} s of processor time in 1.5 s"


def processor_time_over(seconds: float, pid: int) -> float:
    """The processor time that a process uses in so many seconds, or until it ends."""

    def used() -> float | None:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else (int(fields[11]) + int(fields[12])) / 100

    before, began = used(), time.monotonic()
    eventually(lambda: used() is None or time.monotonic() > began + seconds)
    return (used() or 0) - (before or 0)


def test_a_stale_socket_of_a_dead_appliance_is_replaced(daemon: Daemon) -> None:
    daemon.start()
    daemon.kill()
    assert daemon.socket_path.is_socket()
    daemon.start()
    daemon.assert_healthy()
    assert daemon.socket_path.stat().st_mode & 0o777 == 0o660
    daemon.stop()
    assert not daemon.socket_path.exists()


@pytest.mark.parametrize("at", ["the audit", "SIGHUP"])
def test_a_socket_that_was_removed_is_created_again(daemon: Daemon, at: str) -> None:
    daemon.start()
    with daemon.connect() as client:
        daemon.socket_path.unlink()
        if at == "SIGHUP":
            assert daemon.process
            daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log("console.sock was removed or replaced; it was created again")
        assert daemon.socket_path.stat().st_mode & 0o777 == 0o660
        daemon.assert_healthy()
        client.sendall(b"pid\n")
        assert client.recv(100).strip().isdigit()
    assert daemon.stop() == 0
    assert not daemon.socket_path.exists()


def test_a_socket_in_use_is_rejected(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket_path))
        other.listen()
        assert "another process listens on" in daemon.serve_rejected()
        assert daemon.socket_path.is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_path_that_is_not_a_socket_is_rejected_and_never_removed(daemon: Daemon, kind: str) -> None:
    path = daemon.socket_path
    if kind == "directory":
        path.mkdir()
    else:
        path.write_text("precious")
    if kind == "link":
        path.rename(daemon.root / "precious")
        path.symlink_to(daemon.root / "precious")
    assert "is not a socket" in daemon.serve_rejected()
    assert path.is_dir() or path.read_text() == "precious"


def test_the_exit_status_of_the_client_shows_success_or_failure(daemon: Daemon) -> None:
    assert daemon.console("version").returncode == 69
    daemon.start()
    done = daemon.console("version")
    assert (done.returncode, done.stderr) == (0, "")
    done = daemon.console("nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert daemon.console("config", "get", "nope").stderr == "Option 'nope' is not set in scope ''.\n"
    daemon.stop()
    done = daemon.console("version")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"error: no appliance answers at {daemon.socket_path}")
    assert command("console", "--nonsense").returncode == 2
    assert command("console", "--config", str(daemon.root / "none.yaml"), "version").returncode == 78


def test_what_others_wrote_does_not_control_a_terminal(daemon: Daemon) -> None:
    wicked = "a\u202eb\x1b[31m"
    program = 'program "wicked" { argv = ( "/usr/bin/printf" "a\\342\\200\\256b\\033[31m" ) }\n'
    daemon.conf.write_text(daemon.conf.read_text() + program)
    daemon.start()
    daemon.run("run wicked")
    daemon.say("sched in 900 config set a \u202eb")
    run = daemon.runs()[0]["run"]
    assert wicked in daemon.ask(f"sched show {run}"), "a pipe gets the bytes as they are"
    for line in (
        f"sched show {run}",
        f"json sched show {run}",
        "sched list",
        "sched history",
        "config show",
        "oops\u202e",
    ):
        shown = on_a_terminal("console", "--endpoint", str(daemon.socket_path), line).decode()
        assert all(part.replace("\t", "").isprintable() for part in shown.splitlines()), shown
        assert ("\\u{202e}" in shown or "\\u202e" in shown) == (line not in ("sched history", "config show")), shown


def test_each_line_of_stdin_is_a_command(daemon: Daemon) -> None:
    daemon.start()
    done = daemon.console(stdin="config set a 1\n\n  \r\nnonsense\nconfig get a")
    assert done.stdout == "a = 1\na = 1\n"
    assert done.stderr.startswith("error: unknown command `nonsense`")
    assert done.returncode == 1


WORDS = [
    "",
    " ",
    "a b",
    "a\tb",
    'a"b',
    "a'b",
    "a\\",
    "a\\ b",
    "\\",
    '\\"',
    "#",
    "=",
    "{",
    "é",
    "x" * 1000,
    "-1",
    "a\\\\'b\"",
]


def test_an_argument_reaches_the_program_unchanged(daemon: Daemon) -> None:
    daemon.conf.write_text(
        daemon.conf.read_text() + 'program "say" { argv = ( "/usr/bin/printf" "<%s>" ) args = any }\n'
    )
    daemon.start()
    done = daemon.console("run", "say", *WORDS)
    assert done.returncode == 0, done.stderr
    daemon.wait_for_state("succeeded")
    assert daemon.rows("SELECT output FROM outputs") == [("".join(f"<{word}>" for word in WORDS).encode(),)]


def test_the_socket_path_may_be_longer_than_a_socket_address(daemon: Daemon) -> None:
    deep = Daemon(daemon.root / ("d" * 100) / ("e" * 100))
    try:
        deep.start()
        assert deep.ask("version").startswith("# ")
        deep.kill()
        deep.start()
        assert deep.stop() == 0
        assert not deep.socket_path.exists()
    finally:
        deep.end()


def test_pending_answers_are_sent_before_the_appliance_ends(daemon: Daemon) -> None:
    daemon.start()
    answers = daemon.exchange(b"version\nshutdown\nversion\n").decode().splitlines()
    assert answers[0].startswith("# ")
    assert daemon.process
    assert daemon.process.wait(PATIENCE_SECONDS) == 0


def test_metrics_also_show_the_process_and_its_clients(daemon: Daemon) -> None:
    daemon.start()
    (line,) = daemon.exchange(request("json metrics")).splitlines()
    families = {family["name"]: family for family in json.loads(line)["data"]["families"]}
    assert families["console_clients"]["samples"] == [[[], 1]]
    of_process = ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total")
    for name in (*of_process, "store_bytes", "store_log_bytes"):
        ((_, value),) = families[name]["samples"]
        assert value > 0
    ((_, counts, seconds),) = families["turn_duration_seconds"]["samples"]
    assert sum(counts) > 0 and seconds > 0


def test_a_preview_is_made_by_a_child_and_ends_with_the_daemon(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched every 60 version")
    (line,) = daemon.exchange(request("json preview 10m limit 3")).splitlines()
    answer = json.loads(line)
    assert [row["command"] for row in answer["data"]] == ["version"] * 3
    assert "further rows follow" in answer["note"]
    table = daemon.exchange(b"preview 10m limit 3\n").decode()
    assert table.startswith("DUE TIME") and table.count("version") == 3


BROKEN = "\nsched {\n"
ELSEWHERE = 'sched { backing_store = "../var/other.db" }\n'


@pytest.mark.parametrize("files", [BROKEN, ELSEWHERE, None], ids=["broken", "another store", "missing"])
def test_a_preview_shows_what_the_appliance_will_do_while_the_files_are_rejected(
    daemon: Daemon, files: str | None
) -> None:
    """The files on the disk decided, so that there was no preview just when somebody needed it."""
    daemon.start()
    daemon.say("sched every 60 version")
    if files is None:
        daemon.conf.unlink()
        (daemon.etc / "appliance.yaml").unlink()
    else:
        daemon.conf.write_text(files)
    (line,) = daemon.exchange(request("json preview 11m limit 3")).splitlines()
    assert [row["command"] for row in json.loads(line)["data"]] == ["version"] * 3, line


def test_without_a_store_a_preview_says_what_is_wrong_with_the_files(daemon: Daemon) -> None:
    appliance = daemon.etc / "appliance.yaml"
    appliance.write_text(appliance.read_text().replace("spool: { path: ../var/spool }\n", ""))
    daemon.conf.write_text("A = 1\n")
    daemon.start()
    daemon.conf.write_text("A = 1\nx { }\n")
    (line,) = daemon.exchange(request("json preview 11m")).splitlines()
    (mistake,) = json.loads(line)["diagnostics"]
    assert mistake["code"] == "E516"
    assert f"there is no preview: {daemon.conf}:2:1: E201 unknown stanza `x`; " in mistake["message"]
    assert mistake["help"] == "jobs run as before"


@pytest.mark.parametrize("line", [b"quit", b" QUIT ", request("quit").strip()])
def test_quit_ends_the_connection_and_its_transaction(daemon: Daemon, line: bytes) -> None:
    """Whoever reads to the end waited for the idle timeout, and later lines were carried out."""
    daemon.start()
    with closing(daemon.connect()) as client:
        client.sendall(
            b"config begin\nconfig set message_expiration 7\npid\n" + line + b"\nconfig commit\nsched in 1h pid\n"
        )
        answers = b"".join(iter(lambda: client.recv(65_536), b""))
    assert daemon.process
    expected = b"Message_Expiration = 7\n%d\n" % daemon.process.pid
    assert answers.removeprefix(expected).count(b"\n") == line.startswith(b"{"), answers
    assert "86400" in daemon.say("config get message_expiration")
    assert json.loads(daemon.say("json summary"))["jobs"] == 0
