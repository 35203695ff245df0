"""Decides whether a file in the spool is taken, left alone for a while, or rejected.

Also the marks of claimed files, and Keep: how many results stay, and for how long.

Rule: the decision depends on the present file and on its age in milliseconds, never on the events that led to it.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import NamedTuple

# A wrong name, kind, owner or size may be right a moment later, since programs create files in steps.
SETTLED_MS = 2000
# After the last write, programs such as install(1) still change the mode or the owner of a file by its name.
WRITTEN_MS = 500
# An unterminated file whose writer is unknown counts as abandoned after this long.
GIVEN_UP_MS = 60_000
# The most claimed files of one owner that are waited for while a process has them open for writing.
MOST_OPEN = 20
# A file that waits this long is logged once, since its author has probably forgotten it.
FORGOTTEN_MS = 60 * 60 * 1000
# The most waiting files that are reported by name.
MOST_NAMED = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cmd", re.ASCII)
_IN_PROGRESS = re.compile(r"\..*|.*~|#.*|.*\.(tmp|part|swp|filepart)", re.DOTALL)
# The most digits of a uid.
LONGEST_UID = 10
_MARK = re.compile(r"(\d{12,})~(.+)", re.DOTALL | re.ASCII)
_PUBLISHED = re.compile(
    r"(\d{1,10}~)?([A-Za-z0-9][\w.-]{0,120}\.(cmd|result)|[\w.-]{1,100}~refused(\.result)?)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which files are taken. `gid`: the group whose members may drop files; None if only `own_uid` may.

    `max_waiting`: files of one owner. `stranger`: the uid of files whose owner the user namespace of the appliance does not
    map; None if it maps all users.
    """

    own_uid: int
    gid: int | None
    max_bytes: int
    max_waiting: int
    stranger: int | None = None


class SpoolEntry(NamedTuple):
    """A file in the spool, as lstat(2) shows it. Two equal entries are the same file, unchanged.

    `is_members`: whether its owner is a member of the group of a shared spool; None if the look-up failed.
    """

    name: str
    mode: int
    uid: int
    links: int
    size: int
    inode: int
    modified_ns: int
    gid: int
    is_members: bool | None


class Look(NamedTuple):
    """Facts that need an open file. `has_writer`: whether a process has it open for writing; None if unknown."""

    has_writer: bool | None = None
    ends_in_newline: bool = False
    unreadable: str | None = None


class Take(NamedTuple):
    pass


class Leave(NamedTuple):
    """The file is left alone until it has this age; None: until an event changes it."""

    why: str
    until_ms: int | None = None


class Reject(NamedTuple):
    """The file is moved to failed/, with this diagnostic as the result. `at_once`: waiting would not make it right."""

    message: str
    help: str
    code: str = "E307"
    at_once: bool = False


Decision = Take | Leave | Reject
TAKE = Take()


class WaitingDrop(NamedTuple):
    """A file that is left alone for now: why, and since when in Unix milliseconds."""

    name: str
    why: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class SpoolBacklog:
    """The files in the spool that are not taken yet: `waiting` files, some of them `held`, and work `in_progress`.

    `unfinished`: the first files that are work in progress.
    """

    waiting: int = 0
    in_progress: int = 0
    held: tuple[WaitingDrop, ...] = ()
    unfinished: tuple[WaitingDrop, ...] = ()


class Keep(NamedTuple):
    """How long results of drops are kept, and how many of them."""

    age_ms: int = 7 * 24 * 60 * 60 * 1000
    number: int = 100_000


def from_the_largest(counts: Mapping[int, int], number: int) -> Counter[int]:
    """How many results or runs of each user are removed, `number` in all: each one is of the user who has the most left.

    So nobody's results make those of others go.
    """
    number = min(number, sum(counts.values()))
    left = [(-count, uid) for uid, count in counts.items()]
    heapify(left)
    if number and left[0][0] + number <= min((count for count, _ in left[1:3]), default=0):
        return Counter({left[0][1]: number})
    removed = Counter[int]()
    for _ in range(number):
        count, uid = left[0]
        heapreplace(left, (count + 1, uid))
        removed[uid] += 1
    return removed


def is_in_progress(name: str) -> bool:
    """Whether editors and copying programs give this name to a file that they have not finished."""
    return bool(_IN_PROGRESS.fullmatch(name))


def decide(entry: SpoolEntry, look: Look, age_ms: int, waiting: int, rules: Rules) -> Decision:
    """Decides about one file. `age_ms`: time since its last change. `waiting`: how many files of its owner come first."""
    if look.has_writer:
        # Looking at open files costs time that all users share, so they count too.
        return _too_many(waiting, rules) or Leave("is being written")
    if rules.gid is not None and entry.is_members is None:
        return Leave("cannot be taken: the look-up of its owner failed", age_ms + SETTLED_MS)
    if wrong := mistake(entry, rules) or _read_failure(look):
        return wrong if wrong.at_once or age_ms >= SETTLED_MS else Leave(wrong.message, SETTLED_MS)
    if look.has_writer is not None:
        return _too_many(waiting, rules) or TAKE
    if age_ms < SETTLED_MS:
        return Leave("may be incomplete", SETTLED_MS)
    if look.ends_in_newline:
        return _too_many(waiting, rules) or TAKE
    if age_ms < GIVEN_UP_MS:
        return Leave("does not end in a newline", GIVEN_UP_MS)
    return Reject(
        "the last line does not end in a newline", "end every line with one; its writer seems to have stopped"
    )


