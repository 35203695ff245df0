"""What a machine lacks, judged from facts."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from schedappliance.doctor.facts import ConsoleSocket, Holding, Lost, Reader, WatchFailure
from schedappliance.doctor.findings import checked, findings
from schedappliance.doctor.machine import FULL_BYTES, MIN_FREE_BYTES, MIN_FREE_INODES, machine_mistakes
from schedappliance.model.loading import load
from schedappliance.store.files import LOG_LIMIT_BYTES
from tests.support.machine_facts import SOCKET, SPOOL, STORE, machine
from tests.support.memory_files import ROOT, held

CONF = "/etc/schedappliance/sched.conf"


def codes_and_paths(text: str, **changes: object) -> list[tuple[str, str]]:
    return [(d.code, d.source.name) for d in machine_mistakes(machine(text, **changes))]


def test_a_healthy_machine_has_no_finding() -> None:
    assert codes_and_paths("") == []


def test_a_mounted_file_is_a_finding_and_a_mounted_directory_is_not() -> None:
    line = f"36 22 0:50 /home/me/x {CONF} rw - ext4 /dev/sda1 rw"
    (mistake,) = machine_mistakes(machine(line))
    assert (mistake.code, mistake.source.name, mistake.help) == ("E601", CONF, "mount its directory instead")
    assert codes_and_paths(line.replace(CONF, "/etc/schedappliance")) == []
    assert codes_and_paths(line.replace(CONF, f"{CONF}.bak")) == []


def test_a_mount_of_a_file_that_was_replaced_says_so() -> None:
    (mistake,) = machine_mistakes(machine(f"36 22 0:50 /home/me/x//deleted {CONF} rw - ext4 /dev/sda1 rw"))
    assert mistake.message.endswith("it has been replaced already")


def test_a_sub_path_of_a_config_map_gets_its_own_remedy() -> None:
    root = "/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~configmap/etc/..2024_1/sched.conf"
    (mistake,) = machine_mistakes(machine(f"36 22 0:50 {root} {CONF} ro - ext4 /dev/sda1 rw"))
    assert (mistake.code, mistake.help) == ("E601", "mount the volume without `subPath`")


@pytest.mark.parametrize(
    ("point", "code", "place"),
    [
        ("/var/lib", "E602", str(STORE)),
        ("/var/spool", "W603", str(SPOOL)),
        ("/etc", "W603", "/etc/schedappliance/appliance.yaml"),
        ("/srv", None, ""),
    ],
)
@pytest.mark.parametrize("fs_type", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_reported_once_for_each_use(
    fs_type: str, point: str, code: str | None, place: str
) -> None:
    pairs = codes_and_paths(f"36 22 0:50 / {point} rw - {fs_type} server:/export rw")
    assert pairs == ([(code, place)] if code else [])


def test_a_local_file_system_over_a_network_one_is_local() -> None:
    lines = "36 22 0:50 / /var rw - nfs4 server:/ rw\n37 36 0:51 / /var/lib/schedappliance rw - ext4 /dev/sdb rw"
    assert codes_and_paths(lines) == [("W603", str(SPOOL))]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ("/opt/now -> release-42\nbacking_store = ../sched.db", ["W604"]),
        ("/opt/now -> release-42\nbacking_store = ../sched.db\nspool.path = ../spool", ["W604", "W604"]),
        ("/opt/now -> release-42\nbacking_store = /var/lib/sched.db", []),
        ("/opt/now -> release-42", []),
        ("/home -> data/home\nbacking_store = ../sched.db", []),
        ("/var/run -> /run\nbacking_store = ../sched.db", []),
        ("backing_store = ../sched.db", []),
    ],
)
def test_a_relative_path_behind_a_link_is_a_finding(lines: str, codes: list[str]) -> None:
    assert [code for code, _ in codes_and_paths(lines)] == codes


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EMFILE, "raise `fs.inotify.max_user_instances` with sysctl"),
        (errno.ENOSPC, "raise `fs.inotify.max_user_watches` with sysctl"),
        (errno.EACCES, "let the appliance's user read the directories of the files"),
    ],
)
def test_a_failed_trial_to_watch_names_the_remedy(number: int, remedy: str) -> None:
    (mistake,) = machine_mistakes(machine(watch_failure=WatchFailure(number, "why")))
    assert (mistake.code, mistake.help) == ("W605", remedy)
    assert mistake.message.endswith(": why")


def test_a_spool_that_cannot_be_watched_is_named() -> None:
    (mistake,) = machine_mistakes(machine(watch_failure=WatchFailure(errno.EACCES, "why", is_spool=True)))
    assert (mistake.code, mistake.source.name) == ("W605", str(SPOOL))
    assert mistake.help == "let the appliance's user read its directories"
    assert mistake.message == "cannot watch the spool with inotify, so drops are found only by slow polling: why"


@pytest.mark.parametrize(
    ("version", "old"), [((3, 36, 0), True), ((3, 37, 0), False), ((3, 100, 0), False), ((4, 0, 0), False)]
)
def test_an_old_sqlite_is_a_finding(version: tuple[int, ...], old: bool) -> None:
    assert [code for code, _ in codes_and_paths("", sqlite=version)] == (["E612"] if old else [])


def test_few_free_inodes_are_a_finding_that_names_them() -> None:
    (finding,) = machine_mistakes(machine(free_inodes=1))
    assert finding.code == "W611"
    assert finding.message.startswith("the disk of the store has 1 inode left, whatever space is free; ")
    assert "df -i" in str(finding.help)
    for free in (MIN_FREE_INODES, None):
        assert codes_and_paths("", free_inodes=free) == []


@pytest.mark.parametrize(("free", "little"), [(0, True), (MIN_FREE_BYTES - 1, True), (MIN_FREE_BYTES, False)])
def test_little_free_space_is_a_finding(free: int, little: bool) -> None:
    assert [code for code, _ in codes_and_paths("", free_bytes=free)] == (["W611"] if little else [])
    assert codes_and_paths("", free_bytes=free, store=None) == []


@pytest.mark.parametrize(("free", "is_full"), [(0, True), (FULL_BYTES - 1, True), (FULL_BYTES, False)])
def test_a_full_disk_is_not_told_to_shorten_the_history(free: int, is_full: bool) -> None:
    """The store could not take that change."""
    (finding,) = machine_mistakes(machine(free_bytes=free))
    assert finding.help == f"free at least 64 MiB{'' if is_full else ', or shorten `history`'}"


def test_a_console_without_its_group_or_on_a_file_is_a_finding() -> None:
    console = machine().console
    assert console
    assert codes_and_paths("", console=ConsoleSocket(console.way, 0o660, "nogrp")) == [("E614", str(SOCKET))]
    assert codes_and_paths("-rw------- sched sched /run/schedappliance/console.sock") == [("E614", str(SOCKET))]


def test_a_console_that_was_removed_while_the_appliance_runs_is_a_finding() -> None:
    console = machine().console
    assert console
    gone = ConsoleSocket(replace(console.way, exists=False, steps=console.way.steps[:-1]), 0o660, None)
    running = (Holding("store", STORE, 7, own=True),)
    assert codes_and_paths("", console=gone, holdings=running) == [("E614", str(SOCKET))]
    assert codes_and_paths("", console=gone) == []


PLACES = (("store", STORE), ("spool", SPOOL), ("socket", SOCKET))


def holdings(*pids: int | None, own: bool | None = None) -> tuple[Holding, ...]:
    return tuple(Holding(*place, pid, own) for place, pid in zip(PLACES, pids, strict=True) if pid)


@pytest.mark.parametrize(
    ("held", "foreign"),
    [
        (holdings(None, None, None), []),
        (holdings(7, 7, 7), []),
        (holdings(7, 7, 8), [STORE, SPOOL, SOCKET]),
        (holdings(7, None, None), [STORE]),
        (holdings(None, 7, 7), [SPOOL, SOCKET]),
        (holdings(7, None, 7, own=True), []),
        (holdings(7, 7, 7, own=False), [STORE, SPOOL, SOCKET]),
    ],
)
def test_an_appliance_that_uses_only_some_of_the_paths_is_another_one(
    held: tuple[Holding, ...], foreign: list[Path]
) -> None:
    assert codes_and_paths("", holdings=held) == [("E613", str(path)) for path in foreign]


def test_who_cannot_see_all_holders_names_no_other_appliance() -> None:
    assert codes_and_paths("", holdings=holdings(None, None, 7), hides_holders=True) == []
    assert codes_and_paths("", holdings=holdings(None, None, 7, own=False), hides_holders=True) == [
        ("E613", str(SOCKET))
    ]


def test_an_appliance_that_uses_the_only_path_is_this_one() -> None:
    only = replace(machine(), spool=None, console=None, folders=(), holdings=holdings(7, None, None))
    assert list(machine_mistakes(only)) == []


def test_errors_and_machine_warnings_of_the_linter_are_findings() -> None:
    text = (
        'program p { argv = ( /nowhere/x "%{a}" ) cwd = /nowhere }\nx = 1\nx = 2\njob j { every = 5 command = "run q" }'
    )
    loaded = load(ROOT, held({"sched.conf": text}))
    assert {d.code for d in loaded.diagnostics} == {"W401", "W402", "W403", "W407", "E301"}
    reported = findings(machine(loaded=tuple(loaded.diagnostics)))
    assert [d.code for d in reported] == ["W403", "W407", "E301"]


def test_the_summary_names_what_was_checked() -> None:
    assert checked(machine()) == "checked 2 files, 1 program, the store, the spool, the console's socket, inotify"
    bare = replace(machine(), store=None, spool=None, console=None, programs=0)
    assert checked(bare) == "checked 2 files, inotify"


def test_a_file_that_the_daemon_lost_is_a_finding_whose_remedy_keeps_the_store() -> None:
    lost = (Lost(STORE, 4711), Lost(Path(f"{STORE}-wal"), 4711, is_replaced=True))
    first, second = machine_mistakes(replace(machine(), lost=lost))
    assert (first.code, first.source.name, second.code) == ("E616", str(STORE), "E616")
    assert first.help == "put the old file back before you restart the appliance"
    assert second.help.startswith("restart the appliance")


def test_a_long_log_is_a_finding_only_while_it_is_read() -> None:
    reader = (Reader(4711, "sqlite3"),)
    (mistake,) = machine_mistakes(machine(log_bytes=LOG_LIMIT_BYTES + 1, readers=reader))
    assert (mistake.code, mistake.source.name) == ("W618", f"{STORE}-wal")
    assert "read by pid 4711 (sqlite3)" in mistake.message
    assert list(machine_mistakes(machine(log_bytes=LOG_LIMIT_BYTES + 1))) == []
    assert list(machine_mistakes(machine(readers=reader))) == []
