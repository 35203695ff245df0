"""Reading files beside the deciding thread: the interpreter is set back afterwards, and a configuration is freed."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from schedappliance.edge.files.background import SWITCH_SECONDS, free, in_background
from schedappliance.model.configuration import Configuration, Program
from schedappliance.model.loading import load
from tests.support.waiting import PATIENCE_SECONDS


def test_the_interpreter_is_set_back_even_after_a_mistake() -> None:
    gc.enable()  # `lint` switches it off for the rest of its process, which may be that of this test.
    interval = sys.getswitchinterval()
    with pytest.raises(ValueError), in_background():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS) and not gc.isenabled()
        raise ValueError
    assert sys.getswitchinterval() == interval and gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with in_background():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


# In its own process, since other tests make the parsers too.
WITHOUT_PARSERS = """
from lark import Lark
from schedappliance.edge.files.background import make_parsers
from schedappliance.model.commands import read_command

make_parsers()

def make_another(*_arguments, **_options):
    raise AssertionError("a parser is made")

Lark.__init__ = make_another
for line in LINES:
    assert read_command(line).command, line
"""


def test_no_line_waits_for_a_parser_that_is_made() -> None:
    lines = ("summary", 'sched cron "*/5 8-17 * * Mon-Fri" run a', 'sched calendar "Mon..Fri *-*-* 03:00" run a')
    text = WITHOUT_PARSERS.replace("LINES", repr(lines))
    subprocess.run([sys.executable, "-c", text], check=True, timeout=PATIENCE_SECONDS)


STANZAS = """\
program "a" { argv = ( "/bin/true" ) }
job "b" { cron = "0 3 * * *" zone = "UTC" command = "run a" }
"""


def loaded(text: str) -> Configuration:
    return load(Path("/etc/sched.conf"), lambda _path: text.encode()).configuration


class Traced(dict[str, Program]):
    """A dictionary that shows whether it is freed."""


def test_a_replaced_configuration_is_freed() -> None:
    configuration = loaded(STANZAS)
    configuration.programs = programs = Traced(configuration.programs)
    freed = weakref.ref(programs)
    replaced = [configuration]
    del configuration, programs
    free(replaced)
    assert not replaced and freed() is None


def test_a_loaded_configuration_has_no_cycles() -> None:
    """The collector does not look through it, so a cycle would never be freed."""
    # What is made once, such as the parsers, has cycles.
    wrong = STANZAS + 'job "c" { every = 1x command = "rnu a" }\nD = (\n'
    loaded(STANZAS), loaded(wrong)
    gc.collect()
    gc.disable()
    try:
        loaded(STANZAS), loaded(wrong)
        assert gc.collect() == 0
    finally:
        gc.enable()
