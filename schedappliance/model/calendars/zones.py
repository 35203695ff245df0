"""The time zones of one generation, read from the machine's time zone data or else from the package `tzdata`.

Rule: only this module reads time zone data. A zone that was read stays as it is: an update of the files changes nothing
until a new generation is made.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schedappliance.diagnostics import did_you_mean
from schedappliance.kinds import EXHAUSTED, read_head
from schedappliance.model.calendars.pieces import END, Zone

LOCAL = "local"
DAMAGED = "the time zone data is damaged; the Python package `tzdata` is used in its place if it has the zone"
# Where systems keep their time zone data. PYTHONTZPATH and TZDIR do not count: the daemon, and the linter in another
# environment, must know the same zones.
DIRECTORIES = tuple(map(Path, ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo")))
# An offset from UTC, and an abbreviation with or without an offset.
_OFFSET = re.compile(r"(?:UTC|GMT)([+-])(0?\d|1[0-4])(?::?00)?", re.ASCII | re.IGNORECASE)
_ABBREVIATION = re.compile(r"[A-Za-z]{1,5}(?:[+-]?\d.*)?", re.ASCII)


def _package() -> ModuleType | None:
    try:
        return import_module("tzdata")
    except ImportError:
        return None


# The package `tzdata`, if it is installed. It is imported now: a daemon may have no free descriptor later.
_PACKAGE = _package()


class UnknownZone(Exception):
    """The time zone data has no such zone. `name`: as it was asked for; `reason`: why it is not there."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"unknown time zone `{name}`: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine keeps its time zone data and its own zone. `tz`: its environment variable TZ, unless it is a path.

    `by_path`: TZ is a path, which is `localtime` then.
    """

    directories: tuple[Path, ...] = DIRECTORIES
    tz: str | None = None
    localtime: Path = Path("/etc/localtime")
    timezone: Path = Path("/etc/timezone")
    by_path: bool = False


def this_machine() -> Machine:
    tz = os.environ.get("TZ")
    path = Path((tz or "").removeprefix(":"))
    if path.is_absolute() and _name_below_zoneinfo(path) is None:
        # `TZ=:/etc/localtime` is common: it saves the C library a look at the file at each call.
        return Machine() if path == Machine().localtime else Machine(localtime=path, by_path=True)
    return Machine(tz=tz)


class Zones:
    """The zones of one generation. Each is read when it is first asked for.

    `before`: the last generation. A zone of it that cannot be read any more stays as it was, so that its jobs run on.
    """

    def __init__(self, machine: Machine, before: Zones | None = None) -> None:
        self._machine = machine
        self._zones: dict[str, Zone] = {}
        self._contents: dict[Path, bytes] = {}
        # The files that cannot be read as time zone data.
        self.damaged: list[Path] = []
        # Whether the machine lacked what it takes to read a zone, the last time.
        self.is_short = False
        # Why zones of the last generation cannot be read, by their names.
        self.lost_zones: dict[str, str] = {}
        for name, zone in before._zones.items() if before else ():
            try:
                self.get(name)
            except UnknownZone as unknown:
                self._zones[name], self.lost_zones[name] = zone, unknown.reason

    def get(self, name: str) -> Zone:
        """A zone by its name; `local` is the zone of the machine. UnknownZone: it is not in the data, or cannot be read now."""
        zone = self._zones.get(name)
        if zone is None:
            self.is_short = False
            try:
                zone = self._zones[name] = self._read_local() if name == LOCAL else self._read(name)
            except OSError as error:
                self.is_short = True
                raise UnknownZone(name, f"its data cannot be read now: {error.strerror}") from error
        return zone

    @property
    def local(self) -> Zone:
        """The zone of the machine. UnknownZone: the machine has none that can be read."""
        return self.get(LOCAL)

    def to_show(self, name: str | None) -> Zone:
        """The zone in which people see instants: that of `sched`, by its name, or else that of the machine.

        It decides nothing, so UTC takes the place of a zone that is missing.
        """
        try:
            return self.get(name or LOCAL)
        except UnknownZone:
            return self._read("UTC")

    @cached_property
    def version(self) -> str:
        """The version of the time zone data, such as `2026a`; `unknown` if the data does not say it."""
        with suppress(OSError):
            for directory in self._machine.directories:
                if first := _first_line(directory / "tzdata.zi"):
                    return first.removeprefix("# version").strip()
        return str(getattr(_PACKAGE, "IANA_VERSION", "unknown"))

    def changed(self) -> bool:
        """Whether a zone that was read would be another one now: other data, or the machine is in another zone.

        False while the machine lacks what it takes to look.
        """
        try:
            if any(_content(path) != content for path, content in self._contents.items()):
                return True
            # The environment stays as it is.
            is_fixed = self._machine.tz is not None or LOCAL in self.lost_zones
            local = None if is_fixed else self._zones.get(LOCAL)
            return (local is not None and _local_name(self._machine) != local.name) or self._can_read_again()
        except OSError:
            return False

    def _can_read_again(self) -> bool:
        """Whether a lost zone is in the data again."""
        now = Zones(self._machine) if self.lost_zones else self
        for name in self.lost_zones:
            with suppress(UnknownZone):
                return bool(now.get(name))
        return False

    @cached_property
    def names(self) -> Sequence[str]:
        """All names in the time zone data, sorted, for error messages. The directories are listed once for each generation."""
        names = {"UTC"}
        for directory in self._machine.directories:
            above = len(f"{directory}/")
            for folder, folders, files in os.walk(directory):
                folders[:] = filter(_begins_a_name, folders)
                names.update(f"{folder}/{file}"[above:] for file in filter(_begins_a_name, files))
        with suppress(OSError):
            names.update((_packaged("zones") or b"").decode().split())
        return sorted(names)

    def _read(self, name: str) -> Zone:
        if name == "UTC":
            return Zone(name, UTC, (), END)
        reason = "it is not in the time zone data"
        for data in _data_of(name, self._machine.directories):
            # Damaged data of the system does not stop a job while the package has the zone.
            try:
                return self._zone(name, name, data)
            except UnknownZone as error:
                reason = error.reason
        raise UnknownZone(name, reason)

    def _read_local(self) -> Zone:
        if (name := _local_name(self._machine)) is not None:
            try:
                return self.get(name)
            except UnknownZone as error:
                if self._machine.tz is not None and (content := _content_of_rule(name)):
                    with suppress(UnknownZone):
                        return self._zone(LOCAL, None, _Data(None, content))
                place = "this machine is in" if self._machine.tz is None else "TZ is"
                raise UnknownZone(LOCAL, f"{place} `{name}`: {error.reason}") from error
        path = self._machine.localtime
        content = _content(path)
        named = f"{path}, which TZ names" if self._machine.by_path else path
        if content is None:
            raise UnknownZone(LOCAL, f"cannot read {named}")
        if not content.startswith(_MAGIC):
            raise UnknownZone(LOCAL, f"there is no time zone data in {named}")
        return self._zone(LOCAL, None, _Data(path, content))

    def _zone(self, asked: str, name: str | None, data: _Data) -> Zone:
        if data.path is not None:
            self._contents[data.path] = data.content
        try:
            # It comes first: Python waits for ever for a missing end of the data.
            listed, listed_to = _listed_changes(data.content)
            rules = ZoneInfo.from_file(io.BytesIO(data.content), key=name)
            for instant in (0, *(listed for listed in listed if 0 < listed < END), END):
                if datetime.fromtimestamp(instant, rules).utcoffset() is None:
                    raise ValueError(f"no offset at {instant}")
        except Exception as error:  # Python raises whatever the damage leads to, as AssertionError.
            if data.path is not None and data.path not in self.damaged:
                self.damaged.append(data.path)
            raise UnknownZone(asked, "its time zone data is damaged") from error
        return Zone(name, rules, listed, listed_to)


def instead_of_zone(name: str, zones: Zones) -> str:
    """The remedy for the name of a zone that is not in the data; empty if nothing is like it."""
    if zones.is_short:
        return "try again later"
    if offset := _OFFSET.fullmatch(name):
        sign = "-" if offset[1] == "+" else "+"
        return f"write a place, or the offset with the opposite sign: `Etc/GMT{sign}{int(offset[2])}`"
    # Another abbreviation may be hours away.
    names = [known for known in zones.names if known.lower() == name.lower() or not _ABBREVIATION.fullmatch(name)]
    if name in names:
        # The zone has data that cannot be read.
        return "install the package `tzdata` of the system again"
    return did_you_mean(name, names)


def _begins_a_name(part: str) -> bool:
    """Whether a name looks like a zone or a directory of zones, unlike `posix`, `tzdata.zi` and `leapseconds`."""
    return part[:1].isupper() and "." not in part


class _Data(NamedTuple):
    """The bytes of a zone, and their file; None: they come from the package `tzdata`, which does not change."""

    path: Path | None
    content: bytes


def _data_of(name: str, directories: Sequence[Path]) -> Iterator[_Data]:
    """The data of a zone in the system's directories, then in the package."""
    parts = name.split("/")
    # `right/` counts leap seconds, which Unix time does not have, and `posix/` is a copy of all zones.
    if parts[0] in ("right", "posix") or any(part in ("", ".", "..") for part in parts):
        raise UnknownZone(name, "it is not a name in the time zone data")
    for directory in directories:
        path = directory.joinpath(*parts)
        if (content := _content(path)) is not None and (content.startswith(_MAGIC) or not content):
            yield _Data(path, content)
    if (content := _packaged("zoneinfo", *parts)) is not None and content.startswith(_MAGIC):
        yield _Data(None, content)


