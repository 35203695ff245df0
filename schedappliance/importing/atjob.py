"""Jobs of `at` in its spool, one file each.

Rule: the shell reads the script from standard input, as atd does it, and gets the same words. Only a variable whose value
no stanza file may hold is left out.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from schedappliance.diagnostics import joined
from schedappliance.importing import stanzas
from schedappliance.importing.stanzas import Entry, Imported, Job, NotPossible, Wishes
from schedappliance.model.values import MAX_TIME_MS
from schedappliance.syntax.printer import word
from schedappliance.syntax.text import decode

DIFFERENCES = (
    "The script of each job holds the environment in which `at` was called. Whoever can read this file can read it.",
    "Output is kept with each run, and `sched show` prints it. Nothing is mailed.",
)

# The queue, the number of the job, and the minutes since 1970; `=` stands for a job that runs.
FILE_NAME = re.compile(r"([A-Za-z=])([0-9a-f]{5})([0-9a-f]{8})")
_OWNER = re.compile(r"^# atrun uid=(\d{1,10}) gid=(\d{1,10})$", re.MULTILINE | re.ASCII)
_MAIL = re.compile(r"^# mail +(\S+) +1$", re.MULTILINE)
# A letter beyond ASCII: `at` writes a backslash before each of its bytes.
_LETTER = re.compile(rb"\\[\xc2-\xf4](?:\\[\x80-\xbf]){1,3}")
# `at` writes a backslash before other signs, and double quotes around a newline.
_VARIABLE = re.compile(rb'^([A-Za-z_]\w*)=(?:[^\n"\\;]|\\[^\n]|"\n")*+; export \1\n', re.MULTILINE)


def import_at_job(path: Path, data: bytes, wishes: Wishes) -> Imported:
    """The job of one file of the spool."""
    imported = Imported("", DIFFERENCES)
    entry = Entry(str(path))
    imported.entries.append(entry)
    try:
        _fill(entry, _script(entry, data), path.name, wishes)
    except NotPossible as error:
        entry.failure = str(error)
    return imported


def _script(entry: Entry, data: bytes) -> str:
    """The script of a job. Adds a note on the variables that are left out, each for as many empty lines."""
    names: list[str] = []

    def readable(variable: re.Match[bytes]) -> bytes:
        if not decode("", variable[0])[1]:
            return variable[0]
        names.append(f"`{variable[1].decode()}`")
        return b"\n" * variable[0].count(b"\n")

    data = _LETTER.sub(lambda letter: b"\\" + letter[0].replace(b"\\", b""), data)
    # The variables stand before the line that changes the directory.
    end = data.find(b"\ncd ") + 1
    source, diagnostics = decode(entry.place, _VARIABLE.sub(readable, data[:end]) + data[end:])
    if names:
        entry.notes.append(f"left out of the environment, because no stanza file may hold its value: {joined(names)}")
    if diagnostics:
        line, column, _, _ = diagnostics[0].place()
        raise NotPossible(f"line {line}, column {column}: {diagnostics[0].text}")
    return source.text


def _fill(entry: Entry, script: str, base_name: str, wishes: Wishes) -> None:
    match = FILE_NAME.fullmatch(base_name)
    if not match:
        remedy = "the name of a job of at holds its queue, its number and its time, such as `a000010163f5d8a`"
        raise NotPossible(f"`{base_name}` is not the name of a job of at", remedy)
    queue, number, minutes = match[1], int(match[2], 16), int(match[3], 16)
    if queue == "=":
        raise NotPossible("the job is running now", "wait for its end")
    owner = _OWNER.search(script)
    if not owner:
        raise NotPossible("the file has no line `# atrun uid=… gid=…`", "name a file that `at` has written")
    if minutes * 60_000 > MAX_TIME_MS:
        raise NotPossible("the time of the job is after the year 9999", "remove the job with `atrm`")
    due = datetime.fromtimestamp(minutes * 60, UTC)
    options = {"at": due.strftime("%Y-%m-%dT%H:%M:%SZ"), "catch_up": "once"}
    options["user"] = word(wishes.user or owner[1])
    options["group"] = word(owner[2])
    options["stdin"] = stanzas.template(script if script.endswith("\n") else f"{script}\n")
    options["argv"] = stanzas.argv(["/bin/sh"])
    if queue in "bB":
        entry.notes.append("a job of `batch` waits until the load of the machine is low; this one does not")
    elif queue not in "aA":
        entry.notes.append(f"queue `{queue}`: at starts it with a lower priority; this job has that of the appliance")
    if mail := _MAIL.search(script):
        entry.notes.append(f"at mails {mail[1]} when the job has run, even without output; nothing is mailed")
    entry.jobs.append(Job(f"at-{number}", options))
