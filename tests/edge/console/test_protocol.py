"""The two languages of the console socket: what a line asks, and how an answer is put into bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import as_data, command_diagnostic
from schedappliance.edge.console.protocol import MAX_LINE, Request, read_request, response, too_long
from schedappliance.engine.effects import Answer

MISTAKE = command_diagnostic("E501", "there is no job ü", "see `sched list`", "sched show ü")
TOLD = as_data([MISTAKE])
TEXT = Request("sched list", False)
DATA = Request("json sched list", False)
STRUCTURED = Request("sched list", True, 7)
STRUCTURED_DATA = Request("json sched list", True, 7)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def strict(data: bytes) -> Any:
    """JSON as every reader understands it: text, and no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


def sent(request: Request, answer: Answer) -> bytes:
    return b"".join(response(request, answer))


def pieces(*texts: str) -> Iterator[str]:
    yield from texts


def lines(data: bytes) -> int:
    assert data.endswith(b"\n")
    return data.count(b"\n")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"sched list", "sched list"),
        (b"", ""),
        (b" \tpid ", " \tpid "),
        (b"pid\r", "pid"),
        (b"pid\r\r", "pid\r"),
        ("config set a 'ü\U0001f600'".encode(), "config set a 'ü\U0001f600'"),
        (b"x {}", "x {}"),
        (b"[1]", "[1]"),
    ],
)
def test_a_line_is_a_command(line: bytes, command: str) -> None:
    assert read_request(line) == Request(command, structured=False)


@pytest.mark.parametrize("blanks", [b"", b" ", b"\t "])
@pytest.mark.parametrize("end", [b"", b" ", b"\r"])
def test_a_line_that_begins_with_a_brace_is_a_structured_request(blanks: bytes, end: bytes) -> None:
    line = blanks + b'{"v": 1, "id": 7, "command": "sched list"}' + end
    assert read_request(line) == STRUCTURED


def test_the_id_may_be_left_out() -> None:
    assert read_request(b'{"v": 1, "command": "pid"}') == Request("pid", True, None)


@given(JSON, st.text())
def test_every_structured_request_is_read_and_answered_under_its_id(id: Any, command: str) -> None:
    line = json.dumps({"v": 1, "id": id, "command": command}, ensure_ascii=False).encode()
    request = read_request(line)
    assert (request.command, request.mistake) == (command, None)
    assert strict(sent(request, Answer("said")))["id"] == id


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "the request is no JSON: "),
        (b'{"v": 1, "command": "pid"} x', "the request is no JSON: "),
        (b"{'v': 1}", "the request is no JSON: "),
        (b'{"v": NaN}', "the request is no JSON: NaN is no JSON value"),
        (b'{"v": 1, "id": -Infinity, "command": "pid"}', "the request is no JSON: -Infinity is no JSON value"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the request is no JSON: "),
        (b'{"a":' * 50_000, "the request is no JSON: "),
        (b'{"v": 1, "id": 1e999, "command": "pid"}', "the `id` is no JSON value"),
        (
            b'{"v": 1, "command": "version", "command": "shutdown"}',
            "the request is no JSON: the key `command` is given twice",
        ),
        (b"{}", 'the request has no `"v": 1`'),
        (b'{"command": "pid"}', 'the request has no `"v": 1`'),
        (b'{"v": 2, "command": "pid"}', 'the request has no `"v": 1`'),
        (b'{"v": "1", "command": "pid"}', 'the request has no `"v": 1`'),
        (b'{"v": 1}', "the request has no `command`"),
        (b'{"v": 1, "command": null}', "the request has no `command`"),
        (b'{"v": 1, "command": ["pid"]}', "the request has no `command`"),
        (b'{"v": 1, "command": "pid", "zeal": 1, "more": 2}', "the request has an unknown key `more`"),
    ],
)
def test_a_structured_request_that_is_none_is_told_what_is_wrong(line: bytes, told: str) -> None:
    request = read_request(line)
    assert (request.command, request.structured) == ("", True)
    assert request.mistake is not None
    assert request.mistake.message.startswith(told)
    assert (request.mistake.code, bool(request.mistake.help)) == ("E507", True)


def test_a_mistake_is_answered_under_the_id_of_its_request() -> None:
    for line in (b'{"id": 7}', b'{"v": 1, "id": 7}', b'{"v": 1, "id": 7, "command": "pid", "more": 1}'):
        assert read_request(line).id == 7


