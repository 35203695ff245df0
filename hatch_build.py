"""Makes the relative links of the README absolute, for package indexes.

Rule: the README itself keeps relative links, so that they also work in a checkout and in a fork.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?!https:|#)([^)\s]+)\)")


def with_absolute_links(text: str, repository: str) -> str:
    """Links lead to the pages of the repository, pictures to the files themselves."""
    raw = repository.replace("//github.com/", "//raw.githubusercontent.com/")
    bases = {"": f"{repository}/blob/main", "!": f"{raw}/main"}
    return _LINK.sub(lambda m: f"{m[1]}{m[2]}{bases[m[1]]}/{m[3]})", text)


class Readme(MetadataHookInterface):
    """Called by hatchling for wheels, sdists and editable installs."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(text, metadata["urls"]["Source"]),
        }
