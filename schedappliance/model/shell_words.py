"""Finds words in `argv` that only a shell understands, such as `>`. The program gets them as its arguments.

Rule: only a whole word counts, and none after a program that reads such words itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from schedappliance.syntax.printer import quoted

# They may be the value of an option such as `--delimiter`.
_SEPARATOR = re.compile(r"\|\|?|&&?|;")
_SHELL_WORD = re.compile(
    rf"{_SEPARATOR.pattern}|<|[0-9&]?>>?(?:&[0-9]|/.*)?|\$[A-Za-z]\w*|\$\{{[A-Za-z_]\w*\}}|~/.*", re.ASCII | re.DOTALL
)
_TAKES_SEPARATOR = re.compile(r"-[dtsF]|--?[a-z-]*(?:delim|sep)[a-z-]*")
# Shells, programs that start one, and programs that give such words a meaning of their own.
_READERS = frozenset(
    re.findall(
        r"\S+",
        "sh ash bash dash zsh ksh mksh fish csh tcsh pwsh ssh su watch parallel systemd-run envsubst"
        " find fd expr test [ tr awk gawk mawk nawk sed grep egrep fgrep zgrep jq yq rg"
        " bc dc psql mysql sqlite3 mongosh tmux screen nft make",
    )
)


def first_shell_word(words: Sequence[str]) -> int | None:
    """The index of the first word that only a shell understands; None if there is none, or a program may read it."""
    for index, word in enumerate(words[1:], 1):
        if words[index - 1].rpartition("/")[2] in _READERS:
            return None
        if _SHELL_WORD.fullmatch(word) and not (
            _SEPARATOR.fullmatch(word) and _TAKES_SEPARATOR.fullmatch(words[index - 1])
        ):
            return index
    return None


def without_shell_words(words: Sequence[str], index: int) -> str:
    """The remedy for the word at `index`, the first one that only a shell understands."""
    if words[index].startswith("~/"):
        return "write the whole path; only a shell puts the home directory in place of `~`"
    if words[index] == "&" and index == len(words) - 1:
        return "remove it; the appliance waits for no program"
    line = " ".join(word if _SHELL_WORD.fullmatch(word) else shlex.quote(word) for word in words)
    return f'let a shell read it: `argv = ( "/bin/sh" "-c" {quoted(line)} )`'
