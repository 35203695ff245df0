"""Crontabs: of one user, `/etc/crontab` and `/etc/cron.d` with their user column, and anacrontabs.

Rule: the stanzas do what cron does with a line, also where its author probably meant something else; a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from schedappliance.diagnostics import Diagnostic, InvalidValue, Source, shortened
from schedappliance.importing import shell, stanzas
from schedappliance.importing.expressions import Expressions
from schedappliance.importing.stanzas import Entry, Imported, Job, NotPossible, Wishes
from schedappliance.model.options import is_variable
from schedappliance.model.values import duration_text
from schedappliance.syntax.printer import word

# PATH that cron sets, and that the appliance sets.
CRON_PATH = "/usr/bin:/bin"
# Without SHELL, a program would get the login shell of its user, which may be nologin.
CRON_SHELL = "/bin/sh"
OWN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DIFFERENCES = (
    "Output is kept with each run, and `sched show` prints it. Nothing is mailed.",
    "A run with an exit status other than 0 has failed; `success` names others that mean success. cron ignores them.",
    "A run is skipped while the earlier run of its job has not ended. `overlap = parallel` starts both, as cron does.",
    f"Where the crontab sets no PATH, it is {OWN_PATH} and not {CRON_PATH}.",
)
ANACRON_DIFFERENCES = (
    *DIFFERENCES[:3],
    "anacron starts a job when its period has passed since its last start. Here it is due at fixed times, and a due time"
    " that passed while the appliance was down is caught up once.",
)

_ASSIGNMENT = re.compile(r"""[ \t]*(?:"([^"]*)"|'([^']*)'|([^\s="'@#][^\s=]*))[ \t]*=(.*)""")
# A value, and the text in its quotes.
_QUOTED = re.compile(r"""(["'])((?:(?!\1).)*)\1|(?!["']).*""")
_FIELDS = re.compile(r"[ \t]*(-?)(@\w+|(?:\S+[ \t]+){4}\S+)(?:[ \t]+|$)")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$-]*")
_ANACRON = re.compile(r"[ \t]*(\d+|@\w+)[ \t]+(\d+)[ \t]+([^\s/]+)[ \t]+(\S.*)")
_DAY_FIELD = re.compile(r"[\d*?,/~LW+#-]+")
# A field of a crontab, perhaps with names of months and weekdays.
_CRON_FIELD = re.compile(r"(?:[\d*?,/~LW+#-]|(?<![A-Za-z])[A-Za-z]{3}(?![A-Za-z]))+")
# A field that Debian's cron reads as the appliance does.
_VALUE = r"(?:\d+|[A-Za-z]{3})"
_ITEM = rf"(?:(?:\*|{_VALUE}-{_VALUE})(?:/\d+)?|{_VALUE})"
_FIELD = re.compile(rf"{_ITEM}(?:,{_ITEM})*", re.ASCII)
# Sunday has the number 0 in Debian's cron, also at the end of a range.
_UP_TO_SUNDAY = re.compile(r"\b(?!sun|0)\w+-sun\b(?:/\d+)?", re.ASCII | re.IGNORECASE)
_NO_DAY = "`{}`: for Debian's cron this range ends before it begins and holds no day; here it holds its days"
_COMMAND = re.compile(r"(?:[^\\%]|\\.?)*+")
_ESCAPE = re.compile(r"\\([\\%])")
_NICKNAMES = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_SECONDS = re.compile(r"@(\d{1,9})", re.ASCII)
_PERIODS = {"@daily": 1, "@weekly": 7}
# The longest command and the longest assignment of Debian's cron.
_MOST_BYTES = 998
# What cron itself reads. A command receives one of them only if it names it.
_OF_CRON = frozenset(
    {"MAILTO", "MAILFROM", "HOME", "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE", "LOGNAME", "USER"}
    | {"CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING", "NO_MAIL_OUTPUT", "PERIODIC_START"}
)
# Comments of the files that distributions install; they explain crontabs and say nothing about a job.
_TEMPLATE = re.compile(
    r"\bm h +dom\b|\.-{3,} |\bday of (the )?month\b|period in days|Edit this file to introduce|crontab\(5\)"
)
_CARRIAGE_RETURN = "the carriage return at the end of the line is left out; cron gives it to the command"
_HOURS = re.compile(r"START_HOURS_RANGE[ \t]*=")
# The lines above a job that are looked at, and those that are kept.
_MOST_ABOVE, _MOST_COMMENTS = 40, 12


