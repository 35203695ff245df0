"""Single lines of crontabs: what becomes of users, variables, `%`, names, directories and delays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import Source
from schedappliance.importing import stanzas
from schedappliance.importing.crontab import Form, import_crontab, is_anacrontab
from schedappliance.importing.stanzas import Entry, Imported, Job, Wishes, give_unique_names, written
from schedappliance.model.templates import expand
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.tree import ListValue, Option, Scalar, Stanza
from tests.support.imports import EXPRESSIONS, HOMES, accepted_by_cron, importer


def imported(text: str, form: Form = Form.SYSTEM, user: str | None = None) -> Imported:
    return import_crontab(Source("tab", text), [], form, Wishes("local", user, HOMES.get), EXPRESSIONS)


def entry_of(text: str, form: Form = Form.SYSTEM, user: str | None = None) -> Entry:
    """The only entry of a crontab."""
    (entry,) = imported(text, form, user).entries
    return entry


def job_of(text: str, form: Form = Form.SYSTEM, user: str | None = None) -> Job:
    entry = entry_of(text, form, user)
    assert entry.failure == ""
    (job,) = entry.jobs
    return job


def options_of(line: str, form: Form = Form.SYSTEM, user: str | None = None) -> dict[str, str]:
    return job_of(line, form, user).options


def received(command: str) -> tuple[list[str], str]:
    """The arguments and the standard input of a program that a line with this command starts, read from the stanza."""
    crontab = imported(f"* * * * * {command}", Form.USER)
    give_unique_names([crontab])
    statements, diagnostics = parse_stanzas(Source("stanzas", written([crontab])))
    assert diagnostics == []
    (stanza,) = statements
    assert isinstance(stanza, Stanza)
    values = {option.key.value: option.value for option in stanza.body if isinstance(option, Option)}
    argv, stdin = values["argv"], values.get("stdin")
    assert isinstance(argv, ListValue)
    assert stdin is None or isinstance(stdin, Scalar)
    # No option is set, so each reference that was not written for itself would fail.
    return [expand(item.value, lambda _: None) for item in argv.items], expand(
        stdin.value, lambda _: None
    ) if stdin else ""


def given_by_cron(command: str) -> tuple[str, str]:
    """What Debian's cron gives to the shell and to its standard input, character by character."""
    line, index, escaped, output = command, 0, False, ""
    while index < len(line):
        character = line[index]
        index += 1
        if escaped:
            output = output[:-1] + character if character in "%\\" else output + character
            escaped = False
            continue
        if character == "\\":
            escaped = True
        elif character == "%":
            break
        output += character
    else:
        return output, ""
    stdin, escaped, needs_newline = "", False, False
    for character in line[index:]:
        sent = character
        if escaped:
            stdin += "" if character == "%" else "\\"
        elif character == "%":
            sent = "\n"
        escaped = sent == "\\"
        if not escaped:
            stdin += sent
            needs_newline = sent != "\n"
    stdin += "\\" if escaped else ""
    return output, stdin + ("\n" if needs_newline or escaped else "")


@given(st.text(st.sampled_from("ab %\\\"'{}$()=,#<>`\tä"), min_size=1, max_size=30))
def test_a_shell_receives_what_cron_gives_it(text: str) -> None:
    command = f"./{text}".rstrip()
    argv, stdin = received(command)
    assert (argv[:2], argv[2], stdin) == (["/bin/sh", "-c"], *given_by_cron(command))


