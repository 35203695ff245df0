"""Jobs that declare their own program with `argv`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schedappliance.model.listings import other_meaning
from schedappliance.model.loading import load
from schedappliance.model.options import OF_ITS_PROGRAM, STANZAS
from schedappliance.syntax.printer import quoted
from tests.support.diagnostics import pointed
from tests.support.memory_files import ROOT, diagnostics_of, held, read_stanzas

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff"), min_size=1)


def test_a_job_with_argv_declares_a_program_of_its_name() -> None:
    files = read_stanzas('job "tidy" { every = 60 argv = ( "/bin/true" "now" ) timeout = 5 retries = 2 }')
    job, program = files.jobs["tidy"], files.programs["tidy"]
    assert (job.command.text, job.own_program) == ("run tidy", True)
    assert (program.argv, program.args, program.timeout_ms, program.retries) == (("/bin/true", "now"), (), 5000, 2)
    assert (program.source, program.span) == (job.source, job.span)


@given(NAMES.filter(lambda name: len(name) <= 200))
@example("--wait")
@example("w[1]")
@example("json")
@example("a b")
@example('"')
@example("\\")
@example("run")
def test_its_command_runs_the_program_of_any_name(name: str) -> None:
    loaded = load(ROOT, held({ROOT.name: f'job {quoted(name)} {{ every = 60 argv = ( "/bin/true" ) }}'}))
    assert [one.code for one in loaded.diagnostics] == (["W431"] if other_meaning(name) else [])
    command = loaded.configuration.jobs[name].command
    assert (command.form, command.words) == ("run", (name,))


@pytest.mark.parametrize("name", ["appliance", "configuration"])
def test_a_name_of_an_incident_of_the_appliance_is_warned_of(name: str) -> None:
    """`sched ack` takes it for both, and their alerts read alike."""
    (mistake,) = diagnostics_of(f'job "{name}" {{ every = 60 argv = ( "/bin/true" ) }}')
    assert mistake.code == "W431"
    assert mistake.message.endswith(f"the name of job `{name}` for an incident of the appliance itself")


def test_other_stanzas_may_run_its_program() -> None:
    files = read_stanzas(
        'job "a" { every = 60 argv = ( "/bin/true" ) on_failure = "run a" }\njob "b" { every = 1 command = "run a" }'
    )
    assert files.jobs["b"].command.text == "run a"


def test_a_job_without_argv_declares_no_program() -> None:
    files = read_stanzas('job "pid" { every = 60 command = "pid" }')
    assert (files.programs, files.jobs["pid"].own_program) == ({}, False)


@pytest.mark.parametrize(
    ("job", "code", "message", "place"),
    [
        ('at = 1 argv = ( "/bin/true" ) command = "pid"', "E211", 'job "j" has both `command` and `argv`', "job"),
        ("at = 1", "E205", 'job "j" has neither `command` nor `argv`', "job"),
        ("at = 1 timeout = 5", "E205", 'job "j" has neither `command` nor `argv`', "job"),
        ("at = 1 command = pid timeout = 5", "E211", 'job "j" has `timeout` without `argv`', "timeout"),
        ('at = 1 argv = ( "/bin/true" ) args = any', "E202", '`job "j"` takes no option `args`', "args"),
        ('at = 1 argv = ( "true" )', "E203", "`true` is not an absolute path", '"true"'),
        ("at = 1 argv = ()", "E203", "the list is empty", "("),
    ],
)
def test_a_wrong_job_gives_one_diagnostic(job: str, code: str, message: str, place: str) -> None:
    (mistake,) = diagnostics_of(f'job "j" {{ {job} }}')
    assert (mistake.code, mistake.message) == (code, message)
    assert mistake.help and pointed(mistake).startswith(place)


@pytest.mark.parametrize(
    ("command", "remedy"),
    [("run p", "move it into the stanza of the program"), ("pid", "remove it; the command starts no program")],
)
def test_an_option_of_a_program_needs_argv(command: str, remedy: str) -> None:
    text = (
        f'program "p" {{ argv = ( "/bin/true" ) }}\njob "j" {{ at = 1 command = "{command}" umask = 077 retries = 1 }}'
    )
    assert [(mistake.code, mistake.help) for mistake in diagnostics_of(text)] == [("E211", remedy)] * 2


def test_the_mistakes_of_a_job_do_not_hide_its_program() -> None:
    (mistake,) = diagnostics_of('job "j" { argv = ( "/bin/true" ) }\njob "k" { at = 1 command = "run j" }')
    assert mistake.message == 'job "j" has none of `every`, `at`, `cron` and `calendar`'


@pytest.mark.parametrize("is_first", [True, False])
def test_a_program_of_the_same_name_is_an_error_with_both_places(is_first: bool) -> None:
    stanzas = ['program "x" { argv = ( "/bin/true" ) }', 'job "x" { at = 1 argv = ( "/bin/true" ) }']
    (mistake,) = diagnostics_of("\n".join(stanzas if is_first else stanzas[::-1]))
    assert (mistake.code, mistake.message) == ("E206", 'duplicate program "x"')
    assert mistake.help == "rename one of them; a job with `argv` declares a program of its own name"
    assert mistake.place()[0] == 2 and mistake.related[0].source.position(mistake.related[0].span.start)[0] == 1


def test_two_jobs_of_the_same_name_are_one_mistake() -> None:
    (mistake,) = diagnostics_of('job "x" { at = 1 argv = ( "/bin/true" ) }\n' * 2)
    assert mistake.message == 'duplicate job "x"'


def test_a_job_takes_every_option_of_a_program_but_args() -> None:
    assert "args" not in OF_ITS_PROGRAM
    assert not STANZAS["job"].required


@pytest.mark.parametrize(
    ("words", "place"),
    [
        *((f'"/bin/ls" "a" "{word}" "b" ">"', word) for word in (">", ">>", "<", "|", "||", "&&", "&", ";", "2>&1")),
        *((f'"/bin/ls" "{word}"', word) for word in ("2>/dev/null", ">/tmp/x", ">>/tmp/x", "$HOME", "${HOME}", "~/x")),
        *((f'"/bin/ls" "{word}"', None) for word in ("a>b", "$5", "$_", "x$HOME", "a|b", "~", ">=", "->")),
        ('"/usr/bin/cut" "-d" "|" "-f1"', None),
        ('"/bin/sh" "-c" "x" ">"', None),
        ('"/bin/busybox" "sh" "-c" "$X" "$HOME"', None),
        ('"/usr/bin/find" "/" "-exec" "ls" "{}" ";"', None),
        ('"/usr/bin/xargs" "sh" "-c" "$X"', None),
    ],
)
def test_a_word_that_only_a_shell_understands_is_doubted_once(words: str, place: str | None) -> None:
    for stanza in (f'program "p" {{ argv = ( {words} ) }}', f'job "j" {{ every = 60 argv = ( {words} ) }}'):
        doubts = [(d.code, pointed(d)) for d in diagnostics_of(stanza) if d.code != "W403"]
        assert doubts == ([("W425", f'"{place}"')] if place else [])


def test_all_wrong_fields_of_an_expression_are_reported_at_their_places() -> None:
    text = 'sched { zone = UTC }\njob "x" { cron = ( "61 25 * 13 *" "* * 40 * *" ) command = "version" }\n'
    found = diagnostics_of(text)
    assert [mistake.message for mistake in found] == [
        "minute 61 is out of range",
        "hour 25 is out of range",
        "month 13 is out of range",
        "day of month 40 is out of range",
    ]
    assert [text[mistake.span.start : mistake.span.end] for mistake in found if mistake.span] == [
        "61",
        "25",
        "13",
        "40",
    ]
