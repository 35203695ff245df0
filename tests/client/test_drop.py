"""A file gets into a spool whole or not at all and replaces no other; the client then waits for its result."""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schedappliance.client import drop as dropping
from schedappliance.client.drop import LONGEST_BASE, LONGEST_PAUSE_MS, base_of, drop, wait_for_result
from schedappliance.clock import ManualClock
from schedappliance.diagnostics import Unusable
from schedappliance.edge import linux

# The mode of every drop.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cmd", re.ASCII)
DATA = b"run hello\n"
STRANGER, GROUP = 65534, 4242
# Looked up here: a user that a test becomes might not be able to load these modules.
OWN, NOGROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(STRANGER).gr_name

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in ("tmp", "new", "done", "failed"):
        (tmp_path / name).mkdir()
    return tmp_path


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("work.cmd", "work"),
        ("work.txt", "work.txt"),
        ("my work (2).cmd", "my_work__2_"),
        ("..hidden", "hidden"),
        ("-dash", "dash"),
        ("_.-", "drop"),
        ("", "drop"),
        (".cmd", "drop"),
        ("größe.cmd", "gr__e"),
        ("日本", "drop"),
        ("a\nb", "a_b"),
        ("\udcff.cmd", "drop"),
        ("63", "63"),
        ("x" * 500, "x" * LONGEST_BASE),
        ("a.tmp", "a.tmp"),
        ("a~", "a_"),
    ],
)
def test_any_file_name_gives_a_valid_name_of_a_drop(spool: Path, name: str, base: str) -> None:
    assert base_of(name) == base
    dropped = drop(spool, base_of(name), DATA)
    assert NAME.fullmatch(dropped)
    assert dropped.startswith(f"{base}-")


def test_a_drop_is_whole_and_readable_by_the_group_and_leaves_nothing_in_tmp(spool: Path) -> None:
    before = os.umask(0o077)
    try:
        name = drop(spool, "work", DATA)
    finally:
        os.umask(before)
    dropped = spool / "new" / name
    assert dropped.read_bytes() == DATA
    assert dropped.stat().st_mode & 0o7777 == 0o640
    assert dropped.stat().st_nlink == 1
    assert (names(spool / "tmp"), names(spool / "new")) == ([], [name])


