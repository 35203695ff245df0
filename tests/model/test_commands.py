"""The meaning of commands, what cannot be scheduled or dropped, and the stored form."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.client.wire import quoted as quote
from schedappliance.diagnostics import Source
from schedappliance.model.commands import FORMS, Command, drop_mistakes, is_json, pack, read_command, unpack
from schedappliance.syntax.command import TIME_REMEDY
from schedappliance.syntax.grammars import GRAMMAR_VERSION, build_parser
from tests.support.diagnostics import codes, pointed


def _command(line: str) -> Command:
    read = read_command(line)
    assert read.command is not None, [d.brief() for d in read.diagnostics]
    return read.command


def test_the_table_has_every_form_of_the_grammar_and_no_other() -> None:
    rules = {str(rule.origin.name) for rule in build_parser("command", None).rules}
    assert set(FORMS) == {rule for rule in rules if rule != "start" and not rule.startswith("_")}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_a_name_and_help(form: str) -> None:
    assert FORMS[form].usage.startswith(FORMS[form].name) and FORMS[form].name == form.replace(
        "run_wait", "run --wait"
    ).replace("_", " ")
    assert FORMS[form].help and not FORMS[form].help.endswith(".")


@pytest.mark.parametrize(
    ("line", "milliseconds"),
    [
        ("sched at 1795370460 pid", 1_795_370_460_000),
        ("sched at 2026-11-22T18:01:00Z pid", 1_795_370_460_000),
        ("sched at 0 pid", 0),
        ("sched in 90 pid", 90_000),
        ("sched in '1.5' pid", 1_500),
        ("sched every 2h30m pid", 9_000_000),
        ("pid", None),
    ],
)
def test_the_time_of_a_command_is_in_milliseconds(line: str, milliseconds: int | None) -> None:
    assert _command(line).milliseconds == milliseconds


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config set a 5", ("a", "5")),
        ("config set a = 5", ("a", "5")),
        ("config set a=5", ("a", "5")),
        ("config set a= 5", ("a", "5")),
        ("config set a =5", ("a", "5")),
        ("config set a=", ("a", "")),
        ("config set a ''", ("a", "")),
        ("config set a 'two words'", ("a", "two words")),
        ("config set a=b=c", ("a", "b=c")),
        ("config set a = b=c", ("a", "b=c")),
        ("config set a 'b=c'", ("a", "b=c")),
    ],
)
def test_an_option_is_set_with_or_without_an_equals_sign(line: str, words: tuple[str, ...]) -> None:
    assert _command(line).words == ("", "", *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config get a", ("", "", "a")),
        ("config get program", ("", "", "program")),
        ("config get PROGRAM Hello Timeout", ("program", "Hello", "timeout")),
        ("config get sched backing_store", ("sched", "", "backing_store")),
        ("config eval program hello timeout", ("program", "hello", "timeout")),
        ("config eval program hello speed", ("", "", "speed")),
        ("config eval smtp_cbv foo Debug_Level", ("", "", "Debug_Level")),
        ("config set program hello timeout 5", ("program", "hello", "timeout", "5")),
        ("config set program hello TIMEOUT = 5", ("program", "hello", "timeout", "5")),
        ("config set program hello timeout=5", ("program", "hello", "timeout", "5")),
        ("config set program 'a b' timeout =5", ("program", "a b", "timeout", "5")),
        ("config set program = 5", ("", "", "program", "5")),
        ("config set program 5", ("", "", "program", "5")),
        ("config set sched 5", ("", "", "sched", "5")),
        ("config set sched history=5", ("sched", "", "history", "5")),
        ("config set sched speed=5", ("", "", "sched", "speed=5")),
        ("config set sched history 5", ("sched", "", "history", "5")),
        ("config set program hello success ( 0 1 )", ("program", "hello", "success", "( 0 1 )")),
        ("config set program hello success (0 1)", ("program", "hello", "success", "(0 1)")),
        ("config set job tidy command 'run x'", ("job", "tidy", "command", "run x")),
        ("config unset a", ("", "", "a")),
        ("config unset sched", ("sched", "", "")),
        ("config unset program hello", ("program", "hello", "")),
        ("config unset program hello timeout", ("program", "hello", "timeout")),
        ("config show", ("", "")),
        ("config show sched", ("sched", "")),
        ("config showrecurse program hello", ("program", "hello")),
        ("config begin", ()),
        ("config commit", ()),
        ("config rollback", ()),
    ],
)
def test_the_words_of_a_config_command_are_a_path(line: str, words: tuple[str, ...]) -> None:
    assert _command(line).words == words


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        ("sched in 0 pid", "E204", "0"),
        ("sched in -5 pid", "E204", "-5"),
        ("sched in soon pid", "E203", "soon"),
        ("sched in 36501d pid", "E204", "36501d"),
        ("sched every 0.5 pid", "E204", "0.5"),
        ("sched at teatime pid", "E203", "teatime"),
        ("sched at 2500 pid", "E203", "2500"),
        ("sched at 2026-11-22 pid", "E203", "2026-11-22"),
        ("sched in 5 sched every 0 pid", "E204", "0"),
        ("json sched in x pid", "E203", "x"),
        ("sched in 5 quit", "E303", "quit"),
        ("sched in 5 json quit", "E303", "quit"),
        ("sched every 60 shutdown", "E303", "shutdown"),
        ("sched every 60 sched in 5 shutdown", "E303", "shutdown"),
        ("sched every 60 json shutdown", "E303", "shutdown"),
        ("sched every 60 sched every 60 pid", "E303", "sched every 60"),
        ("sched every 60 sched in 5 sched every 60 pid", "E303", "sched every 60"),
        ("sched in 5 run --wait x y", "E303", "run --wait x"),
        ("sched every 60 json run --wait x", "E303", "run --wait x"),
        ("config set a", "E109", "a"),
        ("config set = 5", "E208", "="),
        pytest.param("config set =5", "E208", "=5"),
        pytest.param("config set '' 5", "E208", "''"),
        ("config set 9x 5", "E208", "9x"),
        ("config set include x", "E208", "include"),
        ("config set Readonly_Include = x", "E208", "Readonly_Include"),
        ("config set sched backing_store x", "E508", "backing_store"),
        ("config set timeout 5", "E508", "timeout"),
        ("config set Backing_Store = x", "E508", "Backing_Store"),
        ("config set program hello argv ( /bin/x )", "E508", "argv"),
        ("config set program hello on_failure pid", "E508", "on_failure"),
        ("config set program hello timeot 5", "E202", "timeot"),
        ("config set program hello timeout abc", "E203", "abc"),
        ("config set program hello timeout 0", "E204", "0"),
        ("config set program hello success ( 0 x )", "E203", "( 0 x )"),
        ("config set program hello success 0", "E203", "0"),
        ("config set program hello timeout 5 6", "E203", "5 6"),
        ("config set program hello timeout", "E109", "timeout"),
        ("config set a ( 1 2 )", "E203", "( 1 2 )"),
        ("config set Relay_Hosts ( 10.0.0.1 10.0.0.2 )", "E203", "( 10.0.0.1 10.0.0.2 )"),
        ("config set Debug_Flags DEBUG (LOG1)", "E508", "Debug_Flags"),
        ("config set esmtp_listener listen :587 pool_name accept", "E508", "esmtp_listener"),
        ("config get program hello", "E508", "program hello"),
        ("config get program hello timeout 5", "E508", "5"),
        ("config get program hello speed", "E202", "speed"),
        ("config get domain earthlink.net message_expiration", "E508", "domain"),
        ("config unset", "E508", "config unset"),
        ("config unset domain earthlink.net message_expiration", "E508", "domain"),
        ("config show Logs", "E508", "Logs"),
        ("config show program", "E508", "program"),
        ("config show sched history", "E508", "history"),
        ("config showrecurse eventloop mpool", "E508", "eventloop"),
        ("sched in 5 config begin", "E303", "config begin"),
        ("sched in 5 config commit", "E303", "config commit"),
        ("sched in 5 config rollback", "E303", "config rollback"),
        ("frobnicate", "E110", "frobnicate"),
        ("sched list all", "E101", "all"),
        ("sched list find", "E109", "find"),
        ("sched list limit 0", "E204", "0"),
        ("sched list state failed", "E101", "state"),
        ("sched list find a FIND b", "E101", "FIND"),
        ("sched history nightly state", "E109", "state"),
        ("sched history a b c d", "E101", "b"),
        ("sched history state failed,sleeping", "E203", "failed,sleeping"),
        ("sched history nightly limit ten", "E203", "ten"),
        ("sched history since soon", "E203", "soon"),
        ("config set a=b c", "E203", "a=b c"),
        ("config set a =", "E109", "a ="),
        ("config set a x\ufeff", "E106", "x\ufeff"),
    ],
)
def test_an_invalid_command_is_reported_at_its_place(line: str, code: str, place: str) -> None:
    read = read_command(line)
    assert read.command is None
    assert codes(read.diagnostics) == [code]
    assert pointed(read.diagnostics[0]) == place
    assert read.diagnostics[0].help


@pytest.mark.parametrize(
    "line",
    [
        "sched in 5 shutdown",
        "sched at 7 shutdown",
        "sched every 60 sched in 5 run x",
        "sched in 5 sched every 60 run x",
        "sched every 60 config reload",
        "json quit",
        "quit",
    ],
)
def test_valid_nesting_is_accepted(line: str) -> None:
    assert _command(line).text == line


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("sched show", "usage: `sched show ID [output none]`"),
        ("sched in 5  SCHED   pause ", "usage: `sched pause ID|PATTERN|--all`"),
        ("json sched in", "usage: `sched in SECONDS COMMAND`"),
        ("run", "usage: `run PROGRAM [ARGS...]`"),
        ("run --wait", "usage: `run --wait PROGRAM [ARGS...]`"),
        ("config set", "usage: `config set [SCOPE] OPTION [=] VALUE`"),
        ("sched in 5", "add a command"),
    ],
)
def test_an_incomplete_command_gets_its_usage_as_the_remedy(line: str, remedy: str) -> None:
    (mistake,) = read_command(line).diagnostics
    assert (mistake.code, mistake.help) == ("E109", remedy)


def test_every_mistake_of_a_line_is_reported() -> None:
    assert set(codes(read_command("sched in x sched every 0 quit").diagnostics)) == {"E203", "E204", "E303"}


def test_a_nested_mistake_is_reported_once() -> None:
    assert codes(read_command("sched in 5 sched in 5 quit").diagnostics) == ["E303"]


@pytest.mark.parametrize(
    ("line", "is_rejected"),
    [
        ("sched in 5 shutdown", False),
        ("sched list", False),
        ("run x", False),
        ("run x --wait", False),
        ("run --wait x", True),
        ("json run --wait x", True),
        ("config set a 5", False),
        ("config get a", False),
        ("json sched list", False),
        ("shutdown", True),
        ("config reload", True),
        ("json pid", True),
        ("json json shutdown", True),
        ("help", True),
        ("summary reset", True),
        ("quit", True),
    ],
)
def test_a_drop_may_contain_only_commands_that_change_rows(line: str, is_rejected: bool) -> None:
    tree = read_command(line).tree
    assert tree is not None
    assert codes(drop_mistakes(tree, Source("x.cmd", line))) == ["E304"] * is_rejected


@pytest.mark.parametrize("line", ["sched in 5 run --wait x", "json sched in 5 run --wait x", "run --wait x"])
def test_a_scheduled_run_wait_gets_its_own_remedy(line: str) -> None:
    read = read_command(line)
    assert read.tree is not None
    mistakes = [*read.diagnostics, *drop_mistakes(read.tree, Source("x.cmd", line))]
    assert [mistake.help for mistake in mistakes] == ["remove `--wait`; no client waits for the answer"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("run --wait p", "run p"),
        ("  run\t--wait   p  'a  b'  --wait ", "run p  'a  b'  --wait"),
        ("run --wait 'a b' c", "run 'a b' c"),
        ("run --wait --wait", 'run "--wait"'),
        ("run --wait --wait x", 'run "--wait" x'),
        ('run --wait "--wait" x', 'run "--wait" x'),
        ("json run --wait p", "run p"),
    ],
)
def test_the_awaited_run_has_a_line_of_its_own(line: str, text: str) -> None:
    command = _command(line).bare
    assert (command.form, command.inner) == ("run_wait", _command(text))
    assert command.inner is not None and command.words == command.inner.words


words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])).map(quote)
lines = st.recursive(
    st.sampled_from(["pid", "sched list", "config set a = 5", "json version"])
    | st.lists(words, min_size=1, max_size=3).map(lambda program: " ".join(["run", *program])),
    lambda inner: st.builds("{} {}".format, st.sampled_from(["sched in 1.5", "sched at 0", "json"]), inner),
    max_leaves=6,
)


@given(lines, st.sampled_from([GRAMMAR_VERSION - 1, GRAMMAR_VERSION]))
def test_a_stored_command_is_read_back(line: str, grammar: int) -> None:
    command = _command(line)
    assert unpack(pack(command), grammar, command.text) == command


@given(lines)
def test_the_text_of_a_command_means_the_same_command(line: str) -> None:
    for level in _command(line).nest():
        assert _command(level.text) == level


@given(st.sampled_from(["", "sched in ", "sched at ", "config set ", "sched every 60 "]), st.text())
def test_a_line_has_a_meaning_or_an_error(start: str, text: str) -> None:
    read = read_command(start + text)
    assert (read.command is None) == bool(read.diagnostics)
    for mistake in read.diagnostics:
        assert mistake.is_error and mistake.help and mistake.span is not None


@pytest.mark.parametrize(
    "packed", ["", "[]", "{", "1", '["nothing",[],null,null,"pid"]', '["pid",[],null,null,"pid"]x']
)
def test_a_damaged_stored_form_is_parsed_again(packed: str) -> None:
    assert unpack(packed, GRAMMAR_VERSION, "pid") == read_command("pid").command


def test_a_stored_text_that_is_no_longer_a_command_gives_none() -> None:
    assert unpack("[]", GRAMMAR_VERSION - 1, "sched tomorrow pid") is None


def test_a_stored_pause_of_all_jobs_still_pauses_all() -> None:
    line = "sched pause --all"
    assert unpack(f'["sched_pause",["--all"],null,null,"{line}"]', 2, line) == read_command(line).command


@pytest.mark.parametrize(
    "rest", ["pid", "json pid", "nonsense", "sched in soon pid", "run 'open", "pid\x01", "pid pid"]
)
@pytest.mark.parametrize("prefix", ["json ", " \tJSON\t"])
def test_a_json_command_is_one_also_when_the_rest_of_it_is_wrong(prefix: str, rest: str) -> None:
    assert is_json(prefix + rest)


@pytest.mark.parametrize(
    "line", ["pid", "json", "json ", "jsonpid", "pid json", "\u00a0json pid", "ｊｓｏｎ pid", "j\u017fon pid", "", " "]
)
def test_no_other_line_is_a_json_command(line: str) -> None:
    assert not is_json(line)


@pytest.mark.parametrize("text", [FORMS["sched_at"].help, TIME_REMEDY])
def test_every_time_that_help_and_the_remedy_name_is_taken(text: str) -> None:
    times = [time for time in re.findall("`(.+?)`", text) if time != "sched"]
    assert len(times) >= 10
    for time in times:
        assert read_command(f"sched at {time} pid").diagnostics == (), time
