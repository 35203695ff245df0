"""An appliance that starts with signals ignored and blocked, with few descriptors, or as the first process."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, command
from tests.support.waiting import PATIENCE_SECONDS, eventually

OWN = pwd.getpwuid(os.geteuid()).pw_name
LIMIT = 200
STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
program "look" {{ argv = ( "/bin/sh" "-c" "ulimit -n; grep -E 'Sig(Ign|Blk)' /proc/self/status" ) overlap = parallel {more} }}
program "orphan" {{ argv = ( "/bin/sh" "-c" "setsid sleep 0.1 & echo $!" ) overlap = parallel }}
"""
AT_ONCE = 40


def inherit_bad_signals_and_limit() -> None:
    for number in (signal.SIGCHLD, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def born_badly(daemon: Daemon, more: str) -> None:
    daemon.conf.write_text(STANZAS.format(more=more))
    daemon.launch(inherit_bad_signals_and_limit)
    eventually(lambda: " is ready" in daemon.log or daemon.ended(), "the start")


@pytest.mark.parametrize("more", ["", f'user = "{os.geteuid()}"'], ids=["directly", "by a copy"])
def test_programs_inherit_the_descriptor_limit_but_no_ignored_or_blocked_signal(daemon: Daemon, more: str) -> None:
    """The limit cannot be lowered after a program has started: that would come too late for some of them."""
    born_badly(daemon, more)
    daemon.exchange(b"run look\n" * AT_ONCE)
    daemon.wait_for_state("succeeded", AT_ONCE)
    outputs = {row[0] for row in daemon.rows("SELECT output FROM outputs")}
    assert outputs == {f"{LIMIT}\nSigBlk:\t{0:016x}\nSigIgn:\t{0:016x}\n".encode()}
    assert daemon.stop() == 0


@pytest.fixture
def first_process(daemon: Daemon) -> Daemon:
    if os.geteuid() != 0:
        pytest.skip("only root can start it as the first process of a namespace")
    daemon.conf.write_text(STANZAS.format(more="").replace("sched {", "sched { on_stop = keep"))
    namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [sys.executable, "-m", "schedappliance", "serve", "--config", str(daemon.etc / "appliance.yaml")]
    with daemon.log_path.open("ab") as log:
        daemon.process = subprocess.Popen([*namespace, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    eventually(lambda: " is ready" in daemon.log or daemon.ended(), "the start")
    if daemon.ended():
        pytest.skip(f"no namespace can be made: {daemon.log}")
    return daemon


def zombies(of: int) -> list[str]:
    """The descendants of a process that have ended but were not reaped."""
    pids, parents = [], {of}
    for _ in range(3):
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, _, rest = path.read_text().partition(" ")
            except OSError:
                continue
            state, parent, *_ = rest.rpartition(")")[2].split()
            if int(parent) in parents:
                parents.add(int(pid))
                if state == "Z":
                    pids.append(pid)
    return pids


def test_as_the_first_process_it_reaps_orphans_of_programs(first_process: Daemon) -> None:
    daemon = first_process
    daemon.exchange(b"run orphan\n" * AT_ONCE)
    daemon.wait_for_state("succeeded", AT_ONCE)
    assert daemon.process
    outer = daemon.process.pid
    eventually(lambda: not zombies(outer), "the end of all orphans")
    doctor = ("doctor", "--config", str(daemon.etc / "appliance.yaml"))
    assert "sched.conf: W625 " in command(*doctor).stdout
    moved = daemon.socket_path.rename(daemon.var / "moved")
    assert "sched.conf: W625 " in command(*doctor).stdout, "its parents have the same command line"
    moved.rename(daemon.socket_path)
    assert daemon.console("shutdown").returncode == 0
    assert daemon.process.wait(PATIENCE_SECONDS) == 0


def test_a_signal_to_the_first_process_stops_the_appliance(first_process: Daemon) -> None:
    daemon = first_process
    assert daemon.process
    first = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()[0]
    os.kill(int(first), 15)
    assert daemon.process.wait(PATIENCE_SECONDS) == 0
    assert daemon.log.rstrip().endswith("stopped")


CAPABILITIES = f"""\
sched {{ backing_store = "../var/sched.db" }}
program "own" {{ argv = ( "/bin/grep" "CapAmb" "/proc/self/status" ) }}
program "spawned" {{ argv = ( "/bin/grep" "CapAmb" "/proc/self/status" ) user = "{OWN}" }}
"""


@pytest.mark.parametrize("program", ["own", "spawned"])
def test_programs_inherit_no_capabilities(daemon: Daemon, program: str) -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only root can give the daemon capabilities")
    daemon.conf.write_text(CAPABILITIES)
    daemon.wrapper = [setpriv, "--inh-caps=+lease", "--ambient-caps=+lease"]
    daemon.start()
    run = daemon.run(f"run {program}")
    assert daemon.data(f"sched show {run['run']}")["output"] == f"CapAmb:\t{0:016x}\n"
