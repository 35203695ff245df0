"""Reads the file of `env_file`: variables for a program, in a part of the syntax of systemd's EnvironmentFile.

Rule: a text that systemd would read as something else is rejected, and no message contains a value.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from schedappliance.model.files import open_past_links_of
from schedappliance.model.options import is_variable

MAX_ENV_FILE = 1024 * 1024

# systemd takes only these blanks away: a no-break space belongs to a value.
_LINE = re.compile(r"([^=\s]+)[ \t]*=[ \t]*(.*)", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\([\"\\`$])")


class UnusableEnvFile(Exception):
    """An environment file cannot be used; the message gives the reason and the place. `number`: the error number, or 0."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


def read_env_file(path: str, uid: int | None = None) -> dict[str, str]:
    """The variables of a file that only root or one user can have written or read. `uid`: None for that of this process.

    Raises UnusableEnvFile.
    """
    owners = (0, os.geteuid() if uid is None else uid)
    try:
        with open_past_links_of(owners, Path(path)) as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_ENV_FILE + 1)
    except OSError as error:
        raise UnusableEnvFile(f"cannot read env_file `{path}`: {error.strerror}", error.errno or 0) from None
    if status.st_uid not in owners:
        raise UnusableEnvFile(f"env_file `{path}` belongs to user {status.st_uid}, not to root or the appliance")
    if mode := status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnusableEnvFile(f"env_file `{path}` is open to others than its owner (mode {mode:03o}): use `chmod 600`")
    if len(data) > MAX_ENV_FILE:
        raise UnusableEnvFile(f"env_file `{path}` is larger than {MAX_ENV_FILE // 1024} KiB")
    return _variables(path, data)


def _variables(path: str, data: bytes) -> dict[str, str]:
    variables: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode()
            entry = _entry(text.strip(" \t\r"))
        except UnicodeDecodeError:
            raise UnusableEnvFile(f"env_file {path}:{number}: invalid UTF-8") from None
        except ValueError as error:
            raise UnusableEnvFile(f"env_file {path}:{number}: {error}") from None
        if entry:
            variables[entry[0]] = entry[1]
    return variables


def _entry(line: str) -> tuple[str, str] | None:
    """Name and value of a line, None for an empty line or a comment. Raises ValueError."""
    if not line or line[0] in "#;":
        return None
    if "\ufeff" in line.partition("=")[0]:
        raise ValueError("unexpected byte order mark (U+FEFF); save the file as UTF-8 without one")
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError("missing `NAME=`")
    name, text = match.groups()
    if not is_variable(name):
        raise ValueError("invalid variable name; use letters, digits and `_`, and no name that begins with `SCHED_`")
    if "\0" in text:
        raise ValueError("the value contains a NUL byte")
    if "\r" in text:
        # systemd ends the line there, and would read the rest as another variable.
        raise ValueError("the value contains a carriage return")
    return name, _value(text)


def _value(text: str) -> str:
    if text[:1] == "'":
        if text.find("'", 1) != len(text) - 1 or len(text) < 2:
            raise ValueError("a value in single quotes must end with the line")
        return text[1:-1]
    if text[:1] == '"':
        if not _DOUBLE.fullmatch(text):
            raise ValueError("a value in double quotes must end with the line")
        return _ESCAPED.sub(r"\1", text[1:-1])
    if set(text) & set("\\'\""):
        raise ValueError("a value that contains a quote or a backslash must be in quotes")
    return text