def decide_open(age_ms: int, others: int) -> Leave | Reject:
    """Decides about a claimed file that a process has open for writing: it was opened just before the claim.

    `age_ms`: time since that was first seen. `others`: how many such files of the owner are waited for already.
    """
    if age_ms < GIVEN_UP_MS and others < MOST_OPEN:
        return Leave("is being written")
    remedy = "close the file before you rename it into `new/`; to run its commands, drop a new file"
    return Reject("a process has the file open for writing", remedy)


def mistake(entry: SpoolEntry, rules: Rules) -> Reject | None:
    """Why a file can never be a drop: a wrong name, or one of the mistakes of `mistaken_kind`."""
    if not _NAME.fullmatch(entry.name):
        remedy = "use letters, digits, `.`, `_`, `-`, and the ending `.cmd`"
        return Reject(f"invalid drop name `{entry.name.encode('unicode_escape').decode()}`", remedy)
    return mistaken_kind(entry, rules)


def mistaken_kind(entry: SpoolEntry, rules: Rules) -> Reject | None:
    """Why a file can never be a drop, whatever its name: its kind, owner, links or size."""
    if stat.S_ISLNK(entry.mode):
        return Reject("a symbolic link is not followed", "drop the file itself")
    if not stat.S_ISREG(entry.mode):
        return Reject("not a regular file", "drop a regular file")
    if entry.uid == rules.stranger:
        message = "the owner of the file is not mapped into the user namespace of the appliance"
        return Reject(message, "change the owner of the file, or drop it as a user of the appliance's container")
    if rules.gid is not None and (untrusted := _untrusted(entry, rules.own_uid, rules.gid)):
        return untrusted
    if entry.size > rules.max_bytes:
        remedy = f"a drop has at most {rules.max_bytes:,} bytes (`spool.max_bytes`); split it"
        return Reject("the file is too large", remedy, "E108")
    if entry.size == 0:
        return Reject("the file is empty", "write it in `tmp/`, then rename it into `new/`")
    return None


def _untrusted(entry: SpoolEntry, own_uid: int, gid: int) -> Reject | None:
    """Why a file in a shared spool may hold commands that its owner never gave, or that its owner did not drop."""
    if entry.uid in (0, own_uid):
        remedy = "somebody else may have put it there; give the commands at the console"
        return Reject(f"a file of uid {entry.uid} is not trusted in a shared spool", remedy)
    if not entry.is_members:
        remedy = "somebody else may have put it there; add its owner to the group `spool.group`"
        return Reject(f"a file of uid {entry.uid}, which is not in the spool's group, is not trusted", remedy)
    if entry.gid != gid:
        remedy = (
            "write it in `tmp/`, where it gets that group; a file from elsewhere may have been moved by somebody else"
        )
        return Reject("the file does not belong to the spool's group", remedy)
    if entry.mode & 0o022:
        # It is rejected at once, since others could change the file before its mode was corrected.
        remedy = "somebody else may have changed it; create it with `umask 027`, or drop it with `submit`"
        return Reject("the file is writable by its group or by everybody", remedy, at_once=True)
    if entry.links > 1:
        return Reject("the file has another name (hard link)", "remove the other name, or drop a copy")
    return None


def _read_failure(look: Look) -> Reject | None:
    if look.unreadable is None:
        return None
    return Reject(f"cannot be read: {look.unreadable}", "let the appliance's user read it")


def _too_many(waiting: int, rules: Rules) -> Reject | None:
    return None if waiting < rules.max_waiting else too_many(rules)


def too_many(rules: Rules) -> Reject:
    """The rejection of a file whose owner has too many files in new/, including work in progress."""
    remedy = "drop fewer at once, or raise `spool.max_waiting`"
    return Reject(f"{rules.max_waiting:,} other files of this owner were waiting", remedy, "E108")


def mark_of(sequence: int, name: str) -> str:
    """The name of a claimed file. A name that no drop may have gets an ending that no drop has."""
    if _NAME.fullmatch(name):
        return f"{sequence:012d}~{name}"
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name, flags=re.ASCII)[:100]
    return f"{sequence:012d}~{safe}~refused"


def split_mark(mark: str) -> tuple[int, str] | None:
    """The sequence and the name of a claimed file; None for a file that the appliance has not claimed."""
    match = _MARK.fullmatch(mark)
    return (int(match.group(1)), match.group(2)) if match else None


def published_name(name: str, owner: int | None) -> str:
    """The name of a file in done/ or failed/. `owner`: the uid in a shared spool, where two users may choose one name.

    The uid comes first and has at most ten digits, so that the name is never read as a mark.
    """
    return name if owner is None else f"{owner}~{name}"


def aside_name(result: str) -> str:
    """The name of a result while it is written."""
    return f".{result}.tmp"


def is_published(name: str) -> bool:
    """Whether a file in done/ or failed/ has a name that the appliance gives to such files."""
    result = name.removeprefix(".").removesuffix(".tmp")
    if name == aside_name(result):
        name = result
    return bool(_PUBLISHED.fullmatch(name) or _MARK.fullmatch(name))


def owner_in(name: str) -> int | None:
    """The uid in the name of a published file in a shared spool; None for a file that keeps its mark."""
    uid, separator, _ = name.removeprefix(".").partition("~")
    return int(uid) if separator and uid.isdecimal() and len(uid) <= LONGEST_UID else None


def result_name(name: str, owner: int | None) -> str:
    """The name of the result of a drop. `owner`: see `published_name`."""
    return published_name(f"{name.removesuffix('.cmd')}.result", owner)
