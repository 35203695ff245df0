"""systemd timers: schedules, delays, several triggers, drop-ins, templates, and the programs of services."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.importing import timer
from schedappliance.importing.stanzas import Entry, written
from schedappliance.syntax.stanza import parse_stanzas, parse_value
from schedappliance.syntax.text import decode
from schedappliance.syntax.tree import ListValue
from tests.support.imports import importer

TIMER = "[Timer]\nOnCalendar=daily\n"


def entry_of(directory: Path, content: str = TIMER, service: str = "ExecStart=/bin/true", name: str = "a") -> Entry:
    (directory / f"{name}.timer").write_text(content if content.startswith("[") else f"[Timer]\n{content}\n")
    (directory / f"{name}.service").write_text(service if service.startswith("[") else f"[Service]\n{service}\n")
    return entry_at(directory / f"{name}.timer")


def entry_at(path: Path) -> Entry:
    (entry,) = importer("timer").file(path).entries
    return entry


def options_of(directory: Path, timer: str = TIMER, service: str = "ExecStart=/bin/true") -> dict[str, str]:
    entry = entry_of(directory, timer, service)
    assert entry.failure == ""
    return entry.jobs[0].options


def argv_of(directory: Path, service: str) -> list[str]:
    argv = parse_value(options_of(directory, TIMER, service)["argv"])
    assert isinstance(argv, ListValue)
    return [item.value for item in argv.items]


@pytest.mark.parametrize(
    ("timer", "schedule"),
    [
        ("OnCalendar=daily", {"calendar": '"daily"', "zone": "local", "catch_up": "none"}),
        ("OnCalendar=daily\nPersistent=true", {"calendar": '"daily"', "zone": "local", "catch_up": "once"}),
        ("OnCalendar=Mon-Fri 10:00", {"calendar": '"Mon..Fri 10:00"', "zone": "local", "catch_up": "none"}),
        ("OnCalendar=10:00 Asia/Tokyo", {"calendar": '"10:00 Asia/Tokyo"', "catch_up": "none"}),
        (
            "OnCalendar=10:00\nOnCalendar=12:00",
            {"calendar": '( "10:00" "12:00" )', "zone": "local", "catch_up": "none"},
        ),
        (
            "OnCalendar=10:00\nOnBootSec=\nOnCalendar=daily",
            {"calendar": '"daily"', "zone": "local", "catch_up": "none"},
        ),
        (
            "OnCalendar=10:00\nOnCalendar=*:30",
            {
                "calendar": '( "10:00" "*:30" )',
                "zone": "local",
                "dst_skipped": "omit",
                "dst_repeated": "first",
                "catch_up": "none",
            },
        ),
        ("OnBootSec=1h 30min", {"at": "boot", "delay": "1h30m"}),
        ("OnStartupSec=0", {"at": "boot"}),
        ("OnActiveSec=90", {"at": "boot", "delay": "1m30s"}),
        ("OnUnitActiveSec=2d\nRandomizedDelaySec=1h", {"every": "2d", "catch_up": "none", "jitter": "1h"}),
        ("OnBootSec=5min\nOnUnitActiveSec=1w", {"every": "7d", "catch_up": "once"}),
    ],
)
def test_a_timer_is_written_as_options(timer: str, schedule: dict[str, str], tmp_path: Path) -> None:
    options = options_of(tmp_path, timer)
    assert {name: options[name] for name in options if name not in ("user", "argv")} == schedule


@pytest.mark.parametrize(
    ("directives", "delay"),
    [
        ("RandomizedDelaySec=1h", {"jitter": "1h"}),
        ("RandomizedDelaySec=1h\nFixedRandomDelay=yes", {"spread": "1h"}),
        ("RandomizedOffsetSec=30", {"spread": "30s"}),
        ("RandomizedDelaySec=0\nAccuracySec=1us", {}),
        ("RandomizedDelaySec=1500ms", {"jitter": "2s"}),
    ],
)
def test_a_random_delay_is_a_spread_or_a_jitter(directives: str, delay: dict[str, str], tmp_path: Path) -> None:
    options = options_of(tmp_path, f"OnCalendar=daily\n{directives}")
    assert {name: options[name] for name in ("spread", "jitter") if name in options} == delay


def test_a_second_trigger_is_a_second_job_of_the_same_program(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, "OnCalendar=daily\nOnBootSec=1min")
    calendar, boot = entry.jobs
    assert (calendar.name, boot.name) == ("a", "a-boot")
    assert boot.options == {"at": "boot", "delay": "1m"}
    assert 'job "a-boot" {\n  at = boot\n  delay = 1m\n  command = "run a"\n}' in written(
        [importer("timer").file(tmp_path / "a.timer")]
    )


@pytest.mark.parametrize(
    ("timer", "service", "failure"),
    [
        ("OnCalendar=Mon 25:00", "ExecStart=/bin/true", "OnCalendar=Mon 25:00: "),
        ("OnCalendar=*-02-30", "ExecStart=/bin/true", "never due: "),
        ("OnCalendar=daily Asia/Tokio", "ExecStart=/bin/true", "unknown time zone `Asia/Tokio`"),
        ("OnCalendar=@1700000000", "ExecStart=/bin/true", "is one instant"),
        ("\n".join(f"OnCalendar={n}:00" for n in range(17)), "ExecStart=/bin/true", "at most 16 expressions"),
        ("Persistent=true", "ExecStart=/bin/true", "the timer has no time"),
        ("OnUnitActiveSec=infinity", "ExecStart=/bin/true", "is never due"),
        ("OnUnitActiveSec=10ms", "ExecStart=/bin/true", "shorter than one second"),
        ("OnBootSec=soon", "ExecStart=/bin/true", "invalid time span `soon`"),
        ("OnCalendar=daily\nUnit=x.target", "ExecStart=/bin/true", "which is not a service"),
        ("OnCalendar=daily\nUnit=b.service", "ExecStart=/bin/true", "cannot find b.service"),
        (TIMER, "User=x", "has no ExecStart"),
        (TIMER, "ExecStart=/bin/true\nDynamicUser=yes", "the appliance makes no users"),
        (TIMER, "ExecStart=/bin/echo %H", "the specifier `%H` depends on the machine"),
        ("OnUnitActiveSec=1500ms\nRandomizedDelaySec=1s", "ExecStart=/bin/a", "has a fraction of a second"),
        ("OnCalendar=daily\nRandomizedDelaySec=200y", "ExecStart=/bin/a", "`jitter` cannot be written: duration"),
        (TIMER, "ExecStart=/bin/echo 'a", "is not closed"),
        (TIMER, "ExecStart=/bin/true\nWorkingDirectory=srv", "`cwd` cannot be written: `srv` is not an absolute path"),
        (TIMER, "ExecStart=/bin/true\nEnvironmentFile=a", "`env_file` cannot be written"),
        (TIMER, "ExecStart=/bin/true\nPassEnvironment=A.B", "`pass_env` cannot be written"),
        (TIMER, "ExecStart=/bin/true\nUMask=9", "`umask` cannot be written"),
        (TIMER, "ExecStart=/bin/true\nUser=a:b", "`user` cannot be written"),
        (TIMER, "ExecStart=/bin/echo \0", "NUL byte in line 2"),
        (TIMER, f"ExecStart=/bin/echo {'x' * 1_000_000}", "longer than one argument may be"),
        (TIMER, 'ExecStart=/bin/echo "' + "\\x" * 500_000, "is not closed"),
        (TIMER, "ExecStart=" + "; " * 500_000, "has no ExecStart"),
        (TIMER, "ExecStart=/bin/echo \\x1b[0m", "contains the character U+001B"),
        (TIMER, "ExecStart=/bin/echo 'a\\nb ('", "the last line of a text ends with"),
    ],
)
def test_a_timer_that_is_not_possible_has_a_reason(timer: str, service: str, failure: str, tmp_path: Path) -> None:
    entry = entry_of(tmp_path, timer, service)
    assert failure in entry.failure
    assert entry.jobs == []


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("/bin/echo a  b", ["/bin/echo", "a", "b"]),
        ("/bin/echo 'a  b' \"c 'd'\" e\\x20f \\s", ["/bin/echo", "a  b", "c 'd'", "e f", " "]),
        ("/bin/echo %% %n %p %i", ["/bin/echo", "%", "a.service", "a", ""]),
        ("/bin/echo %%{a}", ["/bin/echo", "%%{a}"]),
        ("echo a", ["/usr/bin/env", "echo", "a"]),
        ("@/bin/echo name a", ["/bin/echo", "a"]),
        (":/bin/echo $A ${B}", ["/bin/echo", "$A", "${B}"]),
        ("/bin/echo a$A $$B", ["/bin/echo", "a$A", "$B"]),
        ("/bin/echo $A x", ["/bin/sh", "-c", "set -f; exec /bin/echo $A x"]),
        ("/bin/echo a${A}b '$$ c'", ["/bin/sh", "-c", "set -f; exec /bin/echo a\"${A}\"b '$'' c'"]),
        ("-/bin/echo a", ["/bin/sh", "-c", "/bin/echo a || :"]),
        ("/bin/a ; /bin/b \\; c", ["/bin/sh", "-c", "/bin/a && /bin/b ';' c"]),
        ("-/bin/a ; /bin/b", ["/bin/sh", "-c", "{ /bin/a || :; } && /bin/b"]),
        ("/bin/a \\\n  b", ["/bin/a", "b"]),
    ],
)
def test_a_command_line_is_read_as_systemd_reads_it(command: str, argv: list[str], tmp_path: Path) -> None:
    assert argv_of(tmp_path, f"ExecStart={command}") == argv


def test_a_unit_with_many_directives_takes_little_time(tmp_path: Path) -> None:
    """Work that grew with the square of their number took minutes."""
    lines = "Environment=A=1\n" * 30_000 + "Nice=3\n" * 30_000
    assert entry_of(tmp_path, "OnCalendar=daily\n" * 30_000, f"{lines}ExecStart=/bin/a").jobs


def test_bytes_that_are_not_utf8_have_a_place(tmp_path: Path) -> None:
    entry_of(tmp_path)
    (tmp_path / "a.service").write_bytes(b"[Service]\nExecStart=/bin/echo \xff\n")
    assert "a.service:2:21: E105 invalid UTF-8: byte 0xff" in entry_at(tmp_path / "a.timer").failure


def test_the_shell_puts_variables_into_words_as_systemd_does(tmp_path: Path) -> None:
    shell = argv_of(tmp_path, "ExecStart=/usr/bin/printf [%%s] $ONE ${TWO} x${ONE}y $NONE ${NONE} '$$ONE' *")
    environment = {"ONE": "a  b *", "TWO": "c  d"}
    shown = subprocess.run(shell, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert shown == "[a][b][*][c  d][xa  b *y][][$ONE][*]"


def test_commands_run_one_after_the_other(tmp_path: Path) -> None:
    service = "Type=oneshot\nExecStartPre=-/bin/false\nExecStart=/bin/a\nExecStart=/bin/b\nExecStartPost=/bin/c"
    assert argv_of(tmp_path, service)[2] == "{ /bin/false || :; } && /bin/a && /bin/b && /bin/c"


def test_a_drop_in_changes_a_unit(tmp_path: Path) -> None:
    for name, text in {
        "a.timer.d/10.conf": "[Timer]\nOnCalendar=\nOnCalendar=hourly\n",
        "a.service.d/20.conf": "[Service]\nUser=nobody\nEnvironment=A=1 'B=2 3'\n",
        "a.service.d/10.conf": "[Service]\nUser=daemon\n# comment\nEnvironment=A=0\n",
        "service.d/10.conf": "[Service]\nUser=bin\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (job,) = entry_of(tmp_path).jobs
    assert (job.options["calendar"], job.options["user"]) == ('"hourly"', "nobody")
    assert job.variables == {"A": "1", "B": "2 3"}


def test_units_of_the_system_are_found_as_systemd_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    etc.mkdir()
    lib.mkdir()
    monkeypatch.setattr(timer, "SYSTEM_DIRECTORIES", (str(etc), str(lib)))
    entry_of(lib, service="ExecStart=/bin/lib")
    (etc / "a.service").write_text("[Service]\nExecStart=/bin/etc\n")
    (etc / "a.timer.d").mkdir()
    (etc / "a.timer.d" / "10.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=hourly\n")
    entry = entry_at(lib / "a.timer")
    assert (entry.jobs[0].options["calendar"], entry.jobs[0].options["argv"]) == ('"hourly"', '( "/bin/etc" )')
    assert entry.notes == []
    (etc / "timers.target.wants").mkdir()
    (etc / "timers.target.wants" / "a.timer").symlink_to(lib / "a.timer")
    assert entry_at(etc / "timers.target.wants" / "a.timer").jobs == entry.jobs
    (etc / "a.timer").write_text(TIMER)
    assert entry_at(lib / "a.timer").notes == [f"systemd does not read this file: {etc}/a.timer overrides it"]
    assert entry_at(etc / "a.timer").notes == []


def test_a_template_needs_an_instance(tmp_path: Path) -> None:
    (tmp_path / "a@.timer").write_text(TIMER)
    (tmp_path / "a@.service").write_text("[Service]\nExecStart=/bin/a %i %I\n")
    assert "name an instance, such as a@NAME.timer" in entry_at(tmp_path / "a@.timer").failure
    entry = entry_at(tmp_path / "a@b-c.timer")
    assert (entry.jobs[0].name, entry.jobs[0].options["argv"]) == ("a@b-c", '( "/bin/a" "b-c" "b/c" )')


def test_specifiers_of_the_name_are_known(tmp_path: Path) -> None:
    (tmp_path / "a-b\\x2dc@.timer").write_text(TIMER)
    (tmp_path / "a-b\\x2dc@.service").write_text("[Service]\nExecStart=/bin/echo %j %J %i %f\n")
    entry = entry_at(tmp_path / "a-b\\x2dc@foo-bar.timer")
    assert entry.jobs[0].options["argv"] == '( "/bin/echo" "b\\\\x2dc" "b-c" "foo-bar" "/foo/bar" )'


@pytest.mark.parametrize("sign", ["{", "z", "-", "é"])
def test_a_specifier_that_systemd_does_not_know_has_its_own_reason(sign: str, tmp_path: Path) -> None:
    failure = entry_of(tmp_path, service=f"ExecStart=/bin/echo %{sign}").failure
    assert failure == f"systemd knows no specifier `%{sign}`; write `%%` for `%`"


def test_specifiers_of_the_system_do_not_depend_on_the_user_of_the_service(tmp_path: Path) -> None:
    service = "User=deploy\nExecStart=/bin/echo %u %h %t %S"
    assert argv_of(tmp_path, service) == ["/bin/echo", "root", "/root", "/run", "/var/lib"]


def test_specifiers_in_a_unit_of_a_user_are_those_of_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "systemd/user"
    folder.mkdir(parents=True)
    assert "`%u` depends on the machine" in entry_of(folder, service="ExecStart=/bin/echo %u").failure
    assert "`%t` depends on the machine" in entry_of(folder, service="ExecStart=/bin/echo %t").failure
    entry_of(folder, service="ExecStart=/bin/echo %u %h")
    (entry,) = importer("timer", user="deploy").file(folder / "a.timer").entries
    assert entry.jobs[0].options["argv"] == '( "/bin/echo" "deploy" "/home/deploy" )'


def test_a_unit_of_a_user_is_one_by_each_path_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a relative path, it was a unit of the system, and the job ran as root."""
    folder = tmp_path / "systemd/user"
    folder.mkdir(parents=True)
    jobs = entry_of(folder).jobs
    assert "user" not in jobs[0].options
    (tmp_path / "link").symlink_to(folder)
    assert entry_at(tmp_path / "link/a.timer").jobs == jobs
    for directory, path in ((folder, "a.timer"), (folder, "./a.timer"), (folder.parent, "user/a.timer")):
        monkeypatch.chdir(directory)
        assert entry_at(Path(path)).jobs == jobs


