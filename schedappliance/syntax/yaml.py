"""YAML to a tree of texts with their places.

Rule: values stay texts, so `safe_load` is not used. It loses duplicate keys, and reads 12:30:00 as 45000 and `on` as
True.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml
from yaml.reader import ReaderError

from schedappliance.diagnostics import Diagnostic, Related, Source, Span

MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """A value as written. The table of keys decides its type, not YAML."""

    text: str
    span: Span
    quoted: bool


@dataclass(frozen=True, slots=True)
class YamlMapping:
    entries: dict[str, tuple[Span, YamlNode]]
    span: Span


@dataclass(frozen=True, slots=True)
class YamlList:
    items: tuple[YamlNode, ...]
    span: Span


YamlNode = YamlScalar | YamlMapping | YamlList


def parse_yaml(source: Source) -> tuple[YamlNode | None, list[Diagnostic]]:
    """The tree of a YAML document; None if it is empty or cannot be read."""
    try:
        unsupported = _unsupported(source, yaml.parse(source.text, Loader=yaml.SafeLoader))
        node = None if unsupported else yaml.compose(source.text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        return None, [_unreadable(source, error)]
    except ReaderError as error:
        span = Span(error.position, error.position + 1)
        message = f"character U+{ord(source.text[error.position]):04X} is not allowed in YAML"
        return None, [Diagnostic("E106", message, "remove it", source, span)]
    except RecursionError:
        return None, [Diagnostic("E111", "invalid YAML: it is nested too deeply", "remove brackets", source)]
    except yaml.YAMLError as error:
        return None, [Diagnostic("E111", f"invalid YAML: {error}", "correct the YAML syntax", source)]
    if unsupported or node is None:
        return None, unsupported
    walk = _Walk(source, [])
    return walk.node(node), walk.diagnostics


def _unsupported(source: Source, events: Iterable[yaml.Event]) -> list[Diagnostic]:
    """The first feature that is not supported. Also limits the depth, before `compose` recurses."""
    depth = 0
    documents = 0
    for event in events:
        assert event.start_mark and event.end_mark
        span = Span(event.start_mark.index, event.end_mark.index)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > MAX_DEPTH:
            return [
                Diagnostic("E108", "the YAML is nested too deeply", f"the limit is {MAX_DEPTH} levels", source, span)
            ]
        if documents > 1:
            return [
                Diagnostic(
                    "E112", "a second YAML document is not supported", "keep one document in the file", source, span
                )
            ]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return [Diagnostic("E112", "anchors and aliases are not supported", "write the value out", source, span)]
        if tag := getattr(event, "tag", None):
            return [Diagnostic("E112", f"tag `{tag}` is not supported", "remove it", source, span)]
    return []


def _unreadable(source: Source, error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    position = min(mark.index, len(source.text)) if mark else 0
    problem = " ".join(filter(None, (error.context, error.problem)))
    remedy = "indent with blanks, not tabs" if "'\\t'" in problem else "correct the YAML syntax"
    return Diagnostic("E111", f"invalid YAML: {problem}", remedy, source, Span(position, position))


@dataclass(frozen=True, slots=True)
class _Walk:
    source: Source
    diagnostics: list[Diagnostic]

    def node(self, node: yaml.Node) -> YamlNode:
        span = _span(node)
        if isinstance(node, yaml.MappingNode):
            return YamlMapping(self.entries(node), span)
        if isinstance(node, yaml.SequenceNode):
            return YamlList(tuple(self.node(item) for item in node.value), span)
        assert isinstance(node, yaml.ScalarNode)
        return YamlScalar(node.value, span, node.style in ("'", '"'))

    def entries(self, mapping: yaml.MappingNode) -> dict[str, tuple[Span, YamlNode]]:
        entries: dict[str, tuple[Span, YamlNode]] = {}
        for key, value in mapping.value:
            span = _span(key)
            if not isinstance(key, yaml.ScalarNode):
                self.add("E111", "a key must be a single word", "write `key: value`", span)
            elif key.value in entries:
                first = Related(self.source, entries[key.value][0], "first given here")
                self.add("E210", f"duplicate key `{key.value}`", "remove one of them", span, first)
            else:
                entries[key.value] = (span, self.node(value))
        return entries

    def add(self, code: str, message: str, remedy: str, span: Span, *related: Related) -> None:
        self.diagnostics.append(Diagnostic(code, message, remedy, self.source, span, related))


def _span(node: yaml.Node) -> Span:
    return Span(node.start_mark.index, node.end_mark.index)
