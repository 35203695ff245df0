"""Files of which nobody sees a part: a draft beside the file takes the whole content, and only then the name.

Rule: an OSError names the file, not its draft. Only a kill can leave a draft behind.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Errors of link(2) on a file system without hard links, or with too many of them.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


@contextmanager
def draft_of(path: Path, text: str, mode: int | None = None, draft: Path | None = None) -> Iterator[Path]:
    """A synced draft of a file, which is removed at the end unless it was renamed. Raises OSError.

    `mode`: the permissions, whatever the umask; None gives those of any new file. `draft`: its path, if nothing else has
    this path.
    """
    draft = draft or path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        try:
            _write(draft, text, mode)
        except OSError as error:
            raise _of(path, error) from error
        yield draft
    finally:
        with suppress(OSError):
            draft.unlink()


def name_new(draft: Path, path: Path) -> None:
    """Gives a draft its name, without replacing a file. Raises OSError."""
    try:
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            draft.rename(path)
    except OSError as error:
        raise _of(path, error) from error


def _write(draft: Path, text: str, mode: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o666 if mode is None else mode), "w", encoding="utf-8") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _of(path: Path, error: OSError) -> OSError:
    """The error of a file, in place of its draft's or of one without a path."""
    return OSError(error.errno, error.strerror, str(path))
