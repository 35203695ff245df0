"""The console's socket: its path may have any length; a socket in use and other files are left alone."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.unix_socket import connect, peer_uid
from tests.support.waiting import PATIENCE_SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console.sock"


def listen(path: Path, mode: int = 0o660, group: int | None = None) -> ListeningSocket:
    return ListeningSocket(path, mode, group)


def works(listening: ListeningSocket) -> bool:
    """Whether a client reaches this very socket."""
    with closing(connect(listening.path)) as client:
        client.sendall(b"hello")
        connection, _ = listening.socket.accept()
        with closing(connection):
            connection.settimeout(PATIENCE_SECONDS)
            return connection.recv(5) == b"hello"


@contextmanager
def foreign_socket(path: Path, listening: bool = True) -> Iterator[None]:
    """A socket of another program, without a lock."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as other:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        other.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)
        if listening:
            other.listen()
        yield


def error(path: Path, mode: int = 0o660) -> Unusable:
    """The error of a path that cannot be used: one line, and no descriptor stays open."""
    # The garbage collector may close descriptors of other tests meanwhile.
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(Unusable) as unusable:
        listen(path, mode)
    assert set(os.listdir("/proc/self/fd")) <= before
    assert unusable.value.help
    assert "\n" not in f"{unusable.value.message}{unusable.value.help}"
    return unusable.value


def test_a_client_reaches_the_socket(path: Path) -> None:
    with closing(listen(path)) as listening:
        assert works(listening)


def test_the_file_appears_only_when_clients_can_connect(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Listener(socket.socket):
        def listen(self, *backlog: int) -> None:
            assert not path.exists()
            super().listen(*backlog)

    monkeypatch.setattr(socket, "socket", Listener)
    with closing(listen(path)) as listening:
        assert works(listening)
        assert sorted(file.name for file in path.parent.iterdir()) == ["console.sock", "console.sock.lock"]


def test_what_a_killed_appliance_left_aside_is_replaced(path: Path) -> None:
    with foreign_socket(path.with_name("console.sock.new"), listening=False):
        pass
    with closing(listen(path)) as listening:
        assert works(listening)


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_a_path_may_be_longer_than_an_address(tmp_path: Path, depth: int) -> None:
    directory = tmp_path.joinpath(*["d" * 100] * depth)
    directory.mkdir(parents=True)
    path = directory / "console.sock"
    assert len(str(path)) > 108
    with closing(listen(path)) as listening:
        assert works(listening)
        assert stat.S_ISSOCK(path.lstat().st_mode)
    assert [entry.name for entry in directory.iterdir()] == ["console.sock.lock"]


@pytest.mark.parametrize("length", [110, 250, 255])
def test_a_name_longer_than_an_address_is_rejected(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    assert str(path) in error(path).message
    assert [entry for entry in tmp_path.iterdir() if entry.suffix != ".lock"] == []


@pytest.mark.parametrize("name", ["with blank", "ü\udcff", "a\nb", "-", "%s"])
def test_any_name_is_accepted(tmp_path: Path, name: str) -> None:
    with closing(listen(tmp_path / name)) as listening:
        assert works(listening)


def test_a_relative_path_is_accepted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with closing(listen(Path(path.name))) as listening:
        assert works(listening)


@pytest.mark.parametrize("listening", [True, False])
def test_a_stale_socket_is_replaced(path: Path, listening: bool) -> None:
    with foreign_socket(path, listening):
        pass
    assert stat.S_ISSOCK(path.lstat().st_mode)
    with closing(listen(path)) as own:
        assert works(own)


def test_a_socket_that_is_listened_on_is_left_alone(path: Path) -> None:
    with foreign_socket(path):
        inode = path.lstat().st_ino
        assert error(path).message == f"another process listens on {path}"
        assert path.lstat().st_ino == inode
        connect(path).close()


def test_a_second_appliance_cannot_listen_while_the_first_one_lives(path: Path) -> None:
    with closing(listen(path)) as first:
        assert error(path).message == f"another process listens on {path}"
        assert works(first)
    with closing(listen(path)) as second:
        assert works(second)


def test_the_lock_is_held_also_if_the_socket_is_removed(path: Path) -> None:
    with closing(listen(path)):
        path.unlink()
        assert error(path).message == f"another process listens on {path}"
        assert not path.exists()


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_nothing(path: Path) -> None:
    assert not path.exists()


def make_link(path: Path) -> None:
    (path.parent / "target").write_text("precious")
    path.symlink_to("target")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, Path.mkdir, os.mkfifo, make_link, make_dangling_link])