class Form(Enum):
    """How the lines of a file are read. The value stands in the title of the output."""

    USER = "a crontab"
    SYSTEM = "a crontab with a user column"
    ANACRON = "an anacrontab"


@dataclass(slots=True)
class _Reader:
    """Reads one file line by line. `variables`: those that the lines so far have set."""

    source: Source
    form: Form
    wishes: Wishes
    imported: Imported
    expressions: Expressions
    variables: dict[str, str] = field(default_factory=dict)
    above: list[str] = field(default_factory=list)

    def line(self, number: int, line: str, rejected: str | None) -> None:
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            # A comment belongs to the job directly below it, even if that job is itself a comment.
            comment = stripped.lstrip("#").strip()
            is_of_job = bool(stripped) and not self._is_job(comment)
            self.above = [*self.above[-_MOST_ABOVE:], comment] if is_of_job else []
            return
        assignment = _ASSIGNMENT.fullmatch(line.rstrip("\r"))
        if rejected is None and assignment and self._assign(number, assignment):
            return
        entry = Entry(f"{self.source.name}:{number}", self._comments())
        self.above = []
        self.imported.entries.append(entry)
        try:
            if rejected is not None:
                raise NotPossible(rejected)
            self._job(line.rstrip("\r"), entry)
            if line.endswith("\r"):
                entry.notes.append(_CARRIAGE_RETURN)
        except NotPossible as error:
            entry.comments.append(shortened(stripped) if len(stripped) > 1000 else stripped)
            entry.failure = str(error)

    def _is_job(self, comment: str) -> bool:
        """Whether a comment is a job that has been switched off."""
        match = _FIELDS.match(comment)
        try:
            return bool(match and self.expressions.cron(match.group(2)))
        except InvalidValue:
            return False

    def _comments(self) -> list[str]:
        if any(_TEMPLATE.search(line) for line in self.above):
            return []
        return [line for line in self.above[-_MOST_COMMENTS:] if line]

    def _assign(self, number: int, assignment: re.Match[str]) -> bool:
        """Sets a variable. False if the value is one that cron rejects."""
        quoted, single, bare, value = assignment.groups()
        name, notes = quoted or single or bare or "", list[str]()
        # anacron knows no quotes, and keeps all blanks.
        if self.form is not Form.ANACRON:
            match = _QUOTED.fullmatch(value.strip(" \t"))
            if not match:
                return False
            value = (match[2] if match[1] else match[0]).rstrip(" \t")
            notes = _about_value(name, match)
        self.variables[name] = value
        for note in filter(None, [self._about_variable(name, value), *notes]):
            self.imported.notes.append(f"{self.source.name}:{number}: {note}")
        return True

    def _about_variable(self, name: str, value: str) -> str:
        """The difference that an assignment makes for all jobs below it; empty if there is none."""
        if name == "MAILTO":
            return value and (
                f"MAILTO={value}: nothing is mailed. Output is kept with each run; `on_failure` names a command that is"
                " carried out when a run has failed."
            )
        if name in ("LOGNAME", "USER"):
            return f"{name} is always the user that the program runs as, as in cron."
        if name not in _OF_CRON and not is_variable(name):
            return f"variable `{shortened(name)}` is left out: `env` takes letters, digits and `_`, not first `SCHED_`."
        if name not in _OF_CRON and re.search(r"\$\w|\$\{", value):
            return f"{name} holds `$` as it is: neither cron nor the appliance puts the value of a variable there."
        return ""

    def _job(self, line: str, entry: Entry) -> None:
        if self.form is Form.ANACRON:
            self._anacron_job(line, entry)
            return
        match = _FIELDS.match(line)
        if not match:
            remedy = "a job has five fields or a nickname such as `@daily`, then a command"
            if _ASSIGNMENT.fullmatch(line):
                remedy = "the line of a value that begins with a quote ends with the same quote"
            raise NotPossible(f"`{shortened(line.strip())}` is neither a job nor an assignment", remedy)
        expression = " ".join(match.group(2).split())
        rest = line[match.end() :]
        if not rest.strip():
            remedy = f"a job has five fields{' and' if self.form is Form.USER else ', a user and'} a command"
            raise NotPossible(f"nothing follows `{shortened(expression)}`", remedy)
        user, group, rest = self._user(rest)
        command, stdin = _split_command(rest)
        if not command.strip():
            raise NotPossible("the line has no command", "add one after the fields")
        options = self._schedule(expression, command, line, match.start(2), entry)
        self._add_program(entry, options, command, user, group)
        if stdin is not None:
            options["stdin"] = stanzas.template(stdin)
            _note_stdin(command, stdin, entry)
        if self.form is Form.USER and (user_column := self._user_in(command)):
            entry.notes.append(f"`{user_column}` is a user: if the file has a user column, use `import cron.d`")
        entry.notes += _about_text(rest) + shell.guard(command)
        self._add_tips(command, expression, entry)
        entry.jobs.append(Job(shell.name_of(command), options, self._environment(command, user)))

    def _user_in(self, command: str) -> str | None:
        """The first word of a command if it is a user, and a path follows it."""
        words = command.split(None, 2)
        is_column = len(words) > 1 and words[1].startswith("/") and self.wishes.home_of(words[0]) is not None
        return words[0] if is_column else None

    def _user(self, rest: str) -> tuple[str | None, str | None, str]:
        if self.form is Form.USER:
            return self.wishes.user, None, rest
        column, rest = (*rest.split(None, 1), "", "")[:2]
        user, _, group = column.partition(":")
        if not _ACCOUNT.fullmatch(user) or (group and not _ACCOUNT.fullmatch(group)):
            remedy = "the crontab of one user, which has no such column, is read by `import crontab`"
            raise NotPossible(f"`{shortened(column)}` in the user column is not the name of a user", remedy)
        return user, group or None, rest

    def _schedule(self, expression: str, command: str, line: str, start: int, entry: Entry) -> dict[str, str]:
        if expression.lower() == "@reboot":
            if delay := shell.first_sleep(command):
                entry.tips.append(f"`delay = {duration_text(int(delay) * 1000)}` can take the place of the `sleep`")
            return {"at": "boot"}
        if expression.startswith("@") and (options := _interval(expression, entry)):
            return options
        written, expression = expression, "* * * * *" if expression == "@every_minute" else expression
        self._check(expression, line, start)
        entry.notes += _extensions(written, line[start - 1 : start] == "-")
        options = {"cron": stanzas.text(expression), "zone": self._zone(), "catch_up": "none"}
        if self.variables.get("CRON_TZ"):
            entry.notes.append("`zone` is that of CRON_TZ, which Debian's cron ignores and cronie does not")
        if spread := self._spread():
            entry.notes.append("`spread` stays the same for this job; crond picks a delay up to RANDOM_DELAY each time")
        return options | spread

    def _spread(self) -> dict[str, str]:
        minutes = self.variables.get("RANDOM_DELAY", "0")
        if not re.fullmatch(r"\d{1,6}", minutes, re.ASCII):
            raise NotPossible(f"RANDOM_DELAY={shortened(minutes)} is not a number of minutes", "correct the assignment")
        return {"spread": duration_text(int(minutes) * 60_000)} if int(minutes) else {}

    def _zone(self) -> str:
        zone = self.variables.get("CRON_TZ") or self.wishes.zone
        try:
            self.expressions.check_zone(zone)
        except InvalidValue as invalid:
            raise NotPossible(f"CRON_TZ: {invalid.message}", invalid.help) from None
        return stanzas.zone(zone)

    def _check(self, expression: str, line: str, start: int) -> None:
        """Raises NotPossible for an expression that the appliance cannot read, with its column in the line."""
        try:
            self.expressions.cron(expression)
        except InvalidValue as invalid:
            # The fields may be farther apart in the line than in the expression.
            wrong = invalid.span.start if invalid.span else 0
            offsets = [
                index for index, c in enumerate(line[start:], start) if c not in " \t" or line[index - 1] not in " \t"
            ]
            column = offsets[wrong] + 1 if wrong < len(offsets) else start + 1
            raise NotPossible(f"column {column}: {invalid.message}", invalid.help) from None

    def _add_program(
        self, entry: Entry, options: dict[str, str], command: str, user: str | None, group: str | None
    ) -> None:
        """What `program` needs beside the environment: user, directory and arguments."""
        if user:
            options["user"] = word(user)
        if group:
            options["group"] = word(group)
        if self.form is not Form.ANACRON:
            home = self.variables.get("HOME") or (self.wishes.home_of(user) if user else None)
            if home and home.startswith("/") and not self.wishes.is_directory(home):
                entry.notes.append(
                    f"cron starts it in `{home}`, which is not a directory of this machine; here it starts in `/`"
                )
                home = "/"
            if home and home.startswith("/"):
                options["cwd"] = stanzas.text(home)
            elif user:
                entry.notes.append(
                    f"cron starts it in the home directory of `{user}`, which is not known; here it starts in `/` unless"
                    " `cwd` is set"
                )
        options["argv"] = stanzas.argv(self._argv(command))

    def _environment(self, command: str, user: str | None) -> dict[str, str]:
        variables = {}
        for name, value in {"SHELL": CRON_SHELL, **self.variables}.items():
            is_named = name not in _OF_CRON or re.search(rf"\$\{{?{name}\b", command)
            if name in ("LOGNAME", "USER") or not is_variable(name):
                continue
            # A value that the program has anyway is left out.
            own = {"PATH": OWN_PATH, "HOME": self.wishes.home_of(user) if user else None}
            if (name == "HOME" or is_named) and own.get(name) != value:
                variables[name] = value
        return variables

    def _argv(self, command: str) -> list[str]:
        # anacron takes no other shell.
        program = CRON_SHELL if self.form is Form.ANACRON else self.variables.get("SHELL", CRON_SHELL)
        if not program.startswith("/"):
            raise NotPossible(f"SHELL={shortened(program)} is not an absolute path", "write it as `/bin/sh`")
        if len(command.encode()) > shell.LONGEST_ARGUMENT:
            size = f"{len(command.encode()):,} bytes"
            raise NotPossible(f"the command has {size}, more than one argument may have", "put it into a script")
        return shell.plain_argv(command, program) or [program, "-c", command]

    def _add_tips(self, command: str, expression: str, entry: Entry) -> None:
        if tip := shell.random_sleep(command):
            entry.tips.append(tip)
        fields = expression.split(" ")
        if len(fields) == 5 and (tip := shell.date_test(command, fields)):
            entry.tips.append(tip)

    def _anacron_job(self, line: str, entry: Entry) -> None:
        match = _ANACRON.match(line)
        if not match:
            remedy = "a job of anacron has a period in days, a delay in minutes, a name and a command"
            raise NotPossible(f"`{shortened(line.strip())}` is neither a job nor an assignment", remedy)
        period, delay, name, command = match.groups()
        options = self._anacron_schedule(period, int(delay[:9]), entry)
        entry.notes += shell.guard(command)
        options["catch_up"] = "once"
        if spread := self._spread():
            options |= spread
            entry.notes.append("anacron picks another delay up to RANDOM_DELAY each time; `spread` stays the same")
        user = self.wishes.user or "root"
        self._add_program(entry, options, command.rstrip(), user, None)
        entry.jobs.append(Job(name, options, self._environment(command, user)))

    def _anacron_schedule(self, period: str, delay: int, entry: Entry) -> dict[str, str]:
        hours = self.variables.get("START_HOURS_RANGE")
        first, last = _hours(hours) if hours else (0, 24)
        days = _PERIODS.get(period.lower()) if period.startswith("@") else int(period[:9])
        if not hours and days:
            options = {"every": f"{days}d"}
            return {**options, "offset": f"{delay % (days * 1440)}m"} if delay else options
        date = {"@monthly": "*-*-01", "@yearly": "*-01-01", "@annually": "*-01-01"}.get(period.lower(), "*-*-*")
        if not days and date == "*-*-*":
            raise NotPossible(f"unknown period `{shortened(period)}`", "write a number of days, or `@monthly`")
        minute = first * 60 + delay
        if minute >= last * 60:
            minute = first * 60
            entry.notes.append(f"the delay of {delay} minutes is left out: it is longer than START_HOURS_RANGE")
        options = {"calendar": stanzas.text(f"{date} {minute // 60:02}:{minute % 60:02}:00"), "zone": self._zone()}
        if days and days > 1:
            options |= {"each": f"{days}d", "from": "1970-01-01T00:00:00Z"}
        if hours:
            options["within"] = stanzas.text(f"{first:02}:00..{last:02}:00")
            entry.notes.append("a run that is caught up does not wait for START_HOURS_RANGE")
        return options