def test_drops_of_one_name_are_claimed_in_their_order(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The appliance claims files in the order of their names, which hold the time of writing."""
    written = iter(range(1_795_370_460_123_000_000, 2_000_000_000_000_000_000, 1_000_000))
    real = os.fstat

    def later(descriptor: int) -> os.stat_result:
        os.utime(descriptor, ns=(0, next(written)))
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", later)
    dropped = [drop(spool, "work", DATA) for _ in range(20)]
    assert names(spool / "new") == dropped
    assert dropped[0].startswith("work-1795370460123-")


def test_an_existing_file_is_not_replaced(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["draft", "used", "used", "free"])
    monkeypatch.setattr(dropping, "_random", lambda: next(tokens))
    monkeypatch.setattr(dropping, "_write", _written_at(1, dropping._write))
    existing = spool / "new" / "work-0000000000001-used.cmd"
    existing.write_text("another drop\n")
    assert drop(spool, "work", DATA) == "work-0000000000001-free.cmd"
    assert existing.read_text() == "another drop\n"
    assert names(spool / "tmp") == []


def fails(number: int) -> Callable[..., None]:
    def fail(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture(params=[None, errno.EINVAL, errno.ENOSYS], ids=["renameat2", "EINVAL", "ENOSYS"])
def renameat2(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the file system can rename without replacing."""
    if request.param is not None:
        monkeypatch.setattr(linux, "rename_without_replacing", fails(request.param))


@pytest.mark.usefixtures("renameat2")
@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_without_hard_links_a_drop_is_renamed_and_replaces_no_other(
    spool: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter(["draft", "used", "free"])
    monkeypatch.setattr(dropping, "_random", lambda: next(tokens))
    monkeypatch.setattr(dropping, "_write", _written_at(1, dropping._write))
    monkeypatch.setattr(Path, "hardlink_to", fails(number))
    existing = spool / "new" / "work-0000000000001-used.cmd"
    existing.write_text("another drop\n")
    assert drop(spool, "work", DATA) == "work-0000000000001-free.cmd"
    assert (spool / "new" / "work-0000000000001-free.cmd").read_bytes() == DATA
    assert existing.read_text() == "another drop\n"
    assert names(spool / "tmp") == []


def test_a_directory_that_takes_neither_links_nor_renames_is_reported(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", fails(errno.EPERM))
    monkeypatch.setattr(linux, "rename_without_replacing", fails(errno.EPERM))
    with pytest.raises(Unusable, match=r"cannot write to .*/new: Operation not permitted"):
        drop(spool, "work", DATA)
    assert names(spool / "tmp") == names(spool / "new") == []


def _written_at(ms: int, write: Callable[..., tuple[Path, int]]) -> Callable[..., tuple[Path, int]]:
    return lambda *arguments: (write(*arguments)[0], ms)


STEPS = ["fchmod", "fsync of the file", "link", "fsync of the directory"]


def failing(step: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls `act` when a drop reaches a step."""
    fsync, hardlink_to, fchmod = os.fsync, Path.hardlink_to, os.fchmod
    count = 0

    def synced(descriptor: int) -> None:
        nonlocal count
        count += 1
        if step == ("fsync of the file" if count == 1 else "fsync of the directory"):
            act()
        fsync(descriptor)

    def linked(path: Path, target: Path) -> None:
        if step == "link":
            act()
        hardlink_to(path, target)

    def permitted(descriptor: int, mode: int) -> None:
        if step == "fchmod":
            act()
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "fchmod", permitted)
    monkeypatch.setattr(Path, "hardlink_to", linked)


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_step_queues_nothing_and_leaves_no_file(
    spool: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    failing(step, full, monkeypatch)
    with pytest.raises(OSError, match="No space left on device") as caught:
        drop(spool, "work", DATA)
    assert Path(caught.value.filename).parent == spool
    assert names(spool / "tmp") == names(spool / "new") == []


def test_a_drop_that_is_claimed_before_its_directory_is_synced_is_queued(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim() -> None:
        for name in names(spool / "new"):
            (spool / "new" / name).rename(spool / name)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    failing("fsync of the directory", claim, monkeypatch)
    name = drop(spool, "work", DATA)
    assert (spool / name).read_bytes() == DATA
    assert names(spool / "tmp") == []


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_the_steps_leaves_at_most_a_file_in_tmp(spool: Path, step: str) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import pytest\n"
        "from schedappliance.client.drop import drop\n"
        "from tests.client.test_drop import DATA, failing\n"
        "failing(sys.argv[2], lambda: os.kill(os.getpid(), signal.SIGKILL), pytest.MonkeyPatch())\n"
        "drop(Path(sys.argv[1]), 'work', DATA)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(spool), step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(names(spool / "tmp")) == 1
    assert [(spool / "new" / name).read_bytes() for name in names(spool / "new")] == (
        [DATA] if step == "fsync of the directory" else []
    )


def test_the_error_of_a_directory_that_is_not_a_spool_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "file"):
        with pytest.raises(Unusable) as caught:
            drop(path, "work", DATA)
        assert caught.value.message.startswith(f"no spool at {path}: ")
        assert "spool.path" in caught.value.help


def test_a_directory_without_new_is_not_a_spool(spool: Path) -> None:
    (spool / "new").rmdir()
    with pytest.raises(Unusable, match="no spool at"):
        drop(spool, "work", DATA)
    assert names(spool / "tmp") == []


@pytest.fixture
def become(request: pytest.FixtureRequest) -> Callable[[int, list[int]], None]:
    """The rest of the test runs as another user with these groups."""
    before = os.getgroups(), os.getegid()

    def back() -> None:
        os.seteuid(0)
        os.setegid(before[1])
        os.setgroups(before[0])

    def start(uid: int, groups: list[int]) -> None:
        request.addfinalizer(back)
        os.setgroups(groups)
        os.setegid(uid)
        os.seteuid(uid)

    return start


def shared(path: Path, mode: int) -> Path:
    for name in ("tmp", "new"):
        (path / name).mkdir()
        os.chown(path / name, -1, GROUP)
        (path / name).chmod(mode)
    return path


@as_root
def test_a_member_of_the_group_drops_what_the_group_may_read(
    public_path: Path, become: Callable[[int, list[int]], None]
) -> None:
    spool = shared(public_path, 0o3770)
    become(STRANGER, [GROUP])
    name = drop(spool, "work", DATA)
    status = (spool / "new" / name).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (STRANGER, GROUP, 0o640)
    assert names(spool / "tmp") == []


@as_root
def test_the_appliance_can_read_a_drop_of_root(public_path: Path) -> None:
    """Also if the directory is not setgid, so that the file would get the group of root."""
    spool = shared(public_path, 0o700)
    name = drop(spool, "work", DATA)
    assert (spool / "new" / name).stat().st_gid == GROUP


@as_root
@pytest.mark.parametrize(
    ("mode", "remedy"), [(0o700, f"run this as the user `{OWN}`"), (0o3770, f"join the group `{NOGROUP}`")]
)
def test_the_error_of_a_user_who_may_not_write_names_who_may(
    public_path: Path, mode: int, remedy: str, become: Callable[[int, list[int]], None]
) -> None:
    spool = shared(public_path, mode)
    os.chown(spool / "tmp", -1, STRANGER)
    (spool / "tmp").chmod(mode)
    become(1234, [])
    with pytest.raises(Unusable) as caught:
        drop(spool, "work", DATA)
    assert caught.value.message == f"cannot write to {spool}/tmp: Permission denied"
    assert caught.value.help == remedy


@pytest.mark.parametrize(("number", "remedy"), [(errno.EROFS, "mount its file system"), (errno.EPERM, "`lsattr -d`")])
def test_who_may_write_by_the_permissions_is_not_told_to_be_that_user(
    spool: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    monkeypatch.setattr(dropping, "_write", fails(number))
    with pytest.raises(Unusable) as caught:
        drop(spool, "work", DATA)
    assert caught.value.help.startswith(remedy)


ACCEPTED: dict[str, Any] = {"file": "work-1.cmd", "accepted": True, "results": [], "diagnostics": []}


def write_result(spool: Path, folder: str, name: str, result: dict[str, Any]) -> None:
    (spool / folder / f"{name}.result").write_text(json.dumps(result))


class Pauses:
    """Time passes only in pauses; something happens after so many of them."""

    def __init__(self, after: int = 0, happens: Any = None) -> None:
        self.clock = ManualClock(0)
        self.pauses: list[int] = []
        self._after, self._happens = after, happens

    def pause(self, ms: int) -> None:
        self.pauses.append(ms)
        self.clock.advance(ms)
        if len(self.pauses) == self._after:
            self._happens()


@pytest.mark.parametrize("folder", ["done", "failed"])
@pytest.mark.parametrize("after", [1, 5, 200])
def test_a_result_is_found_however_late_it_comes(spool: Path, folder: str, after: int) -> None:
    waiting = Pauses(after, lambda: write_result(spool, folder, "work-1", ACCEPTED))
    assert wait_for_result(spool, "work-1.cmd", waiting.clock, None, waiting.pause) == ACCEPTED
    assert len(waiting.pauses) == after
    assert waiting.pauses == sorted(waiting.pauses)
    assert max(waiting.pauses) <= LONGEST_PAUSE_MS


@pytest.mark.parametrize("timeout_ms", [0, 1, 4, 100, 60_000])
def test_the_wait_lasts_as_long_as_the_timeout(spool: Path, timeout_ms: int) -> None:
    waiting = Pauses()
    assert wait_for_result(spool, "work-1.cmd", waiting.clock, timeout_ms, waiting.pause) is None
    assert sum(waiting.pauses) == timeout_ms


def test_a_result_in_the_last_instant_counts(spool: Path) -> None:
    write_result(spool, "done", "work-1", ACCEPTED)
    waiting = Pauses()
    assert wait_for_result(spool, "work-1.cmd", waiting.clock, 0, waiting.pause) == ACCEPTED


def test_the_result_in_a_shared_spool_is_that_of_this_user(spool: Path) -> None:
    write_result(spool, "failed", f"{os.geteuid() + 1}~work-1", ACCEPTED | {"user": "other"})
    waiting = Pauses()
    assert wait_for_result(spool, "work-1.cmd", waiting.clock, 0, waiting.pause) is None
    write_result(spool, "done", f"{os.geteuid()}~work-1", ACCEPTED)
    assert wait_for_result(spool, "work-1.cmd", waiting.clock, 0, waiting.pause) == ACCEPTED


def test_the_results_of_other_drops_are_ignored(spool: Path) -> None:
    write_result(spool, "done", "work-2", ACCEPTED)
    write_result(spool, "done", "work", ACCEPTED)
    waiting = Pauses()
    assert wait_for_result(spool, "work-1.cmd", waiting.clock, 1000, waiting.pause) is None
