"""Every code has a page, and every example on it does what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedappliance.cli.errors import OK, USAGE
from schedappliance.cli.main import main
from schedappliance.clock import SystemClock
from schedappliance.diagnostics import CODES
from schedappliance.doctor.findings import findings
from schedappliance.edge.console.protocol import read_request
from schedappliance.edge.programs.outputs import REPLACED
from schedappliance.engine.effects import Answer, MakePreview, ReadFiles, ReadOutput, Reply, rejection
from schedappliance.engine.events import OutputRead, PreviewMade
from schedappliance.lint import explanations
from schedappliance.lint.explanations import Example, examples, page
from schedappliance.lint.linter import Linter
from tests.support.core import Appliance, some
from tests.support.machine_facts import machine

PAGES = {path.stem for path in Path(explanations.__file__).parent.glob("*.md")}

# These stanzas stand beside every example. The pages may use their names.
APPLIANCE = "config: sched.conf\n"
STANZAS = 'Message_Expiration = 86400\nprogram "hello" { argv = ( "/bin/echo" "hello" ) }\n'
INCLUDED = 'program "hello" { argv = ( "/bin/echo" "hello" ) }\n'
EMPTY = "sched { }\n"
NAMES = {"conf": "sched.conf", "cmd": "example.cmd", "yaml": "appliance.yaml"}
RUNNING = f"""\
sched {{ backing_store = "/var/lib/schedappliance/sched.db" }}
{STANZAS}job "greeting" {{ every = 1h  command = "run hello" }}
"""
MOVED = RUNNING.replace("/var/lib", "/srv")


def numbered(kinds: tuple[str, ...]) -> list[Any]:
    """The examples of these kinds with their codes. The ids say which example failed."""
    parameters: list[Any] = []
    for code in sorted(PAGES):
        for number, example in enumerate(examples(code), 1):
            if example.kind in kinds:
                which = "right" if example.right else "wrong"
                parameters.append(pytest.param(code, example, id=f"{code}-{number}-{example.kind}-{which}"))
    return parameters


def lint(directory: Path, example: Example, stanzas: str) -> set[str]:
    """The codes that lint reports for an example, beside an appliance file and its stanzas."""
    (directory / "appliance.yaml").write_text(APPLIANCE)
    (directory / "sched.conf").write_text(stanzas)
    (directory / "conf.d").mkdir()
    (directory / "conf.d" / "hello.conf").write_text(INCLUDED)
    (directory / "old.d").mkdir()
    (directory / "old.d" / "hello.conf.bak").write_text(INCLUDED)
    path = directory / NAMES[example.kind]
    path.write_bytes(example.data)
    linter = Linter(now_ms=SystemClock().moment().wall)
    codes = {diagnostic.code for diagnostic in linter.lint(path)}
    assert all("syntax errors" in note for note in linter.notes), "references must be checked"
    return codes


class Explained(Appliance):
    """An appliance in memory that acts as if it had a backing store, and the stanza files that it would read now."""

    def __init__(self) -> None:
        super().__init__(None, RUNNING)
        self.files = RUNNING

    def fill_disk(self) -> None:
        """Makes every later write to SQLite fail."""
        self.database.execute("PRAGMA query_only = ON")

    def give_roles(self) -> None:
        """Lets the operator ask only for his roles from now on."""
        self.files = RUNNING + 'Authorization { Role "r" { allow = ( "^authz id$" ) users = ( "1000" ) } }\n'
        assert self.answer(b"config reload").ok

    def fill_jobs(self) -> None:
        """Fills the store with the maximum number of jobs. One of them can be deleted."""
        self.files = RUNNING.replace("sched {", "sched { max_jobs = 2")
        assert self.answer(b"config reload").ok
        assert self.answer(b"sched in 600 run hello").output == "example.com-000000002"

    def answer(self, line: bytes) -> Answer:
        """The answer to a line at the console socket."""
        request = read_request(line)
        if request.mistake is not None:
            return rejection([request.mistake])
        event = self.typed(request.command)
        for reading in some(ReadFiles, self.turn(event)):
            self.turn(self.read(self.files, reading.reply_to, reading.typed))
        for asked in some(ReadOutput, self.effects):
            self.turn(OutputRead(asked.reply_to, asked.key, REPLACED))
        for wanted in some(MakePreview, self.effects):
            is_long = wanted.period_ms > 24 * 3_600_000
            self.turn(PreviewMade(wanted.reply_to, "", problem="it took too long" if is_long else None))
        if not some(Reply, self.effects):
            # Something that ends in an hour is waited for.
            self.after(3_600_000)
        return self.reply_to(event)

    def run_hello(self) -> None:
        """Lets a program run that does not end."""
        assert self.answer(b"run hello").output == "example.com-000000002/1"


@pytest.fixture
def appliance() -> Iterator[Explained]:
    appliance = Explained()
    yield appliance
    appliance.close()


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert set(CODES) == PAGES


@pytest.mark.parametrize("code", sorted(PAGES))
def test_a_page_has_a_wrong_and_a_right_example(code: str) -> None:
    page_examples = examples(code)
    assert {example.right for example in page_examples} == {True, False}
    assert {example.kind for example in page_examples} <= {*NAMES, "console", "machine", "sh"}


@pytest.mark.parametrize("code", sorted(PAGES))
def test_every_fence_of_a_page_is_an_example(code: str) -> None:
    assert len(re.findall("^```.", page(code), re.MULTILINE)) == len(examples(code))


@pytest.mark.parametrize("code", sorted(PAGES))
def test_a_page_explains_in_at_most_three_paragraphs_before_its_examples(code: str) -> None:
    title, *paragraphs = page(code).partition("\n```")[0].strip().split("\n\n")
    assert title == f"{code}: {CODES[code]}"
    assert 1 <= len(paragraphs) <= 3


@pytest.mark.parametrize(("code", "example"), numbered(("conf", "cmd", "yaml")))
def test_an_example_in_a_file_is_judged_as_its_page_says(code: str, example: Example, tmp_path: Path) -> None:
    stanzas = EMPTY if example.kind == "yaml" else STANZAS
    codes = lint(tmp_path, example, stanzas)
    if example.right:
        assert codes == set()
    else:
        assert codes == {code}


def test_the_spool_is_accepted_with_the_stanza_file_of_its_page(tmp_path: Path) -> None:
    (spool,) = [example for example in examples("E308") if not example.right]
    (stanzas,) = [example for example in examples("E308") if example.kind == "conf"]
    assert lint(tmp_path, spool, stanzas.text) == set()


@pytest.mark.parametrize(("code", "example"), numbered(("console",)))
def test_an_example_at_the_console_is_answered_as_its_page_says(
    code: str, example: Example, appliance: Explained
) -> None:
    """Only the last line of a wrong example is rejected."""
    if not example.right and code == "E504":
        appliance.fill_disk()
    if code == "E512":
        appliance.give_roles()
    if code in ("E514", "E515"):
        appliance.run_hello()
    if code == "E509":
        appliance.fill_jobs()
    if not example.right and code == "E309":
        appliance.files = MOVED
    *before, last = [appliance.answer(line) for line in example.data.splitlines()]
    assert [answer.error for answer in before] == [None] * len(before)
    if example.right:
        assert last.error is None
    else:
        assert last.error is not None
        codes = {diagnostic.code for diagnostic in last.diagnostics}
        assert codes == {code}


@pytest.mark.parametrize(("code", "example"), numbered(("machine",)))
def test_an_example_of_a_machine_is_judged_as_its_page_says(code: str, example: Example) -> None:
    codes = {diagnostic.code for diagnostic in findings(machine(example.text))}
    assert codes == (set() if example.right else {code})


@pytest.mark.parametrize(("code", "example"), numbered(("sh",)))
def test_an_example_of_an_expression_is_judged_as_its_page_says(
    code: str, example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example.text.startswith("schedappliance when ")
    main(shlex.split(example.text)[1:])
    codes = set(re.findall(r"^(?:error|warning)\[(\w+)\]", capsys.readouterr().err, re.MULTILINE))
    assert codes == (set() if example.right else {code})


def test_escapes_stand_for_bytes_only_if_the_fence_says_so() -> None:
    text = 'A = "\\xe9"\n'
    assert Example("conf", True, text).data == text.encode()
    assert Example("conf", True, text, escaped=True).data == b'A = "\xe9"\n'


def test_explain_lists_all_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == OK
    assert capsys.readouterr().out.splitlines() == [f"{code}  {title}" for code, title in CODES.items()]


def test_explain_prints_the_page_of_a_code_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "e202"]) == OK
    assert capsys.readouterr().out == page("E202")
    assert page("E202").startswith(
        "E202: unknown option\n\nA stanza contains an option that such a stanza cannot have."
    )


@pytest.mark.parametrize(("typed", "remedy"), [("X999", "`explain` lists all"), ("E2o2", "did you mean `E2")])
def test_explain_of_an_unknown_code_says_what_to_do(
    typed: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", typed]) == USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: no code {typed}; {remedy}")