def _packaged(*parts: str) -> bytes | None:
    """The bytes of a file of the package. An empty directory in its place is a package without a file."""
    if _PACKAGE is None or _PACKAGE.__file__ is None:
        return None
    return _content(Path(_PACKAGE.__file__).parent.joinpath(*parts))


_MAGIC = b"TZif"
# `tzdata.zi`, of which the first line is read, has 100 KB. The data of a zone has a few.
_MOST_BYTES = 1 << 20
# The header of RFC 8536: the version, then the counts of the items in the data block.
_HEADER = struct.Struct(">4xc15x6l")


def _listed_changes(content: bytes) -> tuple[Sequence[int], int]:
    """The instants at which another offset may begin, as the data lists them, and the one after which a rule follows.

    Without the list, a search for the changes would ask for hundreds of offsets a year. Raises struct.error and ValueError.
    """
    version, *counts = _HEADER.unpack_from(content)
    start, width = _HEADER.size, 4
    if version != b"\0":
        # The second block has the instants again, in 64 bits.
        start += _block_size(counts, width)
        _, *counts = _HEADER.unpack_from(content, start)
        start, width = start + _HEADER.size, 8
    instants = struct.unpack_from(f">{counts[3]}{'q' if width == 8 else 'l'}", content, start)
    footer = content[start + _block_size(counts, width) :]
    is_whole = width == 4 or (len(footer) > 1 and footer.startswith(b"\n") and footer.endswith(b"\n"))
    if not is_whole or list(instants) != sorted(instants):
        raise ValueError("the data is not whole")
    # Only a rule with two offsets has commas.
    if b"," not in footer:
        return instants, END
    return instants, instants[-1] if instants else -END


