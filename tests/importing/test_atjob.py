"""Jobs of at: the time and the queue in the name of a file, the owner in its head."""

from __future__ import annotations

import pytest

from schedappliance.diagnostics import Source
from schedappliance.importing.atjob import import_at_job
from schedappliance.importing.stanzas import Entry, Wishes, give_unique_names, written
from schedappliance.model.templates import expand
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.tree import Option, Scalar, Stanza

HEAD = "#!/bin/sh\n# atrun uid=1000 gid=100\n# mail alice 0\numask 22\n"


def entry_of(name: str, script: str = HEAD) -> Entry:
    (entry,) = import_at_job(Source(name, script), [], name, Wishes()).entries
    return entry


def test_the_name_holds_number_and_time() -> None:
    entry = entry_of("a0001101c6a3f2")
    (job,) = entry.jobs
    assert (job.name, job.options["at"], entry.notes) == ("at-17", "2026-08-26T04:34:00Z", [])
    assert (job.options["user"], job.options["group"]) == ("1000", "100")


@pytest.mark.parametrize("script", [f"{HEAD}echo \"a\\b\" %{{x}} '$Y'\n", f"{HEAD}echo (", f"{HEAD}\n\n", HEAD])
def test_the_shell_reads_the_script_word_for_word(script: str) -> None:
    imported = import_at_job(Source("a0001101c6a3f2", script), [], "a0001101c6a3f2", Wishes())
    give_unique_names([imported])
    statements, diagnostics = parse_stanzas(Source("at", written([imported])))
    assert diagnostics == []
    (stanza,) = statements
    assert isinstance(stanza, Stanza)
    (stdin,) = [o.value for o in stanza.body if isinstance(o, Option) and o.key.value == "stdin"]
    assert isinstance(stdin, Scalar)
    assert expand(stdin.value, lambda _: None) == (script if script.endswith("\n") else f"{script}\n")


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
