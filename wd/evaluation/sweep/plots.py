"""A sweep's pictures as SVG text; the same trials give the same text."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from wd.config import SMALLER_IS_BETTER
from wd.evaluation.sweep.figures import Sweep, SweepTrial
from wd.svg import svg_style, svg_text

UNITS = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "parameters": "parameters",
    "megabytes": "megabytes",
    "milliseconds": "ms for one sentence",
    "sentences_per_second": "sentences per second",
    "speed_up": "speed-up over the teacher",
}
_FRONT, _OTHER, _GIVEN, _WINNER = "#0072B2", "#999999", "#D55E00", "#009E73"
"""Of Okabe and Ito's colours, told apart by colour-blind readers."""
_LARGEST = 600.0
"""Area of the largest student, in square points."""
_MOST_AXES = 10
_SCALE = "viridis"


def front_svg(sweep: Sweep) -> str:
    """Draw quality against the second objective (else speed), the size of a student as its area.

    The front is a line; the students that the recipe names and the winner bear their names.
    """
    across = sweep.objectives[1] if len(sweep.objectives) > 1 else "speed_up"
    up = sweep.objectives[0]
    done = [one for one in sweep.trials if one.status == "finished" and across in one.metrics]
    largest = max((one.metrics["parameters"] for one in done), default=1.0)
    with svg_style():
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        axis = _axis(figure.subplots(), UNITS[across], f"validation {UNITS[up]}")
        for one in done:
            _bubble(axis, one, across, up, largest, is_winner=one is sweep.best)
        on_front = sorted((one.metrics[across], one.metrics[up]) for one in done if one.on_front)
        axis.plot(*zip(*on_front, strict=True), color=_FRONT, lw=1, alpha=0.6) if on_front else None
        for name, colour in (("on the front", _FRONT), ("others", _OTHER), ("winner", _WINNER)):
            axis.scatter([], [], color=colour, label=name, s=40)
        axis.scatter([], [], facecolor="none", edgecolor=_GIVEN, label="named by the recipe", s=60)
        axis.margins(0.12)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return svg_text(figure)


def _bubble(
    axis: Any, one: SweepTrial, across: str, up: str, largest: float, *, is_winner: bool
) -> None:
    x, y = one.metrics[across], one.metrics[up]
    colour = _WINNER if is_winner else _FRONT if one.on_front else _OTHER
    area = max(12.0, _LARGEST * one.metrics["parameters"] / largest)
    edge = {"edgecolor": _GIVEN, "linewidth": 2.0} if one.is_given else {"edgecolor": colour}
    axis.scatter([x], [y], s=area, facecolor=colour, alpha=0.65, **edge)
    if one.is_given or is_winner:
        label = one.name if one.is_given else one.key
        place = {"xytext": (6, 6), "textcoords": "offset points"}
        axis.annotate(label, (x, y), fontsize=9, **place)


def parallel_svg(sweep: Sweep) -> str:
    """Draw every trial as a line over the parameters that mattered most and the objectives.

    An axis runs from its least to its greatest value, its values told at both ends; objectives that
    are better small run downwards. The colour is the quality.
    """
    done = [one for one in sweep.trials if one.status == "finished" and one.values]
    names = _axes(sweep, done)
    up = sweep.objectives[0]
    with svg_style():
        figure = Figure(figsize=(max(6.0, 1.25 * len(names)), 4.4), layout="constrained")
        axis = figure.subplots()
        scales = {name: _scale([_figure(one, name) for one in done]) for name in names}
        shades = _scale([one.metrics[up] for one in done])
        for one in sorted(done, key=lambda one: one.metrics[up]):
            heights = [_height(name, scales[name], _figure(one, name)) for name in names]
            shade = colormaps[_SCALE](shades[one.metrics[up]])
            axis.plot(range(len(names)), heights, color=shade, lw=2.2 if one.on_front else 1.1)
        for place, name in enumerate(names):
            axis.axvline(place, color="#bbbbbb", lw=0.8, zorder=0)
            ends = _ends(name, scales[name])
            axis.text(place, 1.03, ends[1], ha="center", fontsize=8)
            axis.text(place, -0.03, ends[0], ha="center", va="top", fontsize=8)
        labels = [UNITS.get(name, short(name, names)) for name in names]
        axis.set_xticks(range(len(names)), labels, rotation=30, ha="right", fontsize=8)
        axis.tick_params(axis="x", pad=14)
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
        return svg_text(figure)


