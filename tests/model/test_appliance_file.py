"""The appliance file: its keys and defaults, where its paths start, and its diagnostics."""

from __future__ import annotations

import errno
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import Diagnostic
from schedappliance.model.appliance_file import (
    KEYS,
    Address,
    ApplianceFile,
    WebSection,
    json_schema,
    node_of_host,
    read_appliance_file,
)
from tests.support.diagnostics import pointed
from tests.support.memory_files import FOLDER, held

PATH = FOLDER / "appliance.yaml"


def _read(text: str) -> tuple[ApplianceFile | None, list[Diagnostic]]:
    return read_appliance_file(PATH, held({"appliance.yaml": text}))


def _good(text: str) -> ApplianceFile:
    file, mistakes = _read(text)
    assert file is not None, [d.brief() for d in mistakes]
    assert mistakes == []
    return file


def test_every_key_is_read() -> None:
    file = _good(
        "node: n-1.example.com\nconfig: sched.conf\n"
        'console: { listen: ../var/s.sock, mode: "0600", group: adm, timeout: 2m }\n'
        "spool: { path: ../var/spool }\nlog: { file: ../var/log, level: DEBUG, format: json, fields: { env: prod, rack: 7 },\n"
        "  programs: true }\n"
    )
    assert (file.node, file.config) == ("n-1.example.com", FOLDER / "sched.conf")
    assert (file.listen, file.mode, file.group) == (Path("/nowhere/var/s.sock"), 0o600, "adm")
    assert (file.idle_timeout_ms, file.spool) == (120_000, Path("/nowhere/var/spool"))
    assert file.log_file == Path("/nowhere/var/log")
    assert (file.log_level, file.log_format, file.log_fields) == ("debug", "json", {"env": "prod", "rack": "7"})
    assert file.log_programs


def test_every_key_of_the_spool_is_read() -> None:
    file = _good(
        "config: c\nspool: { path: spool, group: adm, max_bytes: 64k, max_waiting: 10, keep: 2h, keep_results: 5 }\n"
    )
    assert (file.spool_group, file.max_drop_bytes, file.max_waiting) == ("adm", 65_536, 10)
    assert (file.keep_ms, file.keep_results) == (7_200_000, 5)


def test_the_keys_of_the_spool_have_defaults() -> None:
    file = _good("config: c\nspool: { path: spool }\n")
    assert (file.spool_group, file.max_drop_bytes, file.max_waiting) == (None, 1024 * 1024, 100_000)
    assert (file.keep_ms, file.keep_results) == (7 * 24 * 3_600_000, 100_000)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("max_bytes: 0", "E204"),
        ("max_bytes: 17m", "E204"),
        ("max_bytes: large", "E203"),
        ("max_waiting: 0", "E204"),
        ("max_waiting: 1.5", "E203"),
        ("keep: 0", "E204"),
        ("keep: ever", "E203"),
        ("keep_results: -1", "E203"),
        ("group: two words", "E203"),
    ],
)
def test_a_senseless_spool_limit_is_an_error(key: str, code: str) -> None:
    file, mistakes = _read(f"config: c\nspool: {{ path: spool, {key} }}\n")
    assert file is None
    assert [mistake.code for mistake in mistakes] == [code]


@pytest.mark.parametrize("section", ["console", "web"])
def test_only_the_name_of_a_socket_is_limited(section: str) -> None:
    """The doctor found nothing, and the appliance did not start."""
    directory = "d" * 200
    _good(f"config: c\n{section}: {{ listen: {directory}/{'s' * 80} }}\n")
    file, mistakes = _read(f"config: c\n{section}: {{ listen: {directory}/{'s' * 79}é }}\n")
    assert file is None
    (mistake,) = mistakes
    assert (mistake.code, mistake.message) == ("E204", "the file name of the socket is too long: 81 bytes")