def test_an_enabled_timer_is_found_from_the_directory_of_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = entry_of(tmp_path).jobs
    links = tmp_path / "timers.target.wants"
    links.mkdir()
    (links / "a.timer").symlink_to(tmp_path / "a.timer")
    monkeypatch.chdir(links)
    assert entry_at(Path("a.timer")).jobs == jobs
    assert [imported.entries[0].jobs for imported in importer("timer").path(Path())] == [jobs]


def test_an_enabled_timer_is_found_from_its_link(tmp_path: Path) -> None:
    entry_of(tmp_path)
    links = tmp_path / "timers.target.wants"
    links.mkdir()
    (links / "a.timer").symlink_to(tmp_path / "a.timer")
    assert entry_at(links / "a.timer").jobs


def test_a_masked_unit_is_not_possible(tmp_path: Path) -> None:
    entry_of(tmp_path)
    (tmp_path / "a.service").unlink()
    (tmp_path / "a.service").symlink_to("/dev/null")
    assert "a.service is masked" in entry_at(tmp_path / "a.timer").failure


KEYS = ["ExecStart", "ExecStartPre", "User", "Environment", "EnvironmentFile", "WorkingDirectory", "TimeoutSec", "Type"]
KEYS += ["SuccessExitStatus", "PassEnvironment", "RuntimeMaxSec", "UMask", "Nice", "Description"]
KEYS += ["IOSchedulingClass", "IOSchedulingPriority", "LimitNOFILE", "LimitCPU", "LimitAS"]
VALUES = [
    "/bin/a",
    "-",
    "$A",
    "${A}",
    "$$",
    "%",
    "%%",
    "%i",
    "%{a}",
    "%H",
    "'",
    '"',
    "\\",
    "\\x41",
    "\\n",
    ";",
    "a b",
    "5",
    "oneshot",
    "=",
]


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.lists(st.sampled_from(VALUES), max_size=6)), max_size=8))
def test_every_service_becomes_a_stanza_or_a_reason(directives: list[tuple[str, list[str]]]) -> None:
    lines = [f"{key}={' '.join(values)}\n" for key, values in directives]
    with TemporaryDirectory() as name:
        (Path(name) / "a.timer").write_text(TIMER)
        (Path(name) / "a.service").write_text(f"[Service]\n{''.join(lines)}")
        imported = importer("timer").file(Path(name) / "a.timer")
    assert bool(imported.entries[0].jobs) != bool(imported.entries[0].failure)
    source, diagnostics = decode("stanzas", written([imported]).encode())
    assert diagnostics + parse_stanzas(source)[1] == []


