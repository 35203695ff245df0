"""Templates to HTML. Rule: every value is escaped, and a name that a template misspells is an error.

A block with the name `live_KEY` is the content of the element with the id KEY. It is sent again when it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.runtime import Context

from schedappliance.client.wire import quoted
from schedappliance.visible import json_text, visible
from schedappliance.web.rendering.addresses import address, job_href, job_href_of, run_href
from schedappliance.web.rendering.carets import as_linted
from schedappliance.web.rendering.formats import GLOBALS
from schedappliance.web.rendering.static_files import StaticFiles

LIVE_PREFIX, LAYOUT = "live_", "layout.html"


def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("schedappliance.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["quoted"] = quoted
    made.filters["json"] = json_text
    made.globals |= {
        **GLOBALS,
        "job_href": job_href,
        "job_href_of": job_href_of,
        "run_href": run_href,
        "address": address,
    }
    made.globals["as_linted"] = as_linted
    made.globals["static"] = StaticFiles().address
    made.globals["ui"] = made.get_template("components.html").module
    made.globals["part"] = made.get_template("parts.html").module
    return made


def _shown(value: Any) -> Any:
    """Text of others never hides a part of itself, even where a template forgets it."""
    return visible(value, "\n\t") if type(value) is str else value


class Rendered(NamedTuple):
    """`parts`: what changes on the page, by the ids of its elements: those that the page of this viewer has."""

    html: str
    parts: dict[str, str]


def rendered(templates: Environment, name: str, values: dict[str, Any]) -> Rendered:
    template, parts = templates.get_template(name), dict[str, str]()
    context = template.new_context({**values, "template": name})
    for block, render in {**templates.get_template(LAYOUT).blocks, **template.blocks}.items():
        if block.startswith(LIVE_PREFIX):
            context.blocks[block] = [_kept(parts, block.removeprefix(LIVE_PREFIX), render)]
    return Rendered("".join(template.root_render_func(context)), parts)


def _kept(made: dict[str, str], key: str, render: Callable[[Context], Iterator[str]]) -> Callable[..., Iterator[str]]:
    def render_and_keep(context: Context) -> Iterator[str]:
        made[key] = "".join(render(context))
        yield made[key]

    return render_and_keep
