"""The program that a systemd service starts, as options of a `job` stanza.

Rule: every directive that changes what the program does, and that the appliance does not carry out, is named in a note.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from schedappliance.diagnostics import InvalidValue, shortened
from schedappliance.importing import stanzas
from schedappliance.importing.shell import LONGEST_ARGUMENT
from schedappliance.importing.stanzas import NotPossible, Wishes
from schedappliance.importing.units import (
    Owner,
    Unit,
    command_words,
    commands,
    described,
    time_span,
    with_specifiers,
)
from schedappliance.model import resources
from schedappliance.model.options import is_variable
from schedappliance.model.values import duration_text
from schedappliance.syntax.printer import word

_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][^}]*)\}", re.ASCII)
_WORD_REFERENCE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STATUSES = {name[3:]: getattr(os, name) for name in dir(os) if name.startswith("EX_")}

_CARRIED_OUT = re.compile(
    r"ExecStart(Pre|Post)?|Type|User|Group|Environment(File)?|PassEnvironment|WorkingDirectory|UMask|SuccessExitStatus"
    r"|Timeout(Start|Stop)?Sec|RuntimeMaxSec"
)
# They concern units, logs and the manager, not what the program does.
_WITHOUT_EFFECT = re.compile(
    r"Syslog(Identifier|Facility|Level)|LogLevelMax|CollectMode|GuessMainPID|NotifyAccess|TimeoutAbortSec"
    r"|BusName|LogRateLimit\w+"
)
_OFF = frozenset({"no", "false", "off", "0"})
_JOURNAL = frozenset({"", "inherit", "journal", "syslog", "kmsg", "journal+console", "null"})
_PRIORITY = re.compile(r"Nice|IOScheduling\w+|IOWeight|CPUScheduling\w+|CPUWeight|OOM\w+|TimerSlackNSec")
# The classes of the I/O scheduler, by name and number. A class of real time has no counterpart.
_BEST_EFFORT, _IDLE = frozenset({"", "best-effort", "2"}), frozenset({"idle", "3"})
_LIMITS = {
    "LimitNOFILE": "nofile",
    "LimitAS": "memory",
    "LimitCPU": "cpu",
    "LimitNPROC": "nproc",
    "LimitFSIZE": "fsize",
    "LimitCORE": "core",
}
_LIMIT = re.compile(
    r"Limit\w+|Memory(?!Deny)\w+|CPU(?!Scheduling|Weight)\w+|Tasks\w+|IO(?!Scheduling|Weight)\w+|Slice|Delegate|NUMA\w+"
)
_SANDBOX = re.compile(
    r"Protect\w+|Private\w+|Restrict\w+|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec)\w*(Paths|Directories)|SystemCall\w+"
    r"|NoNewPrivileges|\w*Capabilit\w+|CapabilityBoundingSet|MemoryDenyWriteExecute|LockPersonality|RemoveIPC"
    r"|KeyringMode|Device\w+|Bind\w*Paths|TemporaryFileSystem|Root\w+|IPAddress\w+|ProcSubset|SecureBits|MountAPIVFS"
    r"|AppArmorProfile|SELinuxContext|Mount\w+"
)
_DIRECTORIES = re.compile(r"(Runtime|State|Cache|Logs|Configuration)Directory\w*")
# Why directives of a service are not carried out.
_REASONS = (
    (re.compile("RemainAfterExit"), "systemd starts such a service only once; the job runs each time"),
    # Not carried out: without a delegated cgroup, the program would not start.
    (re.compile("MemoryMax|MemoryLimit"), "`memory_max` does this here; it needs a cgroup that systemd has delegated"),
    (re.compile("CPUWeight"), "`cpu_weight` does this here; it needs a cgroup that systemd has delegated"),
    (_PRIORITY, "here a program has no priorities but `nice`, `ionice` and `cpu_weight`"),
    (_DIRECTORIES, "the directory is not made here, and must exist"),
    (_LIMIT, "the program has the limits of the appliance"),
    (_SANDBOX, "the program runs without a sandbox"),
    (re.compile("Restart(Sec)?"), "`retries` and `retry_delay` start a program again that has failed"),
    (re.compile("ExecCondition"), "not run here; the program can check it itself"),
)
_DEPENDENCY = re.compile(r"After|Before|Wants|Requires|Requisite|BindsTo|PartOf|Upholds|Conflicts|Joins\w+|Requires\w+")
_CONDITION = re.compile(r"(Condition|Assert)\w+")
_UNIT_WITHOUT_EFFECT = re.compile(
    r"Description|Documentation|DefaultDependencies|SourcePath|RefuseManual(Start|Stop)|CollectMode|StopWhenUnneeded"
    r"|IgnoreOnIsolate|AllowIsolate|OnFailureJobMode"
)


@dataclass(slots=True)
class Program:
    """Options and environment of a `job`, and how they differ from the service."""

    options: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Command:
    """One command of a service. `may_fail`: its failure does not count."""

    words: list[str]
    may_fail: bool
    has_variables: bool


@dataclass(slots=True)
class _Service:
    """Reads a service. `user`: whom it runs as; None: not known."""

    unit: Unit
    owner: Owner
    user: str | None
    home: str | None
    program: Program = field(default_factory=Program)
    # The directives that became options of priority and limits.
    carried_out: set[str] = field(default_factory=set)

    def read(self) -> Program:
        kind = self.unit.value("Service", "Type") or "simple"
        if kind in ("forking", "notify", "notify-reload", "dbus"):
            self._note(f"Type={kind}: a run ends when the process that was started ends")
        self._identity()
        self._environment()
        self._directory()
        self._times(kind)
        self._priorities()
        self._limits()
        self.program.options["argv"] = stanzas.argv(self._argv(kind))
        self._others()
        return self.program

    def _note(self, note: str) -> None:
        self.program.notes.append(note)

    def _text(self, value: str) -> str:
        return with_specifiers(value, self.unit, self.owner)

    def _identity(self) -> None:
        options = self.program.options
        if self.unit.is_on("Service", "DynamicUser"):
            raise NotPossible("DynamicUser=yes: the appliance makes no users", "name one by `User=` in a drop-in")
        if self.user:
            options["user"] = word(self._text(self.user))
        if group := self.unit.value("Service", "Group"):
            options["group"] = word(self._text(group))
        if mask := self.unit.value("Service", "UMask"):
            options["umask"] = stanzas.text(mask.rjust(3, "0"))

    def _environment(self) -> None:
        options, variables = self.program.options, self.program.variables
        for value in self.unit.values("Service", "Environment"):
            for assignment in command_words(self._text(value)):
                name, equals, content = assignment.partition("=")
                if not equals or not is_variable(name):
                    self._note(f"Environment={shortened(assignment)} is left out: it has no name and value")
                    continue
                variables[name] = content
        files = list(map(self._text, self.unit.values("Service", "EnvironmentFile")))
        if files:
            self._note(
                f"EnvironmentFile={files[0]}: here the file must exist, belong to root and be closed to others (`chmod 600`);"
                " otherwise the runs fail"
            )
            options["env_file"] = stanzas.text(files[0].lstrip("-"))
        for name in files[1:]:
            self._note(f"EnvironmentFile={name} is left out: a program has one `env_file`; put all into one file")
        if names := [name for value in self.unit.values("Service", "PassEnvironment") for name in value.split()]:
            options["pass_env"] = f"( {' '.join(map(stanzas.text, names))} )"

    def _directory(self) -> None:
        directory = self._text(self.unit.value("Service", "WorkingDirectory"))
        if directory.startswith("-"):
            self._note(f"WorkingDirectory={directory}: here the directory must exist, or the program does not start")
        directory = directory.lstrip("-")
        if directory == "~":
            if not self.home:
                self._note(
                    f"WorkingDirectory=~: the home directory of `{self.user}` is not known; here it starts in `/`"
                )
                return
            directory = self.home
        if directory:
            self.program.options["cwd"] = stanzas.text(directory)

    def _times(self, kind: str) -> None:
        keys = ("TimeoutSec", "TimeoutStartSec") if kind == "oneshot" else ("RuntimeMaxSec",)
        last = [d for d in self.unit.directives if d.section == "Service" and d.key in keys and d.value]
        if last and (milliseconds := time_span(last[-1].value)):
            self.program.options["timeout"] = duration_text(milliseconds)
        stop = [d for d in self.unit.directives if d.section == "Service" and d.key in ("TimeoutSec", "TimeoutStopSec")]
        if stop and stop[-1].value:
            if milliseconds := time_span(stop[-1].value):
                self.program.options["kill_after"] = duration_text(milliseconds)
            else:
                text = f"{stop[-1].key}={stop[-1].value}"
                self._note(
                    f"{text}: systemd sends no SIGKILL; here the program gets it 10 s after SIGTERM, or `kill_after`"
                )
        statuses = {0}
        for name in " ".join(self.unit.values("Service", "SuccessExitStatus")).split():
            number = int(name) if re.fullmatch(r"\d{1,3}", name, re.ASCII) else _STATUSES.get(name, -1)
            if 0 <= number <= 255:
                statuses.add(number)
            else:
                self._note(f"SuccessExitStatus={name} is left out: `success` takes numbers")
        if len(statuses) > 1:
            self.program.options["success"] = f"( {' '.join(map(str, sorted(statuses)))} )"

    def _priorities(self) -> None:
        """`Nice` and `IOScheduling...`. A value without counterpart gets a note."""
        if nice := self._checked("Nice", resources.nice):
            self.program.options["nice"] = nice
        name, level = "IOSchedulingClass", "IOSchedulingPriority"
        kind = self.unit.value("Service", name)
        if kind in _IDLE:
            self.program.options["ionice"] = "idle"
            self.carried_out.add(level)
        # systemd's own default is level 4.
        elif kind in _BEST_EFFORT and (priority := self._checked(level, resources.ionice) or (kind and "4")):
            self.program.options["ionice"] = priority
        else:
            return
        self.carried_out.add(name)

    def _limits(self) -> None:
        """The limits that are the same here: both the soft and the hard one."""
        limits = {}
        for key, name in _LIMITS.items():
            value = self.unit.value("Service", key).lower()
            if name == "cpu" and value and ":" not in value and (milliseconds := time_span(value)):
                value = duration_text(milliseconds)
            if limit := self._checked(key, resources.LIMITS[name], value):
                limits[name] = limit
        if limits:
            self.program.options["limits"] = f"[ {' '.join(f'{name} = {limit}' for name, limit in limits.items())} ]"

    def _checked(self, key: str, check: Callable[[str], int], value: str | None = None) -> str:
        """The value of a directive, if the appliance can carry it out; empty if it cannot, or if there is none."""
        value = self.unit.value("Service", key) if value is None else value
        try:
            check(value)
        except InvalidValue:
            return ""
        self.carried_out.add(key)
        return value

    def _argv(self, kind: str) -> list[str]:
        before = self._commands("ExecStartPre")
        main = self._commands("ExecStart")
        after = self._commands("ExecStartPost")
        if not main:
            raise NotPossible(f"{self.unit.path} has no ExecStart", "add the command")
        if after and kind != "oneshot":
            self._note(f"ExecStartPost is left out: with Type={kind} it runs beside the program")
            after = []
        chain = [*before, *main, *after]
        argv = self._without_shell(chain[0]) if len(chain) == 1 else None
        argv = argv or ["/bin/sh", "-c", _script(chain)]
        if any(len(argument.encode()) > LONGEST_ARGUMENT for argument in argv):
            raise NotPossible("the command is longer than one argument may be", "put it into a script")
        return argv

    def _commands(self, key: str) -> list[_Command]:
        lines = self.unit.values("Service", key)
        return [self._command(words) for line in lines for words in commands(line)]

    def _command(self, words: list[str]) -> _Command:
        match = re.match(r"[-@:+!|]*", words[0])
        marks = match.group() if match else ""
        words = [words[0][len(marks) :], *words[1:]]
        if "@" in marks:
            del words[1:2]
            self._note("`@` in the command: the program sees its own path as its name")
        if "+" in marks or "!" in marks:
            self._note(f"`{marks}` in the command: it runs as the same user as the rest, not with full privileges")
        if not words[0]:
            raise NotPossible("a command is empty", "name the executable")
        has_variables = ":" not in marks and any("$" in item for item in words)
        return _Command([self._text(item) for item in words], "-" in marks, has_variables)

    def _without_shell(self, command: _Command) -> list[str] | None:
        """The arguments of a command that needs no shell: neither for variables, nor to ignore its failure."""
        words = command.words
        if command.may_fail or (command.has_variables and any(map(_has_reference, words))):
            return None
        if command.has_variables:
            words = [item.replace("$$", "$") for item in words]
        return words if words[0].startswith("/") else ["/usr/bin/env", *words]

    def _others(self) -> None:
        """A note for each group of directives that the appliance does not carry out."""
        groups: dict[str, list[str]] = {}
        for directive in self.unit.directives:
            group = _group(directive.section, directive.key, directive.value)
            if directive.section == "Service" and directive.key in self.carried_out:
                continue
            if group and directive.value:
                value = described(directive.value, self.unit, self.owner)
                groups.setdefault(group, []).append(f"{directive.key}={shortened(value)}")
        for group, texts in groups.items():
            self._note(f"{', '.join(dict.fromkeys(texts))}: {group}")


def import_service(unit: Unit, wishes: Wishes, owner: Owner) -> Program:
    """The program of a service. Raises NotPossible."""
    user = unit.value("Service", "User") or owner.user
    return _Service(unit, owner, user, wishes.home_of(user) if user else None).read()


def _has_reference(item: str) -> bool:
    """Whether systemd puts the value of a variable into a word."""
    return bool(_WORD_REFERENCE.fullmatch(item)) or any(match[1] for match in _REFERENCE.finditer(item))


def _script(chain: list[_Command]) -> str:
    """A shell script that runs the commands one after the other, to the first that fails."""
    parts = []
    for command in chain:
        text = " ".join(map(_shell_word if command.has_variables else shlex.quote, command.words))
        parts.append(f"{{ {text} || :; }}" if command.may_fail and len(chain) > 1 else text)
    if len(chain) == 1:
        parts = [f"{parts[0]} || :" if chain[0].may_fail else f"exec {parts[0]}"]
    # Without it, the shell would expand `*` in the value of a variable.
    prefix = "set -f; " if any(command.has_variables for command in chain) else ""
    return prefix + " && ".join(parts)


def _shell_word(item: str) -> str:
    """A word of a command line whose variables the shell replaces as systemd does."""
    if _WORD_REFERENCE.fullmatch(item):
        return item
    pieces, end = [], 0
    for match in _REFERENCE.finditer(item):
        pieces.append(_quoted(item[end : match.start()]))
        pieces.append(f'"{match[0]}"' if match[1] else _quoted("$"))
        end = match.end()
    return "".join([*pieces, _quoted(item[end:])]) or "''"


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def _group(section: str, key: str, value: str) -> str:
    """Why a directive is not carried out; empty if nothing needs to be said."""
    if section == "Service":
        return _service_group(key, value)
    if section != "Unit" or _UNIT_WITHOUT_EFFECT.fullmatch(key):
        return ""
    if key == "OnFailure":
        return "`on_failure` takes a console command, such as `run NAME`"
    if _CONDITION.fullmatch(key):
        return "not checked here; the program can check it itself"
    if _DEPENDENCY.fullmatch(key):
        return "the appliance waits for no other unit and starts none"
    return "not carried out"


def _service_group(key: str, value: str) -> str:
    if _CARRIED_OUT.fullmatch(key) or _WITHOUT_EFFECT.fullmatch(key):
        return ""
    if key in ("StandardOutput", "StandardError") and value in _JOURNAL:
        return ""
    if value.lower() in _OFF and (key in ("DynamicUser", "Restart", "RemainAfterExit") or _SANDBOX.fullmatch(key)):
        return ""
    return next((reason for pattern, reason in _REASONS if pattern.fullmatch(key)), "not carried out")
