"""Lint and the appliance agree: lint finds no error exactly when the appliance would load the files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import has_errors
from schedappliance.lint.linter import Linter
from schedappliance.model.appliance_file import KEYS, read_appliance_file
from schedappliance.model.appliance_paths import appliance_mistake
from schedappliance.model.loading import load
from schedappliance.model.options import STANZA_OF, STANZAS
from schedappliance.syntax.command import keywords
from tests.faults import FILES, judge_of
from tests.support.diagnostics import codes
from tests.support.memory_files import FOLDER, ROOT, held

APPLIANCE = FOLDER / "appliance.yaml"

# Values of all kinds. Most fit some options, few fit all.
VALUES = [
    *("60", "15m", "1d", "0", "-5", "soon", "1795370460", "2026-11-22T18:01:00Z", "on", "maybe", "64k", "none", "/tmp"),
    *('"run p"', '"run p x"', '"config get limit"', '"sched in 5 pid"', '"quit"', '"run"', "pid", '""', "x.db"),
    *('( "/bin/true" )', '( "/bin/echo" "%{limit}" )', "( /bin/true a b )", "( )", '( "x" )', '( "a|b" )', '( "(" )'),
    *('[ A = "1" ]', "[ A = 1, B = 2 ]", "[ ]", '[ "a b" = c ]', "[ A = ( x ) ]"),
]
NAMES = ["p", '"p"', '"q r"', "'j'", '""', "/p/", ""]

SIGNS = list("{}()[]<>=,;\"'#ü\x07")

values = st.sampled_from(VALUES)
known = st.sampled_from(sorted({name for spec in STANZAS.values() for name in spec.options}))
names = st.sampled_from(NAMES)
blanks = st.sampled_from([" ", "\n", "\n  ", " # a comment\n", " /* { */ ", "\r\n\t"])
globals_ = st.sampled_from(["Limit", "Rate", "include", "9x", *STANZAS])
options = st.builds("{} = {}".format, known | globals_, values)


@st.composite
def roles(draw: st.DrawFn) -> str:
    """A role whose options are mostly valid."""
    options = {"allow": '( "^sched " )', "users": "( root 0 )", "groups": '( "root" )'}
    body = [f"{name} = {value if draw(st.integers(0, 3)) else draw(values)}" for name, value in options.items()]
    return " ".join(["Role", draw(names), "{", *draw(st.permutations(body)), "}"])


@st.composite
def stanzas(draw: st.DrawFn) -> str:
    """A stanza of a known kind with its own options, and sometimes an option of another kind."""
    kind = draw(st.sampled_from([*STANZAS, *STANZAS, "Domain"]))
    own = st.sampled_from(sorted(STANZAS[kind].options)) if kind in STANZAS and STANZAS[kind].options else known
    fitting: dict[str, str] = {
        "argv": '( "/bin/echo" "x" )',
        "command": draw(st.sampled_from(['"run p"', '"pid"', '"config get limit"'])),
        "on_failure": draw(st.sampled_from(['"run p"', '"sched in 5 run p"', '"config get limit"'])),
        "every": "60",
        "at": "1795370460",
        "backing_store": "x.db",
        "timeout": "30",
    }
    given_names = draw(st.lists(own, max_size=4, unique=True))
    required = {"program": ["argv"], "job": ["every", "command"]}.get(kind, [])
    chosen = list(dict.fromkeys(required + given_names)) if draw(st.integers(0, 3)) else given_names
    body = [f"{name} = {fitting.get(name, '5') if draw(st.integers(0, 7)) else draw(values)}" for name in chosen]
    opening, closing = draw(st.sampled_from([("{", "}"), ("{", "}"), ("<", ">"), ("{", ">")]))
    if kind == "authorization" and draw(st.integers(0, 3)):
        body = [draw(roles()) for _ in range(draw(st.integers(0, 2)))]
    name = "" if kind in ("sched", "authorization") else draw(names)
    blank: str = draw(blanks)
    parts: list[str] = [kind, name, opening, *body, closing]
    return blank.join(parts)


files = st.lists(stanzas() | options, max_size=6).flatmap(lambda parts: blanks.map(lambda blank: blank.join(parts)))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid file with one stretch removed, inserted or doubled."""
    text = draw(st.sampled_from(VALID))
    start = draw(st.integers(0, len(text) - 1))
    end = min(len(text), start + draw(st.integers(0, 12)))
    return text[:start] + draw(st.sampled_from(["", text[start:end] * 2, *SIGNS])) + text[end:]


