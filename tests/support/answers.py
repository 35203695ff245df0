"""Answers of the appliance that are made of their types, with and without the keys that may be missing.

Rule: what a type allows, an answer may hold. Only where a text has a form, such as an id, its key decides.
"""

from __future__ import annotations

import types
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from schedappliance.client.answers import Response
from schedappliance.client.wire import Message

# 2026-11-29 14:20:03.250 UTC.
NOW_MS, DAY_MS = 1_795_962_003_250, 86_400_000
JOB, RUN, OUTPUT = "n-000000001", "n-000000001/1", b"one\ntwo\n"
BASE64 = b64encode(OUTPUT).decode()
HOSTILE = "a <b>\u202e' \""
# The values of keys by their type: the first one is the usual one.
VALUES: dict[tuple[str, Any], Sequence[Any]] = {
    ("id", str): (JOB, "n-000000002"),
    ("run", str): (RUN, "n-000000002/3"),
    ("last_run", str): (RUN,),
    ("on_failure_of", str): (RUN,),
    ("command", str): ("run hello", HOSTILE),
    ("kind", str): ("failed", HOSTILE),
    ("state", str): ("failed", "waiting", "done"),
    ("mark", str): ("run", "skip", "missed"),
    ("outcome", str): ("rejected", "accepted"),
    ("origin", str): ("stanza", "console"),
    ("code", str): ("E202", HOSTILE),
    ("zone", str): ("Europe/Berlin", "UTC"),
    ("stanza", str): ("job", "program", "sched"),
    ("next", int): (len(OUTPUT),),
    ("size", int): (len(OUTPUT),),
    ("interval_ms", int): (3_600_000, 1000, DAY_MS),
    ("options", dict): ({"zone": "UTC", "argv": ["/bin/true", HOSTILE]}, {}),
    ("allowed", bool): (True, False),
}


@dataclass(frozen=True)
class Answers:
    """Makes data. `choose`: picks a value. `has_key`: whether an optional key is there. `is_null`: whether a value is null."""

    choose: Callable[[Sequence[Any]], Any]
    has_key: Callable[[], bool]
    is_null: Callable[[], bool]

    def of(self, kind: Any, key: str = "") -> Any:
        """Data of a type. `key`: below which they stand."""
        origin, parts = get_origin(kind), get_args(kind)
        if (known := VALUES.get((key, origin or kind))) is not None:
            return self.choose(known)
        if origin is tuple:
            return [self.of(parts[0], key) for _ in range(self.choose((2, 1, 0)))]
        if origin is dict:
            return {"one": self.of(parts[1])}
        if origin in (Union, types.UnionType):
            return self._of_union(parts, key)
        if origin is Literal:
            return self.choose(parts)
        return self._plain(kind, key) if not hasattr(kind, "__dataclass_fields__") else self._object(kind)

    def _of_union(self, kinds: tuple[Any, ...], key: str) -> Any:
        others = [kind for kind in kinds if kind is not type(None)]
        is_null = len(others) < len(kinds) and self.is_null()
        return None if is_null else self.of(self.choose(others), key)

    def _object(self, kind: Any) -> dict[str, Any]:
        hints = get_type_hints(kind)
        shown = [field for field in fields(kind) if field.default is MISSING or self.has_key()]
        keys = {field.metadata.get("key", field.name): hints[field.name] for field in shown}
        return {key: self.of(hint, key) for key, hint in keys.items()}

    def _plain(self, kind: Any, key: str) -> Any:
        if kind in (int, float):
            around = NOW_MS - DAY_MS, NOW_MS, NOW_MS + DAY_MS
            return self.choose(around if key.endswith("_ms") else (1, 2, 0))
        return self.choose({str: (HOSTILE, "plain", ""), bool: (True, False)}.get(kind, (None, HOSTILE)))


def response(answers: Answers, data: Any) -> Message:
    """A response of the console with these data, which are all that there are."""
    made: Message = answers.of(Response) | {"v": 1, "id": 1, "ok": True, "transaction": False, "data": data}
    return made | ({"next": None} if "next" in made else {})