@pytest.mark.parametrize(
    ("command", "text", "stdin", "is_noted"),
    [
        (r"/bin/echo 'a\\b' > /x", r"/bin/echo 'a\b' > /x", "", True),
        (r"a\b", r"a\b", "", False),
        (r"a\\\b", r"a\\b", "", True),
        (r"a\\\\b", r"a\\b", "", True),
        (r"a\%b", "a%b", "", False),
        (r"a\\%b", "a\\", "b\n", True),
        (r"a\\\%b", r"a\%b", "", True),
        (r"a%b\\c\%d\\%e", "a", "b\\\\c%d\\%e\n", False),
        ("a\\", "a\\", "", False),
        ("a\\\\", "a\\", "", True),
    ],
)
def test_two_backslashes_of_a_command_are_one_for_debians_cron(
    command: str, text: str, stdin: str, is_noted: bool
) -> None:
    """What a recording shell got from the cron of Debian 12. A note says that cronie keeps both."""
    assert received(command) == (["/bin/sh", "-c", text], stdin)
    notes = [note for note in entry_of(f"* * * * * {command}", Form.USER).notes if "cronie gives both" in note]
    assert len(notes) == is_noted


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("/bin/true", ["/bin/true"]),
        ("/bin/true \t", ["/bin/true"]),
        ("/opt/x --date=\\%F 'a b'  \"c d\"", ["/opt/x", "--date=%F", "a b", "c d"]),
        ("/opt/x 100\\%{a}", ["/bin/sh", "-c", "/opt/x 100%{a}"]),
        ("/opt/x a\\%'{b}'", ["/opt/x", "a%{b}"]),
        ("/opt/x *.gz", ["/bin/sh", "-c", "/opt/x *.gz"]),
        ("/opt/x ~/a", ["/bin/sh", "-c", "/opt/x ~/a"]),
        ('/opt/x "$HOME"', ["/bin/sh", "-c", '/opt/x "$HOME"']),
        ("/opt/x > /dev/null", ["/bin/sh", "-c", "/opt/x > /dev/null"]),
        ("/opt/x # nothing", ["/bin/sh", "-c", "/opt/x # nothing"]),
        ("true", ["/bin/sh", "-c", "true"]),
    ],
)
def test_only_plain_words_go_without_a_shell(command: str, argv: list[str]) -> None:
    assert received(command) == (argv, "")


PIECES = [
    "0",
    "*",
    "*/5",
    "1-5",
    "@daily",
    "@reboot",
    "root",
    "/bin/a",
    "a=b",
    "=",
    "%",
    "\\%",
    "'",
    '"',
    "#",
    "~",
    "\t",
    " ",
]
PIECES += [
    "SHELL=",
    "HOME=/",
    "CRON_TZ=x",
    "MAILTO=",
    "RANDOM_DELAY=5",
    "START_HOURS_RANGE=3-22",
    "\n",
    "\r",
    "$(",
    ")",
    "ä",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join), st.sampled_from(Form))
def test_every_text_becomes_stanzas_and_reasons(text: str, form: Form) -> None:
    crontab = imported(text, form)
    give_unique_names([crontab])
    assert parse_stanzas(Source("stanzas", written([crontab])))[1] == []
    assert all(bool(entry.jobs) != bool(entry.failure) for entry in crontab.entries)


def test_a_line_of_a_system_crontab_runs_as_its_user_in_his_home() -> None:
    options = options_of("17 *\t* * *\troot\tcd / && run-parts /etc/cron.hourly")
    assert options == {
        "cron": '"17 * * * *"',
        "zone": "local",
        "catch_up": "none",
        "user": "root",
        "cwd": '"/root"',
        "argv": '( "/bin/sh" "-c" "cd / && run-parts /etc/cron.hourly" )',
    }


def test_a_home_that_is_not_known_is_said() -> None:
    entry = entry_of("@daily nosuch /bin/true")
    assert "cwd" not in entry.jobs[0].options
    assert "home directory of `nosuch`, which is not known; here it starts" in entry.notes[0]


def test_a_home_that_does_not_exist_is_replaced() -> None:
    wishes = Wishes("local", None, HOMES.get, lambda path: path != "/root")
    source = Source("tab", "@reboot root /bin/sleep 20")
    (entry,) = import_crontab(source, [], Form.SYSTEM, wishes, EXPRESSIONS).entries
    assert entry.jobs[0].options["cwd"] == '"/"'
    assert entry.notes == ["cron starts it in `/root`, which is not a directory of this machine; here it starts in `/`"]


def test_a_user_before_the_command_of_a_user_crontab_is_noted() -> None:
    note = "`root` is a user: if the file has a user column, use `import cron.d`"
    assert entry_of("* * * * * root /bin/true", Form.USER).notes == [note]
    assert note not in entry_of("* * * * * root true", Form.USER).notes
    assert note not in entry_of("* * * * * nosuch /bin/true", Form.USER).notes


def test_a_user_may_have_a_group() -> None:
    options = options_of("@daily root:adm /bin/true")
    assert (options["user"], options["group"]) == ("root", "adm")


