"""Job ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine.records import RunKey, job_id, job_number, run_id


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "example.com-000000001"),
        (999_999_999, "example.com-999999999"),
        (1_000_000_000, "example.com-1000000000"),
        (10**18 - 1, "example.com-999999999999999999"),
    ],
)
def test_an_id_has_nine_digits_or_as_many_as_it_needs(number: int, text: str) -> None:
    assert job_id("example.com", number) == text
    assert job_number("example.com", text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "000000001",
        "-000000001",
        "example.com-1",
        "example.com-00000001",
        "example.com-0000000001",
        "example.com-00000000a",
        "example.com-00000000²",
        "example.com-٠٠٠٠٠٠٠٠١",
        "example.com--00000001",
        "example.com-000000001/1",
        "Example.com-000000001",
        "example.org-000000001",
        "example.com-1000000000000000000",
    ],
)
def test_a_word_that_is_not_an_id_of_this_node_is_rejected(text: str) -> None:
    assert job_number("example.com", text) is None


@given(st.from_regex(r"[a-z][a-z.-]{0,20}", fullmatch=True), st.integers(1, 10**18 - 1))
def test_every_id_is_read_back(node: str, number: int) -> None:
    assert job_number(node, job_id(node, number)) == number


def test_the_id_of_a_run_has_its_job_and_its_occurrence() -> None:
    assert run_id("node", RunKey(12, 3)) == "node-000000012/3"