def import_crontab(
    source: Source,
    diagnostics: list[Diagnostic],
    form: Form,
    wishes: Wishes,
    expressions: Expressions,
) -> Imported:
    """The jobs of a crontab.

    `diagnostics`: the characters of the file that no stanza file may hold. A line with one is not imported, a comment
    with one is.
    """
    owner = f" of {wishes.user}" if form is Form.USER and wishes.user else ""
    imported = Imported(
        f"{source.name}: read as {form.value}{owner}", ANACRON_DIFFERENCES if form is Form.ANACRON else DIFFERENCES
    )
    if not source.text and diagnostics:
        imported.diagnostics = diagnostics
        return imported
    rejected: dict[int, str] = {}
    for diagnostic in diagnostics:
        line, column, _, _ = diagnostic.place()
        rejected.setdefault(line, f"column {column}: {diagnostic.text}")
    reader = _Reader(source, form, wishes, imported, expressions)
    for numbers, content in _whole_lines(source.text) if form is Form.ANACRON else _lines(source.text):
        reader.line(numbers[0], content, next((rejected[number] for number in numbers if number in rejected), None))
    if form is Form.USER and not wishes.user and imported.entries:
        note = "the jobs run as the user of the appliance, in `/`; `--user NAME` names the owner of the crontab"
        imported.notes.insert(0, note)
    return imported


