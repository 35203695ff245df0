"""The environment of a program that answers a failure, whatever bytes the failed program wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine.attempts import TAIL_BYTES, EndedRun, Exit, failure_environment, tail
from schedappliance.engine.records import RunKey
from schedappliance.engine.states import RunState


def environment(
    program_exit: Exit, state: RunState = RunState.FAILED, reason: str | None = "a reason", output: bytes = b""
) -> dict[str, str]:
    return dict(
        failure_environment(
            "example.com", EndedRun(RunKey(7, 3), 5999, state, reason, "run p 'a'", program_exit, output)
        )
    )


def test_the_variables_name_the_run_and_how_it_ended() -> None:
    assert environment(Exit(3), RunState.TIMED_OUT, output=b"said\n") == {
        "SCHED_FAILED_JOB_ID": "example.com-000000007",
        "SCHED_FAILED_RUN_ID": "example.com-000000007/3",
        "SCHED_FAILED_COMMAND": "run p 'a'",
        "SCHED_FAILED_DUE_TIME": "5",
        "SCHED_FAILED_STATE": "timed_out",
        "SCHED_FAILED_REASON": "a reason",
        "SCHED_FAILED_EXIT_STATUS": "3",
        "SCHED_FAILED_OUTPUT": "said\n",
    }


@pytest.mark.parametrize(
    ("program_exit", "status"),
    [(Exit(0), "0"), (Exit(255), "255"), (Exit(signal=9), "137"), (Exit(signal=64), "192"), (Exit(), "")],
)
def test_the_status_is_a_number_as_in_a_shell_or_empty(program_exit: Exit, status: str) -> None:
    assert environment(program_exit, reason=None)["SCHED_FAILED_EXIT_STATUS"] == status
    assert environment(program_exit, reason=None)["SCHED_FAILED_REASON"] == ""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"", b""),
        (b"a\0b\0", b"ab"),
        (b"\0" * 9000, b""),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"\xa9" + b"x" * (TAIL_BYTES - 1), b"\xa9" + b"x" * (TAIL_BYTES - 1)),
        (b"a" + b"x" * TAIL_BYTES, b"x" * TAIL_BYTES),
        ("é".encode() + b"x" * (TAIL_BYTES - 1), b"x" * (TAIL_BYTES - 1)),
        ("\U0001f600".encode() + b"x" * (TAIL_BYTES - 2), b"x" * (TAIL_BYTES - 2)),
        (b"\x80" * 9000, b"\x80" * (TAIL_BYTES - 3)),
    ],
)
def test_the_tail_begins_with_a_character_and_holds_no_nul(output: bytes, expected: bytes) -> None:
    assert tail(output) == expected


@given(st.binary(max_size=32).flatmap(lambda data: st.sampled_from([data, data * 500])))
def test_any_output_is_in_the_environment_byte_for_byte(output: bytes) -> None:
    value = environment(Exit(1), output=output)["SCHED_FAILED_OUTPUT"].encode(errors="surrogateescape")
    assert value == tail(output)
    assert b"\0" not in value
    assert len(value) <= TAIL_BYTES
    assert output[-TAIL_BYTES:].replace(b"\0", b"").endswith(value)
