"""The same files mean the same in every locale, working directory, container and set of open descriptors."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from schedappliance.boot import audit
from schedappliance.boot.limits import LEAST_ADDRESS_SPACE
from schedappliance.boot.process import SLICE_NS
from tests.support.daemon import Daemon, begin, command
from tests.support.scheduling import attributes
from tests.support.waiting import PATIENCE_SECONDS, eventually

CONSOLE_SCRIPT = "import sys\nfrom schedappliance.cli.main import main\nsys.exit(main())\n"
STANZAS = """\
sched { backing_store = "../var/störe.db" }
include "é.conf"
"""
INCLUDED = 'program "show" { argv = ( "/bin/sh" "-c" "printf %%s \\"$1\\"; pwd" "sh" "é €" ) cwd = "%s" }\n'


@pytest.fixture(params=["ISO-8859-1", "ASCII"])
def foreign_locale(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locale whose encoding is not UTF-8, for the processes that the test starts."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    if request.param == "ASCII":
        return
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/en_US").exists():
        pytest.skip("needs localedef and the sources of the locales")
    folder = tmp_path / "locales"
    folder.mkdir()
    subprocess.run(["localedef", "-i", "en_US", "-f", request.param, folder / "en_US.ISO-8859-1"], check=True)
    monkeypatch.setenv("LOCPATH", str(folder))
    monkeypatch.setenv("LC_ALL", "en_US.ISO-8859-1")


@pytest.mark.usefixtures("foreign_locale")
@pytest.mark.parametrize("more", ["", f' user = "{os.geteuid()}"'], ids=["directly", "by a copy"])
def test_programs_and_files_get_utf_8_in_every_locale(tmp_path: Path, more: str) -> None:
    daemon = Daemon(tmp_path / "ä €", STANZAS)
    place = tmp_path / "ü €"
    place.mkdir()
    (daemon.etc / "é.conf").write_text(INCLUDED.replace(" }\n", f"{more} }}\n") % place)
    try:
        daemon.start()
        done = daemon.console("run", "--wait", "show")
        assert (done.stdout, done.stderr) == (f"é €{place}\n", "")
        assert (daemon.var / "störe.db").is_file()
        assert daemon.console(stdin="config set a €\nconfig get a\n").stdout == 'a = "€"\na = "€"\n'
        assert daemon.stop() == 0
    finally:
        daemon.end()


@pytest.mark.usefixtures("foreign_locale")
def test_the_console_script_takes_its_arguments_as_utf_8(tmp_path: Path) -> None:
    script, file = tmp_path / "schedappliance", tmp_path / "é €.conf"
    script.write_text(CONSOLE_SCRIPT)
    file.write_text("é\n")
    done = command("lint", "--format", "concise", str(file), python=[sys.executable, str(script)])
    assert done.stdout.startswith(f"{file}:1:1: E"), done


@pytest.fixture
def deleted_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is deleted."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()


@pytest.mark.usefixtures("deleted_directory")
def test_lint_works_in_a_deleted_directory(daemon: Daemon) -> None:
    assert daemon.lint(daemon.conf).returncode == 0
    done = command("lint", "-", "--stdin-filename", "etc/sched.conf", input=daemon.conf.read_text())
    assert (done.returncode, done.stdout) == (0, "1 file checked: 0 errors, 0 warnings\n"), done
    done = command("lint", "-", "--stdin-filename", "appliance.yaml", input="config: a\nspool: { path: b }\n")
    assert done.stdout.startswith("error[E307]: cannot read `a`: No such file or directory"), done
    for arguments in (["lint", "sched.conf"], ["lint", str(daemon.conf), "--config", "a.yaml"], ["console", "pid"]):
        assert "Traceback" not in command(*arguments).stderr
    for arguments in (["store", "check", "sched.db"], ["preview", "--config", "a.yaml"], ["serve", "--last-good=a"]):
        done = command(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (78, False), done


def test_an_appliance_that_was_started_by_a_relative_path_starts_again_from_a_deleted_directory(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(daemon.root)
    monkeypatch.setattr(daemon, "_serve_options", lambda: ["--config", "etc/appliance.yaml"])
    daemon.start()
    assert daemon.rows("SELECT json_extract(files, '$[0][0]') FROM generations") == [(str(daemon.conf),)]
    assert daemon.stop() == 0
    daemon.conf.write_text(f"{daemon.conf.read_text()}broken\n")
    request.getfixturevalue("deleted_directory")
    options = ["--config", str(daemon.etc / "appliance.yaml"), "--last-good"]
    monkeypatch.setattr(daemon, "_serve_options", lambda: options)
    daemon.start()
    assert daemon.run("run hello")["state"] == "succeeded"
    daemon.assert_healthy()


def without(descriptors: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`schedappliance ARGUMENTS`, started by a shell that closes descriptors."""
    return command(
        *arguments, python=["sh", "-c", f'exec "$@" {descriptors}', "sh", sys.executable, "-m", "schedappliance"]
    )


