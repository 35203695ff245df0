"""The stylesheet and what uses it agree: no rule without an element, no class without a rule."""

from __future__ import annotations

import re
from pathlib import Path

import schedappliance.web
from schedappliance.client.states import KINDS, SHAPES
from schedappliance.web.pictures.axes import Tick
from schedappliance.web.pictures.timeline import _tick_class
from schedappliance.web.rendering.formats import _JOB_SHAPES

WEB = Path(schedappliance.web.__file__).parent
STYLE = re.sub(r"/\*.*?\*/", "", (WEB / "static" / "style.css").read_text(), flags=re.DOTALL)
TEMPLATES = [path.read_text() for path in WEB.glob("templates/*.html")]
CODE = [path.read_text() for path in (*WEB.rglob("*.py"), WEB / "static" / "app.js")]
# The classes whose names are made from those of states, kinds and colours.
MADE = {
    *(f"{prefix}-{state}" for prefix in "pcd" for state in SHAPES),
    *(f"{prefix}-{kind}" for prefix in "kb" for kind in (*KINDS.values(), "plain")),
    *(f"t-{kind}" for kind in ("bad", "warn", "info")),
    *(f"fg{number}" for number in range(16)),
    *(f"bg{number}" for number in range(8)),
    *(_tick_class(Tick(0, "", is_day, is_minor)) for is_day in (True, False) for is_minor in (True, False)),
}


def styled() -> set[str]:
    selectors = re.findall(r"([^{}]+)\{", STYLE)
    return {name for one in selectors for name in re.findall(r"\.([a-z][\w-]*)", re.sub(r'"[^"]*"', "", one))}


def attributes(text: str) -> set[str]:
    """The classes in the attributes of a text, but those that an expression makes."""
    values = re.findall(r'class="((?:\{\{.*?\}\}|\{%.*?%\}|[^"])*)"', text)
    plain = (re.sub(r"([\w-]*-)?\{[^}]*\}+", " ", value) for value in values)
    return {name for value in plain for name in re.findall(r"(?<![\w-])[a-z][\w-]*", value)}


def words_in_quotes(text: str) -> set[str]:
    return {word for quoted in re.findall(r"""["']([\w\- ]+)["']""", text) for word in quoted.split()}


def test_each_class_of_the_stylesheet_is_used() -> None:
    used = MADE.union(*map(attributes, (*TEMPLATES, *CODE)), *map(words_in_quotes, TEMPLATES))
    used |= {word for text in CODE for word in re.findall(r'"([\w-]+)"', text)}
    assert styled() - used == set()


def test_each_class_that_is_used_has_a_rule() -> None:
    assert set().union(*map(attributes, (*TEMPLATES, *CODE))) - styled() == set()


def test_each_shape_and_each_icon_is_drawn_somewhere() -> None:
    sprite = next(text for text in TEMPLATES if "macro sprite" in text)
    assert set(re.findall(r'<g id="m-(\w+)"', sprite)) == {*SHAPES.values(), *_JOB_SHAPES.values()}
    everything = "\n".join((*TEMPLATES, *CODE))
    icons = re.findall(r'^  "(\w+)": "M', sprite, re.MULTILINE)
    assert [name for name in icons if everything.count(f'"{name}"') == 1] == []


def test_sizes_of_text_are_of_the_scale() -> None:
    """The sizes in per cent are those of the root, on which all others depend."""
    sizes = set(re.findall(r"font-size: ([^;]+);", STYLE))
    assert {size for size in sizes if not size.startswith("var(--")} == {"100%", "112.5%", "150%"}


def test_lengths_are_multiples_of_two_pixels() -> None:
    lengths = re.findall(r"(?<![\w.-])-?([0-9]*\.?[0-9]+)rem", STYLE)
    odd = {length for length in lengths if float(length) * 8 % 1}
    # The size of code, and how far a shape is below the line of its word.
    assert odd == {".8125", ".1875"}


def test_each_macro_is_used() -> None:
    everything = "\n".join(TEMPLATES)
    for name in re.findall(r"macro (\w+)\(", everything):
        assert len(re.findall(rf"\b{name}\(", everything)) > 1, name