@pytest.mark.parametrize("key", ["config: {}", "spool: {{ path: {} }}", "log: {{ file: {} }}", "web: {{ tokens: {} }}"])
def test_a_name_in_a_path_has_at_most_255_bytes(key: str) -> None:
    others = "" if key.startswith("config") else "config: c\n"
    _good(others + key.format(f"{'d' * 255}/{'f' * 255}") + "\n")
    file, (mistake,) = _read(others + key.format(f"d/{'é' * 128}/f") + "\n")
    assert file is None
    assert (mistake.code, mistake.message) == ("E204", "a name in the path is too long: 256 bytes")


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("a.example.com", "a.example.com"),
        ("foo bar", "foo-bar"),
        ("a/b%{x}*", "a-b--x--"),
        ("a\nb", "a-b"),
        ("\udce9tude", "tude"),
        ("\udcff\udcfe", "localhost"),
        ("", "localhost"),
    ],
)
def test_a_host_name_makes_a_node(host: str, node: str) -> None:
    assert node_of_host(host) == node
    assert _good(f"config: c\nnode: {node}\n").node == node


def test_every_key_of_the_page_is_read() -> None:
    file = _good(
        "config: c\nweb: { listen: ../run/web.sock, mode: 600, group: adm, user_header: X-User, proxies: [www-data, 33],\n"
        "  hosts: [Sched.Example.com., '[::1]'], read_only: true, url: 'HTTPS://sched.example.com:8443/', title: Night jobs,\n"
        "  history: 2d, tokens: ../etc/tokens }\n"
    )
    assert file.web == WebSection(
        listen=Path("/nowhere/run/web.sock"),
        mode=0o600,
        group="adm",
        user_header="X-User",
        proxies=("www-data", "33"),
        hosts=("sched.example.com", "[::1]"),
        read_only=True,
        url="https://sched.example.com:8443",
        title="Night jobs",
        history_ms=2 * 86_400_000,
        tokens=Path("/nowhere/etc/tokens"),
    )


def test_the_keys_of_the_page_have_defaults() -> None:
    web = _good("config: c\n").web
    assert (web.listen, web.mode, web.group, web.user_header, web.proxies, web.hosts) == (
        None,
        0o660,
        None,
        None,
        (),
        (),
    )
    assert (web.read_only, web.url, web.title, web.history_ms) == (False, None, None, 14 * 86_400_000)
    assert web.tokens == FOLDER / "web-tokens"


@pytest.mark.parametrize(
    ("text", "listen", "is_loopback"),
    [
        ("127.0.0.1:8385", Address("127.0.0.1", 8385), True),
        ("localhost:80", Address("127.0.0.1", 80), True),
        ('"[::1]:8385"', Address("::1", 8385), True),
        ("127.8.8.8:1", Address("127.8.8.8", 1), True),
        ("0.0.0.0:8385", Address("0.0.0.0", 8385), False),
        ('"[::]:8385"', Address("::", 8385), False),
        ("192.0.2.7:8385", Address("192.0.2.7", 8385), False),
    ],
)
def test_the_page_listens_on_an_address(text: str, listen: Address, is_loopback: bool) -> None:
    address = _good(f"config: c\nweb: {{ listen: {text} }}\n").web.listen
    assert address == listen and listen.is_loopback == is_loopback
    assert str(listen).removeprefix("127.0.0.1") == text.strip('"').removeprefix("localhost").removeprefix("127.0.0.1")


def test_a_single_value_is_a_list() -> None:
    assert _good("config: c\nweb: { hosts: a.example.com }\n").web.hosts == ("a.example.com",)


def test_only_config_is_required() -> None:
    file = _good("config: /etc/x.conf\n")
    assert (file.config, file.node, file.listen, file.spool, file.group) == (
        Path("/etc/x.conf"),
        None,
        None,
        None,
        None,
    )
    assert (file.mode, file.idle_timeout_ms, file.log_level, file.log_format) == (0o660, 60_000, "info", "text")