def test_a_closed_stdin_is_empty(daemon: Daemon) -> None:
    assert without("<&-", "lint", "-").stdout.startswith("error[E117]: the file holds no statement")
    done = without("<&-", "console", "--endpoint", "none.sock")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    daemon.start()
    done = without("<&-", "submit", "--spool", str(daemon.var / "spool"), "-")
    assert (done.returncode, "E109" in done.stderr) == (1, True), done


def test_a_closed_stdout_or_stderr_takes_nothing() -> None:
    done = without("2>&-", "console", "--endpoint", "none.sock", "pid")
    assert (done.returncode, done.stdout, done.stderr) == (69, "", "")
    done = without(">&-", "explain", "E101")
    assert (done.returncode, done.stderr) == (0, "")
    assert without("2>&-", "nonsense").returncode == 2


def test_an_appliance_without_open_descriptors_works(daemon: Daemon) -> None:
    arguments = [sys.executable, "-m", "schedappliance", "serve", "--config", str(daemon.etc / "appliance.yaml")]
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *arguments]
    daemon.process = subprocess.Popen(shell)
    eventually(lambda: daemon.ended() or daemon.socket_path.exists(), "the console")
    for line in ("run hello", "config set a 1", "config reload"):
        daemon.say(line)
    daemon.wait_for_state("succeeded")
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    assert {os.readlink(descriptors / str(number)) for number in range(3)} == {"/dev/null"}  # noqa: PTH115
    assert daemon.say("version").startswith("# schedappliance version: ")
    assert daemon.stop() == 0


def test_a_stdin_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for arguments in (["console", "--endpoint", "none.sock"], ["lint", "-"], ["submit", "--spool", "none", "-"]):
        done = without(f"0>{tmp_path / 'file'}", *arguments)
        assert (done.returncode, done.stderr) == (2, "error: cannot read stdin: Bad file descriptor\n")


def test_a_process_system_without_sys_is_a_warning(daemon: Daemon) -> None:
    """As with `ProcSubset=pid` of systemd. Hidden or shown, it is the same boot: no program and no job runs again."""
    if os.geteuid() != 0:
        pytest.skip("only root can hide /proc/sys")
    with daemon.conf.open("a") as conf:
        conf.write('program "twice" { argv = ( "/bin/sleep" "3600" ) on_interrupt = rerun }\n')
        conf.write('job "up" { at = boot command = "version" }\n')
    hiding = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o subset=pid proc /proc && exec "$@"', "sh"]
    daemon.wrapper = hiding
    daemon.launch()
    eventually(lambda: " is ready" in daemon.log or daemon.ended(), "the start")
    if "mount:" in daemon.log or "unshare:" in daemon.log:
        pytest.skip(f"no namespace can be made: {daemon.log}")
    assert daemon.log.count(" warning ") == 1, daemon.log
    assert "/proc does not show the id of this boot" in daemon.log
    found = command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    assert "/proc/sys/kernel/random/boot_id: W622 /proc does not show the id of this boot" in found
    daemon.say("run twice")
    pid = daemon.wait_for_pid()
    for count, wrapper in enumerate(([], hiding, []), 1):
        daemon.kill()
        daemon.wrapper = wrapper
        daemon.start()
        assert daemon.log.count(f"its process {pid} was adopted") == count, daemon.log
    assert sorted(run["state"] for run in daemon.runs()) == ["started", "succeeded"]


