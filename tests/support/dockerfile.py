"""The Dockerfile: its instructions, and the files that it copies from the checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.documents import CHECKOUT

DOCKERFILE = CHECKOUT / "Dockerfile"


def instructions(name: str) -> list[str]:
    """What follows each instruction of this name, on one line."""
    lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def copied() -> list[tuple[str, str]]:
    """What the instructions COPY take from the checkout, and where they put it."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from=")]
    return [(name, place) for *names, place in lines for name in names]


def copy_source(target: Path) -> None:
    """Copies what the instructions COPY take from the checkout, into a new directory."""
    target.mkdir()
    for name, place in copied():
        copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
        copy(CHECKOUT / name, target / place / (name if place == "./" else ""))