@pytest.mark.parametrize(
    ("assignment", "environment"),
    [
        ("A=b", '[ A = "b" ]'),
        ('A = "b  c" ', '[ A = "b  c" ]'),
        ("'A'='%{b}'", '[ A = "%%{b}" ]'),
        ('A="b  "', '[ A = "b" ]'),
        ("A= '\tb\t' ", '[ A = "\tb" ]'),
        ('A=" "', '[ A = "" ]'),
        ('A="', None),
        ('A="b', None),
        ("A='b\"", None),
        ('A="b" # c', None),
        ("A='b'c'", None),
        ('A=b"', '[ A = "b\\"" ]'),
        ('A=b "c"', '[ A = "b \\"c\\"" ]'),
        ("A=", '[ A = "" ]'),
        ("A=b  # no comment", '[ A = "b  # no comment" ]'),
        ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", None),
        ("HOME=/root", None),
        ("HOME=/srv", '[ HOME = "/srv" ]'),
        ("MAILTO=root", None),
        ("LOGNAME=x", None),
    ],
)
def test_a_variable_is_one_of_the_programs_below_it(assignment: str, environment: str | None) -> None:
    above, *rejected, below = imported(f"@daily root a\n{assignment}\n@daily root a\n").entries
    assert all("neither a job nor an assignment; the line of a value" in entry.failure for entry in rejected)
    assert above.jobs[0].variables == {"SHELL": "/bin/sh"}
    variables = {name: value for name, value in below.jobs[0].variables.items() if name != "SHELL"}
    assert (stanzas.environment(variables) if variables else None) == environment


@pytest.mark.parametrize("value", ['"b  "', "'b' # c", "  b\t", "", "'b", '"'])
def test_a_value_of_an_anacrontab_is_all_that_follows_the_equals_sign(value: str) -> None:
    crontab = imported(f"A={value}\n1 5 a x\n", Form.ANACRON)
    assert crontab.entries[0].jobs[0].variables == {"SHELL": "/bin/sh", "A": value}
    assert crontab.notes == []


def test_a_variable_of_cron_is_given_to_a_command_that_names_it() -> None:
    assert job_of("MAILTO=ops\nMAILFROM=x\n@daily root date | mail $MAILTO").variables == {
        "SHELL": "/bin/sh",
        "MAILTO": "ops",
    }


def test_variables_that_all_jobs_share_can_be_written_once() -> None:
    crontab = imported("A=a\nB=b\n@daily root x\nC=c\nB=d\n@daily root y\n")
    common = stanzas.take_common_variables([crontab])
    assert common == {"SHELL": "/bin/sh", "A": "a"}
    assert [job.variables for entry in crontab.entries for job in entry.jobs] == [{"B": "b"}, {"B": "d", "C": "c"}]
    assert '\ndefaults {\n  env = [ SHELL = "/bin/sh" A = "a" ]\n}\n' in written([crontab], common)


def test_anacron_takes_no_other_shell() -> None:
    job = job_of("SHELL=/bin/bash\n1 5 a x", Form.ANACRON)
    assert (job.options["argv"], job.variables) == ('( "/bin/sh" "-c" "x" )', {"SHELL": "/bin/bash"})


@pytest.mark.parametrize(("length", "is_noted"), [(998, False), (999, True)])
def test_what_is_too_long_for_debians_cron_has_a_note(length: int, is_noted: bool) -> None:
    note = "Debian's cron rejects a command of more than 998 bytes, and with it the whole file"
    assert entry_of(f"@daily root {'a' * length}").notes == [note] * is_noted
    notes = imported(f"A={'a' * (length - 2)}\n@daily root a\n").notes
    assert notes == ["tab:1: Debian's cron reads only 998 bytes of `A=…`"] * is_noted


def test_a_home_is_where_a_program_starts() -> None:
    assert options_of("HOME=/srv\n@daily root a")["cwd"] == '"/srv"'


def test_a_program_gets_the_shell_that_cron_gives_it() -> None:
    """Its own would be the login shell of the user: each run of `flock -c` as www-data failed with nologin."""
    assert job_of("* * * * * www-data /usr/bin/flock -n /x -c a").variables == {"SHELL": "/bin/sh"}
    assert job_of("SHELL=/bin/bash\n@daily root a").variables == {"SHELL": "/bin/bash"}
    assert job_of("1 5 a x", Form.ANACRON).variables == {"SHELL": "/bin/sh"}


