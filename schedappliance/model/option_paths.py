"""Where the option of a `config` command stands: `config set program hello timeout = 5` to scope, option and value.

Law: only the tables are asked here; whether a program or a job of that name exists is a reference, and judged elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from schedappliance.diagnostics import Span, did_you_mean, shortened
from schedappliance.model.options import FILES_ONLY, GLOBAL, STANZAS, OptionSpec, Scope
from schedappliance.model.values import Unfit
from schedappliance.syntax.command import CommandTree, Word
from schedappliance.syntax.stanza import parse_value
from schedappliance.syntax.tree import Scalar, Value

OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*", re.ASCII)
_NOT_HERE = "E508"
# What begins another statement in a file: an option of that name would be written there and never read back.
_INCLUDES = ("include", "readonly_include")


def shown_path(words: Sequence[Word]) -> tuple[str, ...]:
    """Of `show` and `showrecurse`: stanza and name, both empty for everything; raises Unfit."""
    return _whole_scope(words) if words else GLOBAL


def unset_path(words: Sequence[Word]) -> tuple[str, ...]:
    """Of `unset`: stanza, name and option; no option means all of them; raises Unfit."""
    if not words:
        raise Unfit("the global scope cannot be unset as a whole", "name an option, or a stanza", _NOT_HERE)
    spec = STANZAS.get(words[0].value.lower())
    if spec and len(words) == 1 + spec.named:
        return (*_whole_scope(words), "")
    return _option_path(words)


def get_path(words: Sequence[Word]) -> tuple[str, ...]:
    """Of `get`: stanza, name and option; raises Unfit."""
    return _option_path(words)


def eval_path(words: Sequence[Word]) -> tuple[str, ...]:
    """Of `eval`: as of `get`, but what is no option of a stanza falls back to the global option of that name."""
    try:
        return _option_path(words)
    except Unfit:
        return (*GLOBAL, words[-1].value)


def set_path(words: Sequence[Word], line: str) -> tuple[str, ...]:
    """Of `set`: stanza, name, option and value; `=` may stand before the value, with blanks or without. Raises Unfit."""
    scope, rest = _assigned_scope(words)
    option, values = _assignment(rest)
    if scope == GLOBAL:
        name = _global_name(option)
        return (*GLOBAL, name, _global_value(option, values))
    spec = _spec(scope, option)
    if option.value.lower() in FILES_ONLY:
        help = "edit the stanza file; what is executed is trusted to the files alone"
        raise Unfit(f"`{option.value}` of `{scope.title}` is set by the files only", help, _NOT_HERE, option.span)
    value = _stanza_value(values, line)
    try:
        spec.read(value_of(value))
    except Unfit as unfit:
        raise Unfit(unfit.message, unfit.help, unfit.code, _over(values)) from None
    return (*scope, option.value.lower(), value)


def _over(words: Sequence[Word]) -> Span:
    return Span(words[0].start, words[-1].end)


def _whole_scope(words: Sequence[Word]) -> Scope:
    scope, rest = _scope(words)
    if rest:
        raise Unfit(
            f"`{shortened(rest[0].value)}` is no stanza inside `{scope.title}`", "remove it", _NOT_HERE, _over(rest)
        )
    return scope


def _scope(words: Sequence[Word]) -> tuple[Scope, Sequence[Word]]:
    """The stanza that the first words name, and the words after them."""
    stanza = words[0].value.lower()
    spec = STANZAS.get(stanza)
    if spec is None:
        known = (
            f"stanzas are: {', '.join(STANZAS)}; a global option is named alone, a value that holds blanks is quoted"
        )
        help = did_you_mean(words[0].value, STANZAS, known)
        raise Unfit(f"`{shortened(words[0].value)}` is no stanza", help, _NOT_HERE, words[0].span)
    if not spec.named:
        return Scope(stanza), words[1:]
    if len(words) < 2:
        raise Unfit(f"`{stanza}` needs a name", f"write `{stanza} NAME`", _NOT_HERE, words[0].span)
    return Scope(stanza, words[1].value), words[2:]


def _option_path(words: Sequence[Word]) -> tuple[str, ...]:
    if len(words) == 1:
        return (*GLOBAL, words[0].value)
    scope, rest = _scope(words)
    if len(rest) != 1:
        found = (
            f"`{shortened(rest[1].value)}` follows the option" if rest else f"an option of `{scope.title}` is missing"
        )
        raise Unfit(found, "name the stanza, its name and one option", _NOT_HERE, _over(rest or words))
    _spec(scope, rest[0])
    return (*scope, rest[0].value.lower())


def _spec(scope: Scope, option: Word) -> OptionSpec:
    if STANZAS[scope.stanza].stanzas:
        help = f"`config show {scope.stanza}` shows it; edit the stanza file to change it"
        raise Unfit(f"`{scope.stanza}` has no options of its own", help, _NOT_HERE, option.span)
    options = STANZAS[scope.stanza].options
    spec = options.get(option.value.lower())
    if spec is None:
        help = did_you_mean(option.value, options, f"known options: {', '.join(options)}")
        raise Unfit(f"`{scope.title}` has no option `{shortened(option.value)}`", help, "E202", option.span)
    return spec


def _assigned_scope(words: Sequence[Word]) -> tuple[Scope, Sequence[Word]]:
    """A global option may be named like a stanza: `set program 5`; then nothing that names an option follows."""
    spec = STANZAS.get(words[0].value.lower())
    if spec and not spec.named and len(words) == 2:
        name, equals, _ = words[1].value.partition("=")
        if equals and name.lower() in spec.options:
            return _scope(words)
    if len(words) < 3 or "=" in words[0].value or words[1].value.startswith(("=", "(")):
        return GLOBAL, words
    scope, rest = _scope(words)
    if STANZAS[scope.stanza].stanzas:
        found = f"`{shortened(words[0].value)}` is set by the files only"
        raise Unfit(
            found, "edit the stanza file; who may do what is trusted to the files alone", _NOT_HERE, words[0].span
        )
    return scope, rest


def _assignment(words: Sequence[Word]) -> tuple[Word, Sequence[Word]]:
    """The option, and the words of its value without the `=`."""
    if not words:
        raise Unfit("the option is missing", "name it, then its value", "E109")
    first, rest = words[0], list(words[1:])
    name, equals, value = first.value.partition("=")
    if equals and name:
        option = Word(name, first.start, first.start + len(name))
        rest = [Word(value, first.start, first.end), *rest] if value or not rest else rest
        return option, rest
    if rest and rest[0].value.startswith("="):
        after = rest[0].value[1:]
        rest = [Word(after, rest[0].start, rest[0].end), *rest[1:]] if after else rest[1:]
    if not rest and not first.value.startswith("="):
        raise Unfit(f"no value is given to `{shortened(first.value)}`", "add the value", "E109", _over(words))
    return first, rest


def _global_name(option: Word) -> str:
    if option.value.lower() in _INCLUDES:
        raise Unfit(
            f"`{option.value}` includes a file, and names no option", "choose another name", "E208", option.span
        )
    if not OPTION_NAME.fullmatch(option.value):
        help = "use letters, digits, `_` and `-`"
        raise Unfit(f"`{shortened(option.value)}` is no name for an option", help, "E208", option.span)
    return option.value


def _global_value(option: Word, values: Sequence[Word]) -> str:
    if len(values) > 1:
        help = "give one value; quote it when it holds blanks"
        raise Unfit(f"option `{shortened(option.value)}` holds more than one value", help, "E203", _over(values))
    return values[0].value


def _stanza_value(values: Sequence[Word], line: str) -> str:
    """One word, or a list as it is written."""
    if len(values) == 1:
        return values[0].value
    span = _over(values)
    text = line[span.start : span.end]
    if not text.startswith("("):
        raise Unfit("more than one value is given", "quote a value that holds blanks", "E203", span)
    return text


def value_of(text: str) -> Value:
    """The value that a text such as `10`, `none` or `( 0 1 )` stands for, where no file holds it."""
    listed = parse_value(text) if text.startswith(("(", "[")) else None
    return listed or text_of(text)


def text_of(text: str) -> Scalar:
    """A text as a value that no file holds."""
    return Scalar(text, Span(0, len(text)), '"', text)


@cache
def absent(option: OptionSpec) -> Any:
    """What an option means where it is not given."""
    return None if option.default is None else option.read(value_of(option.default))


# The words of these commands stand for a path in the option tree.
PATHS: dict[str, Callable[[CommandTree, str], tuple[str, ...]]] = {
    "config_get": lambda level, _: get_path(level.words),
    "config_eval": lambda level, _: eval_path(level.words),
    "config_set": lambda level, line: set_path(level.words, line),
    "config_unset": lambda level, _: unset_path(level.words),
    "config_show": lambda level, _: shown_path(level.words),
    "config_showrecurse": lambda level, _: shown_path(level.words),
}


def option_path(level: CommandTree, line: str) -> tuple[str, ...] | None:
    """Stanza, name and option that a `config` command is about; None for another command, or when they do not fit."""
    read_path = PATHS.get(level.form)
    try:
        return read_path(level, line) if read_path else None
    except Unfit:
        return None
