"""Figures as SVG text: the same figure always gives the same text."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure


@contextmanager
def svg_style() -> Iterator[None]:
    """Draw in the project's style: text stays text, and ids do not change from run to run."""
    settings = {"svg.hashsalt": "wd", "svg.fonttype": "none", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        yield


def svg_text(figure: Figure) -> str:
    """Return the figure's `<svg>` element; call it inside `svg_style`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
