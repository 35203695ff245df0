"""Truncated files: strict prefixes of every example get a diagnostic or are themselves valid; none crashes the reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.diagnostics import Source
from schedappliance.lint.linter import lint_commands
from schedappliance.model.appliance_file import read_appliance_file
from schedappliance.model.commands import read_command
from schedappliance.model.files import read_regular
from schedappliance.model.loading import load
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.tree import Option
from tests.faults import FILES, FOLDER

ETC = Path(__file__).parent.parent.parent / "etc"
STEP = 3
EXAMPLES = sorted(ETC.glob("*.conf")) + FILES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_prefix_of_a_stanza_file_has_a_mistake_or_is_valid(path: Path) -> None:
    text = path.read_bytes().decode()
    whole, mistakes = parse_stanzas(Source(str(path), text))
    assert mistakes == []
    # Each kind of token stands in many files, so it is cut everywhere. Reading takes longer with each character.
    for end in range(len(path.stem) % STEP, len(text), STEP):
        statements, mistakes = parse_stanzas(Source(str(path), text[:end]))
        if mistakes:
            assert all(mistake.is_error and mistake.help and mistake.span for mistake in mistakes)
            continue
        assert statements[:-1] == whole[: max(0, len(statements) - 1)]
        if statements and statements[-1] != whole[len(statements) - 1]:
            # Only a bare word stays a word when its end is missing.
            assert isinstance(statements[-1], Option) and text[end - 1 : end + 1].isprintable()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_prefix_of_a_stanza_file_never_crashes_the_reader(path: Path) -> None:
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        loaded = load(path, lambda p, end=end: data[:end] if p == path else read_regular(p))  # type: ignore[misc]
        assert loaded.accepted or all(mistake.help for mistake in loaded.diagnostics)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.cmd")), ids=lambda path: path.stem)
def test_a_prefix_of_a_command_file_has_a_mistake_in_its_last_line_or_is_valid(path: Path) -> None:
    text = path.read_text()
    assert list(lint_commands(Source(str(path), text), None)) == []
    for end in range(len(text)):
        mistakes = list(lint_commands(Source(str(path), text[:end]), None))
        last = text[:end].split("\n")
        if last[-1].strip() and not last[-1].startswith("#") and read_command(last[-1]).command is None:
            assert {mistake.place()[0] for mistake in mistakes} == {len(last)}
        else:
            assert {mistake.code for mistake in mistakes} <= {"E109", "E304"}


@pytest.mark.parametrize("path", sorted(ETC.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_prefix_of_an_appliance_file_has_a_mistake_or_is_valid(path: Path) -> None:
    data = path.read_bytes()
    for end in range(len(data)):
        file, mistakes = read_appliance_file(path, lambda _path, end=end: data[:end])  # type: ignore[misc]
        assert (file is None) == bool(mistakes)
        assert all(mistake.help for mistake in mistakes)
