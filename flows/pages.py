"""Templates of the HTML files that sdar writes; each is one file that needs no network."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


@cache
def template(name: str) -> Template:
    """Return a template of `sdar.flows`; whatever is put into it is escaped.

    Args:
        name: its path below the folder of `sdar.flows`.
    """
    return Environment(
        loader=FileSystemLoader(str(files("sdar.flows"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