def test_a_shell_runs_the_command() -> None:
    assert options_of("SHELL=/bin/bash\n@daily root a")["argv"] == '( "/bin/bash" "-c" "a" )'
    # A shell of another kind may read plain words in another way.
    assert options_of("SHELL=/usr/bin/fish\n@daily root /a b")["argv"] == '( "/usr/bin/fish" "-c" "/a b" )'


@pytest.mark.parametrize(
    ("assignment", "note"),
    [
        ("MAILTO=ops", "nothing is mailed"),
        ('MAILTO=""', ""),
        ("MAILTO=", "Debian's cron rejects `MAILTO=`"),
        ("CRON_TZ=", 'Debian\'s cron rejects `CRON_TZ=`, and with it the whole file; write `CRON_TZ=""`'),
        ('A="b "', "cronie keeps them"),
        ("A='b\t'", "cronie keeps them"),
        ('A=" b"', ""),
        ("A=b ", ""),
        ("LOGNAME=x", "always the user"),
        ("PATH=$HOME/bin:/bin", "neither cron nor the appliance"),
        ("SCHED_A=b", "is left out"),
        ("A.B=c", "is left out"),
        ("LANG=C", ""),
    ],
)
def test_an_assignment_that_is_not_the_same_has_a_note(assignment: str, note: str) -> None:
    notes = imported(f"{assignment}\n@daily root a\n").notes
    assert len(notes) == bool(note)
    assert all(note in text and text.startswith("tab:1: ") for text in notes)


def test_a_job_below_a_zone_or_a_random_delay_has_a_note() -> None:
    crontab = imported("CRON_TZ=''\n@daily root a\nCRON_TZ=UTC\n@daily root a\nRANDOM_DELAY=5\n@daily root a\n")
    zone, delay = "`zone` is that of CRON_TZ", "`spread` stays the same"
    assert crontab.notes == []
    for entry, notes in zip(crontab.entries, [[], [zone], [zone, delay]], strict=True):
        assert [note.startswith(start) for note, start in zip(entry.notes, notes, strict=True)] == [True] * len(notes)


def test_a_zone_of_cron_is_that_of_the_jobs_below_it() -> None:
    entries = imported("@daily root a\nCRON_TZ=Asia/Tokyo\n@daily root a\nCRON_TZ=UTC\n@daily root a\n").entries
    assert [entry.jobs[0].options["zone"] for entry in entries] == ["local", '"Asia/Tokyo"', "UTC"]


@pytest.mark.parametrize(
    ("line", "schedule"),
    [
        ("@reboot root a", {"at": "boot"}),
        ("@Daily root a", {"cron": '"@Daily"', "zone": "local", "catch_up": "none"}),
        ("@every_minute root a", {"cron": '"* * * * *"', "zone": "local", "catch_up": "none"}),
        ("@600 root a", {"every": "10m", "catch_up": "none"}),
        ("-*/15 * * * * root a", {"cron": '"*/15 * * * *"', "zone": "local", "catch_up": "none"}),
        (
            "RANDOM_DELAY=90\n@daily root a",
            {"cron": '"@daily"', "zone": "local", "catch_up": "none", "spread": "1h30m"},
        ),
    ],
)
def test_a_schedule_is_written_as_an_option(line: str, schedule: dict[str, str]) -> None:
    options = options_of(line)
    assert {name: options[name] for name in options if name not in ("user", "cwd", "argv")} == schedule


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("60 * * * * root a", "column 1: minute 60"),
        ("0  25   * * * root a", "column 4: hour 25"),
        (" 0\t0 *  13 * root a", "column 9: month 13"),
        ("0 0 * * 1-8 root a", "column 11: "),
        ("0 0 30 2 * root a", "never due: "),
        ("CRON_TZ=Asia/Tokio\n@daily root a", "CRON_TZ: unknown time zone `Asia/Tokio`; did you mean `Asia/Tokyo`?"),
        ("@noon root a", "unknown nickname `@noon`"),
        ("@0 root a", "unknown nickname `@0`"),
        ("0 0 * * *", "nothing follows `0 0 * * *`; a job has five fields, a user and a command"),
        ("* * * * root", "nothing follows `* * * * root`"),
        ("0 0 * * * root", "has no command"),
        ("0 0 * * * root %only input", "has no command"),
        ("0 0 * * * /bin/true -x", "is not the name of a user"),
        ("some text", "is neither a job nor an assignment"),
    ],
)
def test_a_line_that_is_not_possible_has_a_reason_and_stays_as_a_comment(line: str, failure: str) -> None:
    crontab = imported(line)
    assert failure in crontab.entries[0].failure
    assert crontab.entries[0].jobs == []
    (comment,) = crontab.entries[0].comments
    assert comment == line.splitlines()[-1].strip()


