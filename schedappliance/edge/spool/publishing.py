"""Publishing: results are copies of rows. A claimed file leaves work/ when its result stands on the disk, never before.

Paths are texts here and where files are taken: there may be very many, and a `Path` takes longer than its rename.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from schedappliance.edge.spool.syncing import sync_files
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.intake import Keep, result_name

# Old files that go beside those that came.
SLACK = 200


@dataclass(slots=True)
class Publisher:
    """Runs on the worker. `shared`: results are for their owners. `reached` is told each boundary."""

    path: Path
    shared: bool
    keep: Keep
    log: logging.Logger
    reached: Callable[[str], None] = lambda _boundary: None
    _unpublished: dict[str, PublishResult] = field(default_factory=dict)
    _kept: deque[tuple[int, str]] = field(default_factory=deque)

    def resume(self) -> None:
        """Learns which results are kept, the oldest first; raises OSError."""
        found: list[tuple[int, str]] = []
        for folder in ("done", "failed"):
            with os.scandir(self.path / folder) as entries:
                found += [
                    (entry.stat(follow_symlinks=False).st_ctime_ns, f"{folder}/{entry.name}") for entry in entries
                ]
        self._kept = deque(sorted(found))

    def publish(self, effects: Iterable[PublishResult], now_ms: int) -> None:
        """Writes the results, syncs them together, then moves the files. What fails is tried again with the next."""
        before = set(self._unpublished)
        self._unpublished |= {effect.mark: effect for effect in effects}
        written = []
        for effect in list(self._unpublished.values()):
            if not os.path.lexists(f"{self.path}/work/{effect.mark}"):
                # Answered twice, as after a crash; it has been moved.
                self._unpublished.pop(effect.mark)
                continue
            try:
                written.append((effect, self._write(effect)))
                self.reached("result written")
            except OSError as error:
                self._tell(effect, error, before)
        try:
            sync_files(self.path / "done", [path for _, path in written])
        except OSError as error:
            self.log.error("spool: cannot sync the results in %s: %s", self.path, error.strerror)
            return
        for effect, _ in written:
            try:
                self._move(effect)
            except OSError as error:
                self._tell(effect, error, before)
            else:
                self._unpublished.pop(effect.mark)
        self.prune(now_ms)

    def _write(self, effect: PublishResult) -> str:
        """Written beside, then renamed: a reader finds a whole result or none."""
        owner = os.lstat(f"{self.path}/work/{effect.mark}").st_uid
        folder, name = f"{self.path}/{_folder(effect)}", result_name(effect.name)
        result, beside = f"{folder}/{name}", f"{folder}/.{name}.tmp"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(effect.result.encode())
            os.fchmod(descriptor, self._mode(descriptor, owner))
        os.rename(beside, result)  # noqa: PTH104
        return result

    def _mode(self, descriptor: int, owner: int) -> int:
        """In a shared spool a result belongs to whoever dropped, where that can be had."""
        if not self.shared:
            return 0o644
        if os.geteuid() == 0:
            os.fchown(descriptor, owner, -1)
            return 0o600
        return 0o640

    def _move(self, effect: PublishResult) -> None:
        """The last outcome stands under the name of a file; what cannot be dropped again keeps its mark."""
        claimed, folder = f"{self.path}/work/{effect.mark}", _folder(effect)
        body = effect.name if stat.S_ISREG(os.lstat(claimed).st_mode) else effect.mark
        other = "failed" if effect.accepted else "done"
        for stale in (result_name(effect.name), effect.name):
            if os.path.lexists(path := f"{self.path}/{other}/{stale}"):
                os.unlink(path)  # noqa: PTH108
        os.rename(claimed, f"{self.path}/{folder}/{body}")  # noqa: PTH104
        self.reached("moved")
        for name in (result_name(effect.name), body):
            changed_ns = os.lstat(f"{self.path}/{folder}/{name}").st_ctime_ns
            self._kept.append((changed_ns, f"{folder}/{name}"))

    def prune(self, now_ms: int) -> None:
        """Removes a few of the files that are too many or too old."""
        oldest_ns = (now_ms - self.keep.age_ms) * 1_000_000
        for _ in range(SLACK):
            if not self._kept or (len(self._kept) <= 2 * self.keep.number and self._kept[0][0] >= oldest_ns):
                return
            changed_ns, name = self._kept.popleft()
            path = self.path / name
            with contextlib.suppress(OSError):
                # A newer file may have its name by now.
                if path.lstat().st_ctime_ns <= changed_ns:
                    path.unlink()

    def _tell(self, effect: PublishResult, error: OSError, before: set[str]) -> None:
        if effect.mark not in before:
            self.log.error("spool: cannot publish the result of %s: %s", effect.name, error.strerror)


def _folder(effect: PublishResult) -> str:
    return "done" if effect.accepted else "failed"
