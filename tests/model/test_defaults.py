"""`defaults`: what programs and jobs take when they do not say otherwise."""

from __future__ import annotations

import pytest

from schedappliance.model.resources import Resources
from tests.support.diagnostics import pointed
from tests.support.memory_files import diagnostics_of, read_stanzas

PROGRAMS = """
program "a" { argv = ( "/bin/true" ) }
program "b" { argv = ( "/bin/true" ) timeout = 1 retries = 0 env = [ B = "own" ] on_failure = "run b" cwd = "/usr" }
job "c" { at = 1 argv = ( "/bin/true" ) }
"""


def test_programs_and_jobs_take_what_they_do_not_say() -> None:
    defaults = 'defaults { timeout = 5m  retries = 3  env = [ A = "1" B = "2" ]  on_failure = "run a"  cwd = "/tmp" }'
    for text in (defaults + PROGRAMS, PROGRAMS + defaults):
        programs = read_stanzas(text).programs
        for name in "ac":
            program = programs[name]
            assert (program.timeout_ms, program.retries, program.cwd) == (300_000, 3, "/tmp")
            assert program.env == (("A", "1"), ("B", "2"))
            assert program.on_failure and program.on_failure.command.text == "run a"
        own = programs["b"]
        assert (own.timeout_ms, own.retries, own.cwd) == (1000, 0, "/usr")
        assert own.env == (("A", "1"), ("B", "own"))
        assert own.on_failure and own.on_failure.command.text == "run b"


def test_a_job_with_a_command_takes_nothing() -> None:
    files = read_stanzas('defaults { timeout = 5 }\njob "j" { at = 1 command = "pid" }')
    assert files.programs == {} and not files.jobs["j"].own_program


def test_none_stands_for_no_limit_and_no_command() -> None:
    own = "timeout = none max_running = NONE on_failure = none"
    files = read_stanzas(
        f'defaults {{ timeout = 1 max_running = 1 on_failure = "pid" }}\nprogram "p" {{ argv = ( "/bin/true" ) {own} }}'
    )
    program = files.programs["p"]
    assert (program.timeout_ms, program.max_running, program.on_failure) == (None, None, None)


def test_the_limits_of_a_program_count_before_those_of_defaults() -> None:
    own = "nice = none limits = [ memory = 2g CPU = none ]"
    text = f'defaults {{ nice = 5 limits = [ cpu = 1m nofile = 99 ] }}\nprogram "p" {{ argv = ( "/bin/true" ) {own} }}'
    program = read_stanzas(text).programs["p"]
    assert program.resources == Resources(limits=(("nofile", 99), ("memory", 2 << 30)))


def test_several_stanzas_are_merged() -> None:
    program = read_stanzas(
        'defaults { env = [ A = "1" ] }\ndefaults { env = [ B = "2" ] retries = 1 }' + PROGRAMS
    ).programs["a"]
    assert (program.env, program.retries) == ((("A", "1"), ("B", "2")), 1)
    (mistake,) = diagnostics_of("defaults { retries = 1 }\ndefaults { retries = 2 }" + PROGRAMS)
    assert (mistake.code, mistake.place()[0]) == ("W401", 2)


def test_a_mistake_in_a_default_is_reported_once_at_its_place() -> None:
    text = (
        'defaults { user = "nobody-here" cwd = "/no/where" env = [ A = "%{unset}" ] on_failure = "run missing" }'
        + PROGRAMS
    )
    mistakes = diagnostics_of(text)
    assert sorted((mistake.code, pointed(mistake)) for mistake in mistakes) == [
        ("E301", "missing"),
        ("W402", "%{unset}"),
        ("W406", '"nobody-here"'),
        ("W407", '"/no/where"'),
    ]
    assert {mistake.place()[0] for mistake in mistakes} == {1}
    (doubt,) = (mistake for mistake in mistakes if mistake.code == "W402")
    assert doubt.message == "`defaults` uses option `unset`, which is not declared"


def test_an_own_value_is_checked_although_the_default_is_wrong_too() -> None:
    text = 'defaults { cwd = "/no/where" }\nprogram "p" { argv = ( "/bin/true" ) cwd = "/not/there" }'
    assert sorted(pointed(mistake) for mistake in diagnostics_of(text)) == ['"/no/where"', '"/not/there"']


def test_what_belongs_to_one_program_is_no_default() -> None:
    for option in ('argv = ( "/bin/true" )', "args = any"):
        (mistake,) = diagnostics_of(f"defaults {{ {option} }}")
        assert (mistake.code, mistake.help) == ("E202", "each program and each job has its own")
    (mistake,) = diagnostics_of('defaults "d" { }')
    assert mistake.code == "E207"


@pytest.mark.parametrize("option", ["timeout = 2s", 'on_failure = "run a"'])
def test_an_option_at_top_level_names_defaults(option: str) -> None:
    (mistake,) = diagnostics_of(option)
    assert mistake.is_error
    assert mistake.help == 'move it into `defaults { ... }` or `program "NAME" { ... }`, or choose another name'
