"""Keeps watch over phase 1: what the generator has learned, in figures and pictures."""

from pathlib import Path

from wd.generator.diagnostics import class_figures, layer_mixes, layer_shares
from wd.generator.plots import mixes_svg, shares_svg
from wd.tracking import Beside
from wd.training.trainee import GeneratorTrainee

FOLDER = "diagnostics"


def diagnose(trainee: GeneratorTrainee, tracker: Beside, scratch: Path, update: int) -> None:
    """Track figures per class, and draw the layer mixes and where each student layer comes from.

    The pictures are `layer-mixes.svg` (if layers are mixed at all) and `origins.svg` below
    `scratch/diagnostics`, those of the last call; the tracker has those of every update.
    """
    generator = trainee.module
    figures = class_figures(generator, trainee.optimizer)
    tracker.log_metrics({"generator": figures}, step=update)
    pictures = {"origins": shares_svg(layer_shares(generator))}
    mixes = layer_mixes(generator)
    if mixes:
        pictures["layer-mixes"] = mixes_svg(mixes)
    folder = scratch / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pictures.items():
        path = folder / f"{name}.svg"
        path.write_text(text, encoding="utf-8")
        tracker.log_file(path, f"{FOLDER}/update-{update:08d}")
