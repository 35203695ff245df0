"""Where the page listens, and where it does not."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.model.appliance_file import Address, ApplianceFile, usable_appliance_file
from schedappliance.model.token_file import Token
from schedappliance.web.access.tokens import hash_of
from schedappliance.web.server.listening import sockets_of_systemd
from schedappliance.web.server.serving import open_doors
from schedappliance.web.settings import WebSettings, listening_at, web_settings, without_port
from tests.support.doors import Page, page, read_answer
from tests.web.access.test_identity import SETTINGS


def _unusable(settings: WebSettings) -> str:
    with pytest.raises(Unusable) as unusable, open_doors(settings, pytest.fail):
        pass
    return str(unusable.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_page_does_not_listen_for_other_machines_without_a_token(tmp_path: Path, host: str) -> None:
    settings = replace(SETTINGS, listen=Address(host, 0), tokens=tmp_path / "tokens")
    for text in (None, "# nothing\n"):
        if text:
            settings.tokens.write_text(text)
        message = _unusable(settings)
        assert "other machines can reach the page" in message and "schedappliance web token add" in message
    settings.tokens.write_text(Token("one", "nobody", hash_of("x"), "now").line)
    lines: list[str] = []
    with open_doors(settings, lines.append) as doors:
        assert doors.link is None, "there is no link for other machines"
    assert len(lines) == 1


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = replace(SETTINGS, listen=Address("127.0.0.1", port), tokens=tmp_path / "tokens")
        assert f"another process listens on 127.0.0.1:{port}" in _unusable(settings)


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    settings = replace(SETTINGS, listen=Address("192.0.2.1", 8385), tokens=tmp_path / "tokens")
    assert "cannot listen on 192.0.2.1:8385" in _unusable(settings)


def test_a_unix_socket_in_use_is_not_replaced(tmp_path: Path) -> None:
    settings = replace(SETTINGS, listen=tmp_path / "web.sock", tokens=tmp_path / "tokens")
    with open_doors(settings, lambda _line: None):
        message = _unusable(settings)
        assert "another process listens on" in message and "`web.listen`" in message
    assert not (tmp_path / "web.sock").exists()


def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    settings = replace(SETTINGS, listen=tmp_path / "web.sock", group="no-such-group", tokens=tmp_path / "tokens")
    assert "no group `no-such-group`" in _unusable(settings)


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "A": "b"}
    assert sockets_of_systemd(environ, os.getpid()) == ()
    assert environ == {"A": "b"}, "no child takes them for its own"


def _file(tmp_path: Path, web: str) -> ApplianceFile:
    path = tmp_path / "appliance.yaml"
    path.write_text(f"node: n-1\nconfig: c\nweb: {{ {web} }}\n")
    return usable_appliance_file(path)


def test_every_name_of_the_page_is_one_of_its_hosts(tmp_path: Path) -> None:
    web = "listen: '192.0.2.7:80', hosts: [a.example.com], url: 'https://b.example.com:8443', proxies: [root, 33], user_header: U"
    settings = web_settings(_file(tmp_path, web))
    names = {"localhost", "127.0.0.1", "[::1]", "192.0.2.7", "a.example.com", "b.example.com"}
    assert settings.hosts == names
    assert (settings.proxies, settings.title, settings.tokens) == (frozenset((0, 33)), "n-1", tmp_path / "web-tokens")


def test_a_proxy_that_the_machine_does_not_know_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no user `no-such-user`"):
        web_settings(_file(tmp_path, "proxies: no-such-user, user_header: U"))


def test_the_command_line_may_name_another_place(tmp_path: Path) -> None:
    settings = web_settings(_file(tmp_path, "listen: web.sock"))
    assert listening_at(settings, None).listen == tmp_path / "web.sock"
    assert listening_at(settings, "[::1]:80").listen == Address("::1", 80)
    assert listening_at(settings, "/x.sock").listen == Path("/x.sock")
    with pytest.raises(Unusable, match="invalid address"):
        listening_at(settings, "example.com:80")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a:80", "a"),
        ("A.", "a"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("a:b", "a:b"),
        ("a:", "a"),
    ],
)
def test_the_name_in_the_header_host(host: str, name: str) -> None:
    assert without_port(host) == name


def _next_line(running: Page) -> str:
    assert running.process.stdout
    return running.process.stdout.readline().strip()


def test_a_removed_socket_is_made_again(tmp_path: Path) -> None:
    """Clients that are connected stay."""
    with page(tmp_path, "listen: web.sock", AUDIT_SECONDS=0.1) as running, running.connect() as before:
        for _ in range(2):
            Path(running.place).unlink()
            assert _next_line(running) == (
                f"the page's socket {running.place} was removed or replaced; it was created again"
            )
            assert running.ask("GET / HTTP/1.1", "Host: localhost")[0] == 200
        before.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_answer(before)[0] == 200


def test_what_takes_the_place_of_the_socket_is_named_until_it_is_gone(tmp_path: Path) -> None:
    with page(tmp_path, "listen: web.sock", AUDIT_SECONDS=0.1) as running:
        place = Path(running.place)
        place.unlink()
        place.write_text("mine")
        while "cannot be created again" not in (line := _next_line(running)):
            assert "it was created again" in line, "the audit came between the two"
            place.unlink()
            place.write_text("mine")
        assert f"{place} exists and is not a socket" in line
        assert place.read_text() == "mine"
        place.unlink()
        assert _next_line(running).endswith("it was created again")
        assert running.ask("GET / HTTP/1.1", "Host: localhost")[0] == 200
    assert not place.exists()
