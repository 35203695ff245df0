"""The appliance file, `appliance.yaml`: paths and settings of the daemon, read at start.

Rule: a relative path in the file is relative to the directory of the file.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from schedappliance.diagnostics import (
    Diagnostic,
    InvalidValue,
    Source,
    Span,
    Unusable,
    did_you_mean,
    has_errors,
    nearest,
)
from schedappliance.model import values
from schedappliance.model.files import ReadFile, link_to, read_regular, real_path
from schedappliance.syntax.text import decode
from schedappliance.syntax.yaml import YamlList, YamlMapping, YamlNode, YamlScalar, parse_yaml

MAX_NUMBER = 10_000_000
MAX_DROP_BYTES = 16 * 1024 * 1024
# An address has 107 bytes. The directory of the socket and the suffix of a new one take the rest.
MAX_SOCKET_NAME = 80

# The longest name of a file in Linux; see NAME_MAX in limits.h.
MAX_NAME = 255
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,199}", re.ASCII)
_NO_PART_OF_A_NODE = re.compile(r"[^A-Za-z0-9.-]", re.ASCII)
# The words of YAML for no value; see https://yaml.org/spec/1.2.2/#10311-null. They would be strange paths and names.
_NULL = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Address:
    """An address of TCP. `host`: of IPv4 or IPv6, without brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WebSection:
    """The section `web`, for `schedappliance web`. None: `listen`: 127.0.0.1:8385; `title`: the node.

    `proxies`: users, by name or number. `hosts`: names beside those of the loopback address.
    """

    listen: Path | Address | None
    mode: int
    group: str | None
    user_header: str | None
    proxies: tuple[str, ...]
    hosts: tuple[str, ...]
    read_only: bool
    url: str | None
    title: str | None
    history_ms: int
    tokens: Path


@dataclass(frozen=True, slots=True)
class ApplianceFile:
    """The values of the file. None: `listen`: no console; `spool`: no spool; `node`: the host name; `log_file`: stderr.

    `places`: where the file gives the keys that it has. `links`: the directories of socket, spool and log that symbolic links lead
    to, by their paths in the file.
    """

    path: Path
    node: str | None
    config: Path
    listen: Path | None
    mode: int
    group: str | None
    idle_timeout_ms: int
    spool: Path | None
    spool_is_relative: bool
    spool_group: str | None
    max_drop_bytes: int
    max_waiting: int
    keep_ms: int
    keep_results: int
    log_file: Path | None
    log_level: str
    log_format: str
    log_fields: Mapping[str, str]
    log_programs: bool
    web: WebSection
    places: Mapping[str, tuple[Source, Span]]
    links: Mapping[Path, Path] = field(default_factory=dict)


