"""Templates to HTML. Rule: every value is escaped, and a name that a template misspells is an error."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from schedappliance.client.wire import quoted
from schedappliance.clock import lasted_text, local_text, span_text
from schedappliance.visible import visible

# A block of a template with such a name is sent again when it has changed.
LIVE = "live_"
LAYOUT = "layout.html"


def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("schedappliance.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Texts of others never hide a part of themselves.
    made.finalize = lambda value: visible(value, "\n\t") if type(value) is str else value
    made.filters |= {"local": local_text, "span": span_text, "lasted": lasted_text, "quoted": quoted}
    return made


def page(templates: Environment, name: str, values: dict[str, Any]) -> str:
    return templates.get_template(name).render(values)


def fragments(templates: Environment, name: str, values: dict[str, Any]) -> dict[str, str]:
    """The parts of a page that change, by the names of their blocks."""
    blocks = {**templates.get_template(LAYOUT).blocks, **templates.get_template(name).blocks}
    context = templates.get_template(name).new_context(values)
    return {block: "".join(render(context)) for block, render in blocks.items() if block.startswith(LIVE)}
