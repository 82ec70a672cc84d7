"""Self-contained HTML pages from the templates beside this file."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """Return the page of a template such as `report.html`; every value it names must be given."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(values)


def _source(name: str) -> str:
    return files("wd.evaluation").joinpath(name).read_text(encoding="utf-8")
