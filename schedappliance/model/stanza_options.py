"""Reads the name and the options of one stanza, checked against its table in options.py.

Rule: a wrong option becomes a diagnostic and is left out, so that every mistake is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from schedappliance.diagnostics import Diagnostic, InvalidValue, Related, Source, Span, did_you_mean, nearest
from schedappliance.model.closure import Block, Setting
from schedappliance.model.configuration import Account, ReadOption, ReadOptions
from schedappliance.model.options import OptionSpec, StanzaSpec
from schedappliance.syntax.tree import Dictionary, Scalar

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Place = tuple[Source, Span]


@dataclass(slots=True)
class StanzaReader:
    """Reads the names and options of stanzas, and collects the mistakes in them."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def report(self, code: str, message: str, remedy: str, source: Source, span: Span, *related: Related) -> None:
        self.diagnostics.append(Diagnostic(code, message, remedy, source, span, related))

    def duplicate(self, kind: str, key: Scalar, source: Source, earlier: Place) -> None:
        remedy = "remove one of them; the last one counts"
        self.report(
            "W401", f"duplicate {kind} `{key.value}`", remedy, source, key.span, Related(*earlier, "given here first")
        )

    def duplicate_name(self, kind: str, name: str, head: Place, earlier: Place, remedy: str = "") -> None:
        shown = Related(*earlier, "declared here first")
        remedy = remedy or "rename or remove one of them"
        self.report("E206", f'duplicate {kind} "{name}"', remedy, *head, shown)

    def stanza_name(self, block: Block) -> str | None:
        """The name of a stanza that needs one."""
        key, name = block.stanza.key, block.stanza.name
        if name is None:
            remedy = f'write `{key.value} "name" {{ ... }}`'
            self.report("E207", f"stanza `{key.value}` needs a name", remedy, block.source, key.span)
        elif not name.value or len(name.value) > 200 or _CONTROL.search(name.value):
            remedy = "use 1 to 200 characters, no control characters"
            self.report("E208", f"invalid {key.value.lower()} name", remedy, block.source, name.span)
        else:
            return name.value
        return None

    def options(
        self, spec: StanzaSpec, title: str, body: Iterable[Setting | Block], head: Place | None = None
    ) -> tuple[ReadOptions, set[str]]:
        """The options of a stanza, and their names. A misspelt name counts as the nearest known name.

        `head`: where to report an option that is missing; None: none is required.
        """
        options: ReadOptions = {}
        parts: dict[str, list[ReadOption]] = {}
        names: set[str] = set()
        for item in body:
            if isinstance(item, Block):
                self.check_inner(spec, title, item)
                continue
            key, name = item.option.key, item.option.key.value.lower()
            if key.missing:
                # The unknown name may stand for any option, so no option is reported as missing.
                names.update(spec.options)
                continue
            option = spec.options.get(name)
            if why := spec.elsewhere.get(name):
                self.report("E202", f"`{title}` takes no option `{key.value}`", why, item.source, key.span)
                continue
            if option is None:
                names.add(nearest(key.value, spec.options))
                known = f"known options: {', '.join(spec.options)}" if spec.options else "remove it"
                remedy = did_you_mean(key.value, spec.options, known)
                self.report("E202", f"unknown option `{key.value}` in `{title}`", remedy, item.source, key.span)
                continue
            names.add(name)
            if isinstance(item.option.value, Scalar) and item.option.value.missing:
                continue
            earlier = options.get(name)
            if (read := self.value(option, item)) is not None:
                options[name] = read
                if isinstance(item.option.value, Dictionary):
                    parts.setdefault(name, []).append(read)
                elif earlier:
                    self.duplicate("option", key, item.source, (earlier.source, earlier.span))
        for name, several in parts.items():
            options[name] = merged(several)
            self.check_entries(options[name])
        # An unknown name that resembles no option may stand for the missing one, and is reported already.
        if head and names <= spec.options.keys():
            for name in spec.required:
                if name not in names:
                    remedy = f"{name}: {spec.options[name].help}"
                    self.report("E205", f"missing option `{name}` in `{title}`", remedy, *head)
        return options, names

    def check_inner(self, spec: StanzaSpec, title: str, block: Block) -> None:
        """Reports a stanza inside a stanza whose table does not list it."""
        key = block.stanza.key
        if not key.missing and key.value.lower() not in spec.stanzas:
            remedy = did_you_mean(key.value, spec.stanzas, "move it out")
            self.report("E201", f"stanza `{key.value}` is not allowed in `{title}`", remedy, block.source, key.span)

    def check_entries(self, option: ReadOption) -> None:
        """Reports a key that is given twice in a dictionary, or in several dictionaries that are merged."""
        places: dict[str, Place] = {}
        for source, value in option.parts:
            for entry in value.entries if isinstance(value, Dictionary) else ():
                earlier = places.get(entry.key.value)
                places[entry.key.value] = (source, entry.key.span)
                if earlier and not entry.key.missing:
                    self.duplicate("key", entry.key, source, earlier)

    def value(self, option: OptionSpec, item: Setting) -> ReadOption | None:
        node = item.option.value
        try:
            return ReadOption(option.read(node), item.source, item.option.span, node, ((item.source, node),))
        except InvalidValue as invalid:
            self.diagnostics += [one.diagnostic(item.source, node.span) for one in invalid.mistakes]
            return None

    def report_inside(self, option: ReadOption, diagnostics: Iterable[Diagnostic]) -> None:
        """Reports mistakes in the text of an option at their places in the file."""
        self.diagnostics += [diagnostic.moved(option.source, option.node.inner) for diagnostic in diagnostics]


def merged(parts: Sequence[ReadOption]) -> ReadOption:
    """A dictionary that is given in parts. If several parts have the same key, the last value counts."""
    last = parts[-1]
    values = dict(pair for part in parts for pair in part.value)
    return ReadOption(
        tuple(values.items()), last.source, last.span, last.node, tuple(one for part in parts for one in part.parts)
    )


def accounts_in(options: ReadOptions) -> Iterator[Account]:
    """The users and groups that a program or a role names."""
    for kind in ("user", "group"):
        if one := options.get(kind):
            yield Account(kind, one.value, one.source, one.node.span)
        if several := options.get(f"{kind}s"):
            for item in several.node.items:
                yield Account(kind, item.value, several.source, item.span)