# In a schema, `pattern` and `minLength` count only for strings, and `minimum` only for numbers.
_SCALAR = ("string", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file. `read` turns its text into the value, and raises InvalidValue.

    `schema`: the JSON Schema of the value, with which editors check while typing. It must take what `read` takes, and a text
    without quotes may be a number or a boolean for an editor: `node: 5`. `is_mapping`: its value is a mapping of
    any names to texts; `read` reads a name. `is_list`: its value is a list of texts, or one text; `read` reads one.
    """

    read: Callable[[str], Any]
    help: str
    default: Any = None
    required: bool = False
    schema: dict[str, Any] = field(default_factory=lambda: {"type": [*_SCALAR], "minLength": 1})
    is_mapping: bool = False
    is_list: bool = False


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise InvalidValue(f"invalid node name `{text}`", "use letters, digits, `.` and `-`", "E208")
    return text


def node_of_host(name: str) -> str:
    """The node of a host. Each character of its name that a node cannot have becomes `-`, also bytes that are not UTF-8."""
    return _NO_PART_OF_A_NODE.sub("-", name).lstrip(".-")[:200] or "localhost"


def _path(text: str) -> str:
    if not text:
        raise InvalidValue("the path is empty", "give a path")
    if not text.isprintable():
        raise InvalidValue("the path contains an unprintable character", "remove it", "E106")
    values.without_home(text)
    if (length := max(len(os.fsencode(part)) for part in text.split("/"))) > MAX_NAME:
        raise InvalidValue(f"a name in the path is too long: {length} bytes", f"shorten it to {MAX_NAME} bytes", "E204")
    return text


def _socket(text: str) -> str:
    """A path whose directory is opened first, so that only the name of the socket is limited by the address of a socket."""
    if (length := len(os.fsencode(Path(_path(text)).name))) > MAX_SOCKET_NAME:
        remedy = f"shorten it to {MAX_SOCKET_NAME} bytes; the path of its directory may have any length"
        raise InvalidValue(f"the file name of the socket is too long: {length} bytes", remedy, "E204")
    return text


def _word(text: str) -> str:
    if not text or text.split() != [text]:
        raise InvalidValue(f"`{text}` is not one word", "give one word")
    return text


def _field(text: str) -> str:
    if not _FIELD.fullmatch(text):
        raise InvalidValue(f"invalid name of a field `{text}`", "use letters, digits and `_`", "E208")
    if text in LOG_KEYS:
        raise InvalidValue(f"each line of the log already has a field `{text}`", "choose another name", "E208")
    return text


def _drop_size(text: str) -> int:
    """A drop is one event. During a larger one, all other users would wait too long."""
    size = values.size(text)
    if not 1 <= size <= MAX_DROP_BYTES:
        raise InvalidValue(f"size `{text}` is out of range", "give a size from 1 to `16m`", "E204")
    return size


def _number(text: str) -> int:
    return values.integer(text, 1, MAX_NUMBER)


def _is_host(text: str) -> bool:
    """Whether a text is an address without a port, which would be a strange name of a socket."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text == "localhost"
    return True


def _listen(text: str) -> str | Address:
    """A path, or an address with a port. A name of a host could mean other addresses tomorrow."""
    host, colon, port = text.rpartition(":")
    if "/" in text or not (colon or text.isdecimal() or _is_host(text)):
        return _socket(text)
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        return Address(str(ipaddress.ip_address(host)), values.integer(port, 1, 65_535))
    except ValueError:
        remedy = "write a path with `/`, or an address such as `127.0.0.1:8385`"
        raise InvalidValue(f"invalid address `{text}`", remedy) from None


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise InvalidValue(f"invalid name of a header `{text}`", "use letters, digits and `-`", "E208")
    return text


def _host(text: str) -> str:
    """The name of a host as a browser writes it, without the port."""
    name = text.lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        remedy = "write the name in the address of the page, such as `sched.example.com`, without a port"
        raise InvalidValue(f"invalid name of a host `{text}`", remedy, "E208")
    return name


def _url(text: str) -> str:
    if not _URL.fullmatch(text):
        remedy = "write `https://NAME` or `https://NAME:PORT`; the page has no path of its own"
        raise InvalidValue(f"invalid URL `{text}`", remedy)
    return text.lower().removesuffix("/")


def _title(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= 100:
        raise InvalidValue("invalid title", "write at most 100 printable characters")
    return text


# The directories of a spool.
SPOOL_FOLDERS = ("tmp", "new", "work", "done", "failed")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
# The fields that a line of the log may have of its own.
LOG_KEYS = (
    *("time", "level", "message", "traceback", "event", "job", "job_name", "run", "program", "state", "duration_ms"),
    *("user", "origin"),
)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)
_URL = re.compile(
    r"https?://([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?/?", re.ASCII | re.IGNORECASE
)

_DURATION = {"type": ["number", "string"], "examples": [60, "15m"]}
_MODE = {"type": ["string", "integer"], "pattern": "^0?[0-7]{3}$"}
_SIZE = {"type": ["integer", "string"], "examples": [65536, "64k", "1m"]}
_NUMBER = {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": MAX_NUMBER}
_LIST = {"type": [*_SCALAR, "array"], "items": {"type": [*_SCALAR]}}


def _in_any_case(words: Iterable[str]) -> str:
    """A pattern for one of these words. JSON Schema has no flag for it."""
    return f"^({'|'.join(''.join(f'[{c.upper()}{c}]' if c.isalpha() else c for c in word) for word in words)})$"


_BOOLEAN = {
    "type": ["boolean", "integer", "string"],
    "pattern": _in_any_case(values.BOOLEANS),
    "minimum": 0,
    "maximum": 1,
}


def _one_of(words: tuple[str, ...]) -> dict[str, Any]:
    """A schema from which editors complete the words, and which takes them in any case."""
    return {"anyOf": [{"enum": [*words]}, {"type": "string", "pattern": _in_any_case(words)}]}


# The keys by their full name; a dot separates a section from its key.
KEYS: dict[str, Key] = {
    "node": Key(
        _node,
        "name of this node, the first part of every job id; default: the host name",
        schema={"type": [*_SCALAR], "pattern": f"^{_NODE.pattern}$"},
    ),
    "config": Key(_path, "path of the stanza file", required=True),
    "console.listen": Key(_socket, "path of the console's Unix socket; without it, there is no console"),
    "console.mode": Key(values.octal, "permissions of the socket", 0o660, schema=_MODE),
    "console.group": Key(_word, "group that owns the socket"),
    "console.timeout": Key(
        values.positive_duration, "time after which an idle client is disconnected", 60_000, schema=_DURATION
    ),
    "spool.path": Key(_path, "path of the spool directory; without it, there is no spool"),
    "spool.group": Key(_word, "group whose members may drop files, in addition to the appliance's user"),
    "spool.max_bytes": Key(_drop_size, "size of the largest file that is accepted", 1024 * 1024, schema=_SIZE),
    "spool.max_waiting": Key(_number, "maximum number of waiting files of one user", 100_000, schema=_NUMBER),
    "spool.keep": Key(
        values.positive_duration, "time for which results are kept", 7 * 24 * 60 * 60 * 1000, schema=_DURATION
    ),
    "spool.keep_results": Key(_number, "number of results that are kept", 100_000, schema=_NUMBER),
    "log.file": Key(_path, "path of the log file; without it, the log goes to stderr"),
    "log.level": Key(
        lambda text: values.choice(text, LOG_LEVELS),
        "least severe level that is logged",
        "info",
        schema=_one_of(LOG_LEVELS),
    ),
    "log.format": Key(
        lambda text: values.choice(text, LOG_FORMATS),
        "format of the log: text, or one JSON object on each line",
        "text",
        schema=_one_of(LOG_FORMATS),
    ),
    "log.fields": Key(
        _field,
        "fields that are added to each line of a JSON log",
        MappingProxyType({}),
        schema={
            "type": "object",
            "propertyNames": {"pattern": f"^{_FIELD.pattern}$", "not": {"enum": [*LOG_KEYS]}},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        is_mapping=True,
    ),
    "log.programs": Key(values.boolean, "whether the lines that programs write are logged too", False, schema=_BOOLEAN),
    "web.listen": Key(
        _listen,
        "Unix socket or loopback address of the page; default: 127.0.0.1:8385",
        schema={"type": [*_SCALAR], "minLength": 1, "not": {"type": "integer"}},
    ),
    "web.mode": Key(values.octal, "permissions of the page's Unix socket", 0o660, schema=_MODE),
    "web.group": Key(_word, "group that owns the page's Unix socket"),
    "web.user_header": Key(_header, "header in which a proxy names the user"),
    "web.proxies": Key(
        _word, "users, by name or number, whose processes may send that header", (), schema=_LIST, is_list=True
    ),
    "web.hosts": Key(
        _host, "names under which browsers reach the page, beside `localhost`", (), schema=_LIST, is_list=True
    ),
    "web.read_only": Key(values.boolean, "whether the page only shows", False, schema=_BOOLEAN),
    "web.url": Key(_url, "address of the page, for links in mails"),
    "web.title": Key(_title, "title of the page; default: the node"),
    "web.history": Key(
        values.positive_duration, "how much of the past the page shows", 14 * 86_400_000, schema=_DURATION
    ),
    "web.tokens": Key(_path, "path of the file with the hashes of the API tokens", "web-tokens"),
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, made from the table of keys."""
    properties: dict[str, Any] = {}
    for name, key in KEYS.items():
        place = properties
        *sections, last = name.split(".")
        for section in sections:
            empty: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
            place = place.setdefault(section, empty)["properties"]
        place[last] = {"description": key.help, **key.schema}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "appliance.yaml of schedappliance",
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, key in KEYS.items() if key.required],
        "properties": properties,
    }


def read_appliance_file(
    path: Path, read_file: ReadFile = read_regular
) -> tuple[ApplianceFile | None, list[Diagnostic]]:
    """The appliance file, or None with every mistake in it."""
    try:
        data = read_file(path)
    except OSError as error:
        message = f"cannot read `{path}`: {error.strerror}"
        remedy = "name the appliance file with --config"
        if error.errno in (errno.EACCES, errno.EPERM):
            remedy = "let this user read it and enter its directory"
        return None, [Diagnostic("E307", message, remedy, Source(str(path), ""))]
    source, mistakes = decode(str(path), data)
    if mistakes:
        return None, mistakes
    root, mistakes = parse_yaml(source)
    reader = _Reader(source, diagnostics=mistakes)
    if root is not None or not mistakes:
        reader.root(root)
    if has_errors(reader.diagnostics):
        return None, reader.diagnostics
    return reader.appliance_file(path), reader.diagnostics


def usable_appliance_file(path: Path) -> ApplianceFile:
    """The appliance file; raises Unusable with every mistake in it."""
    file, diagnostics = read_appliance_file(path)
    if file is None:
        raise Unusable(diagnostics=diagnostics)
    return file


def _is_null(node: YamlScalar) -> bool:
    return node.text in _NULL and not node.quoted


@dataclass(slots=True)
class _Reader:
    """Collects the values of the keys, and the mistakes in them. `names`: the keys in the file; a misspelt key counts too."""

    source: Source
    values: dict[str, tuple[Any, Span]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def report(self, code: str, message: str, remedy: str, span: Span | None) -> None:
        self.diagnostics.append(Diagnostic(code, message, remedy, self.source, span))

    def root(self, node: YamlNode | None) -> None:
        if node is not None and not isinstance(node, YamlMapping):
            self.report("E203", "the file is not a mapping", "write `key: value` lines", node.span)
            return
        if node is not None:
            self.mapping(node, "")
        # An unknown key that resembles no other may stand for the missing one, and is reported already.
        may_miss = not any(name not in KEYS and "." not in name for name in self.names)
        for name, key in KEYS.items():
            if key.required and name not in self.names and may_miss:
                self.report("E205", f"missing key `{name}`", f"add `{name}: ...`; {key.help}", None)
        for one, other in (("web.user_header", "web.proxies"), ("web.proxies", "web.user_header")):
            if one in self.values and other not in self.names:
                self.report("E205", f"missing key `{other}`", f"add it; {KEYS[other].help}", self.values[one][1])

    def mapping(self, mapping: YamlMapping, prefix: str) -> None:
        """The keys of the file, or of a section, whose names begin with the prefix."""
        known = dict.fromkeys(name.removeprefix(prefix).split(".")[0] for name in KEYS if name.startswith(prefix))
        for name, (span, node) in mapping.entries.items():
            full_name = prefix + name
            if full_name in KEYS:
                self.names.add(full_name)
                self.key(full_name, span, node)
            elif name not in known:
                self.names.add(prefix + nearest(name, known))
                remedy = did_you_mean(name, known, f"known keys: {', '.join(known)}")
                self.report("E209", f"unknown key `{full_name}`", remedy, span)
            elif isinstance(node, YamlMapping):
                self.mapping(node, f"{full_name}.")
            else:
                remedy = f"write `{full_name}: {{ key: value }}`"
                self.report("E203", f"`{full_name}` is a section", remedy, node.span)

    def key(self, name: str, span: Span, node: YamlNode) -> None:
        if KEYS[name].is_mapping:
            self.free_mapping(name, span, node)
        elif KEYS[name].is_list and isinstance(node, YamlList):
            self.list(name, span, node)
        elif not isinstance(node, YamlScalar):
            self.report("E203", f"key `{name}` takes one value", "write it as text", node.span)
        elif _is_null(node):
            self.missing(name, span)
        else:
            try:
                value = KEYS[name].read(node.text)
                self.values[name] = ((value,) if KEYS[name].is_list else value, span)
            except InvalidValue as invalid:
                self.diagnostics.append(invalid.diagnostic(self.source, node.span))

    def missing(self, name: str, span: Span) -> None:
        remedy, key = "give a value, or remove the key", KEYS.get(name)
        if key:
            remedy = key.help if key.required else f"{remedy}; {key.help}"
        self.report("E203", f"missing value for key `{name}`", remedy, span)

    def list(self, name: str, span: Span, node: YamlList) -> None:
        """A key whose value is a list of texts."""
        if not node.items:
            self.report("E203", f"the list `{name}` is empty", "remove the key, or add a value", node.span)
        entries = []
        for item in node.items:
            if not isinstance(item, YamlScalar):
                self.report("E203", f"`{name}` takes a list of texts", "write each as text", item.span)
                continue
            if _is_null(item):
                self.missing(name, item.span)
                continue
            try:
                entries.append(KEYS[name].read(item.text))
            except InvalidValue as invalid:
                self.diagnostics.append(invalid.diagnostic(self.source, item.span))
        if entries:
            self.values[name] = (tuple(entries), span)

    def free_mapping(self, name: str, span: Span, node: YamlNode) -> None:
        """A key whose value is a mapping of any names to texts."""
        if not isinstance(node, YamlMapping):
            self.report("E203", f"`{name}` is a section", f"write `{name}: {{ name: value }}`", node.span)
            return
        entries: dict[str, str] = {}
        for key, (place, value) in node.entries.items():
            if not isinstance(value, YamlScalar):
                self.report("E203", f"`{key}` takes one value", "write it as text", value.span)
                continue
            if _is_null(value):
                self.missing(f"{name}.{key}", place)
                continue
            try:
                entries[KEYS[name].read(key)] = value.text
            except InvalidValue as invalid:
                self.diagnostics.append(invalid.diagnostic(self.source, place))
        self.values[name] = (entries, span)

    def get(self, name: str) -> Any:
        return self.values[name][0] if name in self.values else KEYS[name].default

    def web_section(self, path: Path) -> WebSection:
        listen, tokens = self.get("web.listen"), path.parent / self.get("web.tokens")
        return WebSection(
            listen=real_path(path.parent / listen) if isinstance(listen, str) else listen,
            tokens=real_path(tokens.parent) / tokens.name,
            history_ms=self.get("web.history"),
            **{
                name: self.get(f"web.{name}")
                for name in ("mode", "group", "user_header", "proxies", "hosts", "read_only", "url", "title")
            },
        )

    def appliance_file(self, path: Path) -> ApplianceFile:
        get = self.get

        def located(name: str) -> Path | None:
            return real_path(path.parent / get(name)) if name in self.values else None

        log = path.parent / get("log.file") if "log.file" in self.values else None
        named = {name: path.parent / get(name) for name in ("console.listen", "spool.path") if name in self.values}
        directories = [named.get("spool.path"), *(file.parent for file in (named.get("console.listen"), log) if file)]
        links = [link for directory in directories if directory and (link := link_to(directory))]
        return ApplianceFile(
            path=path,
            node=get("node"),
            config=path.parent / get("config"),
            listen=located("console.listen"),
            mode=get("console.mode"),
            group=get("console.group"),
            idle_timeout_ms=get("console.timeout"),
            spool=located("spool.path"),
            spool_is_relative="spool.path" in self.values and not Path(get("spool.path")).is_absolute(),
            spool_group=get("spool.group"),
            max_drop_bytes=get("spool.max_bytes"),
            max_waiting=get("spool.max_waiting"),
            keep_ms=get("spool.keep"),
            keep_results=get("spool.keep_results"),
            # A link at the path itself is not followed: whoever may write its directory would choose what root appends to.
            log_file=log and real_path(log.parent) / log.name,
            log_level=get("log.level"),
            log_format=get("log.format"),
            log_fields=get("log.fields"),
            log_programs=get("log.programs"),
            web=self.web_section(path),
            places={name: (self.source, span) for name, (_, span) in self.values.items()},
            links={link: real_path(link) for link in links},
        )
