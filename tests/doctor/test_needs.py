"""What programs need and an appliance does not give them, judged from facts, and read from processes."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from schedappliance.diagnostics import Source, Span
from schedappliance.doctor.facts import (
    Credentials,
    Executable,
    Hidden,
    IdMaps,
    Needs,
    ProgramUser,
    Restrained,
    Rights,
    Way,
)
from schedappliance.doctor.needs import (
    CAP_SETGID,
    CAP_SETUID,
    CAP_SYS_NICE,
    CAP_SYS_RESOURCE,
    unmet_needs,
)
from schedappliance.doctor.programs import rights_of
from schedappliance.edge.programs.cgroups import NOT_DELEGATED
from schedappliance.edge.programs.restraints import Limit
from schedappliance.kinds import read_head
from tests.support.machine_facts import step

PLACE = Source("sched.conf", "nice limits"), Span(0, 4)
UNLIMITED = dict.fromkeys(("nofile", "memory", "cpu", "nproc", "fsize", "core"), -1)
ROOT, SCHED = Credentials(0, 0, frozenset({0})), Credentials(500, 500, frozenset({500, 600}))
ALICE = Credentials(1000, 1000, frozenset({1000}))
ALL = CAP_SETGID | CAP_SETUID | CAP_SYS_NICE | CAP_SYS_RESOURCE


def codes(needs: Needs) -> list[str]:
    return [finding.code for finding in unmet_needs(needs)]


@pytest.mark.parametrize(
    ("user", "capabilities", "named", "why"),
    [
        (SCHED, None, ALICE, "the appliance does not run as root"),
        (SCHED, ALL, ALICE, "the appliance does not run as root"),
        (SCHED, None, SCHED, ""),
        (ROOT, None, ALICE, ""),
        (ROOT, ALL, ALICE, ""),
        (ROOT, CAP_SETUID, ALICE, "it lacks the capabilities CAP_SETUID and CAP_SETGID"),
        (ROOT, 0, ALICE, "it lacks the capabilities CAP_SETUID and CAP_SETGID"),
        (ROOT, 0, ROOT, ""),
    ],
)
def test_a_user_to_whom_the_appliance_cannot_change_is_a_finding(
    user: Credentials, capabilities: int | None, named: Credentials, why: str
) -> None:
    rights = None if capabilities is None else Rights(capabilities, UNLIMITED, 0, True)
    needs = Needs(user, users=(ProgramUser("p", named, *PLACE),), rights=rights)
    messages = [finding.message for finding in unmet_needs(needs)]
    assert messages == ([f"program `p` cannot run as this user or group: {why}"] if why else [])


CONTAINER = IdMaps((range(1001),), (range(1001), range(2000, 2001)), True)
LACKS = "program `p` cannot run as this user or group: the user namespace of the appliance "


@pytest.mark.parametrize(
    ("maps", "named", "why"),
    [
        (None, Credentials(65534, 65534, frozenset({65534})), ""),
        (CONTAINER, ALICE, ""),
        (CONTAINER, ROOT, ""),
        (CONTAINER, Credentials(1000, 2000, frozenset({5})), ""),
        (CONTAINER, Credentials(1001, 0, frozenset()), "does not know the uid 1001"),
        (CONTAINER, Credentials(0, 1001, frozenset()), "does not know the gid 1001"),
        (CONTAINER, Credentials(1000, 1000, frozenset({1000, 3000})), "does not know the gid 3000"),
        (CONTAINER._replace(sets_groups=False), ALICE, "does not let its processes change their groups"),
        (CONTAINER._replace(sets_groups=False), ROOT, ""),
    ],
)
def test_a_user_whom_the_user_namespace_lacks_is_a_finding(maps: IdMaps | None, named: Credentials, why: str) -> None:
    """Root has all capabilities there, and the findings were silent."""
    needs = Needs(ROOT, users=(ProgramUser("p", named, *PLACE),), rights=Rights(ALL, UNLIMITED, 0, True, maps=maps))
    assert [finding.message for finding in unmet_needs(needs)] == ([LACKS + why] if why else [])
    without_daemon = Needs(ROOT, users=(ProgramUser("p", named, *PLACE),), maps=maps)
    assert list(unmet_needs(without_daemon)) == list(unmet_needs(needs))


@pytest.mark.parametrize(
    ("line", "user", "gain"),
    [
        ("-rwsr-xr-x root root /usr/bin/sudo", SCHED, "set-user-ID"),
        ("-rwsr-xr-x root root /usr/bin/sudo", ROOT, ""),
        ("-rwsr-xr-x alice alice /usr/bin/sudo", ROOT, "set-user-ID"),
        ("-rwxr-sr-x root root /usr/bin/crontab", SCHED, "set-group-ID"),
        ("-rwxr-sr-x root sched /usr/bin/crontab", SCHED, ""),
        ("-rwxr-xr-x root root /usr/bin/ping", SCHED, ""),
    ],
)
def test_an_executable_that_would_gain_privileges_is_a_finding(line: str, user: Credentials, gain: str) -> None:
    way = Way(step(line).path, (step(line),), True)
    executable = Executable("p", way, user, place=PLACE)
    rights = Rights(0, UNLIMITED, 0, True, no_new_privileges=True)
    needs = Needs(user, executables=(executable,), rights=rights)
    messages = [finding.message for finding in unmet_needs(needs)]
    what = f"program `p` gains no privileges by the {gain} of {way.named}: the appliance has NoNewPrivileges"
    assert messages == ([what] if gain else [])
    assert codes(needs._replace(rights=rights._replace(no_new_privileges=False))) == []
    assert codes(needs._replace(rights=None)) == []
    assert codes(needs._replace(executables=(replace(executable, is_script=True),))) == []


def test_capabilities_of_a_file_are_a_finding_unless_root_has_them_anyway() -> None:
    ping = step("-rwxr-xr-x root root /usr/bin/ping")
    executable = Executable("p", Way(ping.path, (ping,), True), SCHED, has_capabilities=True, place=PLACE)
    needs = Needs(SCHED, (executable,), rights=Rights(0, UNLIMITED, 0, True, no_new_privileges=True))
    assert [f.message.split(": ")[0] for f in unmet_needs(needs)] == [
        "program `p` gains no privileges by the capabilities of /usr/bin/ping"
    ]
    assert codes(needs._replace(executables=(replace(executable, user=ROOT),))) == []


@pytest.mark.parametrize(
    ("first", "option"),
    [
        ("/home/alice", "ProtectHome="),
        ("/root/bin", "ProtectHome="),
        ("/run/user/1000", "ProtectHome="),
        ("/run/lock", "InaccessiblePaths="),
        ("/tmp/x", "PrivateTmp="),
        ("/var/tmp/x", "PrivateTmp="),
        ("/srv", "InaccessiblePaths="),
    ],
)
def test_a_path_that_the_appliance_does_not_see_names_the_option_of_its_unit(first: str, option: str) -> None:
    hidden = Hidden("p", "cwd", Path(first) / "deep", Path(first), *PLACE)
    (finding,) = unmet_needs(Needs(SCHED, hidden=(hidden,)))
    assert finding.code == "E628"
    assert finding.message == f"program `p` cannot use its `cwd`: the appliance does not see {first}"
    assert finding.help.startswith(f"change `{option}` of its systemd unit")


@pytest.mark.parametrize(
    ("rights", "messages"),
    [
        (Rights(0, UNLIMITED, 0, True), ["cannot have this nice value: the appliance may give 0 or more"]),
        (
            Rights(0, UNLIMITED | {"nofile": 98}, -5, True),
            ["cannot have the limit `nofile`: the appliance may give 98 at most"],
        ),
        (Rights(0, UNLIMITED | {"nofile": 99}, -5, True), []),
        (Rights(CAP_SYS_NICE | CAP_SYS_RESOURCE, UNLIMITED | {"nofile": 9}, 0, True), []),
        (
            Rights(ALL, UNLIMITED | {"nofile": 98}, 0, True, maps=CONTAINER),
            [
                "cannot have this nice value: the appliance may give 0 or more",
                "cannot have the limit `nofile`: the appliance may give 98 at most",
            ],
        ),
        (Rights(CAP_SYS_NICE | CAP_SYS_RESOURCE, UNLIMITED, 0, True, most_files=99), []),
        (
            Rights(CAP_SYS_NICE | CAP_SYS_RESOURCE, UNLIMITED, 0, True, most_files=98),
            ["cannot have the limit `nofile`: the kernel allows 98 at most"],
        ),
        (None, []),
    ],
)
def test_priorities_and_limits_that_the_appliance_may_not_give_are_findings(
    rights: Rights | None, messages: list[str]
) -> None:
    program = Restrained("p", -5, (Limit("nofile", 7, 99, 99),), {"nice": PLACE, "limits": PLACE})
    findings = list(unmet_needs(Needs(SCHED, rights=rights, restrained=(program,))))
    assert [(finding.code, finding.message) for finding in findings] == [
        ("E624", f"program `p` {message}") for message in messages
    ]


def test_cgroups_that_are_not_delegated_are_a_finding() -> None:
    program = Restrained("p", None, (), {"cpu_weight": PLACE})
    for has_cgroup in (True, False):
        needs = Needs(SCHED, rights=Rights(0, UNLIMITED, 0, has_cgroup), restrained=(program,))
        messages = [finding.message for finding in unmet_needs(needs)]
        assert messages == ([] if has_cgroup else [f"program `p` cannot have `cpu_weight`: {NOT_DELEGATED}"])


def test_the_rights_of_a_process_are_read() -> None:
    rights = rights_of(os.getpid())
    assert rights is not None
    assert rights.limits["nofile"] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert -20 <= rights.nice <= os.getpriority(os.PRIO_PROCESS, 0)
    assert (rights.capabilities != 0) == (os.geteuid() == 0)
    assert rights.most_files >= rights.limits["nofile"]
    assert rights_of(2**22 + 1) is None


NAMES = {
    "nofile": resource.RLIMIT_NOFILE,
    "memory": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "nproc": resource.RLIMIT_NPROC,
    "fsize": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
}


def test_the_limits_of_a_process_of_another_user_are_read() -> None:
    """prlimit(2) refuses that to root without CAP_SYS_RESOURCE, as in most containers."""
    wanted = {name: resource.getrlimit(number)[1] for name, number in NAMES.items()} | {"nofile": 77, "core": 5}

    def limit() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 77))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 5))
        if os.geteuid() == 0:
            os.setresuid(65_534, 65_534, 65_534)

    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, preexec_fn=limit) as process:
        rights = rights_of(process.pid)
    assert rights is not None
    assert (rights.limits, rights.nice) == (wanted, 19)


def test_all_priorities_may_be_given_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path("/proc/self/limits").read_text()
    limits = re.sub(r"(?m)^(Max nice priority +)\S+( +)\S+", r"\1unlimited\2unlimited", text).encode()
    monkeypatch.setattr(
        "schedappliance.doctor.programs.read_head",
        lambda path, size: limits if path.name == "limits" else read_head(path, size),
    )
    rights = rights_of(os.getpid())
    assert rights is not None and rights.nice == -20