def use_one_processor() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def test_an_appliance_that_may_use_one_processor_runs_eight_programs_at_once(daemon: Daemon) -> None:
    daemon.launch(use_one_processor)
    eventually(lambda: " is ready" in daemon.log or daemon.ended(), "the start")
    daemon.exchange(b"run sleep 3600\n" * 9)
    daemon.wait_for_state("started", 8)
    assert [run["state"] for run in daemon.runs()].count("queued") == 1
    assert daemon.stop() == 0


def test_lines_that_end_in_cr_lf_are_commands(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process
    done = daemon.console(stdin="pid\r\n\r\nversion\r\npid\r")
    assert done.stdout.splitlines()[::2] == [str(daemon.process.pid)] * 2, done
    assert done.returncode == 0


# What happened must be told by the exit status also if nobody reads the answer.
BROKEN = [
    (1, ["console", "--endpoint", "{var}/console.sock", "nonsense"]),
    (0, ["console", "--endpoint", "{var}/console.sock", "version"]),
    (1, ["submit", "--wait", "--spool", "{var}/spool", "{root}/bad.cmd"]),
    (1, ["submit", "--wait", "--format", "json", "--spool", "{var}/spool", "{root}/bad.cmd"]),
    (0, ["submit", "--wait", "--spool", "{var}/spool", "{root}/good.cmd"]),
    (0, ["submit", "--spool", "{var}/spool", "{root}/good.cmd"]),
    (1, ["lint", "{root}/bad.cmd"]),
    (0, ["lint", "{root}/good.cmd"]),
    (1, ["doctor", "--config", "{etc}/appliance.yaml"]),
    (1, ["store", "check", "{root}/damaged.db"]),
    (0, ["store", "check", "--config", "{etc}/appliance.yaml"]),
    (0, ["preview", "--config", "{etc}/appliance.yaml"]),
    (0, ["explain"]),
    (2, ["explain", "E999"]),
    (0, ["schema"]),
    (0, ["--help"]),
    (2, ["nonsense"]),
    (78, ["preview", "--config", "{root}/none.yaml"]),
]


def test_the_exit_status_says_what_happened_if_nobody_reads_the_output(daemon: Daemon) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + 'job "a" { every = 60 command = "version" }\n')
    daemon.start()
    (daemon.root / "bad.cmd").write_text("nonsense\n" * 3000)
    (daemon.root / "good.cmd").write_text("config set a €\n" * 3000)
    daemon.etc.chmod(0o777)
    daemon.store("backup", daemon.root / "damaged.db")
    with (daemon.root / "damaged.db").open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"x" * 4096)
    places = {"root": daemon.root, "etc": daemon.etc, "var": daemon.var}
    for both in (False, True):
        for status, words in BROKEN:
            reading, writing = os.pipe()
            os.close(reading)
            arguments = [word.format(**places) for word in words]
            process = begin(*arguments, stdout=writing, stderr=writing if both else subprocess.PIPE)
            os.close(writing)
            _, err = process.communicate(timeout=PATIENCE_SECONDS)
            assert (process.returncode, "Traceback" in (err or "")) == (status, False), (words, err)


def test_a_console_whose_answers_nobody_reads_sends_no_more_lines(daemon: Daemon) -> None:
    daemon.start()
    endless = (
        f"yes 'config set a 1' | {sys.executable} -m schedappliance console --endpoint {daemon.socket_path} | head -1"
    )
    done = subprocess.run(["sh", "-c", endless], capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.stdout == b"a = 1\n"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE, signal.SIGIO])
