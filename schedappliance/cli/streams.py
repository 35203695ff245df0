"""Makes standard input, output and errors usable, even if they were closed or have another encoding when a subcommand starts.

Rule: a stream that is closed, or that nobody reads, changes neither what a subcommand does nor its exit status.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from schedappliance.cli.errors import USAGE, Failure
from schedappliance.visible import visible_lines

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What cannot be written as UTF-8, such as a file name of other bytes, must not stop a report.
_ENCODING, _OUTPUT_ERRORS = "utf-8", "backslashreplace"

# The limit of the linter, so that an endless stdin fills neither the memory nor a disk.
MAX_BYTES = 16 * 1024 * 1024
# More than the longest line of the console, with its end.
MOST_READ = 64 * 1024 + 8


def use_utf8_mode() -> None:
    """Starts this process again in Python's UTF-8 mode if the locale has another encoding.

    Without it, arguments, paths and file names would be encoded as the locale says. Programs would get other bytes than
    their stanza file holds.
    """
    if sys.getfilesystemencoding() != _ENCODING and "utf8" not in sys._xoptions:
        os.execv(sys.executable, [sys.orig_argv[0], "-X", "utf8", *sys.orig_argv[1:]])


def prepare_streams() -> None:
    """Opens the streams that are closed, and gives all of them the same encoding in every locale.

    A descriptor that stays closed would be taken by the next file that is opened, which would then receive errors.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The new descriptor has the lowest number that is free: this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding=_ENCODING, closefd=False)  # noqa: SIM115
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=_ENCODING, errors="surrogateescape")
    # A test that captures the output has put a stream of its own in place.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _output(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _output(2, sys.stderr)


def read_stdin() -> bytes:
    """The bytes of stdin, at most one more than MAX_BYTES. Raises Failure."""
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise _cannot_read(error) from None


def stdin_lines() -> Iterator[str]:
    """The lines of stdin that are not blank, without their ends, which are LF or CR LF. Raises Failure.

    Of a line that is too long for the console, only the beginning, which is too long too.
    """
    try:
        while line := sys.stdin.readline(MOST_READ):
            is_cut = len(line) == MOST_READ and not line.endswith("\n")
            if is_cut or line.strip():
                yield line.removesuffix("\n").removesuffix("\r")
            while is_cut:
                rest = sys.stdin.readline(MOST_READ)
                is_cut = len(rest) == MOST_READ and not rest.endswith("\n")
    except OSError as error:
        raise _cannot_read(error) from None


def _cannot_read(error: OSError) -> Failure:
    return Failure(f"cannot read stdin: {error.strerror}", USAGE)


def has_reader(stream: TextIO) -> bool:
    """Whether somebody may still read what is written. A subcommand whose output has no end stops when nobody does."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return not (isinstance(raw, _Output) and raw.is_abandoned)


def discard_output() -> None:
    """Python flushes stdout once more when it exits, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class OutputFailed(OSError):
    """The output cannot be written, for example on a full disk. Other files raise other errors."""


class _Output(io.RawIOBase):
    """A descriptor for writing. What is written after its reader has left is discarded, as in `... | head`.

    `is_abandoned`: the reader has left. An error stream also discards what cannot be written for another reason: an
    error message must not replace the exit status that it explains.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_abandoned = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            if not self.is_abandoned:
                return os.write(self._descriptor, data)
        except OSError as error:
            if self._descriptor != 2 and not isinstance(error, BrokenPipeError):
                raise OutputFailed(error.errno, error.strerror) from error
            self.is_abandoned = True
        return memoryview(data).nbytes


class _Terminal(io.TextIOWrapper):
    """A terminal. What others wrote, such as the name of a job, must not control it."""

    def write(self, text: str, /) -> int:
        super().write(visible_lines(text))
        return len(text)

    def write_as_is(self, text: str) -> None:
        super().write(text)


def _output(descriptor: int, before: TextIO | None) -> TextIO:
    """The stream of a descriptor. `before`: Python's stream, which shows whether PYTHONUNBUFFERED is set."""
    raw = _Output(descriptor)
    by_line = descriptor == 2 or raw.isatty() or getattr(before, "write_through", False)
    kind = _Terminal if raw.isatty() else io.TextIOWrapper
    return kind(io.BufferedWriter(raw), _ENCODING, _OUTPUT_ERRORS, line_buffering=by_line)