@pytest.mark.parametrize("id", [b"[1e999]", b'{"a": -1e999}'])
def test_an_id_that_holds_what_is_no_json_value_is_not_sent_back(id: bytes) -> None:
    request = read_request(b'{"v": 1, "id": %b, "command": "pid"}' % id)
    strict(sent(request, Answer("said")))


@pytest.mark.parametrize("version", [b"true", b"1.0"])
def test_a_version_that_only_equals_one_is_refused(version: bytes) -> None:
    assert read_request(b'{"v": %b, "command": "pid"}' % version).mistake is not None


@pytest.mark.parametrize(("line", "structured"), [(b"pid \xff", False), (b'{"v": 1, \xff', True), (b" {\xff", True)])
def test_bytes_that_are_no_text_are_refused_in_the_language_of_the_line(line: bytes, structured: bool) -> None:
    request = read_request(line)
    assert (request.command, request.structured) == ("", structured)
    assert request.mistake is not None
    place = line.index(b"\xff") + 1
    assert request.mistake.message == f"the line is not UTF-8 text (byte {place})"
    assert request.mistake.code == "E506"


@given(
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")), st.sampled_from([b"", b"{", b'{"v": 1, "id": '])
)
def test_any_bytes_are_a_request_that_can_be_answered(data: bytes, begin: bytes) -> None:
    request = read_request(begin + data)
    if begin:
        assert request.structured
    answer = sent(request, Answer(error="what", diagnostics=(MISTAKE,)))
    assert lines(answer) == 1
    if request.structured:
        assert strict(answer)["ok"] is False


@pytest.mark.parametrize("structured", [True, False])
def test_a_line_that_is_too_long_is_told_how_long_it_may_be(structured: bool) -> None:
    request = too_long(structured)
    assert (request.command, request.structured) == ("", structured)
    assert request.mistake is not None
    assert (request.mistake.code, f"{MAX_LINE:,} bytes" in request.mistake.message) == ("E506", True)


@pytest.mark.parametrize("command", ["json pid", " \tJSON\tpid", "Json json pid"])
def test_a_command_after_json_wants_data(command: str) -> None:
    assert Request(command, False).wants_data


@pytest.mark.parametrize(
    "command", ["pid", "json", "jsonpid", "pid json", "\u00a0json pid", "ｊｓｏｎ pid", "j\u017fon pid"]
)
def test_any_other_command_wants_text(command: str) -> None:
    assert not Request(command, False).wants_data


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer("4711"), "4711\n"),
        (Answer("a\nb\n"), "a\nb\n"),
        (Answer(""), ""),
        (Answer(pieces("a\t", "b\n", "", "ü\n")), "a\tb\nü\n"),
        (Answer(pieces()), ""),
        (Answer('{"pid": 1}', is_json=True), '{"pid": 1}\n'),
        (Answer(pieces("[", "1", "]"), is_json=True), "[1]\n"),
        (Answer(error="there is no job"), "error: there is no job\n"),
        (Answer(error="Reconfigure failed.", verbatim=True), "Reconfigure failed.\n"),
    ],
)
def test_an_answer_as_text(answer: Answer, text: str) -> None:
    assert sent(TEXT, answer) == text.encode()


@pytest.mark.parametrize("verbatim", [True, False])
def test_an_error_after_json_is_data(verbatim: bool) -> None:
    answer = sent(DATA, Answer(error="there is no job ü", verbatim=verbatim, diagnostics=(MISTAKE,)))
    assert strict(answer) == {"error": "there is no job ü", "diagnostics": TOLD}
    assert lines(answer) == 1


@pytest.mark.parametrize(
    ("request_", "answer", "expected"),
    [
        (STRUCTURED, Answer('a\n"b"\\\t\x01ü'), {"ok": True, "output": 'a\n"b"\\\t\x01ü'}),
        (STRUCTURED, Answer(""), {"ok": True, "output": ""}),
        (STRUCTURED, Answer(pieces('a"', "\n", "", "b\\")), {"ok": True, "output": 'a"\nb\\'}),
        (STRUCTURED, Answer(pieces()), {"ok": True, "output": ""}),
        (STRUCTURED_DATA, Answer('{"pid": 1}', is_json=True), {"ok": True, "data": {"pid": 1}}),
        (STRUCTURED_DATA, Answer(pieces("[", '{"a": "ü"}', "]"), is_json=True), {"ok": True, "data": [{"a": "ü"}]}),
        (STRUCTURED, Answer(error="no"), {"ok": False, "error": "no", "diagnostics": []}),
        (
            STRUCTURED,
            Answer(error="no", verbatim=True, diagnostics=(MISTAKE,)),
            {"ok": False, "error": "no", "diagnostics": TOLD},
        ),
        (
            STRUCTURED_DATA,
            Answer(error="no", diagnostics=(MISTAKE,)),
            {"ok": False, "error": "no", "diagnostics": TOLD},
        ),
    ],
)
def test_an_answer_to_a_structured_request(request_: Request, answer: Answer, expected: dict[str, Any]) -> None:
    data = sent(request_, answer)
    assert strict(data) == {"v": 1, "id": 7, **expected}
    assert lines(data) == 1