@pytest.mark.parametrize("mode", ["0660", '"0660"', "660", "'660'"])
def test_a_mode_is_octal_with_or_without_quotes(mode: str) -> None:
    assert _good(f"config: c\nconsole: {{ mode: {mode} }}\n").mode == 0o660


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_help_and_its_place(key: str) -> None:
    section, _, name = key.rpartition(".")
    text = f"{section}: {{ {name}: [ ] }}\n" if section else f"{key}: [ ]\n"
    _, mistakes = _read(text if key == "config" else f"config: c\n{text}")
    assert [(d.code, pointed(d)) for d in mistakes] == [("E203", "[ ]")]
    assert KEYS[key].help


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("config: c\nnode: a b\n", "E208", "a b"),
        ("config: c\nnode: -x\n", "E208", "-x"),
        (f"config: c\nnode: {'x' * 201}\n", "E208", "x" * 201),
        pytest.param('config: ""\n', "E203", '""'),
        ("config:\n", "E203", "config"),
        ("config: null\n", "E203", "config"),
        ("config: c\nconsole: { listen: null }\n", "E203", "listen"),
        ("config: c\nspool: { path: ~ }\n", "E203", "path"),
        ("config: c\nspool: { path: ~/spool }\n", "E203", "~/spool"),
        ("config: c\nconsole: { listen: '~/s.sock' }\n", "E203", "'~/s.sock'"),
        ("config: c\nweb: { listen: ~/s.sock }\n", "E203", "~/s.sock"),
        ("config: c\nconsole: { timeout: Null }\n", "E203", "timeout"),
        ("config: c\nlog: { fields: { env: ~ } }\n", "E203", "env"),
        ("config: c\nlog: { fields: { env: } }\n", "E203", "env"),
        ("config: c\nweb: { hosts: [ a, null ] }\n", "E203", "null"),
        ("config: [ c ]\n", "E203", "[ c ]"),
        ("config: c\nconsole: x\n", "E203", "x"),
        ("config: c\nconsole: { listen: { } }\n", "E203", "{ }"),
        ("config: c\nconsole: { mode: 999 }\n", "E203", "999"),
        ("config: c\nconsole: { timeout: 0 }\n", "E204", "0"),
        ("config: c\nconsole: { timeout: 12:30:00 }\n", "E203", "12:30:00"),
        ("config: c\nconsole: { group: a b }\n", "E203", "a b"),
        ("config: c\nlog: { level: loud }\n", "E203", "loud"),
        ("config: c\nlog: { fields: prod }\n", "E203", "prod"),
        ("config: c\nlog: { fields: { env: [ a ] } }\n", "E203", "[ a ]"),
        ("config: c\nlog: { fields: { message: a } }\n", "E208", "message"),
        ("config: c\nlog: { fields: { a b: c } }\n", "E208", "a b"),
        ("config: c\nlog: { format: on }\n", "E203", "on"),
        ("config: c\nweb: { listen: 'example.com:80' }\n", "E203", "'example.com:80'"),
        ("config: c\nweb: { listen: 127.0.0.1 }\n", "E203", "127.0.0.1"),
        ("config: c\nweb: { listen: '::1' }\n", "E203", "'::1'"),
        ("config: c\nweb: { listen: localhost }\n", "E203", "localhost"),
        ("config: c\nweb: { listen: 8399 }\n", "E203", "8399"),
        ("config: c\nweb: { listen: '127.0.0.1:0' }\n", "E204", "'127.0.0.1:0'"),
        ("config: c\nweb: { hosts: [ a, 'a b' ] }\n", "E208", "'a b'"),
        ("config: c\nweb: { hosts: [ a, 'a:80' ] }\n", "E208", "'a:80'"),
        ("config: c\nweb: { hosts: [ a, { } ] }\n", "E203", "{ }"),
        ("config: c\nweb: { url: 'https://a/b' }\n", "E203", "'https://a/b'"),
        ("config: c\nweb: { url: 'ftp://a' }\n", "E203", "'ftp://a'"),
        ("config: c\nweb: { user_header: 'X User', proxies: a }\n", "E208", "'X User'"),
        ("config: c\nweb: { user_header: X-User }\n", "E205", "user_header"),
        ("config: c\nweb: { proxies: www-data }\n", "E205", "proxies"),
        ("config: c\nweb: { history: 0 }\n", "E204", "0"),
        ("config: c\nweb: { title: '' }\n", "E203", "''"),
        ("config: c\nlisten: x\n", "E209", "listen"),
        ("config: c\nconsole: { lisen: x }\n", "E209", "lisen"),
        ("config: c\nConfig: c\n", "E209", "Config"),
        ("config: c\nspool: { spool.path: x }\n", "E209", "spool.path"),
        ("config: c\nconfig: d\n", "E210", "config"),
        ("- config\n", "E203", "- config\n"),
        ("config: &a c\n", "E112", "&a c"),
        ("config: [\n", "E111", ""),
        ("config: 'c\n", "E111", ""),
        ("config:\n\tc\n", "E111", ""),
        ("config: " + "[" * 20 + "]" * 20, "E108", "["),
    ],
)
def test_a_mistake_is_reported_once_at_its_place(text: str, code: str, place: str) -> None:
    file, mistakes = _read(text)
    assert file is None
    assert [(d.code, pointed(d)) for d in mistakes] == [(code, place)]
    assert all(mistake.help for mistake in mistakes)


