"""`schedappliance holidays`: prints the public holidays of a country as a stanza `days`.

Rule: only this module imports the library `holidays`. Its dates change between its releases, so an appliance reads them
from a file that people review.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import FAILED, OK, UNUSABLE, USAGE, Failure
from schedappliance.diagnostics import Unusable, nearest, shortened
from schedappliance.visible import visible

if TYPE_CHECKING:
    from holidays import HolidayBase

DESCRIPTION = """\
Print the public holidays of a country as a stanza `days`, on stdout. Jobs refer
to the stanza in `except` or `only`. A comment at the top holds the command, so
that you can create the stanza again and compare it. This command needs the
library holidays: python -m pip install 'schedappliance[holidays]'"""

STATUSES = {
    OK: "written",
    FAILED: "unknown country or part of it, or no holidays of these years",
    USAGE: "wrong usage",
    UNUSABLE: "the library holidays is not installed",
}

LONGEST_NAME = 200
MOST_YEARS = 100
_PARTS_SHOWN = 60
_YEARS = re.compile(r"(\d{4})(?:\.\.(\d{4}))?", re.ASCII)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    holidays = parser("holidays", DESCRIPTION, STATUSES, "PLACE YEARS [--name NAME]")
    place_help = "a country, such as DE, or a part of it, such as DE-BE (ISO 3166)"
    holidays.add_argument("place", metavar="PLACE", help=place_help)
    holidays.add_argument("years", metavar="YEARS", type=_years, help="a year or a range, such as 2026..2030")
    holidays.add_argument("--name", metavar="NAME", type=_name, help="name of the stanza; default: holidays-PLACE")
    return holidays.parse_intermixed_args(arguments)


def _years(text: str) -> range:
    match = _YEARS.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"invalid years `{shortened(text)}`; write `2026` or `2026..2030`")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise argparse.ArgumentTypeError(f"the range `{text}` ends before it begins; write `{last}..{first}`")
    if last - first >= MOST_YEARS:
        raise argparse.ArgumentTypeError(f"the range `{text}` has more than {MOST_YEARS} years; write several stanzas")
    return range(first, last + 1)


def _name(text: str) -> str:
    if not text.isprintable() or not 0 < len(text) <= LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"invalid name; use 1 to {LONGEST_NAME} characters, no control characters")
    return text


def run(options: argparse.Namespace) -> int:
    """Raises Failure, and Unusable without the library."""
    try:
        import holidays as library
    except ImportError:
        remedy = "install it: python -m pip install 'schedappliance[holidays]'"
        raise Unusable("the library holidays is not installed", remedy) from None
    country, part = _place(options.place, library)
    # Without a language, the names depend on the language of the user.
    language = "en_US" if "en_US" in library.country_holidays(country).supported_languages else None
    holidays = library.country_holidays(country, subdiv=part, years=options.years, language=language)
    place = f"{country}-{part}" if part else country
    _reject_years_without_holidays(place, options.years, holidays)
    command = ["schedappliance", "holidays", place, _written(options.years)]
    command += ["--name", options.name] if options.name else []
    sys.stdout.write(_header(version("holidays"), shlex.join(command)))
    sys.stdout.write(stanza(options.name or f"holidays-{place}", holidays))
    return OK


def _place(text: str, library: Any) -> tuple[str, str | None]:
    """The codes of a country and of a part of it. Raises Failure."""
    country, _, part = text.partition("-")
    countries: dict[str, list[str]] = library.list_supported_countries(include_aliases=False)
    if country not in countries:
        code = _suggested_country(country, countries)
        suggested = f"{code}-{part.upper()}" if part.upper() in countries.get(code, ()) else code
        remedy = f"did you mean `{suggested}`?" if code else "give its two letters, such as `DE` for Germany"
        raise Failure(f"unknown country `{_shown(country)}`; {remedy}", FAILED)
    if "-" not in text:
        return country, None
    parts = countries[country]
    if part not in parts:
        raise Failure(
            f"`{country}` has no part `{_shown(part)}`; {_part_remedy(country, part, parts, library)}", FAILED
        )
    return country, part


def _suggested_country(word: str, countries: Mapping[str, Any]) -> str:
    """The code that a word most likely means: it may be the name of the country, or its code in another form."""
    from holidays.registry import COUNTRIES

    codes = {name: names[1] for key, names in COUNTRIES.items() for name in (key, *names) if names[1] in countries}
    return codes.get(nearest(word.replace(" ", "_"), codes), "")


def _part_remedy(country: str, word: str, parts: list[str], library: Any) -> str:
    aliases: Mapping[str, str] = library.country_holidays(country).subdivisions_aliases
    codes = {**aliases, **{part: part for part in parts}}
    # Many codes differ from a wrong word of two letters in one letter, so a suggestion would be a guess.
    if (len(word) > 2 or word.upper() in codes) and (near := nearest(word, codes)):
        return f"did you mean `{country}-{codes[near]}`?"
    if not parts:
        return f"the library knows no parts of it; write `{country}`"
    more = f" and {len(parts) - _PARTS_SHOWN} more" if len(parts) > _PARTS_SHOWN else ""
    return f"it has {', '.join(parts[:_PARTS_SHOWN])}{more}"


def _shown(text: str) -> str:
    return visible(shortened(text))


def _reject_years_without_holidays(place: str, years: range, holidays: HolidayBase) -> None:
    """The library has no data of some years, and a stanza that ends early would let jobs run. Raises Failure."""
    present = {day.year for day in holidays}
    missing = [year for year in years if year not in present]
    if missing:
        known = f"the library knows {holidays.start_year} to {holidays.end_year}"
        raise Failure(f"no holidays of `{place}` in {missing[0]}; {known}", FAILED)


def _written(years: range) -> str:
    return f"{years[0]}..{years[-1]}" if len(years) > 1 else str(years[0])


def _header(release: str, command: str) -> str:
    return (
        f"# Written by the library holidays {release}:\n#   {command}\n"
        "# Dates change between versions of the library, so compare before you replace the file.\n"
    )


def stanza(name: str, holidays: Mapping[date, str]) -> str:
    """A stanza `days` with the dates in order, each with the name of its holiday as a comment."""
    from schedappliance.syntax.printer import quoted

    lines = (f'    "{day.isoformat()}"  # {title}\n' for day, title in _titles(holidays))
    return f"days {quoted(name)} {{\n  dates = (\n{''.join(lines)}  )\n}}\n"


def _titles(holidays: Mapping[date, str]) -> Iterator[tuple[date, str]]:
    for day in sorted(holidays):
        yield day, visible(holidays[day])