VALID = [path.read_bytes().decode() for path in FILES if "include" not in path.read_text()]

appliance_files = st.lists(
    st.builds(
        lambda key, value: (
            f"{key.split('.')[0]}: {{ {key.split('.')[1]}: {value} }}" if "." in key else f"{key}: {value}"
        ),
        st.sampled_from([*KEYS, *KEYS, "confg", "console.lisen"]),
        st.sampled_from(["sched.conf", "60", '"0660"', "info", "text", "spool", "", "[ ]", "x y", "&a x", "'", "on"]),
    ),
    max_size=4,
).map("\n".join)


def _agree(stanza_file: str, appliance_file: str = "config: sched.conf\n") -> bool:
    """Checks that lint and the appliance agree on each file; returns whether the appliance would start with them."""
    read = held({"sched.conf": stanza_file, "appliance.yaml": appliance_file})
    loaded = load(ROOT, read)
    appliance, _ = read_appliance_file(APPLIANCE, read)
    if appliance is None:
        assert has_errors(Linter(APPLIANCE, read).lint(APPLIANCE))
        return False
    own = loaded if appliance.config == ROOT else load(appliance.config, read)
    starts = own.accepted and appliance_mistake(appliance, own) is None
    assert has_errors(Linter(APPLIANCE, read).lint(APPLIANCE)) != starts
    if appliance.config == ROOT:
        assert has_errors(Linter(APPLIANCE, read).lint(ROOT)) != loaded.accepted
    return starts


@pytest.mark.slow
@given(files)
def test_lint_passes_a_generated_stanza_file_exactly_when_it_loads(text: str) -> None:
    _agree(text)


@pytest.mark.slow
@given(mutated())
def test_lint_passes_a_mutated_stanza_file_exactly_when_it_loads(text: str) -> None:
    _agree(text)


@pytest.mark.slow
@given(st.sampled_from(["x = 1\n", 'sched { backing_store = "x.db" }\n', "x = \n", ""]), appliance_files)
def test_lint_passes_a_generated_appliance_file_exactly_when_it_loads(stanza_file: str, text: str) -> None:
    _agree(stanza_file, text)
    _agree(stanza_file, f"config: sched.conf\n{text}")


@pytest.mark.parametrize(
    "stanza_file", ["x = 1\n", 'program p { argv = ( "/bin/true" ) }\njob "j" { every = 5 command = "run p" }\n']
)
def test_lint_passes_valid_files_and_they_load(stanza_file: str) -> None:
    assert _agree(stanza_file)
    assert not _agree(stanza_file.replace("=", "= =", 1))
    assert not _agree(stanza_file, "config: sched.conf\nspool: { path: x }\n")


@pytest.mark.parametrize("keyword", sorted(keywords() - STANZA_OF.keys()))
def test_every_console_keyword_can_name_an_option_a_program_and_a_job(keyword: str) -> None:
    text = (
        f'{keyword} = 1\nprogram "{keyword}" {{ argv = ( "/bin/echo" "%{{{keyword}}}" ) args = any }}\n'
        f'job {keyword} {{ every = 60 command = "run {keyword} {keyword}" }}\n'
    )
    commands = f"run {keyword}\nconfig get {keyword}\nconfig set {keyword} = {keyword}\nsched in 5 run {keyword}\n"
    read = held({"sched.conf": text, "appliance.yaml": "config: sched.conf\n", "x.cmd": commands})
    linter = Linter(APPLIANCE, read)
    assert [codes(linter.lint(path)) for path in (ROOT, APPLIANCE, FOLDER / "x.cmd")] == [[], [], []]
    assert linter.notes == [] and load(ROOT, read).accepted


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_file_is_judged_the_same_from_the_disk_and_from_memory(path: Path) -> None:
    diagnostics = Linter().lint(path)
    assert has_errors(diagnostics) != load(path).accepted
    assert judge_of(path)(path.read_bytes().decode()) == []
