"""The image, and the commands of docs/deployment.md that run it, without docker: a machine that systemd has booted carries out
the instructions of the Dockerfile, and systemd restricts the processes as docker does.

Rule: what runs, as whom, and where it may write comes from the Dockerfile and the document.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.support.dockerfile import copy_source, instructions
from tests.support.documents import DOCS, blocks
from tests.support.machine import PYTHON_LIBRARY, Machine, booted
from tests.support.page_links import link_in, screen_behind
from tests.support.waiting import eventually

# pip takes the libraries from the network.
pytestmark = pytest.mark.slow

IMAGE = "schedappliance"
BIN = "/opt/schedappliance/bin"
LINES = "".join(blocks((DOCS / "deployment.md").read_text(), "sh")).replace("\\\n", " ").splitlines()
APPLIANCE, PAGE = (shlex.split(line) for line in LINES if line.startswith("docker run "))
JOB = 'job "hourly" { every = 1h  argv = ( "/bin/true" ) }\n'


def build(machine: Machine) -> None:
    """Carries out the Dockerfile. Its first stage works in the directory of the source, and has a Python."""
    python = machine.show_python()
    copy_source(machine.root / "source")
    command = machine.root / "usr/local/bin/python"
    command.write_text(f'#!/bin/sh\n{PYTHON_LIBRARY} exec {python} "$@"\n')
    command.chmod(0o755)
    for line in instructions("RUN"):
        machine.run("env", PYTHON_LIBRARY, "sh", "-c", f"PATH=/usr/local/bin:$PATH; cd /source; {line}")


def start(machine: Machine, command: list[str]) -> None:
    """Carries out `docker run --detach`. What the container logs is in /log-NAME."""
    place = command.index(IMAGE)
    options, words = command[:place], command[place + 1 :]
    assert "--read-only" in options
    name = options[options.index("--name") + 1]
    volumes = [value.split(":") for option, value in pairwise(options) if option == "--volume"]
    writable = [f"ReadWritePaths={volume[1]}" for volume in volumes if volume[2:] != ["ro"]]
    (entry,), (default,) = (map(json.loads, instructions(one)) for one in ("ENTRYPOINT", "CMD"))
    words = [*entry, *(words or default)]
    _run(machine, words, [f"--unit={name}"], [*writable, f"StandardError=truncate:/log-{name}"])


def execute(machine: Machine, words: list[str]) -> str:
    """Carries out `docker exec` in the container of the appliance: its output, once it has ended well."""
    _run(machine, words, [], ["Type=oneshot", "StandardOutput=truncate:/output"])
    return (machine.root / "output").read_text()


def _run(machine: Machine, words: list[str], options: list[str], properties: list[str]) -> None:
    ((uid, gid),) = (user.split(":") for user in instructions("USER"))
    assert instructions("ENV") == [f"PATH={BIN}:$PATH"]
    variables = f"Environment=PATH={BIN}:/usr/bin:/bin {PYTHON_LIBRARY}"
    restrictions = [f"User={uid}", f"Group={gid}", "ReadOnlyPaths=/", "NoNewPrivileges=yes", "CapabilityBoundingSet="]
    given = [f"--property={one}" for one in (variables, *restrictions, *properties)]
    machine.run("systemd-run", *options, *given, f"{BIN}/{words[0]}", *words[1:])


def log(machine: Machine, name: str) -> str:
    path = machine.root / f"log-{name}"
    return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """The appliance runs on it, with the files that `init --system` writes and a job."""
    with booted() as machine:
        build(machine)
        machine.run("env", PYTHON_LIBRARY, f"{BIN}/schedappliance", "init", "--system")
        with (machine.root / "etc/schedappliance/sched.conf").open("a") as file:
            file.write(JOB)
        start(machine, APPLIANCE)
        eventually(lambda: " is ready" in log(machine, "sched"), "the appliance")
        yield machine


def test_the_appliance_answers_and_is_healthy(machine: Machine) -> None:
    (check,) = instructions("HEALTHCHECK")
    assert execute(machine, json.loads(check.partition("CMD ")[2])) == "ok\n"
    assert "hourly" in execute(machine, ["schedappliance", "jobs"])


def test_the_page_needs_only_the_files_and_the_socket_of_the_appliance(machine: Machine) -> None:
    start(machine, PAGE)
    link = eventually(lambda: link_in(log(machine, "page")), "the link")
    assert "hourly" in screen_behind(link, "/jobs")
    mounts = machine.run("cat", f"/proc/{machine.show('page', 'MainPID')}/mountinfo").stdout.splitlines()
    options = {place: options for _, _, _, _, place, options, *_ in map(str.split, mounts)}
    assert {options[place].split(",")[0] for place in ("/", "/run", "/tmp") if place in options} == {"ro"}
