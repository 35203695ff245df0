"""The page over real sockets: who is at the other end, and what clients that misbehave achieve."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from schedappliance.web.access.guard import SECURITY_HEADERS
from schedappliance.web.server.connections import MOST_WAITING
from tests.support.doors import CHUNK, Page, page, read_answer
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

GET = ("GET / HTTP/1.1", "Host: localhost")
NOBODY = pwd.getpwnam("nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


@pytest.fixture
def by_socket(tmp_path: Path) -> Iterator[Page]:
    with page(tmp_path, "listen: web.sock", HEAD_SECONDS=1, BODY_SECONDS=1, UNREAD_SECONDS=1) as running:
        yield running


def _viewer(answer: tuple[int, dict[str, str], bytes]) -> object:
    assert answer[0] == 200, answer
    return json.loads(answer[2])["viewer"]


def _is_over(connection: socket.socket) -> bool:
    """Waits for the end of a connection."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65_536):
            pass
    return True


@contextlib.contextmanager
def _asked_by_nobody(running: Page, number: int, line: str) -> Iterator[None]:
    """Another user holds so many connections. On each he has asked completely for what has no end."""
    done, ready = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.close(done[1])
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            held = [running.connect() for _ in range(number)]
            for connection in held:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall("\r\n".join([line, GET[1], "", ""]).encode())
            os.write(ready[1], b"x")
            os.read(done[0], 1)
        finally:
            os._exit(0)
    os.close(ready[1])
    try:
        assert os.read(ready[0], 1)
        yield
    finally:
        for descriptor in (done[1], done[0], ready[0]):
            os.close(descriptor)
        os.waitpid(child, 0)


