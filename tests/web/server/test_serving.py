"""What the server of the page logs."""

from __future__ import annotations

import logging

from schedappliance.web.server.serving import TRACEBACK_SECONDS, FewTracebacks


def test_one_traceback_a_second_is_logged_with_the_number_of_the_others() -> None:
    now = [0.0]
    tracebacks = FewTracebacks(lambda: now[0])

    def logged(failure: Exception | None = None) -> str | None:
        info = None if failure is None else (type(failure), failure, None)
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "it has failed", (), info)
        return record.getMessage() if tracebacks.filter(record) else None

    assert logged(ValueError()) == "it has failed"
    assert [logged(ValueError()), logged(KeyError())] == [None, None]
    assert logged() == "it has failed"
    now[0] += TRACEBACK_SECONDS
    assert logged(ValueError()) == "it has failed (2 more were left out)"
    now[0] += TRACEBACK_SECONDS
    assert logged(ValueError()) == "it has failed"
