"""What the page calls a job: in commands, and in its address."""

from __future__ import annotations

import pytest

from schedappliance.web.rendering.addresses import job_href_of, job_words

ID = "example.com-000000001"


@pytest.mark.parametrize(
    ("name", "words", "address"),
    [
        ("backup", ["backup", ID], "/jobs/backup"),
        ("a b", ["a b", ID], "/jobs/a%20b"),
        (None, [ID], f"/jobs/{ID}"),
        ("example.com-000000002", [ID], f"/jobs/{ID}"),
        ("new", ["new", ID], f"/jobs/{ID}"),
        ("..", ["..", ID], f"/jobs/{ID}"),
        ("a/b", ["a/b", ID], f"/jobs/{ID}"),
    ],
)
def test_a_job_is_called_by_its_name_where_this_is_no_other_thing(
    name: str | None, words: list[str], address: str
) -> None:
    job = {"name": name, "id": ID}
    assert job_words(job) == words
    assert job_href_of(job) == address
