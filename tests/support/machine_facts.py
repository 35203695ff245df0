"""A machine without problems, and how others differ from it, in the notation of the pages of `explain`."""

from __future__ import annotations

import errno
import re
import resource
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from schedappliance.diagnostics import Source, Span
from schedappliance.doctor.facts import (
    ConsoleSocket,
    Credentials,
    Executable,
    Facts,
    Folder,
    Hidden,
    Holding,
    Lost,
    Needs,
    ProgramUser,
    Reader,
    RelativePath,
    Restrained,
    Rights,
    Step,
    Stranger,
    Summary,
    WatchFailure,
    Way,
)
from schedappliance.doctor.mounts import parse_mounts
from schedappliance.doctor.running import ROLE_REMEDY
from schedappliance.edge.programs.restraints import Limit

NAMES = {0: "root", 500: "sched", 1000: "alice"}
NUMBERS = {name: number for number, name in NAMES.items()}
ETC, VAR, SPOOL = Path("/etc/schedappliance"), Path("/var/lib/schedappliance"), Path("/var/spool/schedappliance")
STORE, SOCKET = VAR / "sched.db", Path("/run/schedappliance/console.sock")

CONF = Source(str(ETC / "sched.conf"), "")

HEALTHY = """\
drwxr-xr-x root root /
drwxr-xr-x root root /etc
drwxr-xr-x root root /etc/schedappliance
-rw-r--r-- root root /etc/schedappliance/appliance.yaml
-rw-r--r-- root root /etc/schedappliance/sched.conf
drwxr-xr-x root root /etc/schedappliance/conf.d
drwxr-xr-x root root /var
drwxr-xr-x root root /var/lib
drwxr-x--- sched sched /var/lib/schedappliance
-rw------- sched sched /var/lib/schedappliance/sched.db
drwxr-xr-x root root /var/spool
drwxr-xr-x sched sched /var/spool/schedappliance
drwx------ sched sched /var/spool/schedappliance/tmp
drwx------ sched sched /var/spool/schedappliance/new
drwxr-xr-x root root /run
drwxr-xr-x sched sched /run/schedappliance
srw-rw---- sched sched /run/schedappliance/console.sock
"""
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:25 / /run rw - tmpfs tmpfs rw
"""
_KINDS = {"d": stat.S_IFDIR, "-": stat.S_IFREG, "s": stat.S_IFSOCK, "l": stat.S_IFLNK}
_STAT = re.compile(r"([d\-sl])([rwxtsTS-]{9}) (\w+) (\w+) (/.*)")
_MOUNT = re.compile(r"\d+ \d+ \d+:\d+ .*")
_LINK = re.compile(r"(/\S+) -> (\S+)")
_PLACE = re.compile(r"(backing_store|spool\.path) = (\S+)")
_WATCH = re.compile(r"fs\.inotify\.\w+: (.+)")
_STORE_ERROR = re.compile(r"/(?!usr/share/zoneinfo)\S+: (.+)")
_ROOM = re.compile(r"(\d+) MiB left for .*")
_SQLITE = re.compile(r"SQLite (\d+)\.(\d+)\.(\d+)")
_HOLDS = re.compile(r"pid (\d+) holds (/.*)")
_MISSING = re.compile(r"stat: cannot stat '(/.*)': No such file or directory")
_RUNS_AS = re.compile(r"program (\w+) runs as (\w+)")
_GETS = re.compile(r"program (\w+) gets (\d+) open files of at most (\d+)")
_RUNS_FILE = re.compile(r"program (\w+) runs (-\S{9} \w+ \w+ /\S+); NoNewPrivs: ([01])")
_USES = re.compile(r"program (\w+) uses (/\S+), of which the appliance (?:sees all|does not see (/\S+))")
_LOST = re.compile(r"/proc/(\d+)/fd/\d+ -> (/.*) \(deleted\)")
_DEGRADED = re.compile(r"Degraded:  (.+)")
_HELD = re.compile(r"Held:  (.+)")
_SAYS = (("degraded", _DEGRADED), ("held", _HELD))
_REFUSED = re.compile(r"summary: (Not Authorized)")
_FIRST = re.compile(r"process 1 is `schedappliance serve`; on_stop = (\w+)")
_PROTECTED = re.compile(r"ProtectProc=invisible")
_HIDDEN_BOOT = re.compile(r"(ProcSubset=pid)")
# As `file` prints it.
_ZONE = re.compile(r"(/usr/share/zoneinfo/\S+): (timezone data.*|data)")
_TOKENS = re.compile(r"(/\S+/web-tokens) is a (directory|regular file)")
_LOSS = re.compile(r"Data loss:  (.+)")
_LOG = re.compile(r"(\d+) MiB in \S+-wal, read by pid (\d+) \((.+)\)")
_LISTED = re.compile(r"ls (/\S+): (.+)")
_STRANGER = re.compile(r"process (\d+) \((.+)\) of run (\S+) is (not )?in the store, and writes to (\S+)")
PATTERNS = (
    *(_STAT, _MISSING, _MOUNT, _LINK, _PLACE, _WATCH, _STORE_ERROR, _ROOM, _SQLITE, _HOLDS),
    *(
        _LOST,
        _DEGRADED,
        _HELD,
        _REFUSED,
        _PROTECTED,
        _HIDDEN_BOOT,
        _TOKENS,
        _ZONE,
        _LOSS,
        _LOG,
        _RUNS_AS,
        _GETS,
        _RUNS_FILE,
        _USES,
        _FIRST,
        _STRANGER,
        _LISTED,
    ),
)


def step(line: str) -> Step:
    """A line of `stat -c '%A %U %G %n'`."""
    match = _STAT.fullmatch(line)
    assert match, line
    kind, letters, owner, group, path = match.groups()
    bits = sum(1 << (8 - place) for place, letter in enumerate(letters) if letter not in "-ST")
    special = stat.S_ISVTX if letters[8] in "tT" else 0
    special |= (stat.S_ISUID if letters[2] in "sS" else 0) | (stat.S_ISGID if letters[5] in "sS" else 0)
    return Step(Path(path), _KINDS[kind] | special | bits, NUMBERS[owner], NUMBERS[group])


def machine(text: str = "", **changes: Any) -> Facts:
    """The healthy machine with the differences that the lines describe, and with these fields replaced."""
    lines = text.splitlines()
    for line in lines:
        assert any(pattern.fullmatch(line) for pattern in PATTERNS), f"not understood: {line}"
    steps = {known.path: known for known in map(step, HEALTHY.splitlines())}
    steps |= {changed.path: changed for changed in (step(line) for line in lines if _STAT.fullmatch(line))}
    mounts = parse_mounts(MOUNTS + "".join(f"{line}\n" for line in lines if _MOUNT.fullmatch(line)))
    links = tuple((Path(link), Path(target)) for link, target in _found(_LINK, lines))
    facts = _facts(steps, links)
    facts = replace(facts, mounts=mounts, needs=_needs(lines, facts.needs), **_others(lines, facts))
    needs = facts.needs._replace(**{name: changes.pop(name) for name in Needs._fields if name in changes})
    return replace(facts, needs=needs, **changes)


def _needs(lines: list[str], needs: Needs) -> Needs:
    """What the programs need, and what the appliance gives them."""
    for program, name in _found(_RUNS_AS, lines):
        user = Credentials(NUMBERS[name], NUMBERS[name], frozenset())
        needs = needs._replace(users=(ProgramUser(program, user, CONF, None),))
    for program, wanted, most in _found(_GETS, lines):
        limit = Limit("nofile", resource.RLIMIT_NOFILE, int(wanted), int(wanted))
        restrained = (Restrained(program, None, (limit,), {"limits": (CONF, Span(0, 0))}),)
        needs = needs._replace(rights=Rights(0, {"nofile": int(most)}, 0, False), restrained=restrained)
    for program, file, is_closed in _found(_RUNS_FILE, lines):
        way = Way(step(file).path, (step("drwxr-xr-x root root /"), step(file)), True)
        executable = Executable(program, way, needs.user, is_checked=True, place=(CONF, Span(0, 0)))
        rights = Rights(0, {}, 0, False, no_new_privileges=is_closed == "1")
        needs = needs._replace(rights=rights, executables=(executable,))
    for program, path, first in _found(_USES, lines):
        hidden = Hidden(program, "argv", Path(path), Path(first), CONF, Span(0, 0)) if first else None
        needs = needs._replace(hidden=(hidden,) if hidden else ())
    return needs


def _facts(steps: dict[Path, Step], links: tuple[tuple[Path, Path], ...]) -> Facts:
    def way(path: Path) -> Way:
        on_the_way = [steps[parent] for parent in reversed((path, *path.parents)) if parent in steps]
        return Way(path, tuple(on_the_way), path in steps, links)

    return Facts(
        needs=Needs(Credentials(500, 500, frozenset({500}))),
        sqlite=(3, 40, 1),
        files=(way(ETC / "appliance.yaml"), way(ETC / "sched.conf")),
        listed=(way(ETC / "conf.d"),),
        programs=1,
        store=way(STORE),
        store_files=(steps[STORE],),
        free_bytes=10 * 1024**3,
        spool=way(SPOOL),
        folders=tuple(Folder(steps[SPOOL / name], 0o700) for name in ("tmp", "new")),
        console=ConsoleSocket(way(SOCKET), 0o660),
        names=NAMES,
        groups=NAMES,
        members={0: frozenset({0}), 500: frozenset({500}), 1000: frozenset({1000})},
    )


def _others(lines: list[str], facts: Facts) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    relative = [RelativePath(option, facts.files[1]) for option, path in _found(_PLACE, lines) if path[0] != "/"]
    changes["relative"] = tuple(relative)
    for (failure,) in _found(_WATCH, lines):
        changes["watch_failure"] = None if failure == "ok" else WatchFailure(errno.EMFILE, failure)
    for (error,) in _found(_STORE_ERROR, lines):
        changes["store_refusal"] = None if error == "ok" else (error, f"create it: mkdir -p {VAR}")
    for (free,) in _found(_ROOM, lines):
        changes["free_bytes"] = int(free) * 1024**2
    for version in _found(_SQLITE, lines):
        changes["sqlite"] = tuple(map(int, version))
    changes["missing"] = tuple(Path(path) for (path,) in _found(_MISSING, lines))
    names = {STORE: "store", SPOOL: "spool", SOCKET: "socket"}
    changes["holdings"] = tuple(Holding(names[Path(path)], Path(path), int(pid)) for pid, path in _found(_HOLDS, lines))
    changes["lost"] = tuple(Lost(Path(path), int(pid)) for pid, path in _found(_LOST, lines))
    answers = {name: text for name, pattern in _SAYS for (text,) in _found(pattern, lines) if text != "no"}
    refusals = [("it does not answer `summary`", ROLE_REMEDY) for _ in _found(_REFUSED, lines)]
    changes["says"] = Summary(answers.get("degraded"), answers.get("held"), *refusals)
    changes["first_process"] = _found(_FIRST, lines) == [("keep",)]
    changes["hides_boot_id"] = bool(_found(_HIDDEN_BOOT, lines))
    changes["damaged_zones"] = tuple(Path(path) for path, content in _found(_ZONE, lines) if content == "data")
    kinds = [(Path(path), kind) for path, kind in _found(_TOKENS, lines) if kind == "directory"]
    changes["blocked"] = tuple(("E630", path, f"it is a {kind}", "move it away") for path, kind in kinds)
    for (loss,) in _found(_LOSS, lines):
        changes["loss"] = None if loss == "no" else loss
    for size, pid, command in _found(_LOG, lines):
        changes |= {"log_bytes": int(size) * 1024**2, "readers": (Reader(int(pid), command),)}
    strangers = _found(_STRANGER, lines)
    for path, names_in in _found(_LISTED, lines):
        other = f"{path} is not a spool: it holds {names_in}", "name an empty directory in `spool.path`"
        changes["spool_refusal"] = None if "done failed new" in names_in else other
    changes["strangers"] = tuple(
        Stranger(int(pid), command, run, output) for pid, command, run, is_not, output in strangers if is_not
    )
    return changes


def _found(pattern: re.Pattern[str], lines: list[str]) -> list[tuple[str, ...]]:
    return [match.groups() for line in lines if (match := pattern.fullmatch(line))]
