"""Compares a running daemon with the file system: what it has open, and what it says about itself.

Rule: it changes nothing, and a daemon that does not answer does not stop it.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from schedappliance.clock import HasOffset, local_text
from schedappliance.diagnostics import Unusable
from schedappliance.doctor.facts import Lost, Reader, Stranger, Summary
from schedappliance.edge.console.unix_socket import connect
from schedappliance.edge.programs.outputs import output_directory, outputs_of
from schedappliance.edge.programs.survivors import command_of, find_named
from schedappliance.model.files import real_path
from schedappliance.store.files import log_readers
from schedappliance.store.reading import unknown_attempts
from schedappliance.store.room import has_room

PATIENCE_SECONDS = 5
ROLE_REMEDY = "run `doctor` as a user whose role allows `summary`"
# The id of a run, its attempt and when it began, as the environment of a process names them. SQLite takes no longer numbers.
_ATTEMPT = re.compile(r".+-(N)/(N) (N) (N)".replace("N", "[0-9]{1,18}"), re.ASCII)


def lost_files(pid: int, paths: Iterable[Path]) -> Iterator[Lost]:
    """The files that a daemon has open, and whose names lead to nothing or to another file.

    None are known for a process of another user. A daemon that started on a full disk has no log and no index open.
    """
    identities = _opened(pid)
    for path in paths if identities else ():
        if path.name.endswith(("-wal", "-shm")) and not has_room(path):
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            yield Lost(path, pid)
        except OSError:
            continue
        else:
            if (status.st_dev, status.st_ino) not in identities:
                yield Lost(path, pid, is_replaced=True)


def astray(pid: int, linked: Iterable[tuple[Path, Path]]) -> dict[Path, Lost]:
    """The directories to which links lead now, although a daemon has opened its files of the same names in another one.

    `linked`: paths with links, and the files that they lead to.
    """
    names: dict[str, list[tuple[Path, tuple[int, int]]]] = {}
    for path, identity in _opened_by_name(pid):
        names.setdefault(path.name, []).append((path, identity))
    strays: dict[Path, Lost] = {}
    for link, path in linked:
        opened = names.get(path.name, [])
        if opened and _identity(path) not in [identity for _, identity in opened]:
            strays.setdefault(path.parent, Lost(link, pid, elsewhere=opened[0][0]))
    return strays


def _opened_by_name(pid: int) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The files that a process has open, if they are to be found under their names."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                path = link.readlink()
                if (identity := _identity(link)) and identity == _identity(path):
                    yield path, identity


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _opened(pid: int) -> set[tuple[int, int]]:
    """Device and inode of each file that a process has open."""
    identities: set[tuple[int, int]] = set()
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                status = link.stat()
                identities.add((status.st_dev, status.st_ino))
    return identities


def summary(endpoint: Path, zone: HasOffset) -> Summary:
    """What `summary` says. Empty if nobody listens, which is a finding of its own, or if this user may not open the console."""
    try:
        with connect(endpoint) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.sendall(b"json summary\n")
            connection.shutdown(socket.SHUT_WR)
            answer = json.loads(b"".join(iter(lambda: connection.recv(65_536), b"")))
    except TimeoutError:
        message = f"the running appliance has not answered `summary` in {PATIENCE_SECONDS} seconds"
        return Summary(unknown=(message, "`health` shows whether it stands still; if it does, restart it"))
    except (OSError, ValueError):
        return Summary()
    if not isinstance(answer, dict):
        # Something else listens there.
        return Summary()
    if "error" in answer:
        reason = ", ".join(mistake["message"] for mistake in answer.get("diagnostics", ())) or answer["error"]
        return Summary(unknown=(f"the running appliance does not answer `summary`: {reason}", ROLE_REMEDY))
    degraded, held = answer.get("degraded"), answer.get("held")
    return Summary(str(degraded) if degraded else None, _held(held, zone) if isinstance(held, dict) else None)


def _held(hold: dict[str, Any], zone: HasOffset) -> str:
    until = f" until {local_text(ends_ms, zone)}" if (ends_ms := hold.get("ends_ms")) is not None else ""
    text = f"since {local_text(hold['since_ms'], zone)}{until} by {hold['user']}"
    return f"{text}: {hold['reason']}" if hold["reason"] else text


def strangers_of(store: Path) -> Iterator[Stranger]:
    """The programs that write to the outputs of a store, and whose runs it does not know: it was restored from a backup."""
    strangers, directory = {}, real_path(output_directory(store))
    for (_, *names), process in find_named(None).items():
        outputs = [path for path in outputs_of(process.pid) if Path(path).parent == directory]
        if outputs and (numbers := _ATTEMPT.fullmatch(" ".join(names))):
            job, occurrence, attempt, started_ms = map(int, numbers.groups())
            stranger = Stranger(process.pid, command_of(process.pid), names[0], outputs[0])
            strangers[job, occurrence, attempt, started_ms] = stranger
    with suppress(Unusable):
        for key in unknown_attempts(store, strangers) if strangers else ():
            yield strangers[key]


def readers_of(store: Path) -> Iterator[Reader]:
    """The other processes that read a store now."""
    for pid in log_readers(store):
        if pid != os.getpid():
            yield Reader(pid, command_of(pid))