@pytest.mark.parametrize(
    "command",
    ["tar $(date +%F) x", 'echo "100% sure"', "x `date +%F`", "date +%F", "date '+%F'", "wget -q http://a/?x=1%202"],
)
def test_a_percent_sign_that_was_probably_not_meant_has_a_note(command: str) -> None:
    entry = entry_of(f"@daily root {command}")
    assert "this was probably not meant" in entry.notes[0]
    assert "stdin" in entry.jobs[0].options


def test_a_percent_sign_that_begins_standard_input_has_no_note() -> None:
    assert entry_of("@daily root mail -s 'Hi' bob%Hello%there").notes == []
    assert entry_of("@daily root wget -q -i - http://a/%http://b").notes == []


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ("0 0 * * MON#1", "`MON#1`: Debian's cron ignores `#` and what follows it, and starts the job each week"),
        ("0 0 * * 5#2", "`5#2`: Debian's cron ignores `#`"),
        ("0 0 L * *", "Debian's cron rejects `L`"),
        ("0 0 * * 1,5L", "Debian's cron rejects `1,5L`"),
        ("0 0 15W * *", "Debian's cron rejects `15W`"),
        ("0 0 ? * 1", "Debian's cron rejects `?`"),
        ("0 0 1 * +5", "Debian's cron rejects `+5`"),
        ("5/10 0 * * *", "Debian's cron rejects `5/10`"),
        ("-0 0 * * *", "Debian's cron rejects a line that begins with `-`"),
        ("@Daily", "Debian's cron rejects `@Daily`"),
        ("@every_minute", "Debian's cron rejects `@every_minute`"),
        ("* * * * mon-sun", "`mon-sun`: for Debian's cron this range ends before it begins and holds no day"),
        ("* * * * 3,SAT-Sun/2", "`SAT-Sun/2`: for Debian's cron this range ends before it begins"),
        ("* * * * 5-sun", "`5-sun`: for Debian's cron this range ends before it begins"),
        ("@daily", ""),
        ("0,*/20 1-6/2 1,2-3 jan-mAr mon,Fri", ""),
    ],
)
def test_what_debians_cron_reads_otherwise_has_a_note(fields: str, note: str, tmp_path: Path) -> None:
    notes = entry_of(f"{fields} root /bin/true").notes
    assert len(notes) == bool(note)
    assert all(text.startswith(note) for text in notes)
    if shutil.which("crontab"):
        assert accepted_by_cron(fields, tmp_path / "crontab") != ("rejects" in note)


def test_comments_directly_above_a_job_are_kept() -> None:
    first, second = imported("# far away\n\n# one\n# two\n@daily root a\n@daily root b\n").entries
    assert (first.comments, second.comments) == (["one", "two"], [])


def test_a_job_that_is_a_comment_and_its_comments_are_not_those_of_the_next_job() -> None:
    text = (
        "# off\n#0 0 * * * /usr/bin/disabled-job\n# one, at 0 0 * * *\n@daily root a\n# @daily root b\n@daily root c\n"
    )
    first, second = imported(text).entries
    assert (first.comments, second.comments) == (["one, at 0 0 * * *"], [])


