"""The way from the root directory to a path: each directory and link on it, as the kernel would follow them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from schedappliance.doctor.facts import Step, Way

MOST_LINKS = 40
ACCESS_LIST = "system.posix_acl_access"


def step_at(path: Path) -> Step | None:
    """What stands at a path, which is no symbolic link; None when nothing does that can be seen."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return Step(path, status.st_mode, status.st_uid, status.st_gid, _has_access_list(path))


def _has_access_list(path: Path) -> bool:
    try:
        return ACCESS_LIST in os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False


def way_to(named: Path) -> Way:
    """As far as the path exists."""
    walk = _Walk()
    parts = [(part, True) for part in named.absolute().parts[1:]]
    if parts:
        parts[-1] = (parts[-1][0], False)
    exists = walk.follow(parts)
    # Where the walk ended stands last, though it may have been passed before.
    steps = [step for path, step in walk.steps.items() if path != walk.here]
    return Way(named, (*steps, walk.steps[walk.here]), exists, tuple(walk.links))


@dataclass(slots=True)
class _Walk:
    here: Path = Path("/")
    steps: dict[Path, Step] = field(default_factory=lambda: {Path("/"): _root()})
    links: list[tuple[Path, Path]] = field(default_factory=list)

    def follow(self, parts: list[tuple[str, bool]]) -> bool:
        """Whether the end is there. Of each part: whether it belongs to the name of a directory."""
        links_left = MOST_LINKS
        while parts:
            (part, of_directory), *parts = parts
            if part == "..":
                self.here = self.here.parent
                continue
            step = step_at(self.here / part)
            if step is None or not links_left:
                return False
            if stat.S_ISLNK(step.mode):
                links_left -= 1
                target = step.path.readlink()
                if of_directory:
                    self.links.append((step.path, target))
                self.here = Path("/") if target.is_absolute() else self.here
                parts = [(part, of_directory) for part in target.parts if part != "/"] + parts
            else:
                self.here = step.path
                self.steps[step.path] = step
        return True


def _root() -> Step:
    step = step_at(Path("/"))
    assert step is not None
    return step
