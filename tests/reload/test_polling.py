"""Without events, or where they do not report all changes, the files are polled, and the status says so."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from watchdog.observers.inotify import InotifyObserver

from schedappliance.edge.files import watcher as files
from schedappliance.edge.files.filesystems import NETWORK, network_name, on_network
from schedappliance.edge.linux import file_system_magic
from tests.support.core import SECOND
from tests.support.faulty_observers import SilentObserver
from tests.support.watched_files import LONG, STANZAS, Watched, stanzas

LIMITS = {errno.ENOSPC: "inotify watch limit reached", errno.EMFILE: "inotify instance limit reached"}
REMEDIES = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}


class Exhausted(InotifyObserver):
    """Behaves as watchdog when a limit of inotify is reached: the next `left` starts fail."""

    left = 0
    number = errno.ENOSPC

    def on_thread_start(self) -> None:
        if Exhausted.left > 0:
            Exhausted.left -= 1
            raise OSError(Exhausted.number, LIMITS[Exhausted.number])
        super().on_thread_start()


@pytest.mark.parametrize("number", LIMITS)
def test_without_inotify_the_files_are_polled_until_there_are_events_again(tmp_path: Path, number: int) -> None:
    conf = tmp_path / "sched.conf"
    conf.write_text(STANZAS)
    Exhausted.left, Exhausted.number = 1000, number
    watched = Watched(conf, Exhausted)
    try:
        text = f"poll every 2 seconds: {LIMITS[number]}; raise {REMEDIES[number]}"
        assert watched.status()["watch"] == text
        assert f"watch: {text}\n" in watched.say("config status")
        conf.write_text(stanzas(1))
        watched.pass_time(3 * SECOND)
        assert watched.value() == 1
        watched.pass_time(LONG)
        assert sum("cannot watch" in line for line in watched.logged) == 1
        Exhausted.left = 0
        watched.pass_time(3 * SECOND)
        assert watched.status()["watch"] == "events"
        assert "info: events report all changes again" in watched.logged
    finally:
        watched.close()


def test_a_network_file_system_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is faked, and no event comes, as inotify does not report changes by other machines."""
    conf = tmp_path / "sched.conf"
    conf.write_text(STANZAS)
    monkeypatch.setattr(files, "on_network", lambda place: network_name(0x6969) if place == tmp_path else None)
    watched = Watched(conf, SilentObserver)
    try:
        assert watched.status()["watch"] == f"poll every 2 seconds: {tmp_path} is on NFS"
        warning = f"{tmp_path} is on NFS, where events do not report all changes; it is polled every 2 seconds"
        assert f"warning: {warning}" in watched.logged
        conf.write_text(stanzas(1))
        watched.pass_time(3 * SECOND)
        assert watched.value() == 1
        watched.pass_time(LONG)
        assert sum("is on NFS" in line for line in watched.logged) == 1
    finally:
        watched.close()


@pytest.mark.parametrize(("magic", "name"), [(magic, system.name) for system in NETWORK for magic in system.magics])
def test_every_number_of_a_network_file_system_is_known(magic: int, name: str) -> None:
    assert network_name(magic) == name


def test_no_two_file_systems_share_a_number_or_a_type() -> None:
    magics = [magic for system in NETWORK for magic in system.magics]
    types = [name for system in NETWORK for name in system.types]
    assert (len(magics), len(types)) == (len(set(magics)), len(set(types)))


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (0xEF53, None),  # ext4
        (0x58465342, None),  # XFS
        (0x9123683E, None),  # Btrfs
        (0x01021994, None),  # tmpfs
        (0x794C7630, None),  # overlayfs
        # On machines whose word is signed, or longer.
        (0xFF534D42 - (1 << 32), "CIFS"),
        (0xFFFFFFFFFE534D42, "SMB2"),
    ],
)
def test_local_file_systems_are_not_polled(magic: int, name: str | None) -> None:
    assert network_name(magic) == name


def test_the_kernel_names_the_file_system_of_a_path(tmp_path: Path) -> None:
    assert file_system_magic("/proc") == 0x9FA0
    assert on_network(tmp_path) is None
    assert on_network(tmp_path / "absent") is None