def _lines(text: str) -> Iterator[tuple[range, str]]:
    """The lines of a text with their numbers."""
    return ((range(number, number + 1), line) for number, line in enumerate(text.split("\n"), 1))


def _whole_lines(text: str) -> Iterator[tuple[range, str]]:
    """The same, as anacron reads them: a `\\` at the end of a line continues it with a blank and the next line."""
    parts: list[str] = []
    for numbers, line in _lines(text):
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield range(numbers.stop - len(parts), numbers.stop), " ".join(parts)
            parts = []
    if parts:
        end = text.count("\n") + 2
        yield range(end - len(parts), end), " ".join(parts)


def is_anacrontab(source: Source) -> bool:
    """Whether a job of a file has a period, a delay and a name, and none has the fields of cron.

    With START_HOURS_RANGE, which only anacron knows, one such job is enough.
    """
    lines = [line.strip() for _, line in _whole_lines(source.text)]
    has_hours = any(_HOURS.match(line) for line in lines)
    jobs = [line for line in lines if line and not line.startswith("#") and not _ASSIGNMENT.fullmatch(line)]
    others = [line for line in jobs if not _is_of_anacron(line)]
    return len(others) < len(jobs) and (has_hours or not any(map(_is_of_cron, others)))


def _is_of_anacron(job: str) -> bool:
    match = _ANACRON.match(job)
    return match is not None and not any(map(_DAY_FIELD.fullmatch, (match[3], match[4].split()[0])))


