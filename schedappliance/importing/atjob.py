"""Jobs of `at` in its spool, one file each.

Rule: the script is kept word for word, and the shell reads it from standard input, as atd does it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.importing import stanzas
from schedappliance.importing.stanzas import Entry, Imported, Job, NotPossible, Wishes
from schedappliance.model.values import MAX_TIME_MS
from schedappliance.syntax.printer import word

DIFFERENCES = (
    "The script of each job holds the environment in which `at` was called. Whoever can read this file can read it.",
    "Output is kept with each run, and `sched show` prints it. Nothing is mailed.",
)

# The queue, the number of the job, and the minutes since 1970; `=` stands for a job that runs.
FILE_NAME = re.compile(r"([A-Za-z=])([0-9a-f]{5})([0-9a-f]{8})")
_OWNER = re.compile(r"^# atrun uid=(\d{1,10}) gid=(\d{1,10})$", re.MULTILINE | re.ASCII)
_MAIL = re.compile(r"^# mail +(\S+) +1$", re.MULTILINE)


def import_at_job(source: Source, diagnostics: list[Diagnostic], base_name: str, wishes: Wishes) -> Imported:
    """The job of one file of the spool, `base_name` in its directory."""
    imported = Imported("", DIFFERENCES)
    entry = Entry(source.name)
    imported.entries.append(entry)
    try:
        if diagnostics:
            raise NotPossible(diagnostics[0].brief())
        _fill(entry, source.text, base_name, wishes)
    except NotPossible as error:
        entry.failure = str(error)
    return imported


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
