"""Lock files: one holder at a time, whose pid can be read without touching the lock."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from schedappliance import lockfile
from schedappliance.diagnostics import Unusable
from schedappliance.doctor import observe
from schedappliance.doctor.mounts import parse_mounts
from schedappliance.lockfile import LockHeld, is_in_place, lock_file, lock_holder
from schedappliance.store.tables import open_store


def test_only_one_descriptor_holds_a_lock_and_the_file_names_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("4194305\n")
    held = lock_file(path)
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(LockHeld) as raised:
        lock_file(path)
    assert raised.value.holder == str(os.getpid())
    os.close(held)
    os.close(lock_file(path))


def test_a_holder_that_has_not_written_its_pid_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(0o600)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockHeld) as raised:
            lock_file(path)
    assert raised.value.holder == str(os.getpid())


@pytest.mark.parametrize("text", ["", "4194305\n"])
def test_a_lock_that_others_could_take_is_replaced(tmp_path: Path, text: str) -> None:
    """Anyone who may read a file can lock it, also later through a descriptor that stays open."""
    path = tmp_path / "lock"
    path.write_text(text)
    path.chmod(0o644)
    with path.open() as foreign:
        fcntl.flock(foreign, fcntl.LOCK_EX)
        descriptor = lock_file(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text() == f"{os.getpid()}\n"
        assert is_in_place(descriptor, path)
        assert not is_in_place(foreign.fileno(), path)
    os.close(descriptor)


def test_a_lock_of_an_earlier_version_that_an_appliance_holds_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{os.getpid()}\n")
    path.chmod(0o644)
    with path.open() as appliance:
        fcntl.flock(appliance, fcntl.LOCK_EX)
        with pytest.raises(LockHeld):
            lock_file(path)
        assert is_in_place(appliance.fileno(), path)


def test_a_removed_or_replaced_lock_is_not_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    descriptor = lock_file(path)
    assert is_in_place(descriptor, path)
    path.unlink()
    assert not is_in_place(descriptor, path)
    os.close(lock_file(path))
    assert not is_in_place(descriptor, path)
    os.close(descriptor)


def test_a_file_that_is_removed_while_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "lock", fcntl.flock
    removed: list[Path] = []

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            path.unlink()
            removed.append(path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    descriptor = lock_file(path)
    assert is_in_place(descriptor, path)
    os.close(descriptor)


def test_a_file_that_cannot_be_opened_raises_its_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "lock"
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)) as raised:
        lock_file(path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(path))


def test_a_file_that_cannot_be_used_is_named_with_owner_and_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, number = tmp_path / "lock", errno.EACCES
    path.touch(0o600)
    path.chmod(0o400)

    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(Unusable, match=r"Permission denied; it belongs to `.*` and has mode 0400") as raised:
        lock_file(path)
    assert raised.value.help.startswith("change its owner or its permissions for `")
    number = errno.EPERM
    with pytest.raises(Unusable, match="Operation not permitted; it belongs to") as raised:
        lock_file(path)
    assert raised.value.help == "`lsattr` shows whether it is immutable; `chattr -i` changes that"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unusable, match=f"{link} is a symbolic link, not a file; .* or remove the link"):
        lock_file(link)
    assert not (tmp_path / "elsewhere").exists()


def test_an_error_of_locking_is_not_taken_for_a_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)) as raised:
        lock_file(tmp_path / "lock")
    assert raised.value.filename == str(tmp_path / "lock")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["fifo", "missing", "other"])
def test_a_process_system_with_something_else_in_it_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As in a container that hides files of /proc."""
    file = tmp_path / "self" / "mountinfo"
    file.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "other":
        file.write_text("1: a few words\n")
    monkeypatch.setattr(lockfile, "LOCKS", file)
    lock = lock_file(tmp_path / "lock")
    assert lock_holder(tmp_path / "lock") is None
    assert parse_mounts(observe.mount_table(None, tmp_path)) == parse_mounts("")
    assert lock


def test_the_holder_of_a_store_is_known_while_it_is_open(tmp_path: Path) -> None:
    path, lock = tmp_path / "sched.db", tmp_path / "sched.db.lock"
    assert lock_holder(lock) is None
    store = open_store(path, "example.com", "0123", 5)
    assert lock_holder(lock) == os.getpid()
    store.close()
    assert (lock.exists(), lock_holder(lock)) == (True, None)


@pytest.mark.parametrize("text", ["", "1\n", "x"])
def test_a_lock_whose_file_names_another_process_is_not_an_appliance_s(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(text)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holder(lock) is None


def test_asking_for_the_holder_does_not_take_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(f"{os.getpid()}\n")
    lock_holder(lock)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock_holder(lock) == os.getpid()