def test_a_file_that_is_not_a_socket_is_left_alone(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    before = path.lstat()
    assert error(path).message == f"{path} exists and is not a socket"
    assert path.lstat() == before
    assert not (path.parent / "nowhere").exists()
    os.rename(path, path.with_name("moved away"))  # noqa: PTH104
    listen(path).close()


@pytest.mark.parametrize("name", ["", ".new"])
def test_a_path_that_cannot_be_used_gets_no_lock_file(path: Path, name: str) -> None:
    """The directory may be one that stanza files include: the lock file was read as one of them."""
    other = Path(f"{path}{name}")
    make_file(other)
    assert error(path).message == f"{other} exists and is not a socket"
    assert os.listdir(path.parent) == [other.name]
    lock = Path(f"{path}.lock")
    lock.touch(0o600)
    assert error(path).message == f"{other} exists and is not a socket"
    assert lock.exists(), "it was there before"


def test_the_socket_of_another_program_gets_no_lock_file(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
        other.listen()
        assert error(path).message == f"another process listens on {path}"
        assert os.listdir(path.parent) == [path.name]


def test_a_socket_of_another_type_is_left_alone(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
        other.bind(str(path))
        assert "cannot use the socket path" in error(path).message
        assert stat.S_ISSOCK(path.lstat().st_mode)


def test_a_missing_directory_is_not_created(tmp_path: Path) -> None:
    assert "No such file or directory" in error(tmp_path / "var" / "console.sock").message
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(path: Path) -> None:
    Path(f"{path}.lock").symlink_to("elsewhere")
    assert f"{path}.lock is a symbolic link, not a file" in error(path).message
    assert not (path.parent / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
@pytest.mark.parametrize("umask", [0o022, 0o777, 0])
def test_the_mode_does_not_depend_on_the_umask(path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with closing(listen(path, mode)):
            assert stat.S_IMODE(path.lstat().st_mode) == mode
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_the_group_is_set(path: Path) -> None:
    group = os.getgroups()[-1] if os.getgroups() else os.getegid()
    with closing(listen(path, group=group)):
        assert path.lstat().st_gid == group


def test_closing_removes_the_socket(path: Path) -> None:
    listen(path).close()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        connect(path)


@pytest.mark.parametrize("make", [make_file, Path.mkdir, make_nothing])
def test_closing_leaves_a_file_that_has_replaced_the_socket(path: Path, make: Callable[[Path], object]) -> None:
    listening = listen(path)
    path.rename(path.with_name("moved"))
    make(path)
    before = path.lstat() if path.exists() else None
    listening.close()
    assert (path.lstat() if path.exists() else None) == before


def test_the_user_at_the_other_end_is_known(path: Path) -> None:
    with closing(listen(path)) as listening, closing(connect(path)) as client:
        connection, _ = listening.socket.accept()
        with closing(connection):
            assert peer_uid(connection) == os.geteuid()
        assert peer_uid(client) == os.geteuid()


def test_a_failed_connection_leaves_no_descriptor(path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for missing in (path, path.parent / "nowhere" / "console.sock"):
        with pytest.raises(FileNotFoundError):
            connect(missing)
    with foreign_socket(path):
        pass
    with pytest.raises(ConnectionRefusedError):
        connect(path)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_its_descriptors_are_not_inherited(path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with closing(listen(path)):
        opened = [
            int(name) for name in set(os.listdir("/proc/self/fd")) - before if Path(f"/proc/self/fd/{name}").exists()
        ]
        assert len(opened) >= 1
        assert [descriptor for descriptor in opened if os.get_inheritable(descriptor)] == []


def test_only_one_of_many_that_start_at_once_listens(path: Path) -> None:
    with foreign_socket(path):
        pass
    got: list[ListeningSocket] = []
    errors: list[str] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        try:
            got.append(listen(path))
        except Unusable as unusable:
            errors.append(unusable.message)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = got
    assert errors == [f"another process listens on {path}"] * 7
    assert works(one)
    one.close()
