"""The protocol without a socket: what is a message, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.client import Unavailable
from schedappliance.client.wire import Wire

FOREIGN = "what listens at /run/x.sock is no appliance: it does not answer as docs/protocol.md says"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{}", FOREIGN),
        (b'{"id": 1, "ok": true}', FOREIGN),
        (b'{"id": 1, "ok": true, "transaction": false}', FOREIGN),
        (b"{{{", FOREIGN),
        (b"{\xff}", FOREIGN),
        (b"", FOREIGN),
        (b"error: too many clients; try again later", "too many clients; try again later"),
    ],
)
def test_an_answer_of_another_program_is_an_error_of_the_client(line: bytes, error: str) -> None:
    wire = Wire(Path("/run/x.sock"))
    wire.add(line + b"\n")
    with pytest.raises(Unavailable) as raised:
        wire.message()
    assert str(raised.value) == error


def test_messages_arrive_in_pieces() -> None:
    wire = Wire(Path("/run/x.sock"))
    wire.add(b'{"event": "hello"}\n{"ok": true, "trans')
    assert wire.message() == {"event": "hello"}
    assert wire.message() is None
    wire.add(b'action": false, "data": 1}\n')
    assert wire.message() == {"ok": True, "transaction": False, "data": 1}
