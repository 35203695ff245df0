"""Finds the grammar files and builds the parsers. Also GRAMMAR_VERSION, which stored commands carry.

Rule: Lark's cache is never used, because it unpickles a file with a predictable name in /tmp.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Transformer

# Stored with every parsed command. A command that was stored with another version is parsed again.
GRAMMAR_VERSION = 2


@cache
def grammar_directory() -> Path:
    """The folder `grammar/`: inside the package in a wheel, beside it in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "grammar", package.parent / "grammar"):
        if (candidate / "stanza.lark").is_file():
            return candidate
    raise FileNotFoundError(f"the grammar files are missing from the installation at {package}")


def build_parser(name: str, transformer: Transformer[Any, Any] | None, **options: Any) -> Lark:
    """The LALR parser of `grammar/NAME.lark`. A transformer runs inside the parser, which saves a second tree."""
    path = grammar_directory() / f"{name}.lark"
    return Lark.open(str(path), parser="lalr", transformer=transformer, maybe_placeholders=False, **options)
