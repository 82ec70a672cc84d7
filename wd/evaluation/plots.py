"""Plots as SVG text; the same input gives the same text."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from wd.svg import svg_style, svg_text

_MARKERS = "osD^vP*X"
# Okabe and Ito's colours, told apart by colour-blind readers; every system has its own marker too.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LEGEND_COLUMNS = 2
"""Per panel: what a long name leaves room for."""


class Point(NamedTuple):
    """A named system's place in a panel."""

    name: str
    x: float
    y: float
    group: str | None = None
    """Points of one name share a colour, of one group a marker; default: each has its own."""


class Line(NamedTuple):
    """A named curve, perhaps with a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def scatter_svg(panels: Mapping[str, Sequence[Point]], vertical: str) -> str:
    """Draw panels side by side, one per horizontal axis label, all with the same systems.

    Returns an `<svg>` element.
    """
    with svg_style():
        figure, axes = _figure(len(panels), vertical)
        for axis, (horizontal, points) in zip(axes, panels.items(), strict=True):
            _scatter(axis, points)
            axis.set_xlabel(horizontal)
            axis.set_xlim(0, 1.1 * max(point.x for point in points))
            axis.margins(y=0.25)
        return _svg(figure)


def _scatter(axis: Any, points: Sequence[Point]) -> None:
    """Draw the points; the legend tells names by colour and groups by marker."""
    colours = _numbers(point.name for point in points)
    markers = _numbers(point.group or point.name for point in points)
    style = {"s": 70}
    for point in points:
        colour = _COLOURS[colours[point.name] % len(_COLOURS)]
        marker = _MARKERS[markers[point.group or point.name] % len(_MARKERS)]
        label = None if point.group else point.name
        axis.scatter([point.x], [point.y], color=colour, marker=marker, label=label, **style)
    grouped = [point for point in points if point.group]
    for name in _numbers(point.name for point in grouped):
        axis.plot([], [], color=_COLOURS[colours[name] % len(_COLOURS)], lw=4, label=name)
    for group in _numbers(point.group for point in grouped):
        marker = _MARKERS[markers[group] % len(_MARKERS)]
        axis.scatter([], [], color="grey", marker=marker, label=group, **style)


def lines_svg(panels: Mapping[str, Sequence[Line]], horizontal: str, vertical: str) -> str:
    """Draw panels side by side, one per title; a name has the same colour in all of them.

    Returns an `<svg>` element.
    """
    colours = _numbers(line.name for lines in panels.values() for line in lines)
    with svg_style():
        figure, axes = _figure(len(panels), vertical)
        for axis, (title, lines) in zip(axes, panels.items(), strict=True):
            for line in lines:
                index = colours[line.name]
                colour = _COLOURS[index % len(_COLOURS)]
                marker = _MARKERS[index % len(_MARKERS)]
                axis.plot(
                    line.x, line.y, label=line.name, color=colour, marker=marker, markersize=4
                )
                if line.low is not None and line.high is not None:
                    axis.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, lw=0)
            axis.set_title(title)
            axis.set_xlabel(horizontal)
        return _svg(figure)


def _numbers(keys: Iterable[Hashable]) -> dict[Hashable, int]:
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}


def _figure(panels: int, vertical: str) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(4.2 * panels, 3.4), layout="constrained")
    axes: Sequence[Any] = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    axes[0].set_ylabel(vertical)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Add the legend of the first panel and return the figure's `<svg>` element."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = min(len(labels), _LEGEND_COLUMNS * len(figure.axes))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return svg_text(figure)
