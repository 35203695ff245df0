"""The option tree: the values of the stanza files, and the overrides that were set since.

Rule: Options are immutable. Setting an option makes new Options, so a rollback only restores the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schedappliance.model.configuration import Configuration
from schedappliance.model.option_paths import DEFAULTS, GLOBAL, SCHED, Scope, text_of, value_of
from schedappliance.model.options import OF_ITS_PROGRAM, OF_SCHED, STANZAS
from schedappliance.model.stanzas import InvalidOptions, options_of, stanzas_of, union, with_options
from schedappliance.syntax.printer import word, written
from schedappliance.syntax.tree import Dictionary, Scalar, Value


class Place(NamedTuple):
    """One option: its scope, and its name in lower case."""

    scope: Scope
    option: str


class Override(NamedTuple):
    """An option set from the console or by a job. `base`: its value in the files when it was set; None if it had none."""

    place: Place
    name: str
    value: str
    base: str | None

    @property
    def meant(self) -> Value:
        """The value that the text denotes. An option of a stanza may be a list; a global option is a text."""
        return value_of(self.value) if self.place.scope.stanza else text_of(self.value)

    def line(self, indent: str = "") -> str:
        """The override as `config get` shows it."""
        return f"{self.name} = {written(self.meant, indent) if self.place.scope.stanza else word(self.value)}"

    def __str__(self) -> str:
        """The override with the stanza that it belongs to."""
        return f"{self.place.scope.title} {self.line()}".lstrip()

    @property
    def what(self) -> str:
        """The option, for a message."""
        scope = self.place.scope
        return f"option {self.name}" + (f" of {scope.title}" if scope.stanza else "")

    def data(self) -> dict[str, str]:
        return {"scope": self.place.scope.title, "option": self.name, "value": self.value}


# `put` copies the recent overrides, and merges them into the earlier ones when this many are recent.
MOST_RECENT = 256


class Overrides(Mapping[Place, Override]):
    """The overrides by their places, in the order in which the places were first set. It is immutable.

    Setting 10,000 options takes half the CPU time of copying one dictionary each time (`benchmarks/pricing.py`).
    """

    __slots__ = ("_earlier", "_recent")

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self._earlier = {override.place: override for override in overrides}
        self._recent: dict[Place, Override] = {}

    def put(self, override: Override) -> Overrides:
        """These overrides with one added or replaced."""
        new = Overrides.__new__(Overrides)
        if len(self._recent) < MOST_RECENT:
            new._earlier, new._recent = self._earlier, {**self._recent, override.place: override}
        else:
            new._earlier, new._recent = {**self._earlier, **self._recent, override.place: override}, {}
        return new

    def find(self, place: Place) -> Override | None:
        """The override of a place, None if there is none. `get` would raise and catch a KeyError for each missing one."""
        return self._recent.get(place) or self._earlier.get(place)

    def __getitem__(self, place: Place) -> Override:
        return self._recent[place] if place in self._recent else self._earlier[place]

    def __iter__(self) -> Iterator[Place]:
        yield from self._earlier
        yield from (place for place in self._recent if place not in self._earlier)

    def __len__(self) -> int:
        return len(self._earlier) + sum(place not in self._earlier for place in self._recent)


@dataclass(slots=True)
class Options:
    """One configuration with its overrides; `with_overrides` makes it.

    `configuration`: the files with the overrides of stanzas applied. `unfit`: the overrides that the files do not allow
    any more. `stanza_overrides`: the overrides of stanzas. They are few. A change of one reads all overrides of its
    stanza.
    """

    files: Configuration
    overrides: Overrides
    stanza_overrides: Mapping[Place, Override]
    configuration: Configuration
    unfit: tuple[Override, ...]

    def put(self, override: Override) -> Options:
        """These options with one override added or replaced. Raises InvalidOptions."""
        scope, configuration, of_stanzas = override.place.scope, self.configuration, self.stanza_overrides
        if scope != GLOBAL:
            of_stanzas = {**of_stanzas, override.place: override}
            fitting = [o for o in of_stanzas.values() if o.place.scope == scope and o not in self.unfit]
            configuration = _apply(configuration, scope, fitting)
        return Options(self.files, self.overrides.put(override), of_stanzas, configuration, self.unfit)

    def without(self, places: Iterable[Place]) -> Options:
        """These options without some overrides. Only the stanzas that lose one are read again."""
        dropped = set(places)
        remaining = [override for place, override in self.overrides.items() if place not in dropped]
        scopes = {place.scope for place in dropped} - {GLOBAL}
        if any(scope.stanza in _COUNTED_ON for scope in scopes):
            return with_overrides(self.files, remaining)
        configuration = self.configuration
        try:
            for scope in scopes:
                fitting = [o for o in remaining if o.place.scope == scope and o not in self.unfit]
                configuration = _apply(configuration, scope, fitting)
        except InvalidOptions:
            # What the files say of a stanza does not fit the overrides of others.
            return with_overrides(self.files, remaining)
        of_stanzas = {place: o for place, o in self.stanza_overrides.items() if place not in dropped}
        unfit = tuple(override for override in self.unfit if override.place not in dropped)
        return Options(self.files, Overrides(remaining), of_stanzas, configuration, unfit)

    def exists(self, scope: Scope) -> bool:
        return scope == GLOBAL or scope in self.files.blocks

    def get(self, scope: Scope, name: str) -> tuple[str, Value] | None:
        """The canonical name and the value of an option that is set in a scope; None if it is not set there."""
        place = Place(scope, name.lower())
        if override := self.overrides.find(place):
            return override.name, override.meant
        return self._in_files(place)

    def _in_files(self, place: Place) -> tuple[str, Value] | None:
        if place.scope == GLOBAL:
            declared = self.files.options.get(place.option)
            return (declared.name, text_of(declared.value)) if declared else None
        if place.scope not in self.files.blocks:
            return None
        value = options_of(self.files, place.scope).get(place.option)
        return None if value is None else (place.option, value)

    def evaluate(self, scope: Scope, name: str) -> tuple[str, Value] | None:
        """The effective name and value of an option.

        It is that of the scope, else of `defaults`, else of `sched` for some options of a job, else the default, else
        the global option of that name. A dictionary of the scope is merged with that of `defaults`.
        """
        option, inherited = self.get(scope, name), self._inherited(scope, name.lower())
        if option and isinstance(option[1], Dictionary) and isinstance(inherited, Dictionary):
            return option[0], union(inherited, option[1])
        if option or scope == GLOBAL:
            return option
        if inherited is not None:
            return name.lower(), inherited
        if self._is_of_sched(scope, name.lower()):
            return self.evaluate(SCHED, name)
        spec = STANZAS[scope.stanza].options.get(name.lower())
        if spec is not None and spec.default is not None and self._takes(scope, name.lower()):
            return name.lower(), value_of(spec.default)
        return self.get(GLOBAL, name)

    def origin(self, scope: Scope, name: str) -> str | None:
        """The place in `defaults` that gives an option its value, or a part of it, or else `sched`; None: the stanza itself."""
        inherited, own = self._inherited(scope, name.lower()), self.get(scope, name)
        if not own and self._is_of_sched(scope, name.lower()):
            return SCHED.title
        if inherited is None or (own and not isinstance(inherited, Dictionary)):
            return None
        assert self.files.defaults, "a value is inherited from it"
        read = self.files.defaults.options[name.lower()]
        return f"defaults in {read.source.name}:{read.source.position(read.span.start)[0]}"

    def _inherited(self, scope: Scope, option: str) -> Value | None:
        """The value of an option in `defaults`, if the stanza has a program that takes it."""
        has_program = scope.stanza == "program" or (scope.stanza == "job" and self._takes(scope, option))
        return options_of(self.files, DEFAULTS).get(option) if has_program and self.files.defaults else None

    def _is_of_sched(self, scope: Scope, option: str) -> bool:
        """Whether an option that a job does not set takes its value from `sched`."""
        job = self.configuration.jobs.get(scope.name) if scope.stanza == "job" else None
        return job is not None and option in (("zone", *OF_SCHED) if job.needs_zone else OF_SCHED)

    def _takes(self, scope: Scope, option: str) -> bool:
        """Whether an option has an effect in a stanza. A job without `argv` has no program of its own."""
        job = self.configuration.jobs.get(scope.name) if scope.stanza == "job" else None
        return job is None or job.own_program or option not in OF_ITS_PROGRAM

    def shown(self, scope: Scope) -> list[tuple[str, Value]]:
        """Every option that is set in a scope, with its value: first in the order of the files, then by name."""
        names = list(self.files.options if scope == GLOBAL else options_of(self.files, scope))
        names += sorted(p.option for p in self.overrides if p.scope == scope and p.option not in names)
        options = (self.get(scope, name) for name in names)
        return [option for option in options if option is not None]

    def inner(self, scope: Scope) -> list[tuple[Scope, dict[str, Value]]]:
        """The stanzas inside a stanza, with their options. Only the files can set these."""
        return stanzas_of(self.files, scope) if scope in self.files.blocks else []

    def scopes(self) -> list[Scope]:
        """The stanzas: first `sched` and `defaults`, if any option is set there, then the others as in the files."""
        merged = (SCHED, DEFAULTS)
        named = (scope for scope in self.files.blocks if scope not in merged)
        return [*(scope for scope in merged if self.shown(scope)), *named]

    def value(self, name: str) -> str | None:
        """The effective text of a global option, which replaces `%{...}` in programs; None if it is not set."""
        if override := self.overrides.find(Place(GLOBAL, name.lower())):
            return override.value
        declared = self.files.options.get(name.lower())
        return declared.value if declared else None

    def override(self, place: Place, name: str, value: str) -> Override:
        """The override that `config set` makes."""
        return Override(place, self._spelling(place) or name, value, self._base(place))

    def _spelling(self, place: Place) -> str | None:
        """The name of an option as it was written where it is set; None if it is not set."""
        if override := self.overrides.find(place):
            return override.name
        option = self._in_files(place)
        return option[0] if option else None

    def _base(self, place: Place) -> str | None:
        if place.scope == GLOBAL:
            declared = self.files.options.get(place.option)
            return declared.value if declared else None
        option = self._in_files(place)
        if option is None:
            return None
        value = option[1]
        return value.value if isinstance(value, Scalar) else written(value)

    def outdated(self) -> list[Override]:
        """The overrides whose option the files have changed since, or do not allow any more."""
        return [o for o in self.overrides.values() if o in self.unfit or o.base != self._base(o.place)]


def with_overrides(files: Configuration, overrides: Iterable[Override] = ()) -> Options:
    by_place = Overrides(overrides)
    of_stanzas = {place: override for place, override in by_place.items() if place.scope != GLOBAL}
    configuration, unfit = _effective(files, of_stanzas.values())
    return Options(files, by_place, of_stanzas, configuration, tuple(unfit))


# Overrides of jobs may be right only with overrides of these stanzas.
_COUNTED_ON = ("sched", "days")


def _effective(files: Configuration, overrides: Iterable[Override]) -> tuple[Configuration, list[Override]]:
    """The files with the overrides that fit, each beside those before it, and the overrides that do not fit."""
    configuration, unfit = files, []
    fitting: dict[Scope, list[Override]] = {}
    for override in sorted(overrides, key=lambda override: override.place.scope.stanza not in _COUNTED_ON):
        together = [*fitting.get(override.place.scope, ()), override]
        try:
            configuration = _apply(configuration, override.place.scope, together)
            fitting[override.place.scope] = together
        except InvalidOptions:
            unfit.append(override)
    return configuration, unfit


def _apply(configuration: Configuration, scope: Scope, overrides: Iterable[Override]) -> Configuration:
    if scope not in configuration.blocks:
        raise InvalidOptions([])
    return with_options(configuration, scope, {override.place.option: override.value for override in overrides})