def curves_svg(sweep: Sweep) -> str:
    """Draw the quality of every trial during its training; stopped ones end where they stopped."""
    with svg_style():
        figure = Figure(figsize=(7.6, 4.0), layout="constrained")
        quality = UNITS[sweep.objectives[0]]
        axis = _axis(figure.subplots(), "update (both phases)", f"validation {quality}")
        for one in reversed(sweep.trials):  # the winner last, above the others
            if not one.curve:
                continue
            updates, values = zip(*one.curve, strict=True)
            colour = _WINNER if one is sweep.best else _GIVEN if one.is_given else _FRONT
            stopped = one.status != "finished"
            style = {"color": _OTHER if stopped and not one.is_given else colour, "lw": 1.3}
            axis.plot(updates, values, marker="x" if stopped else ".", markersize=5, **style)
        kinds = (("winner", _WINNER), ("named by the recipe", _GIVEN), ("finished", _FRONT))
        for name, colour in (*kinds, ("stopped early", _OTHER)):
            axis.plot([], [], color=colour, label=name, marker="x" if colour == _OTHER else ".")
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return svg_text(figure)


def importances_svg(sweep: Sweep) -> str:
    """Draw, a panel per objective, the share of the variation that each parameter explains."""
    panels = {name: shares for name, shares in sweep.importances.items() if shares}
    rows = max(len(shares) for shares in panels.values())
    with svg_style():
        size = (4.6 * len(panels), 0.9 + 0.3 * min(rows, _MOST_AXES))
        figure = Figure(figsize=size, layout="constrained")
        for axis, (name, shares) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            top = list(shares.items())[:_MOST_AXES][::-1]
            labels = [short(key, list(shares)) for key, _ in top]
            axis.barh(labels, [share for _, share in top], color=_FRONT)
            axis.set_title(UNITS[name], fontsize=10)
            axis.set_xlim(0, 1)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        return svg_text(figure)


def short(key: str, others: Sequence[str]) -> str:
    """Return as much of a dotted key's end as tells it from the others."""
    parts = key.removeprefix("space.").split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if sum(f".{other}".endswith(f".{end}") for other in others) == 1:
            return end
    return ".".join(parts)


def _axis(axis: Any, horizontal: str, vertical: str) -> Any:
    axis.set_xlabel(horizontal)
    axis.set_ylabel(vertical)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def _axes(sweep: Sweep, done: Sequence[SweepTrial]) -> list[str]:
    """Return the parameters that vary, those that mattered most, and the objectives."""
    shares = sweep.importances.get(sweep.objectives[0], {})
    varied = [
        name
        for name in (done[0].values if done else {})
        if len({str(one.values[name]) for one in done}) > 1
    ]
    varied.sort(key=lambda name: -shares.get(name, 0.0))
    return [*varied[: _MOST_AXES - len(sweep.objectives)], *sweep.objectives]


def _figure(one: SweepTrial, name: str) -> Any:
    return one.metrics[name] if name in UNITS else one.values[name]


def _scale(values: Sequence[Any]) -> Mapping[Any, float]:
    """Return value -> height from 0 to 1; numbers by their size, others in their order."""
    unlike = list(dict.fromkeys(_hashable(value) for value in values))
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in unlike)
    ordered = sorted(unlike) if numbers else sorted(unlike, key=str)
    if len(ordered) < 2:
        return dict.fromkeys(ordered, 0.5)
    if numbers:
        low, high = ordered[0], ordered[-1]
        return {one: (one - low) / (high - low) for one in ordered}
    return {one: number / (len(ordered) - 1) for number, one in enumerate(ordered)}


def _height(name: str, scale: Mapping[Any, float], value: Any) -> float:
    height = scale[_hashable(value)]
    return 1 - height if name in SMALLER_IS_BETTER else height


def _ends(name: str, scale: Mapping[Any, float]) -> tuple[str, str]:
    low, high = (_text(value) for value in (next(iter(scale)), list(scale)[-1]))
    return (high, low) if name in SMALLER_IS_BETTER else (low, high)


def _hashable(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
