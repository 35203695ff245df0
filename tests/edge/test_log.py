"""The log: what libraries, their threads and Python itself say comes as one line each, as what the appliance says."""

from __future__ import annotations

import json
import subprocess
import sys

# In a process of its own: these hooks are the whole process's.
EVERYBODY = """
import gc, logging, sys, threading, warnings
from schedappliance.edge.log import Log

log = Log("debug", sys.argv[1])
log.speak_for_all()
log.logger.info("ours")
logging.getLogger("library.part").debug("of no interest")
logging.getLogger("library.part").error("two\\nlines, %d%%", 5)
try:
    raise ValueError("caught")
except ValueError:
    logging.getLogger("library").exception("went wrong")
warnings.warn("old", UserWarning, stacklevel=1)

def end(how):
    raise how

for how in (OSError("in a thread"), SystemExit(3)):
    thread = threading.Thread(target=end, args=(how,), name="theirs")
    thread.start()
    thread.join()

class Bad:
    def __del__(self):
        raise RuntimeError("at its end")

Bad()
gc.collect()
log.close()
"""
EXPECTED = [
    ("info", "ours"),
    ("warning", "library.part: two\nlines, 5%"),
    ("warning", "library: went wrong: ValueError: caught (<string>:11)"),
    ("warning", "UserWarning: old (<string>:14)"),
    ("error", "the thread theirs has ended: OSError: in a thread (<string>:17)"),
    ("error", "an exception was ignored: RuntimeError: at its end (<string>:26)"),
]


def said(format: str) -> list[str]:
    command = [sys.executable, "-W", "always", "-c", EVERYBODY, format]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_all_that_is_said_is_json_when_the_log_is() -> None:
    rows = [json.loads(line) for line in said("json")]
    assert [(row["level"], row["message"]) for row in rows] == EXPECTED
    assert all(set(row) == {"time", "level", "message"} for row in rows)


def test_all_that_is_said_is_one_line_with_time_and_level_in_the_text() -> None:
    lines = [line.split(" ", 1)[1] for line in said("text")]
    assert lines == [f"{level} {message}".replace("\n", "\\n") for level, message in EXPECTED]
