"""The console protocol: lines to requests, and answers to bytes, in text and in JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import as_data, command_diagnostic
from schedappliance.edge.console.protocol import (
    MAX_ID,
    MAX_LINE,
    Request,
    RequestReader,
    read_request,
    response,
    too_long,
)
from schedappliance.engine.effects import Answer
from schedappliance.store.failures import StoreFailed
from tests.support.core import failure

MISTAKE = command_diagnostic("E501", "there is no job ü", "see `sched list`", "sched show ü")
AS_DATA = as_data([MISTAKE])
TEXT = Request("sched list", False)
STRUCTURED = Request("sched list", True, 7)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def strict(data: bytes) -> Any:
    """JSON that every reader accepts: UTF-8, and no NaN."""

    def reject(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(data.decode("utf-8"), parse_constant=reject)


def sent(request: Request, answer: Answer, in_transaction: bool = False) -> bytes:
    return b"".join(response(request, answer, in_transaction))


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


def test_the_id_is_optional() -> None:
    assert read_request(b'{"v": 1, "command": "pid"}') == Request("pid", True, None)


@given(JSON.filter(lambda key: len(json.dumps(key)) <= MAX_ID), st.text())
def test_every_structured_request_is_answered_under_its_id(key: Any, command: str) -> None:
    line = json.dumps({"v": 1, "id": key, "command": command}, ensure_ascii=False).encode()
    request = read_request(line)
    assert (request.command, request.mistake) == (command, None)
    assert strict(sent(request, Answer("text")))["id"] == key


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "the request is not JSON from character 2 on"),
        (b'{"v": 1, "command": "pid"} x', "the request is not JSON from character 28 on"),
        (b"{'v': 1}", "the request is not JSON from character 2 on"),
        (b'{"v": 1, "command": "\t"}', "the request is not JSON from character 22 on"),
        (b'{"v": NaN}', "the request is not JSON: NaN is not a JSON value"),
        (b'{"v": 1, "id": -Infinity, "command": "pid"}', "the request is not JSON: -Infinity is not a JSON value"),
        (b'{"a": ' + b"9" * 9000 + b"}", "the request is not JSON: a number has more than 1,024 digits"),
        (b'{"a":' * 50_000, "the request is nested too deeply"),
        (b'{"v": 1, "id": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "the request is nested too deeply"),
        (b'{"v": 1, "id": 1e999, "command": "pid"}', "the `id` is not a JSON value"),
        (b'{"v": 1, "id": "%b", "command": "pid"}' % (b"x" * 1023), "the `id` is longer than 1,024 bytes"),
        (
            b'{"v": 1, "command": "version", "command": "shutdown"}',
            "the request is not JSON: the key `command` is given twice",
        ),
        (b"{}", 'the request has no `"v": 1`'),
        (b'{"command": "pid"}', 'the request has no `"v": 1`'),
        (b'{"v": 2, "command": "pid"}', 'the request has no `"v": 1`'),
        (b'{"v": "1", "command": "pid"}', 'the request has no `"v": 1`'),
        (b'{"v": 1}', "the request has no `command`"),
        (b'{"v": 1, "command": null}', "the request has no `command`"),
        (b'{"v": 1, "command": ["pid"]}', "the request has no `command`"),
        (b'{"v": 1, "command": "pid", "zeal": 1, "more": 2}', "the request has an unknown key `more`"),
        (b'{"v": 1, "command": "pid", "or": null}', "the `or` is not a command"),
        (b'{"v": 1, "command": "pid", "quiet": 1}', "the `quiet` is neither true nor false"),
        (b'{"v": 1, "command": "pid", "quiet": null}', "the `quiet` is neither true nor false"),
        *(
            (b'{"v": 1, "command": "pid", "as": %b}' % name, "the `as` is not the name of a user")
            for name in (
                b"null",
                b"1000",
                b'""',
                b'["a"]',
                b'"a\\u0000"',
                b'"\\ud800"',
                b'"a\\nb"',
                b'"%b"' % (b"a" * 256),
            )
        ),
    ],
)
def test_the_answer_to_an_invalid_request_says_what_is_wrong(line: bytes, message: str) -> None:
    request = read_request(line)
    assert (request.command, request.structured) == ("", True)
    assert request.mistake is not None
    assert request.mistake.message == message or message.endswith('`"v": 1`')
    assert (request.mistake.code, bool(request.mistake.help)) == ("E507", True)


def test_a_request_names_the_user_for_whom_it_is_made() -> None:
    assert read_request(b'{"v": 1, "command": "pid", "as": "alice"}').on_behalf_of == "alice"
    assert read_request(b'{"v": 1, "command": "pid"}').on_behalf_of is None


def test_a_request_has_another_command_that_may_be_meant() -> None:
    assert read_request(b'{"v": 1, "command": "sched run a", "or": "run a"}').instead == "run a"
    mistake = read_request(b'{"v": 1, "command": "sched run a", "Or": "run a"}').mistake
    assert mistake and "`or`" in mistake.help


def test_a_request_can_be_quiet() -> None:
    assert read_request(b'{"v": 1, "command": "version", "quiet": true}').quiet
    assert not read_request(b'{"v": 1, "command": "version", "quiet": false}').quiet
    assert not read_request(b'{"v": 1, "command": "version"}').quiet


def test_an_id_of_the_maximum_length_is_accepted() -> None:
    key = "x" * 1022
    assert read_request(b'{"v": 1, "id": "%b", "command": "pid"}' % key.encode()).id == key


def test_a_mistake_is_answered_under_the_id_of_its_request() -> None:
    for line in (b'{"id": 7}', b'{"v": 1, "id": 7}', b'{"v": 1, "id": 7, "command": "pid", "more": 1}'):
        assert read_request(line).id == 7


@pytest.mark.parametrize("key", [b"[1e999]", b'{"a": -1e999}'])
def test_an_id_that_holds_an_invalid_value_is_not_sent_back(key: bytes) -> None:
    request = read_request(b'{"v": 1, "id": %b, "command": "pid"}' % key)
    strict(sent(request, Answer("text")))


@pytest.mark.parametrize("version", [b"true", b"1.0"])
def test_a_version_that_only_equals_one_is_rejected(version: bytes) -> None:
    assert read_request(b'{"v": %b, "command": "pid"}' % version).mistake is not None


@pytest.mark.parametrize(("line", "structured"), [(b"pid \xff", False), (b'{"v": 1, \xff', True), (b" {\xff", True)])
def test_bytes_that_are_not_utf_8_are_rejected_in_the_form_of_the_line(line: bytes, structured: bool) -> None:
    request = read_request(line)
    assert (request.command, request.structured) == ("", structured)
    assert request.mistake is not None
    place = line.index(b"\xff") + 1
    assert request.mistake.message == f"the line is not UTF-8 text (byte {place})"
    assert request.mistake.code == "E506"


@given(
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")), st.sampled_from([b"", b"{", b'{"v": 1, "id": '])
)
def test_every_line_of_bytes_can_be_answered(data: bytes, begin: bytes) -> None:
    request = read_request(begin + data)
    if begin:
        assert request.structured
    answer = sent(request, Answer(error="what", diagnostics=(MISTAKE,)))
    assert lines(answer) == 1
    if request.structured:
        assert strict(answer)["ok"] is False


def read_all(stream: bytes, chunk: int, most: int = 3) -> list[Request]:
    """The requests of a stream that arrives in chunks; `most` are read at once."""
    reader, requests = RequestReader(), []
    chunks = [stream[start : start + chunk] for start in range(0, len(stream), chunk)]
    for data in (*chunks, b""):
        reader.add(data)
        while batch := reader.read(most):
            assert len(batch) <= most
            requests += batch
    assert reader.is_empty
    return requests


LONG = b"x" * (MAX_LINE + 1)
STREAM = b"pid\r\n\n \t\r\nversion\n" + LONG + b"\n{" + LONG + b"\n" + b"y" * MAX_LINE + b"\nsched list\n"


@pytest.mark.parametrize("chunk", [1000, MAX_LINE, 64 * 1024 + 1, 1_000_000])
@pytest.mark.parametrize(("tail", "last"), [(b"", []), (b"pid", ["E506"]), (LONG, ["E506"]), (b" ", ["E506"])])
def test_a_stream_is_cut_into_its_lines_however_it_arrives(chunk: int, tail: bytes, last: list[str]) -> None:
    requests = read_all(STREAM + tail, chunk)
    shown = [request.mistake.code if request.mistake else request.command for request in requests]
    assert shown == ["pid", "version", "E506", "E506", "y" * MAX_LINE, "sched list", *last]
    assert [request.structured for request in requests[:6]] == [False, False, False, True, False, False]


def test_half_a_line_is_not_run() -> None:
    for tail, structured in ((b"pid", False), (b'{"v": 1, "command": "pid"}', True)):
        (request,) = read_all(tail, 1000)
        assert (request.command, request.structured) == ("", structured)
        assert request.mistake is not None and "does not end in a newline" in request.mistake.message


@pytest.mark.parametrize("structured", [True, False])
def test_the_answer_to_a_line_that_is_too_long_names_the_limit(structured: bool) -> None:
    request = too_long(structured)
    assert (request.command, request.structured) == ("", structured)
    assert request.mistake is not None
    assert (request.mistake.code, f"{MAX_LINE:,} bytes" in request.mistake.message) == ("E506", True)


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
    answer = sent(TEXT, Answer(error="there is no job ü", verbatim=verbatim, diagnostics=(MISTAKE,), is_json=True))
    assert strict(answer) == {"error": "there is no job ü", "diagnostics": AS_DATA}
    assert lines(answer) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer('a\n"b"\\\t\x01ü'), {"ok": True, "output": 'a\n"b"\\\t\x01ü'}),
        (Answer(""), {"ok": True, "output": ""}),
        (Answer(pieces('a"', "\n", "", "b\\")), {"ok": True, "output": 'a"\nb\\'}),
        (Answer(pieces()), {"ok": True, "output": ""}),
        (Answer('{"pid": 1}', is_json=True), {"ok": True, "data": {"pid": 1}}),
        (Answer(pieces("[", '{"a": "ü"}', "]"), is_json=True), {"ok": True, "data": [{"a": "ü"}]}),
        (Answer(error="no"), {"ok": False, "error": "no", "verbatim": False, "diagnostics": []}),
        (
            Answer(error="no", verbatim=True, diagnostics=(MISTAKE,)),
            {"ok": False, "error": "no", "verbatim": True, "diagnostics": AS_DATA},
        ),
        (
            Answer(error="no", diagnostics=(MISTAKE,), is_json=True),
            {"ok": False, "error": "no", "verbatim": False, "diagnostics": AS_DATA, "data": None},
        ),
    ],
)
def test_an_answer_to_a_structured_request(answer: Answer, expected: dict[str, Any]) -> None:
    data = sent(STRUCTURED, answer)
    assert strict(data) == {"v": 1, "id": 7, "transaction": False, **expected}
    assert lines(data) == 1


@pytest.mark.parametrize("answer", [Answer("4711"), Answer("[]", is_json=True), Answer(error="no")])
def test_a_response_says_whether_a_transaction_is_open(answer: Answer) -> None:
    assert strict(sent(STRUCTURED, answer, in_transaction=True))["transaction"] is True


@pytest.mark.parametrize("request_", [TEXT, STRUCTURED])
@pytest.mark.parametrize("is_json", [False, True])
def test_an_answer_is_made_while_it_is_sent(request_: Request, is_json: bool) -> None:
    made: list[int] = []

    def output() -> Iterator[str]:
        for number in range(3):
            made.append(number)
            yield str(number)

    answer = response(request_, Answer(output(), is_json=is_json), False)
    assert made == []
    while not made:
        next(answer)
    assert made == [0]


@pytest.mark.parametrize("is_json", [False, True])
def test_a_command_is_rejected_if_the_store_cannot_be_read_while_its_answer_is_made(is_json: bool) -> None:
    def output(rows: int) -> Iterator[str]:
        yield from ["row"] * rows
        raise failure("disk I/O error", sqlite3.SQLITE_IOERR)

    error = "the store cannot be read: disk I/O error"
    said = strict(sent(STRUCTURED, Answer(output(0), is_json=is_json)))
    assert (said["ok"], said["error"].partition(";")[0], said["diagnostics"][0]["code"]) == (False, error, "E504")
    text = sent(TEXT, Answer(output(0), is_json=is_json)).decode()
    assert (json.loads(text)["error"] if is_json else text.removeprefix("error: ")).startswith(error)
    with pytest.raises(StoreFailed):
        sent(TEXT, Answer(output(1), is_json=is_json))


def test_closing_an_unsent_answer_ends_the_query_behind_it() -> None:
    ended: list[bool] = []

    def output() -> Iterator[str]:
        try:
            while True:
                yield "piece"
        finally:
            ended.append(True)

    for request in (TEXT, STRUCTURED):
        answer = response(request, Answer(output()), False)
        while b"piece" not in next(answer):
            pass
        answer.close()  # type: ignore[attr-defined]
        del answer
    assert ended == [True, True]


@given(st.lists(st.text(), max_size=6))
def test_pieces_give_the_same_bytes_as_the_whole(texts: list[str]) -> None:
    whole = "".join(texts)
    assert strict(sent(STRUCTURED, Answer(pieces(*texts))))["output"] == whole
    for request in (STRUCTURED, TEXT):
        assert sent(request, Answer(pieces(*texts))) == sent(request, Answer(whole))


@pytest.mark.parametrize("request_", [TEXT, STRUCTURED])
@pytest.mark.parametrize(
    "answer",
    [Answer("a\udcffb"), Answer(error="a\udcffb"), Answer(error="a\ud800"), Answer(error="a\ud800", is_json=True)],
)
def test_text_that_is_not_utf_8_is_shown_escaped(request_: Request, answer: Answer) -> None:
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
def test_the_answer_of_run_wait_holds_the_output_and_the_exit_status(
    answer: Answer, text: str, structured: dict[str, Any]
) -> None:
    assert sent(TEXT, answer).decode() == text
    failure = {} if answer.ok else {"verbatim": False}
    response = {"v": 1, "id": 7, "transaction": False, **failure, **structured}
    assert strict(sent(STRUCTURED, answer)) == response


def test_the_data_of_run_wait_is_on_one_line_also_if_the_program_failed() -> None:
    data = json.dumps(RESULT, ensure_ascii=False)
    well, failed = Answer(data, is_json=True, exit_status=0), Answer(data, "it failed", is_json=True, exit_status=7)
    assert strict(sent(TEXT, well)) == RESULT
    assert strict(sent(TEXT, failed)) == {"error": "it failed", "diagnostics": [], "data": RESULT}
    assert lines(sent(TEXT, failed)) == lines(sent(STRUCTURED, failed)) == 1
    head = {"v": 1, "id": 7, "transaction": False}
    assert strict(sent(STRUCTURED, well)) == {**head, "ok": True, "exit_status": 0, "data": RESULT}
    assert strict(sent(STRUCTURED, failed)) == {
        **head,
        "ok": False,
        "exit_status": 7,
        "error": "it failed",
        "verbatim": False,
        "diagnostics": [],
        "data": RESULT,
    }


def test_a_request_may_end_in_cr_lf() -> None:
    assert read_request(b'{"v": 1, "id": 7, "command": "pid"}\r') == Request("pid", True, 7)
