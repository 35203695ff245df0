"""The appliance file, `appliance.yaml`: paths and settings of the daemon, read at start.

Rule: a relative path in the file is relative to the directory of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
from schedappliance.model.files import ReadFile, read_regular, real_path
from schedappliance.syntax.text import decode
from schedappliance.syntax.yaml import YamlMapping, YamlNode, YamlScalar, parse_yaml

MAX_NUMBER = 10_000_000
MAX_DROP_BYTES = 16 * 1024 * 1024

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApplianceFile:
    """The values of the file. None: `listen`: no console; `spool`: no spool; `node`: the host name; `log_file`: stderr."""

    path: Path
    node: str | None
    config: Path
    listen: Path | None
    mode: int
    group: str | None
    idle_timeout_ms: int
    spool: Path | None
    spool_place: tuple[Source, Span] | None
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


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file. `read` turns its text into the value, and raises InvalidValue.

    `schema`: the JSON Schema of the value, with which editors check while typing. `is_mapping`: its value is a mapping of
    any names to texts; `read` reads a name.
    """

    read: Callable[[str], Any]
    help: str
    default: Any = None
    required: bool = False
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string", "minLength": 1})
    is_mapping: bool = False


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise InvalidValue(f"invalid node name `{text}`", "use letters, digits, `.` and `-`", "E208")
    return text


def _path(text: str) -> str:
    if not text:
        raise InvalidValue("the path is empty", "give a path")
    if not text.isprintable():
        raise InvalidValue("the path contains an unprintable character", "remove it", "E106")
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

_DURATION = {"type": ["number", "string"], "examples": [60, "15m"]}
_MODE = {"type": "string", "pattern": "^0?[0-7]{3}$"}
_SIZE = {"type": ["integer", "string"], "examples": [65536, "64k", "1m"]}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}

# The keys by their full name; a dot separates a section from its key.
KEYS: dict[str, Key] = {
    "node": Key(
        _node,
        "name of this node, the first part of every job id; default: the host name",
        schema={"type": "string", "pattern": f"^{_NODE.pattern}$"},
    ),
    "config": Key(_path, "path of the stanza file", required=True),
    "console.listen": Key(_path, "path of the console's Unix socket; without it, there is no console"),
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
        schema={"enum": [*LOG_LEVELS]},
    ),
    "log.format": Key(
        lambda text: values.choice(text, LOG_FORMATS),
        "format of the log: text, or one JSON object on each line",
        "text",
        schema={"enum": [*LOG_FORMATS]},
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
    "log.programs": Key(
        values.boolean, "whether the lines that programs write are logged too", False, schema={"type": "boolean"}
    ),
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
        return None, [Diagnostic("E307", message, "name the appliance file with --config", Source(str(path), ""))]
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
        elif not isinstance(node, YamlScalar):
            self.report("E203", f"key `{name}` takes one value", "write it as text", node.span)
        elif not node.text and not node.quoted:
            self.report("E203", f"missing value for key `{name}`", KEYS[name].help, span)
        else:
            try:
                self.values[name] = (KEYS[name].read(node.text), span)
            except InvalidValue as invalid:
                self.diagnostics.append(invalid.diagnostic(self.source, node.span))

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
            try:
                entries[KEYS[name].read(key)] = value.text
            except InvalidValue as invalid:
                self.diagnostics.append(invalid.diagnostic(self.source, place))
        self.values[name] = (entries, span)

    def appliance_file(self, path: Path) -> ApplianceFile:
        def get(name: str) -> Any:
            return self.values[name][0] if name in self.values else KEYS[name].default

        def located(name: str) -> Path | None:
            return real_path(path.parent / get(name)) if name in self.values else None

        log = path.parent / get("log.file") if "log.file" in self.values else None
        return ApplianceFile(
            path=path,
            node=get("node"),
            config=path.parent / get("config"),
            listen=located("console.listen"),
            mode=get("console.mode"),
            group=get("console.group"),
            idle_timeout_ms=get("console.timeout"),
            spool=located("spool.path"),
            spool_place=(self.source, self.values["spool.path"][1]) if "spool.path" in self.values else None,
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
        )
