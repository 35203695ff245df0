"""`appliance.yaml`: what this process is. Paths in it start at the directory of the file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schedappliance.diagnostics import Diagnostic, Source, Span, did_you_mean, has_errors
from schedappliance.model import values
from schedappliance.model.files import ReadFile, read_regular
from schedappliance.model.values import Unfit
from schedappliance.syntax.text import decode
from schedappliance.syntax.yaml import YamlMapping, YamlNode, YamlScalar, parse_yaml

MOST = 10_000_000
MOST_DROP_BYTES = 16 * 1024 * 1024

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApplianceFile:
    """What the appliance file says; `listen` and `spool` None: no console, no spool."""

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
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: how its text is read, what it is when absent, what it means.

    `schema`: what JSON Schema says of its value; editors check with it while typing.
    """

    read: Callable[[str], Any]
    help: str
    default: Any = None
    required: bool = False
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string", "minLength": 1})


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise Unfit(f"`{text}` is no node name", "use letters, digits, `.` and `-`", "E208")
    return text


def _path(text: str) -> str:
    if not text:
        raise Unfit("the path is empty", "give a path")
    if not text.isprintable():
        raise Unfit("the path holds a character that cannot be seen", "give a plain path", "E106")
    return text


def _word(text: str) -> str:
    if not text or text.split() != [text]:
        raise Unfit(f"`{text}` is not one word", "give one word")
    return text


def _drop_size(text: str) -> int:
    """A drop is one event: what is larger keeps everybody waiting."""
    size = values.size(text)
    if not 1 <= size <= MOST_DROP_BYTES:
        raise Unfit(f"`{text}` is out of range", "give a size from 1 to `16m`", "E204")
    return size


def _number(text: str) -> int:
    return values.integer(text, 1, MOST)


LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

# The keys by their full path; a dot separates a section from its key.
_DURATION = {"type": ["number", "string"], "examples": [60, "15m"]}
_MODE = {"type": "string", "pattern": "^0?[0-7]{3}$"}
_SIZE = {"type": ["integer", "string"], "examples": [65536, "64k", "1m"]}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": MOST}

KEYS: dict[str, Key] = {
    "node": Key(
        _node,
        "first part of every job id; the host name when absent",
        schema={"type": "string", "pattern": f"^{_NODE.pattern}$"},
    ),
    "config": Key(_path, "the stanza file", required=True),
    "console.listen": Key(_path, "the console's Unix socket"),
    "console.mode": Key(values.octal, "permissions of the socket", 0o660, schema=_MODE),
    "console.group": Key(_word, "group that owns the socket"),
    "console.timeout": Key(
        values.positive_duration, "a silent client is disconnected after it", 60_000, schema=_DURATION
    ),
    "spool.path": Key(_path, "the spool directory"),
    "spool.group": Key(_word, "group that may drop files beside the appliance's user"),
    "spool.max_bytes": Key(_drop_size, "the largest file that is taken", 1024 * 1024, schema=_SIZE),
    "spool.max_waiting": Key(_number, "files of one owner that may wait", 100_000, schema=_NUMBER),
    "spool.keep": Key(values.positive_duration, "how long results are kept", 7 * 24 * 60 * 60 * 1000, schema=_DURATION),
    "spool.keep_results": Key(_number, "how many results are kept", 100_000, schema=_NUMBER),
    "log.level": Key(
        lambda text: values.choice(text, LOG_LEVELS), "the least that is logged", "info", schema={"enum": [*LOG_LEVELS]}
    ),
    "log.format": Key(
        lambda text: values.choice(text, LOG_FORMATS), "text or json", "text", schema={"enum": [*LOG_FORMATS]}
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
        source = Source(str(path), "")
        help = "name the appliance file with --config"
        return None, [Diagnostic("E307", f"cannot read `{path}`: {error.strerror}", help, source)]
    source, mistakes = decode(str(path), data)
    if mistakes:
        return None, mistakes
    root, mistakes = parse_yaml(source)
    given, more = _given(source, root, unreadable=has_errors(mistakes))
    mistakes += more
    if has_errors(mistakes):
        return None, mistakes
    return _appliance_file(path, source, given), mistakes


def _given(
    source: Source, root: YamlNode | None, unreadable: bool
) -> tuple[dict[str, tuple[Any, Span]], list[Diagnostic]]:
    mistakes: list[Diagnostic] = []
    given: dict[str, tuple[Any, Span]] = {}
    attempted: set[str] = set()
    if isinstance(root, YamlMapping):
        for name, key, span, node in _leaves(source, root, "", mistakes):
            attempted.add(name)
            try:
                given[name] = (key.read(node.text), span)
            except Unfit as unfit:
                mistakes.append(Diagnostic(unfit.code, unfit.message, unfit.help, source, node.span))
    elif root is not None:
        mistakes.append(Diagnostic("E203", "the file is no mapping", "write `key: value` lines", source, root.span))
    if root is not None and not isinstance(root, YamlMapping):
        unreadable = True
    attempted |= {name for name in KEYS if any(f"`{name}`" in d.message for d in mistakes)}
    for name, key in KEYS.items():
        if key.required and name not in given and not unreadable and name not in attempted:
            help = f"add `{name}: ...`; {key.help}"
            mistakes.append(Diagnostic("E205", f"key `{name}` is missing", help, source))
    return given, mistakes


def _leaves(
    source: Source, mapping: YamlMapping, prefix: str, mistakes: list[Diagnostic]
) -> Iterator[tuple[str, Key, Span, YamlScalar]]:
    sections = {name.split(".")[0] for name in KEYS if "." in name}
    known = [name.removeprefix(prefix).split(".")[0] for name in KEYS if name.startswith(prefix)]
    for name, (span, node) in mapping.entries.items():
        full = prefix + name
        if full in KEYS and isinstance(node, YamlScalar):
            if node.text or node.quoted:
                yield full, KEYS[full], span, node
            else:
                mistakes.append(Diagnostic("E203", f"key `{full}` has no value", KEYS[full].help, source, span))
        elif full in KEYS:
            mistakes.append(Diagnostic("E203", f"key `{full}` holds one value", "write it as text", source, node.span))
        elif not prefix and full in sections:
            if isinstance(node, YamlMapping):
                yield from _leaves(source, node, f"{full}.", mistakes)
            else:
                help = f"write `{full}: {{ key: value }}`"
                mistakes.append(Diagnostic("E203", f"`{full}` holds keys of its own", help, source, node.span))
        else:
            help = did_you_mean(name, known, f"known keys: {', '.join(dict.fromkeys(known))}")
            mistakes.append(Diagnostic("E209", f"unknown key `{full}`", help, source, span))


def _appliance_file(path: Path, source: Source, given: dict[str, tuple[Any, Span]]) -> ApplianceFile:
    def get(name: str) -> Any:
        return given[name][0] if name in given else KEYS[name].default

    def located(name: str) -> Path | None:
        return Path(os.path.realpath(path.parent / get(name))) if name in given else None

    return ApplianceFile(
        path=path,
        node=get("node"),
        config=path.parent / get("config"),
        listen=located("console.listen"),
        mode=get("console.mode"),
        group=get("console.group"),
        idle_timeout_ms=get("console.timeout"),
        spool=located("spool.path"),
        spool_place=(source, given["spool.path"][1]) if "spool.path" in given else None,
        spool_group=get("spool.group"),
        max_drop_bytes=get("spool.max_bytes"),
        max_waiting=get("spool.max_waiting"),
        keep_ms=get("spool.keep"),
        keep_results=get("spool.keep_results"),
        log_level=get("log.level"),
        log_format=get("log.format"),
    )
