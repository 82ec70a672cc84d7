"""Pictures of where a student's layers come from, as SVG text."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from wd.svg import svg_style, svg_text

_FAINT = 0.02
"""Shares below this are not drawn."""


def mixes_svg(mixes: Mapping[str, Tensor]) -> str:
    """Draw a heat map: a row per class and student layer, a column per teacher layer.

    `mixes` are [S, L]; colours run from the most negative to the most positive weight alike.
    """
    rows = [
        (f"{name} {layer}", mix[layer].tolist())
        for name, mix in sorted(mixes.items())
        for layer in range(len(mix))
    ]
    depth = max(len(values) for _, values in rows)
    grid = [values + [float("nan")] * (depth - len(values)) for _, values in rows]
    limit = max(abs(value) for _, values in rows for value in values)
    with svg_style():
        figure = Figure(figsize=(6.5 + 0.3 * depth, 1 + 0.2 * len(rows)), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(grid, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        axis.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
        axis.set_xticks(range(depth))
        axis.set_xlabel("teacher layer")
        axis.set_ylabel("class and student layer")
        figure.colorbar(image, label="weight in the mix")
        return svg_text(figure)


def shares_svg(shares: Mapping[str, Tensor]) -> str:
    """Draw each stack's teacher layers, its student layers, and lines as wide as their shares.

    `shares` are [S, L] with rows that sum to 1.
    """
    with svg_style():
        deepest = max(share.shape[1] for share in shares.values())
        figure = Figure(figsize=(3.6 * len(shares), 1.2 + 0.45 * deepest), layout="constrained")
        axes = figure.subplots(1, len(shares), squeeze=False)[0]
        for axis, (stack, share) in zip(axes, shares.items(), strict=True):
            _draw_shares(axis, share)
            axis.set_title(stack)
        return svg_text(figure)


def _draw_shares(axis: Axes, share: Tensor) -> None:
    few, many = share.shape
    heights = [(layer + 0.5) * many / few - 0.5 for layer in range(few)]
    for student, height in enumerate(heights):
        for teacher in range(many):
            weight = float(share[student, teacher])
            if weight > _FAINT:
                axis.plot([0, 1], [teacher, height], color="#0072B2", lw=8 * weight, alpha=0.6)
    axis.scatter([0] * many, range(many), s=260, color="#000000", zorder=2)
    axis.scatter([1] * few, heights, s=260, color="#D55E00", zorder=2)
    for side, positions in ((0, list(range(many))), (1, heights)):
        for layer, height in enumerate(positions):
            axis.annotate(
                str(layer), (side, height), color="white", ha="center", va="center", fontsize=8
            )
    axis.set_xticks([0, 1], ["teacher", "student"])
    axis.set_yticks([])
    axis.margins(x=0.25, y=0.12)
    axis.spines[:].set_visible(False)
