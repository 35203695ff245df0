"""The prompt of `schedappliance console`: its history, its completion, and the lines that a person types.

Rule: completion asks on a connection of its own, and changes nothing, not even the log. A history that cannot be kept stops nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
import readline
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from schedappliance.cli.errors import OK, UNAVAILABLE, print_error, print_late, print_note
from schedappliance.client.console import Session
from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import quoted
from schedappliance.model.commands import FORMS
from schedappliance.model.listings import FILTERS
from schedappliance.syntax.command import next_words
from schedappliance.visible import visible

# How many lines the history keeps, and how many names completion offers.
KEPT_LINES, MOST_NAMES = 1000, 1000
# The commands of `sched` that are followed by a job, as their usages say.
OF_JOBS = {match[1] for form in FORMS.values() if (match := re.match(r"sched (\w+) \[?ID\b", form.usage))}
# The commands whose filters follow a job or a run.
WITH_FIRST_WORD = ("show", "output")


Say = Callable[[Session, str, bool], int]


def prompt(endpoint: Path, say: Say, user: str | None = None) -> int:
    """A prompt for people. It survives a restart of the appliance, and an appliance that closes an idle connection.

    `say`: sends a line and shows the answer, or the error if a person typed the line; returns the exit status. `user`: on whose
    behalf; None: that of the user of this process.
    """
    with (
        contextlib.closing(Session(endpoint, on_behalf_of=user, on_late=print_late)) as session,
        contextlib.closing(Session(endpoint, on_behalf_of=user)) as asking,
    ):
        # The version is a greeting. A user without a role for `version` sees no error.
        if say(session, "version", False) == UNAVAILABLE:
            return UNAVAILABLE
        completion = Completion(asking)
        readline.set_completer_delims(" \t")
        readline.set_completer(completion.complete)
        readline.parse_and_bind("tab: complete")
        with _history() if sys.stdin.isatty() else contextlib.nullcontext():
            _converse(session, visible(endpoint.name), say)
    return OK


def _converse(session: Session, name: str, say: Say) -> None:
    warned = False
    while True:
        try:
            line = input(f"{name}{' (transaction)' if session.in_transaction else ''}> ").strip()
        except KeyboardInterrupt:
            # The key may be held down.
            with contextlib.suppress(KeyboardInterrupt):
                print()
            continue
        except EOFError:
            print()
            line = "quit"
        if line.lower() == "quit":
            if warned or not session.in_transaction:
                return
            warned = True
            print_note("a transaction is open: `config commit` puts it into effect; leave again to discard it")
            continue
        warned = False
        if not line:
            continue
        try:
            session.renew()
        except Unavailable as unavailable:
            print_error(str(unavailable))
            continue
        say(session, line, True)


class Completion:
    """The words that may follow: those of the grammar, and the names of jobs and programs that the appliance tells."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._words: list[str] = []

    def complete(self, text: str, number: int) -> str | None:
        """The interface of readline: the words one by one, then None."""
        if number == 0:
            before = readline.get_line_buffer()[: readline.get_begidx()]
            self._words = [f"{word} " for word in self.words(before) if word.startswith(text)]
        return self._words[number] if number < len(self._words) else None

    def words(self, before: str) -> list[str]:
        """The words that may follow a text."""
        grammar = next_words(before)
        if grammar is None:
            return []
        words = before.lower().split()
        if grammar or not words:
            return sorted(grammar)
        if words[0] == "json":
            words = words[1:]
        if words[:1] == ["run"] and len(words) <= 2 and words[1:] in ([], ["--wait"]):
            return self._names("program")
        if words[:1] != ["sched"] or len(words) < 2:
            return []
        filters = ["for"] if words[1:] == ["hold"] else list(FILTERS.get(f"sched_{words[1]}", ()))
        if words[1] in WITH_FIRST_WORD:
            filters = []
        return filters + (self._names("job") if words[1] in OF_JOBS and len(words) == 2 else [])

    def _names(self, kind: str) -> list[str]:
        line = f"json sched list limit {MOST_NAMES}" if kind == "job" else "json config show"
        try:
            response = self._session.ask(line, quiet=True)
        except Unavailable:
            self._session.close()
            return []
        if not response["ok"]:
            return []
        if kind == "job":
            names = {str(job["name"] or job["id"]) for job in response["data"]}
        else:
            names = {str(scope["name"]) for scope in response["data"] if scope["stanza"] == kind}
        return sorted(quoted(name) for name in names if name.isprintable())


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """The lines of earlier prompts; those of this one are added to the file, which only its user can read."""
    readline.set_history_length(KEPT_LINES)
    path = history_file()
    if path is not None:
        with contextlib.suppress(OSError):
            readline.read_history_file(path)
    before = readline.get_current_history_length()
    try:
        yield
    finally:
        # Another kind of file may have come to its place.
        if path is not None and (path := history_file()):
            with contextlib.suppress(OSError):
                readline.append_history_file(readline.get_current_history_length() - before, path)


def history_file() -> Path | None:
    """The file of the history, which is made with its directories; None if it cannot be kept.

    The directory in which they are made must exist: a user without a home directory gets none.
    """
    home, state = Path(os.path.expanduser("~")), Path(os.environ.get("XDG_STATE_HOME", ""))  # noqa: PTH111
    made = [state] if state.is_absolute() else [home / ".local", home / ".local/state"]
    if not made[0].is_absolute():
        return None
    path = made[-1] / "schedappliance" / "history"
    try:
        for directory in (*made, path.parent):
            directory.mkdir(mode=0o700, exist_ok=True)
        # A FIFO must not block.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    with os.fdopen(descriptor, "wb"), contextlib.suppress(OSError):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        os.fchmod(descriptor, 0o600)
    return path
