"""Large files: the memory that one long string, word or comment takes does not depend on what is in it, and time is linear."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.waiting import PATIENCE_SECONDS

CHARACTERS = 4_000_000
# The text, its copy and the parser. A pattern that backtracks took 270 bytes for each character: 1 GB.
LIMIT = 400 * 1024 * 1024

PROGRAM = """
import resource, sys
from schedappliance.diagnostics import Source
from schedappliance.syntax.stanza import parse_stanzas
kind, number = sys.argv[1], int(sys.argv[2])
text = {
    "a string": 'A = "' + "x" * number + '"\\n',
    "a string of lines": 'A = "' + "x\\n" * (number // 2) + '"\\n',
    "a string of empty lines": 'A = "' + "\\n" * number + '"\\n',
    "a string of escapes": 'A = "' + "\\\\x" * 1_000_000 + '"\\n',
    "too many escapes": 'A = "' + "\\\\" * (number // 2) + '"\\n',
    "a string of blanks that is not closed": 'A = "' + " " * number + "\\n",
    "a string of blanks before a quote": 'A = "' + " " * number + '" "\\n',
    "a string that is not closed": 'A = "' + "x" * number + "\\n",
    "a string in single quotes": "A = '" + "x" * number + "'\\n",
    "a word": "A = " + "x" * number + "\\n",
    "a comment": "/*" + "*x" * (number // 2) + "*/ A = 1\\n",
    "a pattern": "A /" + "x" * number + "/ { }\\n",
}[kind]
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), int(sys.argv[3])))
_, mistakes = parse_stanzas(Source("x.conf", text))
print([mistake.code for mistake in mistakes])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("a string", []),
        ("a string of lines", []),
        ("a string of empty lines", []),
        ("a string of escapes", []),
        ("too many escapes", ["E108"]),
        ("a string of blanks that is not closed", ["E103"]),
        ("a string of blanks before a quote", ["E103", "E101", "E103", "E101", "E103"]),
        ("a string that is not closed", ["E103"]),
        ("a string in single quotes", []),
        ("a word", []),
        ("a comment", []),
        ("a pattern", []),
    ],
)
def test_a_long_token_takes_little_memory_and_ends(kind: str, codes: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, kind, str(CHARACTERS), str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(codes), "")