def _as_nobody(running: Page, *lines: str) -> tuple[int, bytes]:
    """Status and body of the answer to a request of another user."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            code, _, content = running.ask(*lines)
            os.write(writer, b"%d %s" % (code, content))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        status, _, body = file.read().partition(b" ")
    os.waitpid(child, 0)
    return int(status), body


@needs_root
def test_another_user_of_the_unix_socket_is_another_viewer(public_path: Path) -> None:
    web = "listen: web.sock, mode: 0666, user_header: X-User, proxies: daemon"
    with page(public_path, web) as running:
        assert _viewer(running.ask(*GET)) == {"name": "root", "uid": 0, "way": "socket"}
        status, body = _as_nobody(running, *GET)
        assert status == 200
        assert json.loads(body)["viewer"] == {"name": "nobody", "uid": NOBODY.pw_uid, "way": "socket"}
        assert _as_nobody(running, *GET, "X-User: daemon")[0] == 403
        assert running.ask(*GET, "X-User: nobody")[0] == 403, "root is not among the proxies either"


@needs_root
def test_a_proxy_is_known_by_its_user(public_path: Path) -> None:
    with page(public_path, "listen: web.sock, mode: 0666, user_header: X-User, proxies: nobody") as running:
        status, body = _as_nobody(running, *GET, "X-User: daemon")
        assert status == 200 and json.loads(body)["viewer"]["name"] == "daemon"
        assert json.loads(body)["viewer"]["way"] == "proxy"
        assert _as_nobody(running, *GET)[0] == 403


@needs_root
def test_the_mode_of_the_unix_socket_keeps_others_out(public_path: Path) -> None:
    with page(public_path, "listen: web.sock, group: daemon") as running:
        status = Path(running.place).stat()
        assert (status.st_mode & 0o777, status.st_gid) == (0o660, pwd.getpwnam("daemon").pw_gid)
        with pytest.raises(ValueError, match="invalid literal"):
            _as_nobody(running, *GET)


def test_the_link_opens_the_page_on_the_loopback_address_once(tmp_path: Path) -> None:
    with page(tmp_path, "mode: 0660") as running:
        assert running.ask(*GET)[0] == 401
        head = f"GET /enter?key={running.key} HTTP/1.1", "Host: localhost"
        status, headers, _ = running.ask(*head)
        assert status == 200
        assert running.ask(*head)[0] == 401
        cookie = f"Cookie: {headers['set-cookie'].partition(';')[0]}"
        assert _viewer(running.ask(*GET, cookie)) == {
            "name": pwd.getpwuid(os.geteuid()).pw_name,
            "uid": os.geteuid(),
            "way": "link",
        }
        assert running.ask("GET / HTTP/1.1", "Host: evil.example", cookie)[0] == 421
        assert running.ask("POST / HTTP/1.1", "Host: localhost", cookie, "Content-Length: 0")[0] == 403


def test_a_second_page_takes_another_port(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with page(tmp_path, "mode: 0660") as one, page(tmp_path / "b", "mode: 0660") as other:
        assert one.place != other.place
        assert (one.ask(*GET)[0], other.ask(*GET)[0]) == (401, 401)


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_systemd_may_pass_the_socket_on(tmp_path: Path, family: int) -> None:
    with socket.socket(family) as listener:
        listener.bind(str(tmp_path / "its") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen()
        with page(tmp_path, "title: x", pass_on=listener) as running:
            assert running.ask(*GET)[0] == (200 if family == socket.AF_UNIX else 401)


def test_half_open_connections_are_let_go(by_socket: Page) -> None:
    """More than the page has places for. None of them ends by itself."""
    half_open = [by_socket.connect() for _ in range(300)]
    for number, connection in enumerate(half_open):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall((b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n")[number % 3])
    assert by_socket.ask(*GET)[0] == 200, "others are served meanwhile"
    assert all(map(_is_over, half_open))
    for connection in half_open:
        connection.close()


def test_a_head_that_trickles_in_does_not_hold_a_connection(by_socket: Page) -> None:
    """The deadline is that of the whole head, and does not begin again with each byte."""
    with by_socket.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                connection.sendall(b"x")
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        raise BrokenPipeError


def test_a_second_head_has_a_deadline_too(by_socket: Page) -> None:
    with by_socket.connect() as connection:
        connection.sendall("\r\n".join([*GET, "", "", "GET / HT"]).encode())
        assert _is_over(connection)


def test_the_longest_waiting_connection_makes_room(tmp_path: Path) -> None:
    with page(tmp_path, "listen: web.sock", HEAD_SECONDS=3600, BURST_SECONDS=0) as running:
        waiting = [running.connect() for _ in range(MOST_WAITING + 5)]
        assert all(map(_is_over, waiting[:5]))
        assert running.ask(*GET)[0] == 200
        for connection in waiting[6:]:
            connection.sendall("\r\n".join([*GET, "Connection: close", "", ""]).encode())
            assert read_answer(connection)[0] == 200
        for connection in waiting:
            connection.close()


def test_a_request_is_answered_although_many_clients_come_at_once(tmp_path: Path) -> None:
    with page(tmp_path, "listen: web.sock", HEAD_SECONDS=3600, BURST_SECONDS=3600) as running:
        # While the page stands still, all of them connect, and the request of the first one arrives.
        running.process.send_signal(signal.SIGSTOP)
        clients = [running.connect() for _ in range(MOST_WAITING + 50)]
        clients[0].sendall("\r\n".join([*GET, "Connection: close", "", ""]).encode())
        running.process.send_signal(signal.SIGCONT)
        assert read_answer(clients[0])[0] == 200
        for connection in clients:
            connection.close()


def test_connections_on_which_nothing_is_asked_make_room(tmp_path: Path) -> None:
    """Those that have had an answer, and those whose body does not arrive, wait as those that have asked nothing."""
    with page(tmp_path, "listen: web.sock", HEAD_SECONDS=3600, BODY_SECONDS=3600, BURST_SECONDS=0) as running:
        body = [*GET, "Content-Length: 5", "", ""]
        held = [running.connect() for _ in range(3)]
        for connection in held:
            connection.sendall("\r\n".join(body).encode())
        waiting = [running.connect() for _ in range(MOST_WAITING)]
        assert all(map(_is_over, held))
        for connection in (*held, *waiting):
            connection.close()


@needs_root
@pytest.mark.parametrize("line", ["GET /?silent HTTP/1.1", "GET / HT", "GET /stream HTTP/1.1"])
def test_the_user_with_the_most_connections_makes_room_for_others(public_path: Path, line: str) -> None:
    most = partial(page, MOST_CONNECTIONS=20, MOST_WAITING=10, MOST_REQUESTS=200, HEAD_SECONDS=3600)
    with (
        most(public_path, "listen: web.sock, mode: 0666", UNREAD_SECONDS=3600) as running,
        running.connect() as waiting,
        running.connect() as asked,
    ):
        asked.sendall("\r\n".join(["GET /stream HTTP/1.1", GET[1], "", ""]).encode())
        with _asked_by_nobody(running, 40, line):
            assert [running.ask(*GET)[0] for _ in range(5)] == [200] * 5
            assert running.ask("GET /healthz HTTP/1.1", GET[1])[0] == 200
            waiting.sendall("\r\n".join([*GET, "Connection: close", "", ""]).encode())
            assert read_answer(waiting)[0] == 200, "it has waited longest, but its user has few connections"
            assert asked.recv(100).startswith(b"HTTP/1.1 200 ")


@needs_root
def test_health_is_answered_although_another_user_asks_for_it_all_the_time(public_path: Path) -> None:
    with (
        page(public_path, "listen: web.sock, mode: 0666", MOST_REQUESTS=8) as running,
        _asked_by_nobody(running, 8, "GET /healthz?silent HTTP/1.1"),
    ):
        assert _as_nobody(running, "GET /healthz HTTP/1.1", GET[1])[0] == 503
        assert running.ask("GET /healthz HTTP/1.1", GET[1])[0] == 200


def test_over_tcp_the_address_with_the_most_connections_makes_room(tmp_path: Path) -> None:
    with (
        page(tmp_path, "mode: 0660", MOST_CONNECTIONS=20, MOST_REQUESTS=8) as running,
        contextlib.ExitStack() as held,
    ):
        for _ in range(40):
            connection = held.enter_context(running.connect_from("127.0.0.2"))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"GET /healthz?silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert running.ask("GET /healthz HTTP/1.1", GET[1])[0] == 200


def test_a_body_that_does_not_arrive_ends_the_connection(by_socket: Page) -> None:
    with by_socket.connect() as connection:
        head = ["POST / HTTP/1.1", "Host: localhost", "Origin: http://localhost", "Content-Length: 5", "", "abc"]
        connection.sendall("\r\n".join(head).encode())
        assert read_answer(connection)[0] == 408


def test_chunks_beyond_the_limit_end_the_connection(by_socket: Page) -> None:
    head = ["POST / HTTP/1.1", "Host: localhost", "Origin: http://localhost", "Transfer-Encoding: chunked", "", ""]
    with by_socket.connect() as connection:
        connection.sendall("\r\n".join(head).encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(1000):
                connection.sendall(b"10000\r\n" + CHUNK + b"\r\n")
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65_536):
                data += chunk
        # The kernel discards the answer if the client has sent more than was read.
        assert data == b"" or data.startswith(b"HTTP/1.1 413 ")
    assert by_socket.ask(*GET)[0] == 200


@pytest.mark.parametrize("line", ["X-{0}: y", "X: {0}" + "y" * 1000, "Cookie: {0}=1"])
def test_a_flood_of_headers_is_refused(by_socket: Page, line: str) -> None:
    with by_socket.connect() as connection:
        connection.sendall("\r\n".join([*GET, ""]).encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number in range(100_000):
                connection.sendall(f"{line.format(number)}\r\n".encode())
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65_536):
                data += chunk
        assert data == b"" or data.startswith(b"HTTP/1.1 4")
    assert by_socket.ask(*GET)[0] == 200


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9\r\n\r\n", b"\r\n" * 50_000, b"GET\x00/ x\r\n\r\n"]
)
def test_what_is_not_http_is_refused(by_socket: Page, data: bytes) -> None:
    with by_socket.connect() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        assert _is_over(connection)
    assert by_socket.ask(*GET)[0] == 200


def test_the_answer_to_what_is_not_http_has_the_security_headers(by_socket: Page) -> None:
    status, headers, _ = by_socket.ask("GET / HTTP/1.1", "Host: localhost", "no header")
    assert status == 400
    assert headers.items() >= SECURITY_HEADERS.items()


def test_an_upgrade_is_an_ordinary_request(by_socket: Page) -> None:
    answer = by_socket.ask(*GET, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    assert answer[0] == 200


def test_an_unread_stream_ends_and_takes_little_memory(by_socket: Page) -> None:
    with by_socket.connect() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert by_socket.process.stdout
        line = by_socket.process.stdout.readline()
        number = re.fullmatch(r"the stream ended after (\d+) chunks\n", line)
        assert number and int(number[1]) < 50, "buffers of the kernel and of the page"


def test_sigterm_ends_the_page_although_a_stream_is_read(by_socket: Page) -> None:
    with by_socket.connect() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(10)
        by_socket.process.send_signal(signal.SIGTERM)
        assert _is_over(connection)
        assert by_socket.process.wait(PATIENCE_SECONDS) == 0
    assert not Path(by_socket.place).exists()


def test_the_server_does_not_say_what_it_is(by_socket: Page) -> None:
    assert "server" not in by_socket.ask(*GET)[1]
