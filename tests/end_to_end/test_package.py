"""The packages of a release. The .deb lives on a bare Debian 12 that systemd has booted, from its installation to its end.

Rule: each test of the .deb finds the machine as the test before it has left it, since an installation takes seconds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from packages.build import HERE, build_pyz, build_system_package, stage
from packages.modules import EXTRAS, PYTHONS
from schedappliance import __version__
from schedappliance.web.screens.about import LIBRARIES
from tests.support.documents import DOCS, blocks
from tests.support.machine import Machine, booted
from tests.support.packages import NEXT, SCHEMA, Built, build, next_version
from tests.support.page_links import link_in, screen_behind
from tests.support.visits import visit
from tests.support.waiting import PATIENCE_SECONDS, eventually

UNIT, PAGE = "schedappliance.service", "schedappliance-web.service"
METRICS = "var/lib/prometheus/node-exporter/schedappliance.prom"
DEPLOYMENT = blocks((DOCS / "deployment.md").read_text(), "sh")
(OPENING,) = (block for block in blocks((DOCS / "page.md").read_text(), "sh") if "schedappliance-web.socket" in block)
# As root on Debian has it. apt shows the errors of dpkg on its own output.
SHELL = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-c")
# Half of the programs end while the package is replaced, the others after it.
PROGRAMS = f"""\
sched {{ backing_store = "/var/lib/schedappliance/sched.db" }}
defaults {{ overlap = parallel }}
program "meanwhile" {{
  argv = ( "/bin/sh" "-c" "until grep -q {NEXT} $MODULE; do sleep 0.1; done; exit $1" "sh" )
  env = [ MODULE = "/usr/lib/schedappliance/schedappliance/__init__.py" ]
  args = ( "[0-9]+" )
}}
program "later" {{
  argv = ( "/bin/sh" "-c" "until [ -e /tmp/later ]; do sleep 0.1; done; exit $1" "sh" )
  args = ( "[0-9]+" )
}}
job "nightly" {{ every = 1d  command = "run later 0" }}
"""
STANZAS = PROGRAMS + (HERE / "authorization.conf").read_text()


class Host(NamedTuple):
    """The machine, and the packages in root's home there."""

    machine: Machine
    this: str
    next: str

    def say(self, line: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a line of a shell as root, in root's home."""
        return self.machine.run(*SHELL, f"cd /root; {line}", check=check)

    def visit(self, user: str, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and body of the answer of the page to a user; 0: the user may not connect."""
        return visit(self.machine, "/usr/bin/python3", user, path, method)

    @property
    def pid(self) -> str:
        return self.machine.show(UNIT, "MainPID")

    @property
    def version(self) -> str:
        """The version of the installed package, if it is wholly installed."""
        return self.say("dpkg-query -W -f '${Status} ${Version}' schedappliance").stdout.removeprefix(
            "install ok installed "
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    return build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive of a minimal Debian 12 with systemd, and nothing else. apt knows the lists of packages."""
    if os.getuid() != 0:
        pytest.skip("needs root for namespaces")
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap")
    place = tmp_path_factory.mktemp("bare")
    # dpkg waits for the disk after each file.
    script = f"mount -t tmpfs tmpfs {place} && TMPDIR={place} exec mmdebstrap"
    options = ("--mode=root", "--variant=minbase", "--include=systemd", "--skip=cleanup/apt/lists", "--quiet")
    # apt does not ask.
    answers = """--customize-hook=echo 'APT::Get::Assume-Yes "true";' >$1/etc/apt/apt.conf.d/90yes"""
    # The mirrors of this machine, if it is a Debian 12.
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    mirrors = [str(sources)] if sources.exists() and "bookworm" in sources.read_text() else []
    words = (*options, answers, "bookworm", "-", *mirrors)
    path = place.parent / "bare.tar"
    with path.open("wb") as archive:
        command = ["unshare", "--mount", "sh", "-c", f'{script} "$@"', "sh", *words]
        subprocess.run(command, check=True, stdout=archive)
    yield path
    # It is large, and pytest keeps the directories of three runs.
    path.unlink()


@pytest.fixture(scope="module")
def host(built: Built, bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with booted(bare) as machine:
        home = machine.root / "root"
        newer = build_system_package(next_version(built.tree, tmp_path_factory.mktemp("next")), "deb", built.arch, home)
        (home / "next").mkdir()
        newer = newer.rename(home / "next" / newer.name)
        shutil.copy(built.deb, home)
        yield Host(machine, f"./{built.deb.name}", f"./next/{newer.name}")


def test_the_rpm_has_the_files_of_the_deb(built: Built, tmp_path: Path) -> None:
    if shutil.which("rpm") is None:
        pytest.skip("needs rpm")
    package = build_system_package(built.tree, "rpm", built.arch, tmp_path)
    # Directories have no digest.
    shown = "[%{FILEMODES:perms}|%{FILEUSERNAME}/%{FILEGROUPNAME}|%{FILEDIGESTS}|%{FILENAMES}\n]"
    command = ["rpm", "--query", "--package", "--queryformat", shown, str(package)]
    rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    fields = [row.split("|") for row in rows]
    files = {name: (mode, owner, digest) for mode, owner, digest, name in fields if mode[0] == "-"}
    listed = subprocess.run(["dpkg-deb", "--contents", built.deb], check=True, capture_output=True, text=True).stdout
    subprocess.run(["dpkg-deb", "--extract", built.deb, tmp_path / "deb"], check=True)
    wanted = {}
    for mode, owner, *_, name in map(str.split, listed.splitlines()):
        if mode[0] == "-":
            content = (tmp_path / "deb" / name).read_bytes()
            wanted[name.removeprefix(".")] = mode, owner, hashlib.sha256(content).hexdigest()
    assert files == wanted


def test_the_packages_demand_a_python_for_which_they_have_re2(built: Built) -> None:
    first, last = (int(python.removeprefix("3.")) for python in (PYTHONS[0], PYTHONS[-1]))
    depends = subprocess.run(["dpkg-deb", "--field", built.deb, "Depends"], check=True, capture_output=True, text=True)
    assert f"python3 (>= 3.{first}), python3 (<< 3.{last + 1})," in depends.stdout
    assert f"python3 >= 3.{first}, python3 < 3.{last + 1}," in (HERE / "nfpm.yaml").read_text()


def test_the_copyright_names_every_library(built: Built) -> None:
    names = {library.name for library in distributions(path=[str(built.modules)])}
    listed = re.findall(r"(?m)^  (\S+)", (HERE / "copyright").read_text())
    assert {*listed, "schedappliance"} == names
    # The screen About too.
    assert set(map(canonicalize_name, LIBRARIES)) == set(map(canonicalize_name, listed))
    for directory in built.modules.glob("*.dist-info"):
        assert [path for path in directory.rglob("*") if "LICEN" in path.name.upper()], directory


def test_one_set_of_libraries_is_enough_for_each_python(built: Built) -> None:
    """pip has chosen it for the first one. Another one may need a library for what it no longer has itself."""
    libraries = {canonicalize_name(library.name): library for library in distributions(path=[str(built.modules)])}
    for library in libraries.values():
        for needed in map(Requirement, library.requires or ()):
            extras = EXTRAS if library.name == "schedappliance" else ("",)
            facts = [{"extra": extra, "python_version": python} for extra in extras for python in PYTHONS]
            if needed.marker is None or any(map(needed.marker.evaluate, facts)):
                assert needed.specifier.contains(libraries[canonicalize_name(needed.name)].version), needed


def test_the_times_of_a_release_do_not_depend_on_its_build(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    tree = stage(built.modules, tmp_path / "package")
    assert {path.stat().st_mtime for path in tree.rglob("*")} == {1_700_000_000}


def test_the_single_file_lints_and_serves(built: Built, tmp_path: Path) -> None:
    file = build_pyz([built.modules], tmp_path / "schedappliance.pyz")
    # It has no modules of this environment.
    python = Path(sys.base_prefix) / "bin/python3"
    env = {"PATH": os.environ["PATH"], "SHIV_ROOT": str(tmp_path / "shiv")}

    def run(*words: str) -> str:
        command: list[str | Path] = [python, file, *words]
        return subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout

    run("init", "--example")
    assert run("lint", "etc") == "2 files checked: 0 errors, 0 warnings\n"
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen([python, file, "serve", "--web"], cwd=tmp_path, env=env, stdout=log, stderr=log)
    try:
        eventually(lambda: " is ready" in (tmp_path / "log").read_text() or serving.poll() is not None, "the start")
        assert run("console", "run", "--wait", "hello") == "hello\n"
        assert "greeting" in run("console", "preview", "1m")
        link = eventually(lambda: link_in((tmp_path / "log").read_text()), "the link to the page")
        assert "greeting" in screen_behind(link, "/jobs")
        run("console", "shutdown")
        assert serving.wait(PATIENCE_SECONDS) == 0
    finally:
        serving.kill()
        serving.wait(PATIENCE_SECONDS)


def test_two_commands_lead_to_a_service_that_runs_and_is_monitored(host: Host) -> None:
    """The commands of docs/deployment.md."""
    install, check = (block for block in DEPLOYMENT if "./schedappliance_*.deb" in block or "health --ready" in block)
    assert len(install.splitlines()) == 2
    for line in install.splitlines():
        host.say(line)
    assert host.machine.show(UNIT, "ActiveState") == "active"
    assert host.machine.show(UNIT, "UnitFileState") == "enabled"
    eventually((host.machine.root / METRICS).exists, "the metrics")
    assert "\nschedappliance_up 1\n" in (host.machine.root / METRICS).read_text()
    answers = [host.say(line).stdout for line in check.splitlines()]
    assert answers[0] == "ok\n"
    assert answers[1].endswith("no problems found\n")
    # Nothing more is fetched. Each later command of apt would read sixty thousand packages.
    host.say("rm -r /var/lib/apt/lists/*")


def test_a_member_of_the_group_may_use_the_console(host: Host) -> None:
    """The command of docs/deployment.md."""
    (command,) = (block for block in DEPLOYMENT if block.startswith("gpasswd"))
    host.say("useradd alice")
    ask = "runuser -u alice -- schedappliance console pid"
    denied = host.say(ask, check=False)
    assert (denied.returncode, "console.sock" in denied.stderr) == (69, True), denied
    host.say(command)
    assert host.say(ask).stdout.strip() == host.pid


def test_one_command_opens_the_page_and_another_one_lets_a_user_in(host: Host) -> None:
    """The commands of docs/page.md. Without them, no page runs."""
    assert host.machine.show("schedappliance-web.socket", "ActiveState") == "inactive"
    with (host.machine.root / "etc/schedappliance/sched.conf").open("a") as file:
        file.write('job "hourly" { every = 1h  argv = ( "/bin/true" ) }\n')
    host.say("systemctl reload schedappliance; useradd bob")
    opening = OPENING.splitlines()
    assert len(opening) == 2
    host.say(opening[0])
    assert host.visit("bob", "/jobs")[0] == 0
    host.say(opening[1].replace("alice", "bob"))
    status, body = host.visit("bob", "/jobs")
    assert (status, "hourly" in body) == (200, True), body
    assert host.machine.show("schedappliance-web.socket", "UnitFileState") == "enabled"
    assert host.machine.show(PAGE, "ActiveState") == "active"


def test_viewers_look_and_members_of_both_groups_act(host: Host) -> None:
    screens = ("/", "/jobs", "/jobs/hourly", "/runs", "/month", "/incidents", "/preview", "/files", "/spool", "/about")
    assert [path for path in screens if host.visit("bob", path)[0] != 200] == []
    assert host.visit("bob", "/api/v1/jobs/hourly/run", "POST")[0] == 403
    # A member of the group whom the document lets use the console.
    host.say("gpasswd --add alice schedappliance-web")
    assert host.visit("alice", "/api/v1/jobs/hourly/run", "POST")[0] in (200, 201)


def test_programs_and_previews_run_from_the_package(host: Host) -> None:
    """Other processes of the daemon find its modules."""
    file = host.machine.root / "etc/schedappliance/sched.conf"
    file.write_text(f'{STANZAS}program "id" {{ argv = ( "/usr/bin/id" "-un" ) }}\n')
    host.say("systemctl reload schedappliance")
    assert host.say("schedappliance console run --wait id").stdout == "schedappliance\n"
    assert "nightly" in host.say("schedappliance console preview 48h").stdout
    assert host.say("schedappliance --version").stdout == f"schedappliance {__version__}\n"


def test_an_upgrade_loses_no_status_of_ten_running_programs(host: Host) -> None:
    (host.machine.root / "etc/schedappliance/sched.conf").write_text(STANZAS)
    host.say("systemctl reload schedappliance")
    pid, page = host.pid, host.machine.show(PAGE, "MainPID")
    names = ["meanwhile", "later"] * 5
    runs = [host.machine.ask(f"run {name} {status}")["run"] for status, name in enumerate(names, 3)]
    eventually(lambda: host.machine.ask("summary")["programs_running"] == 10, "ten programs")
    host.say(f"apt install {host.next}")
    assert host.version == NEXT
    assert host.pid not in ("0", pid)
    assert NEXT in host.say("schedappliance console version").stdout
    (host.machine.root / "tmp/later").touch()
    ends = [host.machine.ask(f"sched wait {run}") for run in runs]
    assert [(end["state"], end["exit_status"]) for end in ends] == [("failed", status) for status in range(3, 13)]
    # The page is the new one too.
    assert host.machine.show(PAGE, "MainPID") not in ("0", page)
    status, body = host.visit("bob", "/about")
    assert (status, NEXT in body) == (200, True)
    assert "nightly" in host.visit("bob", "/jobs")[1]


def test_a_rejected_edit_does_not_end_the_service_at_an_upgrade(host: Host) -> None:
    pid = host.pid
    file = host.machine.root / "etc/schedappliance/sched.conf"
    file.write_text(f"{STANZAS}job 5 {{\n")
    done = host.say(f"apt install --reinstall {host.next}")
    assert "the earlier version runs on" in done.stdout
    assert host.pid == pid
    file.write_text(STANZAS)


def test_a_downgrade_under_a_newer_schema_is_refused(host: Host) -> None:
    pid = host.pid
    done = host.say(f"apt install --allow-downgrades {host.this}", check=False)
    assert done.returncode != 0
    refused = (
        f"error: the store has schema {SCHEMA + 1}, and this package knows schemas up to {SCHEMA}; nothing was changed"
    )
    assert refused in done.stdout
    assert host.version == NEXT
    assert host.pid == pid
    assert host.say("schedappliance health").stdout == "ok\n"


def test_the_way_back(host: Host) -> None:
    """The commands of docs/deployment.md."""
    (commands,) = (block for block in DEPLOYMENT if "--allow-downgrades" in block)
    for line in commands.splitlines():
        host.say(line.replace("0.1.0", __version__))
    assert host.version == __version__
    assert __version__ in host.say("schedappliance console version").stdout
    assert [job["name"] for job in host.machine.ask("sched list")] == ["nightly"]


def test_a_service_that_was_stopped_stays_so_at_an_upgrade(host: Host) -> None:
    host.say("systemctl stop schedappliance")
    host.say(f"apt install {host.next}")
    assert host.machine.show(UNIT, "ActiveState") == "inactive"
    host.say("systemctl start schedappliance")
    assert host.say("schedappliance store schema").stdout == f"{SCHEMA + 1}\n"


def test_an_upgrade_keeps_programs_if_root_has_no_role(host: Host) -> None:
    (host.machine.root / "tmp/later").unlink()
    run = host.machine.ask("run later 7")["run"]
    eventually(lambda: host.machine.ask("summary")["programs_running"] == 1, "a program")
    file = host.machine.root / "etc/schedappliance/sched.conf"
    # A file that only lost its end would be taken for an edit that is not finished.
    file.write_text('Authorization { Role "none" { allow = ( "." ) users = ( "nobody" ) } }\n' + PROGRAMS)
    eventually(lambda: host.say("schedappliance health", check=False).returncode, "the reload")
    pid = host.pid
    host.say(f"apt install --reinstall {host.next}")
    assert host.pid not in ("0", pid)
    file.write_text(STANZAS)
    eventually(lambda: host.say("schedappliance health", check=False).returncode == 0, "the reload")
    (host.machine.root / "tmp/later").touch()
    assert host.machine.ask(f"sched wait {run}")["exit_status"] == 7


def test_a_removed_package_leaves_the_files_of_its_user(host: Host) -> None:
    root = host.machine.root
    assert host.visit("bob", "/")[0] == 200
    uids = "|".join(host.say("id -u schedappliance; id -u schedappliance-web").stdout.split())
    processes = f"grep -lE '^Uid:\\s+({uids})\\b' /proc/[0-9]*/status"
    assert len(host.say(processes, check=False).stdout.splitlines()) >= 2
    host.say("apt remove schedappliance")
    assert not list(root.glob("usr/lib/schedappliance")) + list(root.glob("usr/bin/schedappliance"))
    assert (root / "var/lib/schedappliance/sched.db").exists()
    assert (root / "etc/schedappliance/sched.conf").read_text() == STANZAS
    assert host.say(processes, check=False).stdout == ""
    assert not list(root.glob("etc/systemd/system/*/schedappliance-*")) + list(root.glob("run/schedappliance-web"))
    host.say(f"apt install {host.next}")
    assert [job["name"] for job in host.machine.ask("sched list")] == ["nightly"]


def test_a_purged_package_leaves_nothing(host: Host) -> None:
    host.say(f"systemctl enable --now schedappliance-metrics.timer; {OPENING}")
    assert host.visit("alice", "/jobs")[0] == 200
    host.say("apt purge schedappliance")
    find = "find / /run -xdev \\( -path /proc -o -path /root \\) -prune -o -iname '*schedappliance*' -print"
    assert host.say(find).stdout == ""
    assert "schedappliance" not in (host.machine.root / "etc/passwd").read_text()
    assert "schedappliance" not in (host.machine.root / "etc/group").read_text()