@pytest.mark.parametrize(
    ("service", "options"),
    [
        ("User=daemon\nGroup=adm\nUMask=0027", {"user": "daemon", "group": "adm", "umask": '"0027"'}),
        ("WorkingDirectory=/srv", {"user": "root", "cwd": '"/srv"'}),
        ("WorkingDirectory=~", {"user": "root", "cwd": '"/root"'}),
        ("Type=oneshot\nTimeoutStartSec=2min", {"user": "root", "timeout": "2m"}),
        ("Type=simple\nTimeoutStartSec=2min", {"user": "root"}),
        ("Type=oneshot\nTimeoutSec=infinity", {"user": "root"}),
        ("RuntimeMaxSec=1h\nTimeoutStopSec=5", {"user": "root", "timeout": "1h", "kill_after": "5s"}),
        (
            "Nice=-5\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7",
            {"user": "root", "nice": "-5", "ionice": "7"},
        ),
        ("IOSchedulingPriority=2", {"user": "root", "ionice": "2"}),
        ("IOSchedulingClass=2", {"user": "root", "ionice": "4"}),
        ("IOSchedulingPriority=9", {"user": "root"}),
        ("IOSchedulingClass=idle\nIOSchedulingPriority=7", {"user": "root", "ionice": "idle"}),
        (
            "LimitNOFILE=4096\nLimitAS=2G\nLimitCPU=1min 30\nLimitCORE=0",
            {"user": "root", "limits": "[ nofile = 4096 memory = 2g cpu = 1m30s core = 0 ]"},
        ),
        ("LimitFSIZE=1M\nLimitFSIZE=10M", {"user": "root", "limits": "[ fsize = 10m ]"}),
        ("SuccessExitStatus=3 TEMPFAIL", {"user": "root", "success": "( 0 3 75 )"}),
        (
            "EnvironmentFile=/etc/a\nPassEnvironment=A B",
            {"user": "root", "env_file": '"/etc/a"', "pass_env": '( "A" "B" )'},
        ),
    ],
)
def test_directives_of_a_service_are_options(service: str, options: dict[str, str], tmp_path: Path) -> None:
    written_options = options_of(tmp_path, TIMER, f"{service}\nExecStart=/bin/true")
    assert {k: v for k, v in written_options.items() if k not in ("calendar", "zone", "catch_up", "argv")} == options


