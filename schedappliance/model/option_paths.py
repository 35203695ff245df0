"""Reads the words of a `config` command as a path in the option tree: scope, option and value.

Rule: this module uses only the tables. references.py checks whether the program or job of the path is declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from schedappliance.diagnostics import InvalidValue, Span, did_you_mean, shortened
from schedappliance.model.options import FILES_ONLY, STANZA_OF, STANZAS, OptionSpec
from schedappliance.syntax.command import CommandTree, Word
from schedappliance.syntax.printer import quoted
from schedappliance.syntax.stanza import has_more_words, parse_value
from schedappliance.syntax.tree import ListValue, Scalar, Value

OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*", re.ASCII)
OPTION_NAME_HELP = "use letters, digits, `_` and `-`, beginning with a letter or `_`"
# In a file these words begin an include, so an option of that name could be written but never read back.
_INCLUDES = ("include", "readonly_include")
# The items of a list that the console takes: the deciding thread reads them.
MOST_ITEMS = 256


class Scope(NamedTuple):
    """The stanza of an option, in lower case, and the name of the stanza; both are empty for the global scope."""

    stanza: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """The head of the stanza, as a file writes it."""
        return f"{self.stanza} {quoted(self.name)}" if self.name else self.stanza


GLOBAL, SCHED, AUTHORIZATION = Scope(), Scope("sched"), Scope("authorization")
DEFAULTS = Scope("defaults")


@lru_cache(maxsize=64)
def value_of(text: str) -> Value:
    """The value of a text such as `10`, `none` or `( 0 1 )` that is not in a file. An override is read several times."""
    listed = parse_value(text) if text.startswith(("(", "[")) else None
    return listed or text_of(text)


def text_of(text: str) -> Scalar:
    """A text that is not in a file, as a value."""
    return Scalar(text, Span(0, len(text)), '"', text)


@cache
def absent(option: OptionSpec) -> Any:
    """The value of an option that no file sets."""
    return None if option.default is None else option.read(value_of(option.default))


def option_path(level: CommandTree, line: str) -> tuple[str, ...] | None:
    """Stanza, name and option in a `config` command; None for any other command, or an invalid path."""
    read_path = PATHS.get(level.form)
    try:
        return read_path(level, line) if read_path else None
    except InvalidValue:
        return None


def _shown_path(words: Sequence[Word]) -> tuple[str, ...]:
    """`show`, `showrecurse`: stanza and name; both are empty for the whole tree."""
    return _whole_scope(words) if words else GLOBAL


def _unset_path(words: Sequence[Word]) -> tuple[str, ...]:
    """`unset`: stanza, name and option; an empty option means all of them."""
    if not words:
        raise InvalidValue("the global scope cannot be unset as a whole", "name an option or a stanza", "E508")
    spec = STANZAS.get(words[0].value.lower())
    if spec and len(words) == 1 + spec.named:
        return (*_whole_scope(words), "")
    return _option_path(words)


def _option_path(words: Sequence[Word]) -> tuple[str, ...]:
    """`get`: stanza, name and option."""
    if len(words) == 1:
        return (*GLOBAL, words[0].value)
    scope, rest = _scope(words)
    remedy = "give the stanza, its name and one option"
    if not rest:
        raise InvalidValue(f"missing option of `{scope.title}`", remedy, "E508", _over(words))
    if len(rest) > 1:
        message = f"unexpected `{shortened(rest[1].value)}` after `{shortened(rest[0].value)}`"
        raise InvalidValue(message, remedy, "E508", _over(rest[1:]))
    _spec(scope, rest[0])
    return (*scope, rest[0].value.lower())


def _evaluated_path(words: Sequence[Word]) -> tuple[str, ...]:
    """`eval`: as `get`; a name that the stanza does not have means the global option of that name."""
    try:
        return _option_path(words)
    except InvalidValue:
        return (*GLOBAL, words[-1].value)


def _set_path(words: Sequence[Word], line: str) -> tuple[str, ...]:
    """`set`: stanza, name, option and value; `=` may stand before the value, with blanks around it or without."""
    scope, rest = _assigned_scope(words)
    option, values = _assignment(rest)
    if any("\ufeff" in value.value for value in values):
        # No stanza file may contain it, so the option could be shown but never read back.
        raise InvalidValue("the value contains a byte order mark (U+FEFF)", "remove it", "E106", _over(values))
    if scope == GLOBAL:
        return (*GLOBAL, _global_name(option), _global_value(option, values))
    spec = _spec(scope, option)
    if option.value.lower() in FILES_ONLY:
        message = f"`{option.value}` of `{scope.title}` can be set only in the stanza files"
        raise InvalidValue(
            message, "edit the stanza file; the console cannot change which programs run", "E508", option.span
        )
    value = _stanza_value(values, line)
    if value.startswith("(") and _has_too_many_items(value):
        message = f"more than {MOST_ITEMS} items in one list"
        raise InvalidValue(message, "write a longer list into the stanza file", "E204", _over(values))
    try:
        spec.read(value_of(value))
    except InvalidValue as invalid:
        raise invalid.at(_over(values)) from None
    return (*scope, option.value.lower(), value)


PATHS: dict[str, Callable[[CommandTree, str], tuple[str, ...]]] = {
    "config_get": lambda level, _: _option_path(level.words),
    "config_eval": lambda level, _: _evaluated_path(level.words),
    "config_set": lambda level, line: _set_path(level.words, line),
    "config_unset": lambda level, _: _unset_path(level.words),
    "config_show": lambda level, _: _shown_path(level.words),
    "config_showrecurse": lambda level, _: _shown_path(level.words),
}


def _over(words: Sequence[Word]) -> Span:
    """The span from the first word to the last."""
    return Span(words[0].start, words[-1].end)


def _whole_scope(words: Sequence[Word]) -> Scope:
    scope, rest = _scope(words)
    if rest:
        message = f"unexpected `{shortened(rest[0].value)}` after `{scope.title}`"
        raise InvalidValue(message, "remove it", "E508", _over(rest))
    return scope


def _scope(words: Sequence[Word]) -> tuple[Scope, Sequence[Word]]:
    """The stanza that the first words name, and the words after them."""
    stanza = words[0].value.lower()
    spec = STANZAS.get(stanza)
    if spec is None:
        known = f"known stanzas: {', '.join(STANZAS)}; a global option stands alone; quote a value that contains blanks"
        remedy = did_you_mean(words[0].value, STANZAS, known)
        raise InvalidValue(f"unknown stanza `{shortened(words[0].value)}`", remedy, "E508", words[0].span)
    if not spec.named:
        return Scope(stanza), words[1:]
    if len(words) < 2:
        raise InvalidValue(f"`{stanza}` needs a name", f"write `{stanza} NAME`", "E508", words[0].span)
    return Scope(stanza, words[1].value), words[2:]


def _spec(scope: Scope, option: Word) -> OptionSpec:
    if STANZAS[scope.stanza].stanzas:
        remedy = f"`config show {scope.stanza}` shows it; edit the stanza file to change it"
        raise InvalidValue(f"`{scope.stanza}` has no options of its own", remedy, "E508", option.span)
    options = STANZAS[scope.stanza].options
    spec = options.get(option.value.lower())
    if spec is None:
        remedy = did_you_mean(option.value, options, f"known options: {', '.join(options)}")
        message = f"unknown option `{shortened(option.value)}` in `{scope.title}`"
        raise InvalidValue(message, remedy, "E202", option.span)
    return spec


def _assigned_scope(words: Sequence[Word]) -> tuple[Scope, Sequence[Word]]:
    """The scope of a `set` command, and the words after it.

    A global option may be named like a stanza: `set program 5`. Then no word after it names an option.
    """
    spec = STANZAS.get(words[0].value.lower())
    if spec and not spec.named and len(words) == 2:
        name, equals, _ = words[1].value.partition("=")
        if equals and name.lower() in spec.options:
            return _scope(words)
    if len(words) < 3 or "=" in words[0].value or words[1].value.startswith(("=", "(")):
        return GLOBAL, words
    scope, rest = _scope(words)
    if STANZAS[scope.stanza].in_files:
        message = f"`{shortened(words[0].value)}` can be set only in the stanza files"
        raise InvalidValue(message, "edit the stanza file", "E508", words[0].span)
    return scope, rest


def _assignment(words: Sequence[Word]) -> tuple[Word, Sequence[Word]]:
    """The option, and the words of its value without the `=`."""
    if not words:
        raise InvalidValue("missing option", "name the option, then its value", "E109")
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
        raise InvalidValue(f"missing value for `{shortened(first.value)}`", "add the value", "E109", _over(words))
    return first, rest


def _global_name(option: Word) -> str:
    if option.value.lower() in _INCLUDES:
        message = f"`{option.value}` is a reserved word, which includes a file"
        raise InvalidValue(message, "choose another name", "E208", option.span)
    if stanza := STANZA_OF.get(option.value.lower()):
        message = f"`{option.value}` is an option of a stanza"
        raise InvalidValue(message, f"set it in `{stanza}`, or choose another name", "E508", option.span)
    if not OPTION_NAME.fullmatch(option.value):
        message = f"invalid option name `{shortened(option.value)}`"
        raise InvalidValue(message, OPTION_NAME_HELP, "E208", option.span)
    return option.value


def _global_value(option: Word, values: Sequence[Word]) -> str:
    if len(values) > 1:
        message = f"more than one value for option `{shortened(option.value)}`"
        raise InvalidValue(message, "quote a value that contains blanks", "E203", _over(values))
    return values[0].value


def _has_too_many_items(text: str) -> bool:
    # With both parentheses, and a comma after each item.
    if has_more_words(text, 2 * MOST_ITEMS + 2):
        return True
    listed = value_of(text)
    return isinstance(listed, ListValue) and len(listed.items) > MOST_ITEMS


def _stanza_value(values: Sequence[Word], line: str) -> str:
    """One word, or a list as it is written in the line."""
    if len(values) == 1:
        return values[0].value
    span = _over(values)
    text = line[span.start : span.end]
    if not text.startswith("("):
        raise InvalidValue("more than one value", "quote a value that contains blanks", "E203", span)
    return text
