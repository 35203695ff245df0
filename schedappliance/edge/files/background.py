"""How stanza files are read beside the deciding thread, how the parsers are made, and how a replaced configuration is freed.

Rule: the deciding thread waits for none of these. Reading 10,000 stanzas takes seconds and makes 400,000 objects.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from schedappliance.model.commands import read_command

if TYPE_CHECKING:
    from schedappliance.model.configuration import Configuration

# How long a thread keeps the interpreter while another one waits for it. With Python's own 5 ms, each line of the console
# waited some 30 ms while 10,000 stanzas were read: a line takes the interpreter a dozen times. At all other times, 0.2 ms
# would cost 1 to 5 % of the work. With 0.1 ms, lines waited less on a calm machine, and longer on a busy one.
SWITCH_SECONDS = 0.0002


@contextmanager
def in_background() -> Iterator[None]:
    """Reads files so that the other threads hardly notice it. One thread at a time may do so.

    The garbage collector would stop all threads for 0.4 s to look through the objects of 10,000 stanzas, which form no
    cycles. So it is off meanwhile, and these objects are frozen: later collections skip them too.
    """
    interval = sys.getswitchinterval()
    is_collecting = gc.isenabled()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if is_collecting:
            gc.enable()
        sys.setswitchinterval(interval)


def make_parsers() -> None:
    """Makes the parsers of commands and calendars, which takes some 60 ms. Otherwise the first line that needs them makes them."""
    with in_background():
        for line in ('sched cron "1 2 * * *" pid', 'sched calendar "Mon *-*-* 03:00" pid'):
            assert read_command(line).command


def free(replaced: list[Configuration]) -> None:
    """Frees the only configuration in the list, stanza by stanza. At once, it would stop all threads for 40 ms."""
    with in_background():
        configuration = replaced.pop()
        # With their names, whose 10,000 would take 3 ms when the configuration is freed.
        stanzas = [*configuration.blocks.items(), *configuration.jobs.items(), *configuration.programs.items()]
        del configuration
        while stanzas:
            stanzas.pop()
