"""Finds the files that a path of `import` stands for, and has each one imported as the kind that the user names.

Rule: a file that is clearly something else is rejected, with the right kind in the remedy.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass, replace
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Source, Span, Unusable
from schedappliance.importing.atjob import FILE_NAME, import_at_job
from schedappliance.importing.crontab import Form, import_crontab, is_anacrontab, lacks_users, users_in_commands
from schedappliance.importing.expressions import Expressions
from schedappliance.importing.refusals import LEFT_BEHIND, refusals, without_end
from schedappliance.importing.stanzas import Imported, Wishes, check_options
from schedappliance.importing.timer import import_timer
from schedappliance.model.files import DISK, ReadFile, ends_with, real_path
from schedappliance.syntax.text import decode

# The kinds of input, each with the noun of what is counted.
NOUNS = {"crontab": "line", "cron.d": "line", "timer": "timer", "at": "job"}
STDIN = "<stdin>"

# The ends of the paths of the directories with the crontabs of users, also of their copies.
_SPOOLS = (("spool", "cron"), ("spool", "cron", "crontabs"), ("spool", "cron", "tabs"), ("var", "cron", "tabs"))
# That of the one crontab with a user column that is a crontab by name.
_MAIN = ("etc", "crontab")


@dataclass(frozen=True, slots=True)
class Importer:
    """Reads files of one kind."""

    kind: str
    wishes: Wishes
    read_file: ReadFile
    expressions: Expressions

    def files_of(self, path: Path) -> list[Path]:
        """The files that a path stands for: those that cron, systemd or atd would read in a directory."""
        if not DISK.is_dir(path):
            return [path]
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise Unusable(f"cannot read {path}: {error.strerror}", "run `import` as root") from None
        return [path / name for name in names if self._is_of_kind(name) and not DISK.is_dir(path / name)]

    def _is_of_kind(self, name: str) -> bool:
        if self.kind == "timer":
            return name.endswith(".timer")
        if self.kind == "at":
            return bool(FILE_NAME.fullmatch(name))
        return not LEFT_BEHIND.fullmatch(name)

    def path(self, path: Path) -> list[Imported]:
        """The stanzas for each file that a path stands for. Raises Unusable."""
        is_directory = DISK.is_dir(path)
        return [self.file(file, file.name if is_directory else None) for file in self.files_of(path)]

    def file(self, path: Path, owner: str | None = None) -> Imported:
        """The stanzas for one file. `owner`: of a crontab without a user column. Raises Unusable."""
        return _checked(self._file(path, owner))

    def _file(self, path: Path, owner: str | None) -> Imported:
        if self.kind == "timer":
            return import_timer(path, self.wishes, self.read_file, self.expressions)
        try:
            data = self.read_file(path)
        except OSError as error:
            raise Unusable(f"cannot read {path}: {error.strerror}", "name a file that exists and can be read") from None
        if self.kind == "at":
            return import_at_job(path, data, self.wishes)
        source, diagnostics = decode(str(path), data)
        return self._crontab(source, diagnostics, path, owner or _owner(path))

    def stdin(self, data: bytes) -> Imported:
        """The stanzas for a crontab on standard input."""
        source, diagnostics = decode(STDIN, data)
        return _checked(self._crontab(source, diagnostics, None, None))

    def _crontab(self, source: Source, diagnostics: list[Diagnostic], path: Path | None, owner: str | None) -> Imported:
        wishes, form = self.wishes, Form.USER
        if is_anacrontab(source):
            form = Form.ANACRON
        elif self.kind == "cron.d" or (path and ends_with(path, *_MAIN)):
            form = Form.SYSTEM
        else:
            wishes = replace(wishes, user=wishes.user or owner)

        def is_user(name: str) -> bool:
            return wishes.home_of(name) is not None

        if form is Form.USER and users_in_commands(source, is_user):
            message = "each command begins with the name of a user"
            return Imported("", diagnostics=[Diagnostic("E118", message, "use `import cron.d`", source)])
        if self.kind == "cron.d" and form is Form.SYSTEM and lacks_users(source, is_user):
            message = "the file has no user column"
            return Imported("", diagnostics=[Diagnostic("E118", message, "use `import crontab`", source)])
        imported = import_crontab(source, diagnostics, form, wishes, self.expressions)
        if self.kind == "cron.d":
            imported.title = imported.title if form is Form.ANACRON else ""
            if path:
                _name_after_file(imported, path)
        if path and form is not Form.ANACRON:
            notes = without_end(source.text)
            if form is Form.SYSTEM or owner:
                notes += refusals(path, None if form is Form.SYSTEM else owner)
            for entry in imported.entries:
                entry.notes += notes if entry.jobs else []
        return imported


def _owner(path: Path) -> str | None:
    """The user whose crontab a file is, if it is in a directory with the crontabs of users."""
    for place in (path, real_path(path)):
        if any(ends_with(place.parent, *spool) for spool in _SPOOLS):
            return place.name
    return None


def _checked(imported: Imported) -> Imported:
    for entry in imported.entries:
        check_options(entry)
    return imported


def _name_after_file(imported: Imported, path: Path) -> None:
    """Names in a file of /etc/cron.d begin with that of the file, which is usually the name of a package."""
    for job in (job for entry in imported.entries for job in entry.jobs):
        if len(imported.entries) == 1 or job.name.lower() in path.name.lower():
            job.name = path.name
        elif path.name.lower() not in job.name.lower():
            job.name = f"{path.name}-{job.name}"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a text is. `name`: with its article. `argument`: that of `import`. `span`: the first line that shows it."""

    name: str
    argument: str
    span: Span


_UNIT_SECTION = re.compile(r"\[(Unit|Timer|Service|Install|Socket|Path|Mount|Slice|Target)\]")
_CRON_FIELD = r"[\w*?,/~+#-]+[ \t]+"
_CRON_LINE = re.compile(
    r"-?(?:@(?:reboot|yearly|annually|monthly|weekly|daily|midnight|hourly)[ \t]+"
    rf"|[\d*~][\d*,/~-]*[ \t]+(?:{_CRON_FIELD}){{4}})\S"
)
_ASSIGNMENT = re.compile(r"[A-Z_]+[ \t]*=")
_AT_OWNER = re.compile(r"# atrun uid=\d+ gid=\d+")


def kind_of(path: Path, text: str) -> Kind | None:
    """What a text is if it looks like a crontab, a unit of systemd or a job of at; None if it looks like none of them."""
    lines = [(match.start(), match.group()) for match in re.finditer(r"[^ \t\r\n][^\r\n]*", text)]
    for start, line in lines[:3]:
        if _AT_OWNER.fullmatch(line.rstrip()):
            return Kind("a job of at", "at", Span(start, start + len(line)))
    lines = [(start, line.rstrip()) for start, line in lines if not line.startswith(("#", ";"))]
    if lines and _UNIT_SECTION.fullmatch(lines[0][1]):
        return Kind("a unit of systemd", "timer", Span(lines[0][0], lines[0][0] + len(lines[0][1])))
    jobs = [(start, line) for start, line in lines if not _ASSIGNMENT.match(line)]
    if not jobs:
        return None
    span = Span(jobs[0][0], jobs[0][0] + len(jobs[0][1]))
    if is_anacrontab(Source("", text)):
        return Kind("an anacrontab", "crontab", span)
    if not all(_CRON_LINE.match(line) for _, line in jobs):
        return None
    has_users = ends_with(path.parent, "cron.d") or users_in_commands(Source("", text), _is_account)
    return Kind("a crontab", "cron.d" if has_users and not ends_with(path, *_MAIN) else "crontab", span)


def _is_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
