"""What becomes of a file in the spool: taken, left alone for a while, or refused. Pure; ages are in milliseconds."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import NamedTuple

# A name, a kind, an owner or an empty file that is wrong may be right a moment later.
SETTLED_MS = 2000
# Whoever has written a file may still change its mode or owner by its name, as install(1) does.
WRITTEN_MS = 500
# A text without an end whose writer cannot be asked for was given up by it.
GIVEN_UP_MS = 60_000
# Nobody works on a file for so long.
FORGOTTEN_MS = 60 * 60 * 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cmd", re.ASCII)
_IN_PROGRESS = re.compile(r"\..*|.*~|#.*|.*\.(tmp|part|swp|filepart)", re.DOTALL)
_MARK = re.compile(r"(\d{12,})~(.+)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken. `shared`: others than `own_uid` may put files there. `max_waiting` counts for each owner."""

    own_uid: int
    shared: bool
    max_bytes: int
    max_waiting: int


class SpoolEntry(NamedTuple):
    """A file as it lies there. Two that are equal are the same file, unchanged."""

    name: str
    mode: int
    uid: int
    links: int
    size: int
    inode: int
    modified_ns: int


class Look(NamedTuple):
    """What is seen of a regular file only by opening it. `has_writer` None: it cannot be known."""

    has_writer: bool | None = None
    ends_in_newline: bool = False
    unreadable: str | None = None


class Take(NamedTuple):
    pass


class Leave(NamedTuple):
    """Looked at again at that age; None: when something happens to it."""

    why: str
    until_ms: int | None = None


class Refuse(NamedTuple):
    message: str
    help: str
    code: str = "E307"


Decision = Take | Leave | Refuse
TAKE = Take()


class WaitingDrop(NamedTuple):
    """A file that is left alone for now, and since when, in Unix milliseconds."""

    name: str
    why: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class SpoolBacklog:
    """What lies in the spool and is not taken: `waiting` files, some of them `held`; work `in_progress` beside them."""

    waiting: int = 0
    in_progress: int = 0
    held: tuple[WaitingDrop, ...] = ()


class Keep(NamedTuple):
    """For how long, and how many, results of drops are kept."""

    age_ms: int = 7 * 24 * 60 * 60 * 1000
    number: int = 100_000


def is_in_progress(name: str) -> bool:
    """Names that editors and copying programs give to what they have not finished."""
    return bool(_IN_PROGRESS.fullmatch(name))


def decide(entry: SpoolEntry, look: Look, age_ms: int, waiting: int, rules: Rules) -> Decision:
    """`age_ms`: for how long it has been as it is; `waiting`: files of its owner that came before it."""
    if look.has_writer:
        return Leave("is being written")
    if wrong := mistake(entry, rules) or _unreadable(look):
        return wrong if age_ms >= SETTLED_MS else Leave(wrong.message, SETTLED_MS)
    if look.has_writer is not None:
        return _too_many(waiting, rules) or TAKE
    if age_ms < SETTLED_MS:
        return Leave("may be being written", SETTLED_MS)
    if look.ends_in_newline:
        return _too_many(waiting, rules) or TAKE
    if age_ms < GIVEN_UP_MS:
        return Leave("does not end in a newline", GIVEN_UP_MS)
    return Refuse("the last line is not ended", "end every line with a newline; its writer seems to have stopped")


def mistake(entry: SpoolEntry, rules: Rules) -> Refuse | None:
    """Why it can never be a drop, by its name and its kind."""
    if not _NAME.fullmatch(entry.name):
        remedy = "use letters, digits, `.`, `_`, `-`, and end in `.cmd`"
        return Refuse(f"`{entry.name.encode('unicode_escape').decode()}` is not the name of a drop", remedy)
    return mistaken_kind(entry, rules)


def mistaken_kind(entry: SpoolEntry, rules: Rules) -> Refuse | None:
    """Why it can never be a drop, whatever its name."""
    if stat.S_ISLNK(entry.mode):
        return Refuse("a symbolic link is not followed", "drop the file itself")
    if not stat.S_ISREG(entry.mode):
        return Refuse("not a regular file", "drop a regular file")
    if rules.shared and entry.uid in (0, rules.own_uid):
        remedy = "somebody else may have put it there; give the commands at the console"
        return Refuse(f"a file of uid {entry.uid} is not trusted in a shared spool", remedy)
    if rules.shared and entry.links > 1:
        return Refuse("the file has another name (hard link)", "remove the other name, or drop a copy")
    if entry.size > rules.max_bytes:
        remedy = f"at most {rules.max_bytes:,} bytes are taken (`spool.max_bytes`); split it"
        return Refuse("the file is too large", remedy, "E108")
    if entry.size == 0:
        return Refuse("the file is empty", "write it in `tmp/`, then rename it into `new/`")
    return None


def _unreadable(look: Look) -> Refuse | None:
    if look.unreadable is None:
        return None
    return Refuse(f"cannot be read: {look.unreadable}", "let the appliance's user read it")


def _too_many(waiting: int, rules: Rules) -> Refuse | None:
    if waiting < rules.max_waiting:
        return None
    remedy = "drop fewer at once, or raise `spool.max_waiting`"
    return Refuse(f"{rules.max_waiting:,} other files of this owner were waiting", remedy, "E108")


def mark_of(sequence: int, name: str) -> str:
    """The name of a claimed file. What is no name of a drop becomes one that can never be taken for one."""
    if _NAME.fullmatch(name):
        return f"{sequence:012d}~{name}"
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name, flags=re.ASCII)[:100]
    return f"{sequence:012d}~{safe}~refused"


def split_mark(mark: str) -> tuple[int, str] | None:
    """Sequence and name of a claimed file; None for what lies in its folder without being one."""
    match = _MARK.fullmatch(mark)
    return (int(match.group(1)), match.group(2)) if match else None


def result_name(name: str) -> str:
    return f"{name.removesuffix('.cmd')}.result"