@pytest.mark.parametrize("request_", [TEXT, DATA, STRUCTURED, STRUCTURED_DATA])
def test_an_answer_is_made_while_it_is_sent(request_: Request) -> None:
    made: list[int] = []

    def output() -> Iterator[str]:
        for number in range(3):
            made.append(number)
            yield str(number)

    answer = response(request_, Answer(output(), is_json=request_.wants_data))
    assert made == []
    while not made:
        next(answer)
    assert made == [0]


def test_an_answer_that_nobody_takes_ends_what_it_is_made_from() -> None:
    ended: list[bool] = []

    def output() -> Iterator[str]:
        try:
            while True:
                yield "piece"
        finally:
            ended.append(True)

    for request in (TEXT, STRUCTURED):
        answer = response(request, Answer(output()))
        while b"piece" not in next(answer):
            pass
        answer.close()  # type: ignore[attr-defined]
        del answer
    assert ended == [True, True]


@given(st.lists(st.text(), max_size=6))
def test_pieces_say_the_same_as_the_whole(texts: list[str]) -> None:
    whole = "".join(texts)
    assert strict(sent(STRUCTURED, Answer(pieces(*texts))))["output"] == whole
    assert sent(STRUCTURED, Answer(pieces(*texts))) == sent(STRUCTURED, Answer(whole))


@pytest.mark.parametrize("request_", [TEXT, DATA, STRUCTURED])
@pytest.mark.parametrize("answer", [Answer("a\udcffb"), Answer(error="a\udcffb"), Answer(error="a\ud800")])
def test_what_is_no_text_is_shown_escaped(request_: Request, answer: Answer) -> None:
    data = sent(request_, answer)
    assert lines(data) == 1
    assert "\\ud" in data.decode("utf-8")
    if request_.structured:
        strict(data)


RESULT = {"run": "x-000000001/1", "exit_status": 7, "output": "ü\n"}


@pytest.mark.parametrize(
    ("answer", "text", "structured"),
    [
        (Answer("a\n", exit_status=0), "a\n", {"ok": True, "exit_status": 0, "output": "a\n"}),
        (Answer("", exit_status=0), "", {"ok": True, "exit_status": 0, "output": ""}),
        (
            Answer("a\nb", "it failed", exit_status=7),
            "a\nb\nerror: it failed\n",
            {"ok": False, "exit_status": 7, "error": "it failed", "diagnostics": [], "output": "a\nb"},
        ),
        (
            Answer("", "it failed", exit_status=143),
            "error: it failed\n",
            {"ok": False, "exit_status": 143, "error": "it failed", "diagnostics": []},
        ),
        (
            Answer("a", "it failed"),
            "a\nerror: it failed\n",
            {"ok": False, "error": "it failed", "diagnostics": [], "output": "a"},
        ),
    ],
)
def test_a_program_that_was_waited_for_is_told_with_its_output_and_its_status(
    answer: Answer, text: str, structured: dict[str, Any]
) -> None:
    assert sent(TEXT, answer).decode() == text
    assert strict(sent(STRUCTURED, answer)) == {"v": 1, "id": 7, **structured}


def test_it_is_told_as_data_on_one_line_also_when_it_failed() -> None:
    data = json.dumps(RESULT, ensure_ascii=False)
    well, failed = Answer(data, is_json=True, exit_status=0), Answer(data, "it failed", is_json=True, exit_status=7)
    assert strict(sent(DATA, well)) == RESULT
    assert strict(sent(DATA, failed)) == {"error": "it failed", "diagnostics": [], "data": RESULT}
    assert lines(sent(DATA, failed)) == lines(sent(STRUCTURED_DATA, failed)) == 1
    assert strict(sent(STRUCTURED_DATA, well)) == {"v": 1, "id": 7, "ok": True, "exit_status": 0, "data": RESULT}
    assert strict(sent(STRUCTURED_DATA, failed)) == {
        "v": 1,
        "id": 7,
        "ok": False,
        "exit_status": 7,
        "error": "it failed",
        "diagnostics": [],
        "data": RESULT,
    }
