"""The colours of the stylesheet can be told apart, in light and in dark (WCAG 2.2: 4.5:1 for text, 3:1 for shapes)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import schedappliance.web

STYLE = (Path(schedappliance.web.__file__).parent / "static" / "style.css").read_text()
SCHEMES = ("light", "dark")
TEXTS = ("ink", "muted", "accent", "good", "bad", "warn", "live")
ON_SOFT = [
    ("bad", "bad-soft"),
    ("warn", "warn-soft"),
    ("ink", "accent-soft"),
    ("ink", "bad-soft"),
    ("bad", "accent-soft"),
]
SHAPES = ("good-fill", "bad-fill", "warn-fill", "live-fill", "line-strong")
FOREGROUNDS = ["ink", *(f"fg{number}" for number in range(16))]
BACKGROUNDS = ["output", "raised", *(f"bg{number}" for number in range(8))]


def colours(scheme: str) -> dict[str, str]:
    """The variables of a scheme. The dark ones stand in the second rule for the root."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    variables = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", light))
    return variables | (dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_text_can_be_read(scheme: str) -> None:
    shades = colours(scheme)
    pairs = [(text, ground) for text in TEXTS for ground in ("page", "surface", "raised", "future")]
    pairs += [*ON_SOFT, ("accent-ink", "accent"), ("surface", "bad"), ("output", "ink")]
    pairs += [(text, ground) for text in FOREGROUNDS for ground in BACKGROUNDS]
    weak = {pair: round(ratio, 2) for pair in pairs if (ratio := contrast(shades[pair[0]], shades[pair[1]])) < 4.5}
    assert weak == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_shape_can_be_seen(scheme: str) -> None:
    shades = colours(scheme)
    pairs = [(shape, ground) for shape in SHAPES for ground in ("surface", "page", "future")]
    weak = {pair: round(ratio, 2) for pair in pairs if (ratio := contrast(shades[pair[0]], shades[pair[1]])) < 3}
    assert weak == {}


def test_each_variable_exists() -> None:
    defined = set(re.findall(r"--([a-z0-9-]+):", STYLE))
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", STYLE)) <= defined


def test_both_schemes_have_the_same_colours() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    names = [set(re.findall(r"--([a-z0-9-]+): #", part)) for part in (light, dark)]
    assert names[0] == names[1]
