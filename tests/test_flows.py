"""A change adds no hop to the flow of a console line or of a due job. `python -m tests.flows` shows the files."""

from __future__ import annotations

import pytest

from tests.flows import import_depth, trace

LINE_FILES, JOB_FILES, IMPORT_DEPTH = 18, 22, 16


@pytest.mark.slow
def test_the_flows_cross_few_files() -> None:
    # Something else that the daemon does may fall into a flow and add its files, so the shortest of some traces counts.
    traces = (trace() for _ in range(5))
    assert any(len(line.files) <= LINE_FILES and len(job.files) <= JOB_FILES for line, job in traces)


def test_no_chain_of_imports_is_long() -> None:
    assert len(import_depth()) <= IMPORT_DEPTH
