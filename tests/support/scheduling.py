"""How the kernel schedules a thread."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple


class Attributes(NamedTuple):
    """What sched_getattr(2) says of a thread. `slice_ns`: 0 before Linux 6.12."""

    policy: int
    nice: int
    slice_ns: int


def attributes(pid: int = 0) -> Attributes:
    number = {"x86_64": 315, "aarch64": 275}[os.uname().machine]
    buffer = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(number, pid, buffer, len(buffer), 0) == 0
    _, policy, _, nice, _, runtime_ns, _, _ = struct.unpack("=IIQiIQQQ", buffer)
    return Attributes(policy, nice, runtime_ns)