@pytest.mark.parametrize(
    ("service", "note"),
    [
        ("Nice=5", ""),
        ("Nice=high", "Nice=high: here a program has no priorities but `nice`, `ionice` and `cpu_weight`"),
        ("IOSchedulingClass=realtime", "IOSchedulingClass=realtime: here a program has no priorities but"),
        ("IOSchedulingClass=none", "IOSchedulingClass=none: "),
        ("IOSchedulingClass=2\nIOSchedulingPriority=9", "IOSchedulingPriority=9: here a program has no priorities but"),
        ("IOSchedulingClass=idle\nIOSchedulingPriority=7", ""),
        ("LimitNOFILE=1024:4096", "LimitNOFILE=1024:4096: the program has the limits of the appliance"),
        ("LimitNPROC=infinity\nLimitSTACK=8M", "LimitNPROC=infinity, LimitSTACK=8M: the program has the limits"),
        ("TimeoutStopSec=infinity", "TimeoutStopSec=infinity: systemd sends no SIGKILL; here the program gets it 10 s"),
        ("TimeoutStopSec=0", "TimeoutStopSec=0: systemd sends no SIGKILL"),
        ("TimeoutSec=infinity", "TimeoutSec=infinity: systemd sends no SIGKILL"),
        ("TimeoutStopSec=5\nTimeoutSec=", ""),
        ("MemoryMax=1G", "MemoryMax=1G: `memory_max` does this here; it needs a cgroup that systemd has delegated"),
        ("MemoryHigh=1G", "MemoryHigh=1G: the program has the limits of the appliance"),
        ("CPUWeight=50", "CPUWeight=50: `cpu_weight` does this here; it needs a cgroup that systemd has delegated"),
        ("IOWeight=50", "IOWeight=50: here a program has no priorities but"),
        ("PrivateTmp=yes", "PrivateTmp=yes: the program runs without a sandbox"),
        ("PrivateTmp=no", ""),
        ("MemoryDenyWriteExecute=yes", "without a sandbox"),
        ("StateDirectory=x", "is not made here"),
        ("EnvironmentFile=-/etc/a", "the file must exist"),
        ("WorkingDirectory=-/srv", "the directory must exist"),
        ("Type=forking", "a run ends when the process"),
        ("Restart=on-failure", "`retries`"),
        ("Restart=no", ""),
        ("RemainAfterExit=yes", "the job runs each time"),
        ("RemainAfterExit=no", ""),
        ("SuccessExitStatus=SIGKILL", "SuccessExitStatus=SIGKILL is left out"),
        ("ExecStartPost=/bin/x", "ExecStartPost is left out"),
        ("ExecStopPost=/bin/x", "ExecStopPost=/bin/x: not carried out"),
        ("StandardOutput=journal", ""),
        ("StandardOutput=file:/x", "StandardOutput=file:/x: not carried out"),
        ("SyslogIdentifier=x", ""),
        ("Environment=SCHED_A=1", "is left out"),
    ],
)
def test_a_directive_that_is_not_carried_out_has_a_note(service: str, note: str, tmp_path: Path) -> None:
    notes = entry_of(tmp_path, TIMER, f"{service}\nExecStart=/bin/true").notes
    assert len(notes) == bool(note)
    assert all(note in text for text in notes)