def _is_of_cron(job: str) -> bool:
    match = _FIELDS.match(job)
    return match is not None and (match[2].startswith("@") or all(map(_CRON_FIELD.fullmatch, match[2].split())))


def users_in_commands(source: Source, is_user: Callable[[str], bool]) -> bool:
    """Whether the command of each job begins with the name of a user: then the file has a user column."""
    words = _words_after_fields(source)
    return bool(words) and all(len(pair) == 2 and is_user(pair[0]) for pair in words)


def lacks_users(source: Source, is_user: Callable[[str], bool]) -> bool:
    """Whether no line has a known user behind the fields, and one has a word there that is not the name of any user."""
    users = [pair[0].partition(":")[0] for pair in _words_after_fields(source) if pair]
    return not any(map(is_user, users)) and not all(map(_ACCOUNT.fullmatch, users))


def _words_after_fields(source: Source) -> list[list[str]]:
    """What follows the fields of each job: its first word and the rest, as far as there is any."""
    return [
        line[match.end() :].split(None, 1)
        for line in source.text.split("\n")
        if (match := _FIELDS.match(line)) and not line.lstrip().startswith("#") and not _ASSIGNMENT.fullmatch(line)
    ]


def _about_value(name: str, match: re.Match[str]) -> list[str]:
    """A note if the cron daemons give different values to a variable."""
    if not match[0]:
        return [f'Debian\'s cron rejects `{name}=`, and with it the whole file; write `{name}=""`']
    if len(f"{name}={match[0]}".encode()) > _MOST_BYTES:
        return [f"Debian's cron reads only {_MOST_BYTES} bytes of `{name}=…`"]
    if match[1] and match[2].endswith((" ", "\t")):
        return [f"the value of {name} has no blanks at its end, as in Debian's cron; cronie keeps them"]
    return []


