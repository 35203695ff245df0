"""Finds the grammar files and builds the parsers. Also GRAMMAR_VERSION, which stored commands carry.

Rule: Lark's cache is never used, because it unpickles a file with a predictable name in /tmp.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Transformer

# Stored with every parsed command. A command that was stored with another version is parsed again.
GRAMMAR_VERSION = 3


@cache
def grammar_directory() -> Path:
    """The folder `grammar/`: inside the package in a wheel, beside it in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "grammar", package.parent / "grammar"):
        if (candidate / "stanza.lark").is_file():
            return candidate
    raise FileNotFoundError(f"the grammar files are missing from the installation at {package}")


@cache
def grammar_text(name: str) -> str:
    """The text of `grammar/NAME.lark`. The daemon reads it at start, since the file may be moved away before it is needed."""
    return (grammar_directory() / f"{name}.lark").read_text(encoding="utf-8")


def build_parser(name: str, transformer: Transformer[Any, Any] | None, **options: Any) -> Lark:
    """The LALR parser of `grammar/NAME.lark`. A transformer runs inside the parser, which saves a second tree."""
    imports = [_imported]
    return Lark(
        grammar_text(name),
        import_paths=imports,
        parser="lalr",
        transformer=transformer,
        maybe_placeholders=False,
        **options,
    )


def _imported(_directory: str | None, file: str) -> tuple[str, str]:
    """The name and the text of a grammar that another one imports."""
    return file, grammar_text(file.removesuffix(".lark"))