def _block_size(counts: Sequence[int], width: int) -> int:
    """Bytes of a data block whose instants have a width of 4 or 8 bytes."""
    utc, standard, leaps, instants, kinds, letters = counts
    return instants * (width + 1) + kinds * 6 + letters + leaps * (width + 4) + standard + utc


# What TZ may be in place of a name, such as `<+05>-5` or `CET-1CEST,M3.5.0,M10.5.0/3`; see tzset(3). `ZoneInfo` checks the rest.
_ABBREVIATED = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_RULE = re.compile(rf"{_ABBREVIATED}[+-]?\d[\d:]*(?:{_ABBREVIATED}[\d:+-]*,[\dJM.,/:+-]+)?", re.ASCII)


def _content_of_rule(rule: str) -> bytes | None:
    """The bytes of a zone without a listed change that follows a rule of TZ from the beginning; None for any other text."""
    if not _RULE.fullmatch(rule):
        return None
    block = struct.pack(">4sc15x6l", _MAGIC, b"2", 0, 0, 0, 0, 1, 4) + struct.pack(">lBB4s", 0, 0, 0, b"UTC")
    return block + block + f"\n{rule}\n".encode()


def _content(path: Path) -> bytes | None:
    """The bytes of a regular file; None if there is none. TZ may name anything: a FIFO would block, a device may never end.

    Raises OSError if the machine lacks what it takes to look. That is no answer.
    """
    try:
        return read_head(path, _MOST_BYTES)
    except ValueError:
        return None
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return None


def _first_line(path: Path) -> str | None:
    content = _content(path)
    return content.decode(errors="replace").partition("\n")[0].strip() if content else None


def _local_name(machine: Machine) -> str | None:
    """The name of the machine's zone, as the C library finds it; None: only its data is known."""
    if machine.tz is not None:
        path = machine.tz.removeprefix(":")
        return _name_below_zoneinfo(Path(path)) or path or "UTC"
    if os.path.islink(machine.localtime):  # noqa: PTH114  # Path raises what it cannot see
        # A link to itself leads to itself.
        return _name_below_zoneinfo(Path(os.path.realpath(machine.localtime)))
    name = None if machine.by_path else _first_line(machine.timezone)
    return name if name and _agrees(machine, name) else None


def _agrees(machine: Machine, name: str) -> bool:
    """Whether /etc/timezone names the zone in /etc/localtime. A container often gets only the second of them."""
    content = _content(machine.localtime)
    try:
        return content is None or next(_data_of(name, machine.directories)).content == content
    except (UnknownZone, StopIteration):
        return False


def _name_below_zoneinfo(path: Path) -> str | None:
    """`Europe/Berlin` of `/usr/share/zoneinfo/Europe/Berlin`."""
    _, separator, name = str(path).partition("zoneinfo/")
    return name if separator and name else None
