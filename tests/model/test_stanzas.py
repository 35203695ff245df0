"""The meaning of stanza files: options, programs, declared jobs, and the diagnostics for names and values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.model.commands import read_command
from schedappliance.model.configuration import Configuration
from schedappliance.model.loading import load
from schedappliance.model.options import STANZAS
from schedappliance.model.schedules import Every, Once
from tests.support.diagnostics import codes, pointed
from tests.support.memory_files import ROOT, diagnostics_of, held

PROGRAM = 'program "p" { argv = ( "/bin/true" ) %s }'
JOB = 'job "j" { command = "pid" %s }'


def _read(text: str) -> Configuration:
    loaded = load(ROOT, held({"sched.conf": text}))
    assert [d.brief() for d in loaded.diagnostics if d.is_error] == []
    return loaded.configuration


def _mistakes(text: str) -> list[tuple[str, str]]:
    loaded = load(ROOT, held({"sched.conf": text}))
    assert all(mistake.message and mistake.help for mistake in loaded.diagnostics)
    return [(mistake.code, pointed(mistake)) for mistake in loaded.diagnostics]


def test_a_program_has_what_it_declares() -> None:
    program = _read(
        """
        Max_Age = 60
        Program "Tidy Up" {
          ARGV = ( "/bin/true" "--age" "%{max_age}" )
          args = ( "\\d+" "a|b" )
          timeout = 1m  kill_after = 0  cwd = /tmp  output_limit = 1k
          env = [ A = "1" B = "%%{literal" ]
        }
        """
    ).programs["Tidy Up"]
    assert program.argv == ("/bin/true", "--age", "%{max_age}")
    assert (program.timeout_ms, program.kill_after_ms, program.cwd, program.output_limit) == (60_000, 0, "/tmp", 1024)
    assert program.env == (("A", "1"), ("B", "%%{literal"))


def test_a_program_with_only_argv_has_the_defaults() -> None:
    program = _read(PROGRAM % "").programs["p"]
    assert (program.args, program.timeout_ms, program.kill_after_ms) == ((), None, 10_000)
    assert (program.env, program.cwd, program.output_limit) == ((), "/", 65_536)


@pytest.mark.parametrize(
    ("args", "arguments", "fits"),
    [
        ("", [], True),
        ("", ["a"], False),
        ("args = none", ["a"], False),
        ("args = any", ["a", "b"], True),
        ("args = Any", [], True),
        ("args = ( )", [], True),
        (r'args = ( "\d+" )', ["12"], True),
        (r'args = ( "\d+" )', ["12x"], False),
        (r'args = ( "\d+" )', ["12\n"], False),
        (r'args = ( "\d+" )', [], False),
        (r'args = ( "\d+" )', ["1", "2"], False),
        ("args = ( 'a|b' 'c' )", ["b", "c"], True),
        ("args = ( 'a|b' 'c' )", ["ab", "c"], False),
    ],
)
def test_arguments_match_their_patterns_completely(args: str, arguments: list[str], fits: bool) -> None:
    wrong = _read(PROGRAM % args).programs["p"].wrong_arguments(tuple(arguments))
    assert (wrong is None) == fits
    assert wrong is None or "`p`" in wrong.message


def test_a_job_is_recurrent_or_has_one_time() -> None:
    jobs = _read(
        'job "a" { every = 15m offset = 30 command = " run p x " }\n'
        'job "b" { at = 2026-11-22T18:01:00Z command = "pid" enabled = off }\n'
        'program "p" { argv = ( "/bin/true" ) args = any }'
    ).jobs
    assert (jobs["a"].schedule, jobs["a"].enabled) == (Every(900_000, 30_000), True)
    assert (jobs["b"].schedule, jobs["b"].enabled) == (Once(1_795_370_460_000), False)
    assert (jobs["a"].command.text, jobs["a"].command.words) == ("run p x", ("p", "x"))
    assert jobs["b"].place == f"{ROOT}:2"


def test_global_options_keep_their_spelling_and_ignore_case() -> None:
    options = _read("Message_Expiration = 86400\nLOG-Level = 'a b'").options
    assert options["message_expiration"].name == "Message_Expiration"
    assert options["log-level"].value == "a b"


def test_a_relative_backing_store_starts_at_its_file_and_sched_stanzas_merge() -> None:
    assert _read('sched { backing_store = "../var/s.db" }').backing_store == Path("/nowhere/var/s.db")
    assert _read("sched { }\nSched < backing_store = /s.db >\nsched { }").backing_store == Path("/s.db")
    assert _read("x = 1").backing_store is None


def test_names_of_programs_keep_their_case() -> None:
    assert set(_read("program A { argv = ( /bin/true ) }\nprogram a { argv = ( /bin/true ) }").programs) == {"A", "a"}


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("schedd { }", "E201", "schedd"),
        ("sched { sched { } }", "E201", "sched"),
        ("sched { backing_stor = x }", "E202", "backing_stor"),
        (PROGRAM % "timeot = 5", "E202", "timeot"),
        ("sched { backing_store = ( x ) }", "E203", "( x )"),
        ('sched { backing_store = "" }', "E203", '""'),
        (PROGRAM % "timeout = soon", "E203", "soon"),
        (PROGRAM % "timeout = 0", "E204", "0"),
        (PROGRAM % "timeout = -5", "E204", "-5"),
        (PROGRAM % "timeout = ( 5 )", "E203", "( 5 )"),
        (PROGRAM % "cwd = tmp", "E203", "tmp"),
        (PROGRAM % "output_limit = 1t", "E203", "1t"),
        (PROGRAM % "output_limit = 17m", "E204", "17m"),
        (PROGRAM % "output_limit = 1g", "E204", "1g"),
        (PROGRAM % "nice = low", "E203", "low"),
        (PROGRAM % "nice = 20", "E204", "20"),
        (PROGRAM % "ionice = 8", "E203", "8"),
        (PROGRAM % "ionice = realtime", "E203", "realtime"),
        (PROGRAM % "limits = 5", "E203", "5"),
        (PROGRAM % "limits = [ nofiles = 5 ]", "E202", "nofiles"),
        (PROGRAM % "limits = [ nofile = 3 ]", "E204", "3"),
        (PROGRAM % "limits = [ memory = 512 ]", "E204", "512"),
        (PROGRAM % "limits = [ memory = ( 1g 2g ) ]", "E203", "( 1g 2g )"),
        (PROGRAM % "limits = [ cpu = 0 ]", "E204", "0"),
        (PROGRAM % "args = some", "E203", "some"),
        (PROGRAM % 'args = ( "a" "(" )', "E203", '"("'),
        (PROGRAM % "env = x", "E203", "x"),
        (PROGRAM % "env = [ A-B = x ]", "E208", "A-B"),
        (PROGRAM % "env = [ SCHED_X = x ]", "E208", "SCHED_X"),
        (PROGRAM % "env = [ A = ( x ) ]", "E203", "( x )"),
        (PROGRAM % 'env = [ A = "x%{}y" ]', "E208", "%{}"),
        ('program "p" { argv = ( "/bin/true" "a\\"%{ b" ) }', "E208", "%{"),
        ("program p { argv = /bin/true }", "E203", "/bin/true"),
        ("program p { argv = ( ) }", "E203", "( )"),
        ("program p { argv = ( true ) }", "E203", "true"),
        ("program p { }", "E205", "program p"),
        ("program { argv = ( /bin/true ) }", "E207", "program"),
        ("sched x { }", "E207", "x"),
        ('program "" { argv = ( /bin/true ) }', "E208", '""'),
        ('program "a\tb" { argv = ( /bin/true ) }', "E208", '"a\tb"'),
        (f"program {'x' * 201} {{ argv = ( /bin/true ) }}", "E208", "x" * 201),
        ("9x = 1", "E208", "9x"),
        ("a.b = 1", "E208", "a.b"),
        ("x = ( 1 2 )", "E203", "( 1 2 )"),
        ("x = [ k = v ]", "E203", "[ k = v ]"),
        ("job j { every = 5 }", "E205", "job j"),
        (JOB % "", "E205", 'job "j"'),
        (JOB % "in = 5", "E202", "in"),
        (JOB % "evry = 5", "E202", "evry"),
        ("program p { command = ( /bin/true ) }", "E202", "command"),
        (JOB % "every = 5 at = 7", "E211", 'job "j"'),
        (JOB % "at = 7 offset = 5", "E211", "offset = 5"),
        (JOB % "every = 0.5", "E204", "0.5"),
        (JOB % "at = tomorrow", "E203", "tomorrow"),
        (JOB % "every = 5 enabled = maybe", "E203", "maybe"),
        ('job j { every = 5 command = "frobnicate" }', "E110", "frobnicate"),
        ('job j { every = 5 command = "sched in \\"x\\" pid" }', "E203", '\\"x\\"'),
        ('job j { every = 5 command = "pid\npid" }', "E106", "\n"),
        ('job j { every = 5 command = "run q" }', "E301", "q"),
        ("x = 1\nX = 2", "W401", "X"),
        (PROGRAM % "timeout = 5 Timeout = 6", "W401", "Timeout"),
        ("sched { backing_store = a }\nsched { backing_store = b }", "W401", "backing_store"),
        ('program p { argv = ( /bin/true "%{nowhere}" ) }', "W402", "%{nowhere}"),
        ("program p { argv = ( /nowhere/x ) }", "W403", "/nowhere/x"),
        (PROGRAM % "user = no-such-user", "W406", "no-such-user"),
        (PROGRAM % 'group = "no such group"', "W406", '"no such group"'),
        (PROGRAM % "user = 4000000000", "W406", "4000000000"),
        (PROGRAM % "cwd = /nowhere", "W407", "/nowhere"),
        (PROGRAM % "user = a:b", "E203", "a:b"),
        (PROGRAM % 'group = ""', "E203", '""'),
        (PROGRAM % "user = ( root )", "E203", "( root )"),
        (PROGRAM % "group = 4294967295", "E204", "4294967295"),
        ('job j { at = 7 command = "quit" }', "E303", "quit"),
        ('job j { every = 60 command = "shutdown" }', "E303", "shutdown"),
        ('job j { every = 60 command = "sched every 60 pid" }', "E303", "sched every 60"),
        ('job j { every = 60 command = "sched in 5 shutdown" }', "E303", "shutdown"),
    ],
)
def test_a_mistake_is_reported_once_at_its_place(text: str, code: str, place: str) -> None:
    assert _mistakes(text) == [(code, place)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('program p { argv = ( "/bin/true" "%{nowhere}" ) }', "W402"),
        ("program p { argv = ( /bin/true ) env = [ A = '%{nowhere}' ] }", "W402"),
        ("program p { argv = ( /nowhere/x ) }", "W403"),
        (
            "program p { argv = ( /etc ) }",
            "W403",
        ),
        ("program p { argv = ( /etc/passwd ) }", "W403"),
        (PROGRAM % "user = no-such-user", "W406"),
        (PROGRAM % "cwd = /nowhere", "W407"),
        (PROGRAM % "cwd = /etc/passwd", "W407"),
        (PROGRAM % "cwd = /etc/passwd/x", "W407"),
    ],
)
def test_a_doubt_about_a_program_is_a_warning(text: str, code: str) -> None:
    loaded = load(ROOT, held({"sched.conf": text}))
    assert (codes(loaded.diagnostics), loaded.accepted) == ([code], True)


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/passwd/x"])
def test_a_file_in_place_of_a_directory_is_named(path: str) -> None:
    (doubt,) = load(ROOT, held({"sched.conf": PROGRAM % f"cwd = {path}"})).diagnostics
    assert (doubt.message, doubt.help) == (
        "/etc/passwd is not a directory",
        "correct the path; runs of the program will fail",
    )


def test_a_store_in_the_home_directory_is_named_by_its_whole_path() -> None:
    (mistake,) = load(ROOT, held({"sched.conf": 'sched { backing_store = "~/sched.db" }'})).diagnostics
    assert (mistake.code, mistake.help) == ("E203", "write the whole path")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("", (None, None)),
        ("user = root group = root", ("root", "root")),
        ("user = 0", ("0", None)),
        ("user = 4000000000 group = 007", ("4000000000", "7")),
        ("group = 4294967294", (None, "4294967294")),
    ],
)
def test_a_user_and_a_group_are_names_or_numbers(body: str, wanted: tuple[str | None, str | None]) -> None:
    loaded = load(ROOT, held({"sched.conf": PROGRAM % body}))
    assert loaded.diagnostics == []
    program = loaded.configuration.programs["p"]
    assert (program.user, program.group) == wanted


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('days d { dates = ( "2026-13-01" Sat "2026-02-30" xx ) }', ["13", '"2026-02-30"', "xx"]),
        (JOB % 'cron = ( "99 * * * *" "* * * * *" "* 99 * * *" )', ["99", "99"]),
        (JOB % 'calendar = ( "25:00" "08:61" )', ["25", "61"]),
        (JOB % 'every = 60 within = ( aa "25:00..26:00" )', ["aa", "25"]),
        (JOB % 'cron = "* * * * *" nth = ( 40 1 x )', ["40", "x"]),
        (JOB % 'cron = "* * * * *" only = ( "" "" )', ['""', '""']),
        ('program p { argv = ( "true" "%{" "a" "%{ }" ) }', ['"true"', "%{", "%{ }"]),
        (PROGRAM % 'args = ( "(" "a" "[" )', ['"("', '"["']),
        (PROGRAM % "env = [ 1A = '%{' SCHED_X = y B = ( z ) C = c ]", ["1A", "%{", "SCHED_X", "( z )"]),
        (PROGRAM % "pass_env = ( 1A HOME SCHED_X )", ["1A", "SCHED_X"]),
        (PROGRAM % "success = ( 300 0 x )", ["300", "x"]),
        (PROGRAM % "limits = [ foo = 1 nofile = x cpu = ( 1 2 ) core = 0 ]", ["foo", "x", "( 1 2 )"]),
        (
            'notify n { when = ( bogus failed bogus2 ) jobs = ( "(" "[" ) command = "pid" }',
            ["bogus", "bogus2", '"("', '"["', '"pid"'],
        ),
        (
            'Authorization { delegates = ( a:b c:d ) Role r { users = ( root e:f "" ) allow = ( "(" "[" ) } }',
            ["a:b", "c:d", "e:f", '""', '"("', '"["'],
        ),
    ],
)
def test_every_mistake_of_a_list_or_a_dictionary_is_reported_at_its_place(text: str, places: list[str]) -> None:
    assert [pointed(one) for one in diagnostics_of(text) if one.is_error] == places


def test_a_list_that_is_too_long_has_its_other_mistakes_too() -> None:
    text = JOB % f"cron = ( '99 * * * *' {' '.join(['@daily'] * 15)} @hourly )"
    assert [(one.code, pointed(one)) for one in diagnostics_of(text)] == [("E212", "99"), ("E204", "@hourly")]


@pytest.mark.parametrize("option", ["cron = ( 30 2 * * MON-FRI )", "calendar = ( 02:30 Europe/Berlin )"])
def test_an_expression_without_quotes_in_a_list_is_one_mistake(option: str) -> None:
    (mistake,) = diagnostics_of(JOB % option)
    words = option.partition("( ")[2].removesuffix(" )")
    assert (mistake.code, mistake.help, pointed(mistake)) == ("E212", f'write `( "{words}" )`', words)


_DATES = " ".join(f"{2000 + year}-13-01" for year in range(8000))
_AFTER = "; not checked yet: %s after this one"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (f"days d {{ dates = ( {_DATES} ) }}", "7,950 items"),
        (PROGRAM % "success = ( %s )" % " ".join(["x"] * 51), "1 item"),
        (PROGRAM % "success = ( %s )" % " ".join(["x"] * 50), ""),
        (PROGRAM % "env = [ %s ]" % " ".join(f"{number} = '%{{'" for number in range(10_000)), "9,975 items"),
    ],
)
def test_of_a_list_fifty_mistakes_are_shown_and_the_items_after_them_counted(text: str, note: str) -> None:
    *others, last = diagnostics_of(text)
    assert (len(others), any("not checked" in one.help for one in others)) == (49, False)
    assert last.help.endswith(_AFTER % note) if note else "not checked" not in last.help


def test_five_mistakes_in_a_file_get_five_diagnostics() -> None:
    text = "schedd { }\n9x = 1\nprogram { }\nsched { a = 1 }\n" + JOB % "every = x"
    assert codes(diagnostics_of(text)) == ["E201", "E208", "E207", "E203", "E202"]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("progam x { }", "did you mean `program`?"),
        ("frobnicate { }", "known stanzas: sched, program, job, days, notify, defaults, authorization"),
        ("sched { backing-store = x }", "did you mean `backing_store`?"),
        (PROGRAM % "TimeOut_ = 5", "did you mean `timeout`?"),
        ('program hello { argv = ( /bin/true ) } job j { at = 7 command = "run helo" }', "did you mean `hello`?"),
        ("Max_Age = 1 program p { argv = ( /bin/true '%{maxage}' ) }", "did you mean `Max_Age`?"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(text: str, remedy: str) -> None:
    (mistake,) = diagnostics_of(text)
    assert mistake.help == remedy


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ("at = '08:00' collect = 1h", 'E211 notify "n" has both `at` and `collect`; remove one'),
        (
            "at = ( '08:00' '08:00 Europa/Berlin' )",
            "E213 unknown time zone `Europa/Berlin`; did you mean `Europe/Berlin`?",
        ),
        ("at = '*-02-30'", "E214 never due: no February has such a day; "),
        ("at = often", "E212 "),
    ],
)
def test_a_mistake_in_the_time_of_a_digest_is_shown(options: str, mistake: str) -> None:
    program = "program p { argv = ( /bin/true ) timeout = 1m }"
    (found,) = diagnostics_of(f"{program} notify n {{ command = 'run p' {options} }}")
    assert mistake in found.brief()


@pytest.mark.parametrize("kind", ["program", "job"])
def test_a_duplicate_name_is_shown_with_both_places(kind: str) -> None:
    body = "argv = ( /bin/true )" if kind == "program" else "every = 5 command = pid"
    loaded = load(ROOT, held({"sched.conf": f"{kind} x {{ {body} }}\n{kind} x {{ {body} }}\n"}))
    (mistake,) = loaded.diagnostics
    assert (mistake.code, mistake.place()[0]) == ("E206", 2)
    assert mistake.source.position(mistake.related[0].span.start)[0] == 1


def test_a_duplicate_option_is_a_warning_and_the_last_one_counts() -> None:
    loaded = load(ROOT, held({"sched.conf": "a = 1\nA = 2\n" + PROGRAM % "timeout = 5 timeout = 6"}))
    assert loaded.accepted
    assert loaded.configuration.options["a"].value == "2"
    assert loaded.configuration.programs["p"].timeout_ms == 6_000


def test_a_size_out_of_range_is_shown_as_written() -> None:
    (mistake,) = load(ROOT, held({"sched.conf": PROGRAM % "output_limit = 17m"})).diagnostics
    assert "17m" in mistake.message


def test_duplicate_jobs_are_reported_even_if_the_first_is_invalid() -> None:
    text = 'job x { every = soon command = "pid" }\n' + 'job x { every = 60 command = "pid" }\n'
    assert codes(diagnostics_of(text)) == ["E203", "E206"]


def test_every_option_of_the_tables_has_help() -> None:
    for spec in STANZAS.values():
        for one in (spec, *spec.stanzas.values()):
            assert one.help and all(option.help for option in one.options.values())


keys = st.sampled_from([name for spec in STANZAS.values() for name in spec.options] + ["x", "sched", "9", "allow"])
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
shapes = values | values.map("( {} )".format) | values.map("[ k = {} ]".format) | values.map("[ {} = v ]".format)
options = st.builds("{} = {}".format, keys, shapes)
heads = st.sampled_from(["sched", "program p", "job j", "program", 'job ""', "x", "Authorization"])


roles = st.builds(lambda body: f"Role r {{ {' '.join(body)} }}", st.lists(options, max_size=4))
held_ones = st.lists(options | roles, max_size=4)
stanzas = st.builds(lambda head, body: f"{head} {{ {' '.join(body)} }}", heads, held_ones)


@pytest.mark.slow
@given(st.lists(options | stanzas, min_size=1))
def test_no_value_of_any_option_raises_and_every_mistake_has_a_place(statements: list[str]) -> None:
    loaded = load(ROOT, held({"sched.conf": "\n".join(statements)}))
    for mistake in loaded.diagnostics:
        assert mistake.span is not None
        assert 0 <= mistake.span.start <= mistake.span.end <= len(mistake.source.text)
        assert mistake.code[:2] != "E1" or mistake.code in ("E103", "E106", "E109", "E110", "E101", "E108")


def test_on_failure_holds_the_command_that_follows_a_failure() -> None:
    program = _read(PROGRAM % "on_failure = 'sched in 5 run p'").programs["p"]
    assert program.on_failure is not None
    assert program.on_failure.command == read_command("sched in 5 run p").command
    assert _read(PROGRAM % "").programs["p"].on_failure is None


@pytest.mark.parametrize(
    ("command", "code", "place"),
    [
        ("'run q'", "E301", "q"),
        ('"sched in 5 run \\"q r\\""', "E301", '\\"q r\\"'),
        ("'run p x'", "E302", "x"),
        ("'config set nowhere 1'", "W402", "nowhere"),
        ("quit", "E303", "quit"),
        ("'sched in 5 json quit'", "E303", "quit"),
        ("'sched every 60 run p'", "E303", "sched every 60"),
        ("'json sched in 5 sched every 60 run p'", "E303", "sched every 60"),
        ("'rnu p'", "E110", "rnu"),
        ("'sched in soon run p'", "E203", "soon"),
        ("'sched in'", "E109", "'"),
        ("''", "E109", "'"),
        ("( 'run p' )", "E203", "( 'run p' )"),
    ],
)
def test_a_mistake_in_on_failure_is_reported_at_its_place_in_the_string(command: str, code: str, place: str) -> None:
    assert _mistakes(PROGRAM % f"on_failure = {command}") == [(code, place)]


def test_a_mistake_in_the_command_of_a_job_is_reported_once() -> None:
    assert _mistakes("job j { every = 60 command = 'sched in 5 quit' }") == [("E303", "quit")]
    assert _mistakes("job j { every = 60 command = 'sched in x sched every 60 pid' }") == [
        ("E203", "x"),
        ("E303", "sched every 60"),
    ]


@pytest.mark.parametrize("command", ["shutdown", "'config reload'", "'sched in 5 run p'", "'json run p'"])
def test_on_failure_accepts_every_command_that_can_be_scheduled_once(command: str) -> None:
    assert _mistakes(PROGRAM % f"on_failure = {command}") == []


@pytest.mark.parametrize("argv", ['"/bin/true -x"', '( "/bin/true -x" )'])
def test_the_remedy_for_a_command_line_in_argv_splits_its_words(argv: str) -> None:
    (diagnostic,) = load(ROOT, held({"sched.conf": f"program p {{ argv = {argv} }}"})).diagnostics
    assert '( "/bin/true" "-x" )' in diagnostic.help