def _split_command(rest: str) -> tuple[str, str | None]:
    """The command and its standard input, as cron splits them at the first `%`; `\\%` is `%`, and `\\\\` is `\\`."""
    match = _COMMAND.match(rest)
    assert match is not None, "the pattern matches the empty text"
    command = _ESCAPE.sub(r"\1", match.group())
    if match.end() == len(rest):
        return command, None
    # In standard input, a backslash stands for itself before anything but `%`.
    text = re.sub(r"(?<!\\)%", "\n", rest[match.end() + 1 :]).replace("\\%", "%")
    return command, text if text.endswith("\n") or not text else f"{text}\n"


def _about_text(rest: str) -> list[str]:
    """A note if the cron daemons give different commands to the shell."""
    if len(rest.encode()) > _MOST_BYTES:
        return [f"Debian's cron rejects a command of more than {_MOST_BYTES} bytes, and with it the whole file"]
    match = _COMMAND.match(rest)
    if not match or "\\" not in _ESCAPE.findall(match.group()):
        return []
    return ["each `\\\\` of the crontab is one `\\` here, as in Debian's cron; cronie gives both to the shell"]


def _note_stdin(command: str, stdin: str, entry: Entry) -> None:
    """Adds a note if the first `%` was probably not meant to begin standard input."""
    # As in `https://example.com/?x=1%202`.
    is_in_address = re.search(r"://\S*$", command) and re.match(r"[0-9A-Fa-f]{2}", stdin)
    opened = command.count("(") != command.count(")") or command.count("`") % 2 or command.count('"') % 2
    if opened or is_in_address or command.count("'") % 2 or re.search(r"\bdate\b[^;|&]*\+['\"]?$", command):
        entry.notes.append(
            "cron ends the command at the first `%`, and the rest is its standard input; this was probably not meant:"
            " write `\\%` in the crontab and import it again"
        )


def _extensions(expression: str, has_mark: bool) -> list[str]:
    """Notes on what Debian's cron rejects or reads in another way. `has_mark`: a `-` stands before the fields."""
    notes = ["Debian's cron rejects a line that begins with `-`"] if has_mark else []
    if expression.startswith("@"):
        rejected = [] if expression in _NICKNAMES else [expression]
    else:
        rejected = [text for text in expression.split(" ") if not _FIELD.fullmatch(text)]
        notes += [_NO_DAY.format(text) for text in _UP_TO_SUNDAY.findall(expression.split(" ")[-1])]
    for text in rejected:
        if "~" in text:
            notes.append("`~` is one value that stays the same for this job; crond picks one at each start")
        elif "#" in text:
            notes.append(f"`{text}`: Debian's cron ignores `#` and what follows it, and starts the job each week")
        else:
            notes.append(f"Debian's cron rejects `{text}`")
    return notes


def _interval(expression: str, entry: Entry) -> dict[str, str] | None:
    """The options for `@600` (FreeBSD); None for a nickname. Raises NotPossible for an unknown nickname."""
    if (match := _SECONDS.fullmatch(expression)) and int(match[1]):
        entry.notes.append("the next run follows the due time of the last one; FreeBSD's cron waits from its end")
        return {"every": duration_text(int(match[1]) * 1000), "catch_up": "none"}
    if expression.lower() not in _NICKNAMES and expression != "@every_minute":
        names = ", ".join(sorted(_NICKNAMES))
        raise NotPossible(f"unknown nickname `{shortened(expression)}`", f"cron knows {names} and @reboot")
    return None


def _hours(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,2})-(\d{1,2})", value, re.ASCII)
    if not match or not int(match[1]) < int(match[2]) <= 24:
        raise NotPossible(f"START_HOURS_RANGE={shortened(value)} is not a range of hours", "write it as `3-22`")
    return int(match[1]), int(match[2])
