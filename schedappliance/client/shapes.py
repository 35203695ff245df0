"""Data to dataclasses, and dataclasses to JSON Schema: a dataclass alone says what an answer holds.

Rule: answers only gain keys. So an unknown key is ignored, and a field with a default may be missing. Who reads the data
without their dataclass completes them first.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
JsonSchema = dict[str, Any]


def read(kind: Any, data: Any) -> Any:
    """JSON data as a value of this type: a dataclass, `tuple[T, ...]`, `T | None`, `dict[str, T]` or plain data."""
    origin, parts = get_origin(kind), get_args(kind)
    if data is None or kind is Any:
        return data
    if origin is tuple:
        return tuple(read(parts[0], item) for item in data)
    if origin in (Union, types.UnionType):
        return read(_fitting(parts, data), data)
    if not _has_fields(kind):
        return data
    return kind(**{name: read(hint, data[key]) for name, key, hint in _fields(kind) if key in data})


def completed(kind: Any, data: Any) -> Any:
    """JSON data of this type, with the default of each key that is missing, in the order of the fields.

    Data that can lack no key are returned as they are.
    """
    if data is None or not _may_lack_keys(kind):
        return data
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple:
        return [completed(parts[0], item) for item in data]
    if origin in (Union, types.UnionType):
        return completed(_fitting(parts, data), data)
    whole = _defaults(kind) | data
    known = {key: completed(hint, whole[key]) for _, key, hint in _fields(kind) if key in whole}
    return known | {key: value for key, value in whole.items() if key not in known}


@cache
def _may_lack_keys(kind: Any) -> bool:
    """Whether a key may be missing somewhere in data of a type."""
    if not _has_fields(kind):
        return any(map(_may_lack_keys, get_args(kind)))
    return bool(_defaults(kind)) or any(_may_lack_keys(hint) for _, _, hint in _fields(kind))


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    """The defaults of a dataclass by their keys."""
    return {_key(field): field.default for field in fields(kind) if field.default is not MISSING}


def _has_fields(kind: Any) -> bool:
    """Whether a type is a dataclass."""
    return is_dataclass(kind)


def _fitting(kinds: tuple[Any, ...], data: Any) -> Any:
    """The type of a union that fits the data: the first dataclass that lacks no key, or else any other type."""
    for kind in kinds:
        if _has_fields(kind) and isinstance(data, dict) and _required(kind) <= data.keys():
            return kind
    return next((kind for kind in kinds if kind is not type(None) and not _has_fields(kind)), Any)


@cache
def _fields(kind: Any) -> tuple[tuple[str, str, Any], ...]:
    """The name, the key and the type of each field."""
    hints = get_type_hints(kind)
    return tuple((field.name, _key(field), hints[field.name]) for field in fields(kind))


@cache
def _required(kind: Any) -> frozenset[str]:
    return frozenset(_key(field) for field in fields(kind) if field.default is MISSING)


def _key(field: Field[Any]) -> str:
    """The key of a field: its name, unless that is a word of Python's."""
    return str(field.metadata.get("key", field.name))


def schema(kind: Any) -> JsonSchema:
    """The JSON Schema of a type. Further keys are allowed."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _JSON_TYPES:
        return {"type": _JSON_TYPES[kind]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is tuple:
        return {"type": "array", "items": schema(parts[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(parts[1])}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(part) for part in parts]}
    assert _has_fields(kind), kind
    description = " ".join((kind.__doc__ or "").split())
    return {
        "type": "object",
        "description": description,
        "properties": {key: schema(hint) for _, key, hint in _fields(kind)},
        "required": sorted(_required(kind)),
    }
