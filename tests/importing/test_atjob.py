"""Jobs of at: the time and the queue in the name of a file, the owner in its head."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from schedappliance.diagnostics import Source
from schedappliance.importing.atjob import import_at_job
from schedappliance.importing.stanzas import Entry, Wishes, give_unique_names, written
from schedappliance.model.templates import expand
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.tree import Option, Scalar, Stanza

HEAD = "#!/bin/sh\n# atrun uid=1000 gid=100\n# mail alice 0\numask 22\n"


CD = b"cd / || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\n"


def entry_of(name: str, script: str | bytes = HEAD) -> Entry:
    data = script.encode() if isinstance(script, str) else script
    (entry,) = import_at_job(Path("spool", name), data, Wishes()).entries
    return entry


def escaped(value: str) -> bytes:
    """A value as `at` writes it for the shell."""
    signs = ((byte, bytes([byte])) for byte in value.encode())
    return b"".join(b'"\n"' if byte == 10 else sign if sign.isalnum() else b"\\" + sign for byte, sign in signs)


def stdin_of(script: bytes) -> str:
    """The standard input of the job of a script, read from its stanza."""
    imported = import_at_job(Path("a0001101c6a3f2"), script, Wishes())
    give_unique_names([imported])
    statements, diagnostics = parse_stanzas(Source("at", written([imported])))
    assert diagnostics == []
    (stanza,) = statements
    assert isinstance(stanza, Stanza)
    (stdin,) = [o.value for o in stanza.body if isinstance(o, Option) and o.key.value == "stdin"]
    assert isinstance(stdin, Scalar)
    return expand(stdin.value, lambda _: None)


def test_the_name_holds_number_and_time() -> None:
    entry = entry_of("a0001101c6a3f2")
    (job,) = entry.jobs
    assert (job.name, job.options["at"], entry.notes) == ("at-17", "2026-08-26T04:34:00Z", [])
    assert (job.options["user"], job.options["group"]) == ("1000", "100")


@pytest.mark.parametrize("script", [f"{HEAD}echo \"a\\b\" %{{x}} '$Y'\n", f"{HEAD}echo (", f"{HEAD}\n\n", HEAD])
def test_the_shell_reads_the_script_word_for_word(script: str) -> None:
    assert stdin_of(script.encode()) == (script if script.endswith("\n") else f"{script}\n")


def test_letters_beyond_ascii_are_joined_for_the_shell() -> None:
    """`at` 3.2.5 writes a backslash before each byte of them; every job with such a variable was not possible."""
    values = {"A": "éx", "B": "a€b c;", "C": "😀\n\u00a0"}
    variables = b"".join(
        b"%b=%b; export %b\n" % (name.encode(), escaped(value), name.encode()) for name, value in values.items()
    )
    script = HEAD.encode() + variables + CD + 'printf "[%s]" "$A" "$B" "$C" \\é "é"\n'.encode()
    assert entry_of("a0001101c6a3f2", script).notes == []
    runs = [
        subprocess.run(["/bin/sh"], input=text, capture_output=True) for text in (script, stdin_of(script).encode())
    ]
    assert [run.stdout.decode() for run in runs] == ["[éx][a€b c;][😀\n\u00a0][é][é]"] * 2


@pytest.mark.parametrize(
    "value", [b"\\\xe9x", b"\\\x1b\\[1m", b"a\\\rb", b'\\\xe9"\n"b', b"\\\x7f", b"\\\xef\\\xbb\\\xbf"]
)
def test_a_variable_that_no_stanza_file_may_hold_is_left_out(value: bytes) -> None:
    script = HEAD.encode() + b"A=b\\ c; export A\nX=" + value + b"; export X\nZ=d; export Z\n" + CD + b"echo $A $X $Z\n"
    (note,) = entry_of("a0001101c6a3f2", script).notes
    assert note == "left out of the environment, because no stanza file may hold its value: `X`"
    run = subprocess.run(["/bin/sh"], input=stdin_of(script).encode(), capture_output=True)
    assert run.stdout == b"b c d\n"


def test_a_command_that_no_stanza_file_may_hold_has_its_line() -> None:
    script = HEAD.encode() + b'X=\\\xe9"\n"; export X\n' + CD + b"X=\x1b; export X\n"
    assert entry_of("a0001101c6a3f2", script).failure.startswith(
        "line 11, column 3: unexpected control character U+001B;"
    )


@pytest.mark.parametrize(
    ("name", "script", "note"),
    [
        ("b0001101c6a3f2", HEAD, "`batch`"),
        ("c0001101c6a3f2", HEAD, "lower priority"),
        ("a0001101c6a3f2", HEAD.replace("alice 0", "alice 1"), "at mails alice"),
    ],
)
def test_what_is_not_the_same_has_a_note(name: str, script: str, note: str) -> None:
    (text,) = entry_of(name, script).notes
    assert note in text


@pytest.mark.parametrize(
    ("name", "script", "failure"),
    [
        ("script.sh", HEAD, "is not the name of a job of at"),
        ("=0001101c6a3f2", HEAD, "is running now"),
        ("a0001101c6a3f2", "echo\n", "has no line `# atrun"),
        ("a00011ffffffff", HEAD, "after the year 9999"),
    ],
)
def test_a_file_that_is_not_possible_has_a_reason(name: str, script: str, failure: str) -> None:
    entry = entry_of(name, script)
    assert failure in entry.failure
    assert entry.jobs == []
