"""What all screens share."""

from __future__ import annotations

from starlette.requests import Request

from schedappliance.web.site import here


def _request(path: str, query: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []})


def test_the_address_of_a_screen_is_that_of_its_part_of_a_list() -> None:
    query = "find=a&after=0001.example.com-000000001"
    assert here(_request("/jobs", query)) == f"/jobs?{query}"
    assert here(_request("/runs/a-1/1", "attempt=2&mark=2-11-1")) == "/runs/a-1/1?attempt=2"
    assert here(_request("/", "message=abc")) == "/"