def test_a_forbidden_character_is_the_only_mistake_reported() -> None:
    file, (mistake,) = _read("config: c\r\nnode: \x07\n")
    assert (file, mistake.code, mistake.place()[:2]) == (None, "E106", (2, 7))


@pytest.mark.parametrize("text", ["", "node: x\n", "# config: c\n"])
def test_a_missing_config_key_gets_a_remedy(text: str) -> None:
    file, (mistake,) = _read(text)
    assert (file, mistake.code, mistake.span) == (None, "E205", None)
    assert "`config" in mistake.help


@pytest.mark.parametrize("text", ["confg: c\n", "stanzas: c\n"])
def test_an_unknown_key_in_place_of_the_config_key_is_one_mistake(text: str) -> None:
    file, (mistake,) = _read(text)
    assert (file, mistake.code) == (None, "E209")


def test_every_mistake_is_reported() -> None:
    _, mistakes = _read("config: c\nnod: x\nconsole: { mode: x, timeout: -1 }\nlog: { level: inof }\n")
    assert sorted(d.code for d in mistakes) == ["E203", "E203", "E204", "E209"]
    assert "did you mean `info`?" in [d.help for d in mistakes]
    assert "did you mean `node`?" in [d.help for d in mistakes]


def test_a_file_that_is_missing_is_a_mistake() -> None:
    file, (mistake,) = read_appliance_file(PATH, held({}))
    assert (file, mistake.code) == (None, "E307")


def test_a_key_without_a_value_can_be_removed() -> None:
    _, (mistake,) = _read("config: c\nspool: { path: ~ }\n")
    assert mistake.message == "missing value for key `spool.path`"
    assert mistake.help.startswith("give a value, or remove the key; path of the spool directory")


@pytest.mark.parametrize("name", ["'null'", '"~"', "nullable", "~x"])
def test_a_quoted_null_is_a_name(name: str) -> None:
    assert _good(f"config: {name}\n").config == FOLDER / name.strip("'\"")


def test_a_file_that_may_not_be_read_was_named() -> None:
    def closed(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    _, (mistake,) = read_appliance_file(PATH, closed)
    assert (mistake.code, mistake.help) == ("E307", "let this user read it and enter its directory")


def test_a_missing_key_is_reported_beside_an_invalid_value() -> None:
    _, mistakes = _read("log: { level: loud }\n")
    assert sorted(d.code for d in mistakes) == ["E203", "E205"]


def test_a_path_that_no_file_system_can_hold_is_rejected() -> None:
    file, mistakes = _read('config: "\\ud800"\n')
    assert file is None and mistakes


texts = st.text() | st.lists(st.sampled_from([*KEYS, "console", ":", " ", "\n", "{", "}", "x", "5", "- "])).map("".join)


@given(texts)
def test_no_text_raises(text: str) -> None:
    file, mistakes = _read(text)
    assert (file is None) == any(mistake.is_error for mistake in mistakes)


# As YAML writes them; without quotes, an editor takes some of them for numbers or booleans.
_WRITTEN = (
    *("5", '"5"', "1.5", "0660", '"0660"', "15m", "64k", "x", "true", "True", '"TRUE"', "yes", "Off", "1", '"0"'),
    *("example.com", "/run/x.sock", "127.0.0.1:8385", "https://sched.example.com", "INFO", "debug", "Json", "text"),
    *("[ 5, x ]", "[ true, 1.5 ]", "{ site: 5, x: true, y: z }"),
)


@pytest.mark.parametrize("name", KEYS)
def test_the_schema_takes_whatever_the_appliance_takes(name: str) -> None:
    schema, taken, rejected = json_schema(), [], []
    for written in _WRITTEN:
        value = written
        for part in reversed(name.split(".")):
            value = f"{{ {part}: {value} }}"
        text = value if name == "config" else f"{value[:-1]}, config: sched.conf }}"
        # One of two keys that need each other is missing.
        if {mistake.code for mistake in _read(text)[1]} <= {"E205"}:
            taken.append(written)
            rejected += [written for _ in jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text))]
    assert (bool(taken), rejected) == (True, [])