def test_a_signal_without_a_meaning_does_not_end_the_appliance(daemon: Daemon, number: signal.Signals) -> None:
    daemon.start()
    assert daemon.process
    daemon.process.send_signal(number)
    daemon.assert_healthy()
    assert daemon.run("run hello")["state"] == "succeeded"
    assert daemon.stop(signal.SIGQUIT) == 0
    assert daemon.log.rstrip().endswith("stopped")


def test_usr1_opens_a_rotated_log_file_again(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process
    daemon.log_path.chmod(0o640)
    daemon.log_path.rename(daemon.root / "log.1")
    daemon.process.send_signal(signal.SIGUSR1)
    eventually(lambda: daemon.log_path.exists() and "again" in daemon.log, "the new log file")
    assert daemon.log_path.stat().st_mode & 0o777 == 0o640
    daemon.say("config set a 1")
    daemon.wait_for_log("config set a 1")
    daemon.log_path.rename(daemon.root / "log.2")
    daemon.log_path.mkdir()
    daemon.process.send_signal(signal.SIGUSR1)
    eventually(
        lambda: "the log goes on in the file that had its name" in (daemon.root / "log.2").read_text(), "the warning"
    )
    daemon.log_path.rmdir()


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGHUP, r".* (info the stanza files are unchanged; .*)"),
        (signal.SIGHUP, r".* (info user=\S* uid=\d+ origin=signal command='SIGHUP' ok)"),
        (signal.SIGUSR1, r".* (info opened the log file .* again)"),
    ],
)
def test_a_storm_of_signals_is_one_line_for_each_cause_and_second(
    daemon: Daemon, number: signal.Signals, cause: str
) -> None:
    daemon.start()
    assert daemon.process
    for _ in range(500):
        daemon.process.send_signal(number)
        daemon.say("version")
    eventually(lambda: re.search(cause, daemon.log), "the line")
    daemon.assert_healthy()
    matches = [re.fullmatch(cause, line) for line in daemon.log.splitlines()]
    seconds = [match.string[: len("2026-11-01T01:30:00")] for match in matches if match]
    assert seconds == sorted(set(seconds)), "one line in each second"


def test_a_start_with_too_few_descriptors_names_the_limit(daemon: Daemon) -> None:
    """The socket or the disk was blamed."""
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (20, 20))
    done = command("serve", "--config", str(daemon.etc / "appliance.yaml"), preexec_fn=limit)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    told = re.search(r"open files from 20 to (\d+) or more: `ulimit -n`, or `LimitNOFILE=` of systemd", done.stderr)
    # The documents say 52, which includes the descriptor of a script.
    assert told and 51 <= int(told[1]) <= 52, done.stderr
    assert os.listdir(daemon.var) == []


def audit_often() -> None:
    pytest.MonkeyPatch().setattr(audit, "AUDIT_MS", 100)


# Each of them read files: modules, or the data of a zone.
WITHOUT_DESCRIPTORS = {
    "sched cron 'TZ=Asia/Tokyo @daily' run hello": "",
    "sched calendar 'daily Asia/Tokyo' run hello": "",
    "sched cron 'TZ=America/New_York 0 9 * * *' run hello": "its data cannot be read now: Too many open files",
    "sched cron 'TZ=America/New_Yrk 0 9 * * *' run hello": "unknown time zone `America/New_Yrk`",
    "rnu hello": "unknown command `rnu`",
    "metrics": "",
    "run hello": "",
}


def test_the_least_address_space_is_enough(daemon: Daemon) -> None:
    """Threads for look-ups and all devices can be started."""
    daemon.is_copy = False
    daemon.wrapper = ["prlimit", f"--as={LEAST_ADDRESS_SPACE}"]
    daemon.start()
    assert daemon.ask("version").startswith("# schedappliance version")
    assert daemon.run("run hello")["state"] == "succeeded"
    assert daemon.data("summary")["degraded"] is None
    daemon.assert_healthy()