def test_many_lines_take_little_time() -> None:
    """Work that grew with the square of their number took minutes."""
    crontab = imported("#\n" * 200_000 + "@daily root /bin/a\n" * 3000)
    give_unique_names([crontab])
    assert crontab.entries[-1].jobs[0].name == "a-3000"


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("1 5 a.daily x", {"every": "1d", "offset": "5m"}),
        ("7 0 a.weekly x", {"every": "7d"}),
        ("@weekly 10 a x", {"every": "7d", "offset": "10m"}),
        ("@monthly 75 a x", {"calendar": '"*-*-01 01:15:00"', "zone": "local"}),
        (
            "START_HOURS_RANGE=6-8\n3 30 a x",
            {
                "calendar": '"*-*-* 06:30:00"',
                "zone": "local",
                "each": "3d",
                "from": "1970-01-01T00:00:00Z",
                "within": '"06:00..08:00"',
            },
        ),
        (
            "START_HOURS_RANGE=6-8\n1 180 a x",
            {"calendar": '"*-*-* 06:00:00"', "zone": "local", "within": '"06:00..08:00"'},
        ),
    ],
)
def test_a_job_of_anacron_is_caught_up_once(line: str, options: dict[str, str]) -> None:
    job = job_of(line, Form.ANACRON)
    program = {"catch_up": "once", "user": "root", "argv": '( "/bin/sh" "-c" "x" )'}
    assert job.options == {**options, **program}
    assert job.name == line.split()[-2]


@pytest.mark.parametrize("line", ["0 5 a x", "x 5 a x", "1 a b x", "@noon 5 a x", "START_HOURS_RANGE=9\n1 5 a x"])
def test_a_job_of_anacron_that_cannot_be_read_has_a_reason(line: str) -> None:
    assert entry_of(line, Form.ANACRON).failure


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("99999 5 a x", "`every` cannot be written: duration `99999d`"),
        ("START_HOURS_RANGE=3-22\n2000 5 a x", "`each` cannot be written: `2000d`"),
    ],
)
def test_a_period_that_is_too_long_for_a_stanza_has_a_reason(line: str, failure: str, tmp_path: Path) -> None:
    path = tmp_path / "anacrontab"
    path.write_text(f"{line}\n")
    (entry,) = importer("crontab").file(path).entries
    assert entry.failure.startswith(failure)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1 5 cron.daily run-parts /etc/cron.daily\n", True),
        ("A=b\n# x\n@monthly 5 cron.monthly x\n", True),
        ("1 5 * * * x\n", False),
        ("1 5 1-7 * * x\n", False),
        ("0 0 1+7 * * /bin/true\n", False),
        ("0 0 first * * /bin/true\n", False),
        ("@daily x\n", False),
        ("A=b\n", False),
        ("1 5 a x \\\n  --to y\n", True),
        ("1 5 a x\n# b \\\nof 2\n", True),
        ("1 5 a x\nodd\n", True),
        ("1 5 a x\nx 5 b y\n", True),
        ("1 5 a x\n0 5 * * mon y\n", False),
        ("1 5 a x\n0 5 1 jan-mar * y\n", False),
        ("1 5 a x\n@daily y\n", False),
        ("START_HOURS_RANGE=3-22\n1 5 a x\n@daily y\n", True),
        ("START_HOURS_RANGE=3-22\n0 5 * * * y\n", False),
    ],
)
def test_an_anacrontab_is_known_by_its_lines(text: str, is_one: bool) -> None:
    assert is_anacrontab(Source("tab", text)) == is_one


def test_a_line_of_an_anacrontab_goes_on_after_a_backslash() -> None:
    text = "A=b \\\nc\n# d \\\n2 5 no x\n1 5 a /bin/x --all \\\n  --to /y\n7 5 z /bin/z\nodd \\\nline\n"
    crontab = imported(text, Form.ANACRON)
    first, second, odd = crontab.entries
    assert (first.place, second.place, odd.place) == ("tab:5", "tab:7", "tab:8")
    assert first.jobs[0].options["argv"] == '( "/bin/x" "--all" "--to" "/y" )'
    assert first.jobs[0].variables["A"] == "b  c"
    assert odd.failure.startswith("`odd  line` is neither a job nor an assignment")


def test_a_rejected_character_in_a_continued_line_rejects_the_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "anacrontab"
    path.write_bytes(b"1 5 a x \\\n  \x01\n1 5 b y\n")
    first, second = importer("crontab").file(path).entries
    assert (first.failure[:7], first.jobs, second.failure) == ("column ", [], "")
