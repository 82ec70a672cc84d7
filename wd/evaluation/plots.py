"""Scatter plots as SVG text."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

_MARKERS = "osD^vP*X"
# Okabe and Ito's colours, told apart by colour-blind readers; every system has its own marker too.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


class Point(NamedTuple):
    """A named system's place in a panel."""

    name: str
    x: float
    y: float


def scatter_svg(panels: Mapping[str, Sequence[Point]], vertical: str) -> str:
    """Draw panels side by side, one per horizontal axis label, all with the same systems.

    Returns an `<svg>` element; the same input gives the same text.
    """
    settings = {"svg.hashsalt": "wd", "svg.fonttype": "none", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (horizontal, points) in zip(axes, panels.items(), strict=True):
            for index, point in enumerate(points):
                style = {"marker": _MARKERS[index % 8], "color": _COLOURS[index % 7]}
                axis.scatter([point.x], [point.y], s=70, label=point.name, **style)
            axis.set_xlabel(horizontal)
            axis.set_xlim(0, 1.1 * max(point.x for point in points))
            axis.margins(y=0.25)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel(vertical)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
