"""The examples of all documents run as a reader types them, and print what the documents show.

Rule: each document runs in a directory of its own, with an appliance of its own, and so can be tested alone. What a
document shows by `cat FILE` is written into that file first; what it starts by `schedappliance serve` runs in the background.
An hourly job of such a file comes due an hour after the test begins, since its run would change what later examples show.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import secrets
import select
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from schedappliance.clock import SystemClock
from tests.support.documents import CHECKOUT, DOCS, DOCUMENTS, README, Example, blocks, examples, pattern
from tests.support.waiting import PATIENCE_SECONDS, eventually

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", ".*_cache", ".hypothesis", "__pycache__", "dist", "build")
# A directory whose name holds a space and is longer than the path of a socket may be.
LONG_NAME = f"a directory {'x' * 100}"
SERVE = "schedappliance serve"
OWN_SERVE = tuple(path for path in DOCUMENTS if any(e.command == SERVE for e in examples(path.read_text())))

# The install from the network, then every example.
pytestmark = pytest.mark.slow


def environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    # The documents show the times of a machine in UTC.
    return {**own, "TZ": "UTC", **more}


class Reader:
    """Someone who types the examples into one shell, in one directory, and starts daemons in other terminals."""

    def __init__(self, directory: Path, path: str) -> None:
        self.directory = directory
        self._serving: list[int] = []
        self._hourly = f"every = 1h  offset = {SystemClock().moment().wall // 1000 % 3600}"
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=directory,
            env=environment(PATH=path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def types(self, command: str) -> str:
        """What the terminal shows after a command: stdout and stderr."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        mark = f"end-{secrets.token_hex(8)}"
        script = f"{{ {command}\n}} < /dev/null\necho {mark}\n"
        self._shell.stdin.write(script.encode())
        self._shell.stdin.flush()
        shown = b""
        while not shown.endswith(f"{mark}\n".encode()):
            ready, _, _ = select.select([self._shell.stdout], [], [], 2 * PATIENCE_SECONDS)
            assert ready, f"$ {command}\ndoes not end; it has printed:\n{shown.decode()}"
            piece = os.read(self._shell.stdout.fileno(), 65536)
            assert piece, f"$ {command}\nended the shell; it has printed:\n{shown.decode()}"
            shown += piece
        return shown.decode().removesuffix(f"{mark}\n")

    def serves(self, command: str = SERVE) -> str:
        """The log of a daemon that is started, as far as it is when the daemon is ready."""
        number = len(self._serving)
        log = self.directory / f"log-{number}"
        log.touch()
        self._serving.append(int(self.types(f"{command} >> {shlex.quote(str(log))} 2>&1 & echo $!; disown")))
        eventually(lambda: " is ready" in log.read_text(), f"the start of `{command}`")
        return log.read_text()

    def writes(self, name: str, text: str) -> None:
        """A file that the document shows; whoever reads it is not `alice`, and an hour begins when the test does."""
        directory = self.types("pwd").rstrip("\n")
        text = re.sub(r"every = 1h\b", self._hourly, text.replace("alice", getpass.getuser()))
        (Path(directory) / name).write_text(text)

    def leaves(self) -> None:
        assert self._shell.stdin is not None and self._shell.stdout is not None
        for pid in self._serving:
            # Those that an example has stopped are gone.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            eventually(partial(_is_gone, pid), "the end of the daemon")
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(PATIENCE_SECONDS)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout in which the first command of the README has installed and started the appliance."""
    place = tmp_path_factory.mktemp("documents") / LONG_NAME / "schedappliance"
    shutil.copytree(CHECKOUT, place, ignore=LEFT_OUT)
    log = place / "log"
    with log.open("wb") as out:
        command = blocks(README.read_text(), "sh")[0]
        serving = subprocess.Popen(
            ["bash", "-c", command], cwd=place, stdout=out, stderr=out, env=environment(), start_new_session=True
        )
    try:
        eventually(lambda: " is ready" in log.read_text() or serving.poll() is not None, "the first command", 300)
        assert serving.poll() is None, log.read_text()
        yield place
    finally:
        if serving.poll() is None:
            os.killpg(serving.pid, signal.SIGTERM)
            serving.wait(PATIENCE_SECONDS)


@pytest.fixture
def reader(checkout: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A reader of the document, beside an appliance that runs on a copy of the example files."""
    document = request.param
    if document == README:
        directory, path = checkout, os.environ["PATH"]
    else:
        directory = tmp_path / LONG_NAME / "schedappliance"
        directory.mkdir(parents=True)
        shutil.copytree(CHECKOUT / "etc", directory / "etc")
        path = f"{checkout / '.venv' / 'bin'}:{os.environ['PATH']}"
    reader = Reader(directory, path)
    try:
        if document != README and document not in OWN_SERVE:
            reader.serves()
        yield reader
    finally:
        reader.leaves()


def _shown(reader: Reader, example: Example) -> str:
    command, output = example
    if command == SERVE:
        return reader.serves()
    if command.startswith("cat "):
        reader.writes(command.removeprefix("cat "), output)
        return output
    return reader.types(command)


with_examples = [path for path in DOCUMENTS if any(examples(path.read_text()))]


@pytest.mark.parametrize(
    ("reader", "document"), [(path, path) for path in with_examples], ids=lambda path: path.stem, indirect=["reader"]
)
def test_every_example_prints_what_the_document_shows(reader: Reader, document: Path) -> None:
    for example in examples(document.read_text()):
        shown = _shown(reader, example)
        assert pattern(example.output).fullmatch(shown), f"$ {example.command}\n{shown}\nwanted:\n{example.output}"


@pytest.mark.parametrize("reader", [DOCS / "spool.md"], ids=["spool"], indirect=True)
def test_the_shell_functions_drop_a_file_and_print_the_answer(reader: Reader) -> None:
    (functions,) = [block for block in blocks((DOCS / "spool.md").read_text(), "sh") if "mktemp" in block]
    for shell in ("sh", "bash"):
        for line, accepted in (("run hello", True), ("run helo", False)):
            script = f"{functions}\nname=$(echo '{line}' | drop var/spool work) && answer var/spool \"$name\""
            shown = reader.types(f"{shell} -c {shlex.quote(script)}; echo $?")
            *result, status = shown.splitlines()
            assert json.loads("".join(result))["accepted"] is accepted
            assert status == ("0" if accepted else "1")


def test_files_of_the_documents_are_accepted(checkout: Path, tmp_path: Path) -> None:
    """Every stanza file, appliance file and command file that a document shows."""
    (tmp_path / "sched.conf").write_text('program "hello" { argv = ( "/bin/echo" ) }\n')
    kinds = {"conf": "{}/sched.conf", "yaml": "{}/appliance.yaml", "cmd": "{}/work.cmd"}
    for document in DOCUMENTS:
        for kind, name in kinds.items():
            for number, block in enumerate(blocks(document.read_text(), kind)):
                path = tmp_path / name.format(f"{document.stem}-{kind}-{number}")
                path.parent.mkdir()
                path.write_text(block)
                (path.parent / "sched.conf").touch()
                if kind == "yaml":
                    (path.parent / "sched.conf").write_text('sched { backing_store = "sched.db" }\n')
                if kind == "cmd":
                    shutil.copytree(CHECKOUT / "etc", path.parent, dirs_exist_ok=True)
    lint = [str(checkout / ".venv/bin/schedappliance"), "lint", *map(str, sorted(tmp_path.glob("*-*")))]
    linted = subprocess.run(lint, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert re.search(r"\b0 errors, 0 warnings\n$", linted.stdout), linted.stdout
