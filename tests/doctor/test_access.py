"""Who may do what: permissions, owners and groups, judged from facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schedappliance.diagnostics import Diagnostic
from schedappliance.doctor.access import ENTER, READ, WRITE, access_mistakes, may
from schedappliance.doctor.facts import ConsoleSocket, Credentials, Executable, Folder, Reached, Way
from schedappliance.edge.spool.folders import SHARED
from tests.support.machine_facts import SOCKET, SPOOL, STORE, VAR, machine, step

SCHED = Credentials(500, 500, frozenset({500, 600}))
ROOT = Credentials(0, 0, frozenset({0}))


def codes_and_paths(text: str, **changes: object) -> list[tuple[str, str]]:
    """Code and path of each finding."""
    return [(d.code, d.source.name) for d in access_mistakes(machine(text, **changes))]


def test_a_healthy_machine_has_no_finding() -> None:
    assert codes_and_paths("") == []


@pytest.mark.parametrize(
    ("line", "bits", "answer"),
    [
        ("-rw-r----- sched root /x", READ | WRITE, True),
        ("-r--r----- sched root /x", WRITE, False),
        ("----rw-rw- sched root /x", READ, False),
        ("drwxr-x--- root sched /x", READ | ENTER, True),
        ("drwxr-x--- root sched /x", WRITE, False),
        ("drwx---r-x root sched /x", READ, False),
        ("drwx---r-x root root /x", READ | ENTER, True),
        ("-rw------- root root /x", READ, False),
    ],
)
def test_the_first_matching_class_of_the_mode_decides(line: str, bits: int, answer: bool) -> None:
    assert may(SCHED, step(line), bits) is answer
    assert may(ROOT, step(line), bits)
    assert may(SCHED, replace(step(line), acl=True), bits), "an access list may allow it"


@pytest.mark.parametrize(
    "line",
    [
        "-rw-r--rw- root root /etc/schedappliance/sched.conf",
        "-rw-rw-r-- root alice /etc/schedappliance/appliance.yaml",
        "drwxr-xrwx root root /etc/schedappliance",
        "drwxrwxr-x root alice /etc",
        "drwxrwxrwt root root /etc/schedappliance/conf.d",
        "drwxrwxrwx root root /var",
        "drwxrwxrwt sched sched /var/lib/schedappliance",
        "drwxrwxr-x sched alice /var/spool/schedappliance",
        "drwxrwxrwx sched sched /run/schedappliance",
    ],
)
def test_write_permission_for_others_is_a_finding(line: str) -> None:
    path = line.split()[-1]
    assert codes_and_paths(line) == [("E606", path)]


@pytest.mark.parametrize(
    "line",
    [
        "-rw-rw-r-- root sched /etc/schedappliance/sched.conf",
        "-rw-rw-r-- root root /etc/schedappliance/sched.conf",
        "drwxrwxrwt root root /etc",
        "drwxrwxrwt root root /var/lib",
    ],
)
def test_a_group_without_other_members_and_a_sticky_directory_are_no_finding(line: str) -> None:
    assert codes_and_paths(line) == []


def test_the_path_in_a_remedy_is_one_word_for_a_shell() -> None:
    (mistake,) = access_mistakes(machine("program tidy runs -rwxr-xrwx root root /usr/local/bin/it's; NoNewPrivs: 0"))
    assert mistake.help == """`chmod o-w '/usr/local/bin/it'"'"'s'`"""


def test_the_remedy_removes_only_what_is_too_much() -> None:
    (mistake,) = access_mistakes(machine("-rw-r--rw- root root /etc/schedappliance/sched.conf"))
    assert mistake.message == "everybody can write here, and can therefore run anything as `sched`"
    assert mistake.help == "`chmod o-w /etc/schedappliance/sched.conf`"
    (mistake,) = access_mistakes(machine("-rw-rw-rw- root root /etc/schedappliance/sched.conf"))
    assert mistake.help.startswith("`chmod o-w "), "nobody else is in the group"
    (mistake,) = access_mistakes(machine("-rw-rw-rw- root alice /etc/schedappliance/sched.conf"))
    assert mistake.help.startswith("`chmod go-w ")
    (mistake,) = access_mistakes(machine("drwxrwxrwt sched sched /var/lib/schedappliance"))
    assert "chmod" not in mistake.help, "/tmp must stay what it is"


@pytest.mark.parametrize(
    "line",
    [
        "-rw-r--r-- alice root /etc/schedappliance/sched.conf",
        "drwxr-xr-x alice root /etc/schedappliance",
        "drwxr-xr-x alice root /var/lib",
    ],
)
def test_an_owner_who_is_neither_root_nor_the_appliance_is_a_finding(line: str) -> None:
    assert codes_and_paths(line) == [("W607", line.split()[-1])]


def test_the_owner_of_the_root_directory_is_trusted() -> None:
    everything = "drwxr-xr-x alice alice /\ndrwxr-xr-x alice alice /etc\ndrwxr-xr-x alice alice /var"
    assert codes_and_paths(everything) == []


@pytest.mark.parametrize(
    "line",
    [
        "-rw-r----- root root /etc/schedappliance/sched.conf",
        "drwx------ root root /etc/schedappliance",
        "drwxr-x--x root root /etc/schedappliance/conf.d",
        "drwx------ root root /var",
        "-rw------- root root /var/lib/schedappliance/sched.db",
        "drwxr-xr-x root root /var/lib/schedappliance",
        "drwx------ root root /var/spool/schedappliance/new",
        "drwxr-xr-x root root /run/schedappliance",
    ],
)
def test_a_missing_permission_of_the_appliance_s_user_is_a_finding(line: str) -> None:
    assert set(codes_and_paths(line)) == {("E608", line.split()[-1])}
    assert "E608" not in dict(codes_and_paths(line, user=ROOT))


def test_a_missing_permission_is_named_with_owner_and_mode() -> None:
    (mistake,) = access_mistakes(machine("dr-xr-x--- root sched /var/lib/schedappliance"))
    assert (
        mistake.message == "`sched`, the user of the appliance, cannot write it; it belongs to `root` and has mode 0550"
    )


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("-rw-r----- sched sched /var/lib/schedappliance/sched.db", "0600"),
        ("drwxr-xr-x sched sched /var/spool/schedappliance/new", "0700"),
        ("drwxrwxrwt sched sched /var/spool/schedappliance/tmp", "0700"),
        ("srw-rw-rw- sched sched /run/schedappliance/console.sock", "0660"),
    ],
)
def test_a_mode_wider_than_the_appliance_s_is_a_finding(line: str, mode: str) -> None:
    (mistake,) = access_mistakes(machine(line))
    path = line.split()[-1]
    assert (mistake.code, mistake.source.name, mistake.help) == ("W609", path, f"`chmod {mode} {path}`")


USED = f"pid 7 holds {SPOOL}\npid 7 holds {SOCKET}"
# The group of a shared spool here is that of alice.
MADE = {"tmp": "drwxrws--T", "new": "drwxrws--T", "work": "drwx------", "done": "drwx--s---", "failed": "drwx--s---"}


def shared_spool(line: str = "", text: str = USED) -> list[Diagnostic]:
    """The findings about a shared spool, with one directory changed."""
    lines = [f"{mode} sched {'sched' if name == 'work' else 'alice'} {SPOOL}/{name}" for name, mode in MADE.items()]
    steps = {one.path: one for one in map(step, [*lines, *filter(None, [line])])}
    wanted = [(steps[SPOOL / name], mode, None if name == "work" else 1000) for name, mode in SHARED.items()]
    if line.endswith(str(SPOOL)):
        text = f"{line}\n{text}"
    user = Credentials(500, 500, frozenset({500, 1000}))
    return list(access_mistakes(machine(text, user=user, folders=tuple(Folder(*folder) for folder in wanted))))


@pytest.mark.parametrize(
    ("name", "changed", "code", "remedy"),
    [
        ("new", "drwxrws--- sched alice", "W609", "chmod 3770"),
        ("tmp", "drwxrwx--- sched alice", "W609", "chmod 3770"),
        ("new", "drwxrwx--T sched alice", "W609", "chmod 3770"),
        ("new", "drwxr-s--T sched alice", "W609", "chmod 3770"),
        ("new", "drwx--S--T sched alice", "W609", "chmod 3770"),
        ("new", "drwxrws--T sched root", "W609", "chgrp alice"),
        ("new", "drwxrws--T root alice", "W607", "chown sched"),
        ("done", "drwx--S--- sched alice", "W609", "chmod 2710"),
        ("failed", "drwx--s--- sched root", "W609", "chgrp alice"),
        (".", "drwx------ sched sched", "W609", "chmod o+x"),
        (".", "drwx------ sched alice", "W609", "chmod g+x"),
    ],
)
def test_a_mode_a_group_or_an_owner_that_the_appliance_did_not_make_is_a_finding(
    name: str, changed: str, code: str, remedy: str
) -> None:
    """Members could remove and take the drops of others, or drop nothing any more."""
    assert shared_spool() == []
    (mistake,) = shared_spool(f"{changed} {SPOOL / name}")
    assert (mistake.code, mistake.source.name) == (code, str(SPOOL / name))
    assert mistake.help == f"`{remedy} {SPOOL / name}`"


def test_what_the_next_start_corrects_is_a_finding_only_while_the_appliance_runs_unless_others_gain() -> None:
    assert shared_spool(f"drwx------ sched sched {SPOOL}/new", text="") == []
    assert [d.code for d in shared_spool(f"drwxrws--- sched alice {SPOOL}/new", text="")] == ["W609"]


@pytest.mark.parametrize(
    ("changed", "code", "remedy"),
    [
        ("srw------- sched alice", "W609", "chmod 0660"),
        ("srw-rw---- sched root", "W609", "chgrp alice"),
        ("srw-rw---- alice alice", "W607", "chown sched"),
    ],
)
def test_a_socket_that_was_closed_to_users_or_given_away_is_a_finding(changed: str, code: str, remedy: str) -> None:
    def findings(line: str, text: str = USED) -> list[tuple[str, str | None]]:
        facts = machine(f"{line} {SOCKET}\n{text}")
        assert facts.console
        facts = replace(facts, console=replace(facts.console, gid=1000))
        return [(d.code, d.help) for d in access_mistakes(facts)]

    assert findings("srw-rw---- sched alice") == []
    assert findings(changed) == [(code, f"`{remedy} {SOCKET}`")]
    assert findings(changed, text="") == [], "a start makes another socket"


def test_files_beside_the_store_are_judged_too() -> None:
    log = step("-rw-r--r-- sched sched /var/lib/schedappliance/sched.db-wal")
    output = step("drwxr-xr-x sched sched /var/lib/schedappliance/sched.db.output")
    mistakes = list(access_mistakes(machine(store_files=(log, output))))
    assert [(d.code, d.help) for d in mistakes] == [
        ("W609", f"`chmod 0600 {STORE}-wal`"),
        ("W609", f"`chmod 0700 {STORE}.output`"),
    ]


def test_a_file_of_another_user_is_a_finding_wherever_the_appliance_opens_it() -> None:
    """Somebody has started the appliance as root before."""
    log = step("-rw------- root root /var/lib/schedappliance/sched.db-wal")
    output = step("drwx------ root root /var/lib/schedappliance/sched.db.output")
    lock = step("-rw------- root root /var/spool/schedappliance/.lock")
    lines = step("-rw-r----- root root /var/log/schedappliance.log")
    facts = machine(store_files=(log, output), locks=(lock,), log=lines)
    assert [(d.code, d.source.name) for d in access_mistakes(facts)] == [
        ("E608", str(place.path)) for place in (log, output, lock, lines)
    ]
    of_root = replace(facts, needs=facts.needs._replace(user=ROOT))
    assert "E608" not in {mistake.code for mistake in access_mistakes(of_root)}


def test_a_link_in_place_of_a_directory_is_not_a_matter_of_its_mode() -> None:
    """`chmod` would change the target of the link."""
    output = step("lrwxrwxrwx sched sched /var/lib/schedappliance/sched.db.output")
    assert codes_and_paths("", store_files=(output,)) == [("E616", f"{STORE}.output")]
    folder = "/var/spool/schedappliance/new"
    assert codes_and_paths(f"lrwxrwxrwx sched sched {folder}") == [("E615", folder)]


def test_another_kind_of_file_is_not_a_matter_of_its_mode() -> None:
    link = step(f"lrwxrwxrwx sched sched {STORE}-shm")
    assert codes_and_paths("", store_files=(link,)) == [], "E610 reports it"
    lock = replace(link, path=Path(f"{STORE}.lock"))
    assert codes_and_paths("", locks=(lock,)) == [("E616", f"{STORE}.lock")]


def test_a_console_for_everybody_is_a_finding_even_before_it_exists() -> None:
    facts = machine()
    assert facts.console
    way = replace(facts.console.way, steps=facts.console.way.directories, exists=False)
    (mistake,) = access_mistakes(replace(facts, console=ConsoleSocket(way, 0o666)))
    assert (mistake.code, Path(mistake.source.name)) == ("W609", SOCKET)
    assert mistake.message.startswith("everybody on this machine can open the console")
    assert codes_and_paths("", console=ConsoleSocket(way, 0o660)) == []


def test_a_console_for_everybody_is_no_finding_with_roles() -> None:
    wide = "srw-rw-rw- sched sched /run/schedappliance/console.sock"
    console = machine(wide).console
    assert console
    wanted = replace(console, mode=0o666)
    assert codes_and_paths(wide, console=wanted) == [("W609", str(SOCKET))]
    assert codes_and_paths(wide, console=wanted, has_roles=True) == []
    assert codes_and_paths(wide, has_roles=True) == [("W609", str(SOCKET))], "the mode is not the configured one"


def test_paths_that_do_not_exist_yet_are_judged_by_the_nearest_directory() -> None:
    facts = machine("drwxr-xr-x root root /var/spool/schedappliance")
    assert facts.spool
    above = replace(facts.spool, steps=facts.spool.steps[:-1], exists=False)
    assert codes_and_paths("", spool=above, folders=()) == [("E608", "/var/spool")]
    assert codes_and_paths("drwxr-xr-x sched root /var/spool", spool=None, folders=()) == []


ON_THE_WAY = tuple(step(f"drwxr-xr-x root root {path}") for path in ("/", "/opt", "/opt/bin"))
ALICE = Credentials(1000, 1000, frozenset({1000}))


def of_program(
    line: str, user: Credentials = SCHED, is_script: bool = False, is_checked: bool = False
) -> list[tuple[str, str]]:
    """The findings about an executable; `line` describes the file or a directory on the way to it."""
    changed = step(line)
    file = step("-rwxr-xr-x root root /opt/bin/tidy")
    steps = [changed if changed.path == known.path else known for known in (*ON_THE_WAY, file)]
    way = Way(file.path, tuple(steps), True)
    return codes_and_paths("", executables=(Executable("tidy", way, user, is_script, is_checked),))


@pytest.mark.parametrize(
    ("line", "user", "code"),
    [
        ("-rwxr-xr-x root root /opt/bin/tidy", SCHED, None),
        ("-rwxrwxrwx root root /opt/bin/tidy", SCHED, "E606"),
        ("-rwxrwxr-x root alice /opt/bin/tidy", SCHED, "E606"),
        ("-rwxrwxr-x root alice /opt/bin/tidy", ALICE, None),
        ("-rwxrwxr-x root sched /opt/bin/tidy", ROOT, None),
        ("drwxrwxrwx root root /opt/bin", SCHED, "E606"),
        ("drwxrwxrwt root root /opt/bin", SCHED, None),
        ("-rwxr-xr-x alice alice /opt/bin/tidy", SCHED, "W607"),
        ("drwxr-xr-x alice alice /opt", SCHED, "W607"),
        ("-rwxr-xr-x alice alice /opt/bin/tidy", ALICE, None),
        ("-rwx------ root root /opt/bin/tidy", SCHED, "E608"),
        ("-rwx------ root root /opt/bin/tidy", ROOT, None),
        ("drwx------ root root /opt", ALICE, "E608"),
    ],
)
def test_permissions_of_executables_are_judged(line: str, user: Credentials, code: str | None) -> None:
    assert of_program(line, user) == ([(code, line.split()[-1])] if code else [])


def test_a_script_must_also_be_readable() -> None:
    line = "-rwx--x--x root root /opt/bin/tidy"
    assert of_program(line) == []
    assert of_program(line, is_script=True) == [("E608", "/opt/bin/tidy")]
    assert of_program(line, is_script=True, is_checked=True) == [], "lint reports it already"


def reached(line: str, program: str = "tidy", **changes: Any) -> Reached:
    """The way to a working directory; `line` describes a directory on it."""
    changed = step(line)
    steps = [changed if changed.path == known.path else known for known in ON_THE_WAY]
    return Reached(program, Way(Path("/opt/bin"), tuple(steps), True), SCHED, ENTER)._replace(**changes)


@pytest.mark.parametrize(
    ("line", "changes", "text"),
    [
        ("drwx------ root root /opt/bin", {}, "`sched`, the user of program `tidy`, cannot enter it; "),
        ("drwx------ root root /opt", {}, "`sched`, the user of program `tidy`, cannot enter it; "),
        ("drw-r--r-- root root /opt/bin", {}, "`sched`, the user of program `tidy`, cannot enter it; "),
        ("drwx--x--x root root /opt/bin", {}, ""),
        ("drwx------ root root /opt/bin", {"user": ROOT}, ""),
        ("drwx------ alice root /opt/bin", {"user": ALICE}, ""),
    ],
)
def test_a_working_directory_that_the_program_s_user_cannot_enter_is_a_finding(
    line: str, changes: dict[str, Any], text: str
) -> None:
    path = line.split()[-1]
    found = [(d.code, d.source.name, d.message) for d in access_mistakes(machine(reached=(reached(line, **changes),)))]
    why = f"{text}it belongs to `root` and has mode {step(line).mode & 0o777:04o}"
    assert found == ([("E608", path, why)] if text else [])


def test_a_directory_that_is_closed_to_many_programs_is_one_finding() -> None:
    line = "drwx------ root root /opt"
    programs = tuple(reached(line, name) for name in ("a", "a", "b", "c"))
    (mistake,) = access_mistakes(machine(reached=programs))
    assert mistake.message.startswith("`sched`, the user of program `a` and 2 others, cannot enter it; ")
    assert len(codes_and_paths("", reached=(*programs, reached(line, user=ALICE)))) == 2


def test_a_missing_directory_is_judged_as_far_as_the_way_to_it_exists() -> None:
    way = Way(Path("/opt/bin/deep"), ON_THE_WAY, False)
    assert codes_and_paths("", reached=(Reached("tidy", way, SCHED, ENTER),)) == []
    closed = Way(way.named, (*ON_THE_WAY[:-1], step("drwx------ root root /opt/bin")), False)
    assert codes_and_paths("", reached=(Reached("tidy", closed, SCHED, ENTER),)) == [("E608", "/opt/bin")]


def test_a_file_of_variables_must_be_readable_for_the_appliance() -> None:
    variables = step("-rw------- root root /opt/bin/variables")
    way = Way(variables.path, (*ON_THE_WAY, variables), True)
    (mistake,) = access_mistakes(machine(reached=(Reached("tidy", way, SCHED, READ, by_appliance=True),)))
    assert mistake.source.name == str(variables.path)
    who = "`sched`, the user of the appliance, cannot read it for the `env_file` of program `tidy`"
    assert mistake.message == f"{who}; it belongs to `root` and has mode 0600"


@pytest.mark.parametrize(
    ("options", "is_found"),
    [
        ("ro,relatime - ext4 /dev/sda2 rw", True),
        ("rw - ext4 /dev/sda2 ro", True),
        ("rw - ext4 /dev/sda2 rw,emergency_ro", True),
        ("rw - ext4 /dev/sda2 rw,shutdown", True),
        ("rw - ext4 /dev/sda2 rw,errors=remount-ro", False),
    ],
)
def test_a_read_only_file_system_is_a_finding(options: str, is_found: bool) -> None:
    """On an ext4 that an error made read-only, access(2) says that writing is allowed, and `ro` is not shown."""
    spool, store = (f"40 22 8:2 / {point} {options}" for point in (SPOOL, VAR))
    assert codes_and_paths(spool) == [("E608", str(SPOOL))] * is_found
    assert codes_and_paths(store) == [("E608", str(VAR))] * is_found
    whole = f"40 22 8:2 / / {options}"
    assert codes_and_paths(whole) == [("E608", str(VAR))] * is_found, "one for each mount"
    assert codes_and_paths(store, store_refusal=("it is not writable", "change that")) == []