def test_a_note_has_the_values_of_specifiers(tmp_path: Path) -> None:
    (tmp_path / "mail@.timer").write_text(TIMER)
    service = "[Service]\nExecStart=/bin/true\nEnvironmentFile=/etc/mail-%i\nWorkingDirectory=-/srv/%i\n"
    (tmp_path / "mail@.service").write_text(service)
    notes = entry_at(tmp_path / "mail@a.timer").notes
    assert [note.partition(":")[0] for note in notes] == ["EnvironmentFile=/etc/mail-a", "WorkingDirectory=-/srv/a"]


def test_a_second_file_of_variables_is_left_out(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, TIMER, "EnvironmentFile=/a\nEnvironmentFile=/b\nExecStart=/bin/true")
    assert entry.jobs[0].options["env_file"] == '"/a"'
    assert "EnvironmentFile=/b is left out" in entry.notes[1]


@pytest.mark.parametrize(
    ("timer", "note"),
    [
        ("WakeSystem=true", "WakeSystem=true is left out"),
        ("WakeSystem=false", ""),
        ("OnClockChange=yes", "OnClockChange=yes is left out"),
        ("OnUnitInactiveSec=1h", "counts from the end of the last run"),
        ("OnUnitActiveSec=1h", "counts from the start of the last run"),
        ("Unheard=x", "Unheard=x is left out"),
    ],
)
def test_a_directive_of_a_timer_that_is_not_the_same_has_a_note(timer: str, note: str, tmp_path: Path) -> None:
    notes = entry_of(tmp_path, f"OnCalendar=daily\n{timer}").notes
    assert len(notes) == bool(note)
    assert all(note in text for text in notes)
