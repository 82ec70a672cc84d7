"""Keeps watch over phase 1: what the generator has learned, in figures and pictures."""

from pathlib import Path

from wd.generator.diagnostics import class_figures, layer_mixes, layer_shares
from wd.generator.generator import ParameterGenerator
from wd.tracking import Beside
from wd.training.generator_trainee import GeneratorTrainee

FOLDER = "diagnostics"


def diagnose(trainee: GeneratorTrainee, tracker: Beside, scratch: Path, update: int) -> None:
    """Track figures per class, and pictures, as they are after an update."""
    figures = class_figures(trainee.module, trainee.optimizer)
    tracker.log_metrics({"generator": figures}, step=update)
    for path in draw(trainee.module, scratch):
        tracker.log_file(path, f"{FOLDER}/update-{update:08d}")


def draw(generator: ParameterGenerator, scratch: Path) -> list[Path]:
    """Draw the layer mixes, if layers are mixed at all, and where each student layer comes from.

    Returns `layer-mixes.svg` and `origins.svg` below `scratch/diagnostics`.
    """
    from wd.generator.plots import mixes_svg, shares_svg  # only here does a training draw

    pictures = {"origins": shares_svg(layer_shares(generator))}
    mixes = layer_mixes(generator)
    if mixes:
        pictures["layer-mixes"] = mixes_svg(mixes)
    folder = scratch / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in pictures.items():
        paths.append(folder / f"{name}.svg")
        paths[-1].write_text(text, encoding="utf-8")
    return paths
