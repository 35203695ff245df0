"""The option tree: the values of the stanza files, and the overrides that were set since.

Rule: Options are immutable. Setting an option makes new Options, so a rollback only restores the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from schedappliance.model.calendars.zones import Zones
from schedappliance.model.configuration import Configuration
from schedappliance.model.option_paths import DEFAULTS, GLOBAL, SCHED, Scope, text_of, value_of
from schedappliance.model.options import OF_ITS_PROGRAM, OF_SCHED, STANZAS
from schedappliance.model.stanzas import InvalidOptions, in_zones, options_of, read_again, stanzas_of, union, with_parts
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
    any more. `of_stanzas`: the overrides of each stanza.
    """

    files: Configuration
    overrides: Overrides
    of_stanzas: Mapping[Scope, tuple[Override, ...]]
    configuration: Configuration
    unfit: tuple[Override, ...]

    def put(self, override: Override) -> Options:
        """These options with one override added or replaced. Raises InvalidOptions."""
        scope, configuration, of_stanzas = override.place.scope, self.configuration, self.of_stanzas
        if scope != GLOBAL:
            others = {other.place: other for other in of_stanzas.get(scope, ())}
            together = tuple({**others, override.place: override}.values())
            of_stanzas = {**of_stanzas, scope: together}
            part = _read(configuration, scope, [other for other in together if other not in self.unfit])
            configuration = with_parts(configuration, [part])
        return Options(self.files, self.overrides.put(override), of_stanzas, configuration, self.unfit)

    def in_zones(self, zones: Zones) -> Options:
        """These options by other time zone data."""
        files = in_zones(self.files, zones)
        is_same = self.configuration is self.files
        return replace(self, files=files, configuration=files if is_same else in_zones(self.configuration, zones))

    def without(self, places: Iterable[Place]) -> Options:
        """These options without some overrides. Only the stanzas that lose one are read again."""
        dropped = set(places)
        if not dropped:
            return self
        return self.following(Overrides(o for place, o in self.overrides.items() if place not in dropped))

    def following(self, overrides: Overrides) -> Options:
        """The same files with other overrides. Only the stanzas whose overrides differ are read again."""
        if overrides is self.overrides:
            return self
        of_stanzas = _by_stanza(overrides)
        scopes = differing(self.of_stanzas, of_stanzas)
        if any(map(is_counted_on, scopes)):
            return with_overrides(self.files, overrides)
        try:
            configuration, unfit = _with_fitting(
                self.configuration, {scope: of_stanzas.get(scope, ()) for scope in scopes}, needs_part=True
            )
        except InvalidOptions:
            # What the files say of a stanza does not fit the overrides of others.
            return with_overrides(self.files, overrides)
        unfit = [*(override for override in self.unfit if override.place.scope not in scopes), *unfit]
        return Options(self.files, overrides, of_stanzas, configuration, tuple(unfit))

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
        """The override that `config set` makes. The name is spelt as it was where the option is set."""
        if earlier := self.overrides.find(place):
            return Override(earlier.place, earlier.name, value, self._base(place))
        option = self._in_files(place)
        return Override(place, option[0] if option else name, value, self._base(place))

    def _base(self, place: Place) -> str | None:
        if place.scope == GLOBAL:
            declared = self.files.options.get(place.option)
            return declared.value if declared else None
        option = self._in_files(place)
        if option is None:
            return None
        value = option[1]
        return value.value if isinstance(value, Scalar) else written(value)

    def outdated(self, among: Iterable[Override] | None = None) -> list[Override]:
        """The overrides whose option the files have changed since, or do not allow any more; None: among all."""
        unfit = set(self.unfit)
        overrides = self.overrides.values() if among is None else among
        return [override for override in overrides if override in unfit or override.base != self._base(override.place)]


def with_overrides(files: Configuration, overrides: Iterable[Override] | Overrides = ()) -> Options:
    """The files with the overrides that fit. Those that the others count on come first."""
    by_place = overrides if isinstance(overrides, Overrides) else Overrides(overrides)
    of_stanzas = _by_stanza(by_place)
    configuration, unfit = files, list[Override]()
    others = dict(of_stanzas)
    for scope in filter(is_counted_on, of_stanzas):
        configuration, misfits = _with_fitting(configuration, {scope: others.pop(scope)})
        unfit += misfits
    configuration, misfits = _with_fitting(configuration, others)
    return Options(files, by_place, of_stanzas, configuration, (*unfit, *misfits))


def is_counted_on(scope: Scope) -> bool:
    """Whether overrides of jobs may be right only with the overrides of this stanza."""
    return scope.stanza in ("sched", "days")


def differing(some: Mapping[Scope, tuple[Override, ...]], others: Mapping[Scope, tuple[Override, ...]]) -> list[Scope]:
    """The stanzas whose overrides differ."""
    if some is others:
        return []
    gone = [scope for scope in some if scope not in others]
    return [*gone, *(scope for scope, overrides in others.items() if some.get(scope) != overrides)]


def _by_stanza(overrides: Overrides) -> dict[Scope, tuple[Override, ...]]:
    of_stanzas: dict[Scope, list[Override]] = {}
    for override in overrides.values():
        if override.place.scope != GLOBAL:
            of_stanzas.setdefault(override.place.scope, []).append(override)
    return {scope: tuple(several) for scope, several in of_stanzas.items()}


def _with_fitting(
    configuration: Configuration, of_stanzas: Mapping[Scope, Iterable[Override]], needs_part: bool = False
) -> tuple[Configuration, list[Override]]:
    """The configuration with the overrides of these stanzas that fit, and those that do not fit.

    The overrides of one stanza fit if they fit together. Else each must fit beside those before it. `needs_part`: a
    stanza without any goes back to what the files say, or raises InvalidOptions if that does not fit.
    """
    parts: list[Configuration] = []
    unfit: list[Override] = []
    for scope, overrides in of_stanzas.items():
        part, misfits = _fitting(configuration, scope, list(overrides))
        unfit += misfits
        if part is None and needs_part and scope in configuration.blocks:
            part = _read(configuration, scope, ())
        if part is not None:
            parts.append(part)
    return with_parts(configuration, parts), unfit


def _fitting(
    configuration: Configuration, scope: Scope, overrides: list[Override]
) -> tuple[Configuration | None, list[Override]]:
    """What a stanza declares with the overrides that fit, None if none does; and those that do not fit."""
    part, fitting, unfit = None, list[Override](), list[Override]()
    with suppress(InvalidOptions):
        return (_read(configuration, scope, overrides) if overrides else None), []
    for override in overrides:
        try:
            part = _read(configuration, scope, [*fitting, override])
            fitting.append(override)
        except InvalidOptions:
            unfit.append(override)
    return part, unfit


def _read(configuration: Configuration, scope: Scope, overrides: Iterable[Override]) -> Configuration:
    """What a stanza declares with overrides. Raises InvalidOptions."""
    if scope not in configuration.blocks or STANZAS[scope.stanza].in_files:
        raise InvalidOptions([])
    return read_again(configuration, scope, {override.place.option: override.value for override in overrides})