def test_nothing_ends_an_appliance_that_has_no_free_descriptor(daemon: Daemon) -> None:
    """It imports nothing, and takes no error for an answer. When descriptors are free again, all is well."""
    with daemon.conf.open("a") as conf:
        conf.write('job "j" { calendar = "*:*:0/1" zone = "Asia/Tokyo" command = "version" }\n')
    daemon.launch(audit_often)
    eventually(lambda: daemon.ended() or " is ready" in daemon.log, "the start")
    assert daemon.process
    client, pid = daemon.connect(), daemon.process.pid
    client.settimeout(30)
    with client, client.makefile() as answers:
        client.sendall(b'{"v": 1, "id": 0, "command": "version"}\n')
        answers.readline()
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        daemon.socket_path.unlink()
        for line, error in WITHOUT_DESCRIPTORS.items():
            client.sendall(json.dumps({"v": 1, "id": 1, "command": line}).encode() + b"\n")
            assert error in (answer := answers.readline()), answer
            assert ('"error"' in answer) == bool(error), answer
        daemon.wait_for_log("Too many open files")
    lines = [line for line in daemon.log.splitlines() if "Too many open files" in line]
    assert len({(line[:19], line[29:]) for line in lines}) == len(lines), "one line for each cause and second"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: daemon.ended() or daemon.socket_path.exists(), "the socket")
    daemon.wait_for_state("succeeded")
    daemon.say("sched cron 'TZ=America/New_York 0 9 * * *' run hello")
    daemon.assert_healthy()
    assert daemon.stop() == 0


def lack_thread(name: str) -> None:
    """The start of one thread fails, as under a limit on threads."""
    start = Thread.start

    def failing(thread: Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    pytest.MonkeyPatch().setattr(Thread, "start", failing)


@pytest.mark.parametrize("name", ["log", "spool", "check", "programs", "collector", "files"])
def test_a_start_without_enough_threads_is_one_line(daemon: Daemon, name: str) -> None:
    """It is the second start, which checks the store."""
    daemon.start()
    assert daemon.stop() == 0
    error = daemon.serve_rejected(partial(lack_thread, name)).splitlines()[-1]
    remedy = "raise the limit on processes and threads, such as `TasksMax=` of systemd or `ulimit -u`"
    assert error == f"error: cannot start the thread `{name}`: the machine has no thread left; {remedy}"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
@pytest.mark.parametrize(("place", "file"), [("/proc", "/proc/self/fd"), ("/dev", "/dev/null")])
def test_a_chroot_without_the_files_of_the_kernel_is_told(daemon: Daemon, place: str, file: str) -> None:
    """The name of the socket was blamed, or each subcommand ended with a traceback."""
    hiding = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {place} && exec "$0" "$@"', sys.executable]

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [*hiding, "-m", "schedappliance", *words],
            stdin=subprocess.PIPE,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    config = str(daemon.etc / "appliance.yaml")
    error = f"error: the appliance needs {file}, which is missing; mount {place} in this chroot or container\n"
    assert run("serve", "--config", config) == (78, error)
    assert run("lint", config) == (0, "")
    if place == "/proc":
        page = daemon.var / "web.sock"
        status, error = run("web", "--config", config, "--listen", str(page))
        remedy = "mount /proc in this chroot or container"
        assert (status, error.splitlines()[-1]) == (
            78,
            f"error: cannot listen on {page}: /proc is not mounted here; {remedy}",
        )
    daemon.start()
    status, error = run("console", "--config", config, "pid")
    if place == "/dev":
        assert (status, error) == (0, "")
    else:
        assert status == 69
        assert "/proc is not mounted here" in error


def test_the_deciding_thread_gets_a_core_as_soon_as_it_wakes(daemon: Daemon) -> None:
    """Its slice is shorter than that of others. Before Linux 6.12 nobody has one."""
    daemon.start()
    # Whoever answers has begun to decide.
    pid = int(daemon.exchange(b"pid\n"))
    has_slices = attributes().slice_ns > 0
    assert attributes(pid).slice_ns == (SLICE_NS if has_slices else 0)
