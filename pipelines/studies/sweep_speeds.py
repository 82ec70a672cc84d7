"""The decoding speed of shapes, measured once each and kept below the root."""

import hashlib
import json
import platform
from collections.abc import Mapping

from pipelines.context import Run
from wd.config import HALF_PRECISION, EvaluationConfig, ModelConfig
from wd.files import whole


class ShapeSpeeds:
    """Speeds of untrained students, and of their teacher, by the recipe's evaluation settings.

    Measured in this process, on its GPU if the recipe lets it use one. A student is timed in turn
    with the teacher, so that other work on the machine meets both; its speed is then told relative
    to the teacher's, which is measured first and alone.
    """

    def __init__(self, run: Run) -> None:
        """Keep figures below the run's root; it says a line for each shape that was measured."""
        from wd.decoding.device import chosen_device

        self._run, recipe = run, run.recipe
        self._teacher = recipe.teacher_model
        self._device = "cpu" if recipe.ray.gpu is False else chosen_device("auto")
        self._settings = _settings(recipe.evaluation, self._device)
        self._folder = run.store.folder / ".work" / "speed"
        self._known: dict[str, dict[str, float]] = {}

    def teacher(self) -> dict[str, float]:
        """Return `sentences_per_second`, `milliseconds` and `speed_up` 1."""
        return self._kept({"teacher": self._teacher})

    def student(self, model: ModelConfig) -> dict[str, float]:
        """Return `sentences_per_second`, `milliseconds` (of one sentence alone) and `speed_up`."""
        return self._kept({"teacher": self._teacher, "student": model})

    def _kept(self, models: Mapping[str, ModelConfig]) -> dict[str, float]:
        described = {
            "models": {name: model.model_dump(mode="json") for name, model in models.items()},
            "settings": self._settings.model_dump(mode="json"),
            "device": self._device,
            "machine": platform.node(),
        }
        text = json.dumps(described, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        if key not in self._known:
            file = self._folder / f"{key}.json"
            if not file.is_file():
                self._folder.mkdir(parents=True, exist_ok=True)
                figures = self._measured(models)
                with whole(file) as partial:
                    partial.write_text(json.dumps({**figures, "of": described}), encoding="utf-8")
            kept = json.loads(file.read_text(encoding="utf-8"))
            self._known[key] = {name: value for name, value in kept.items() if name != "of"}
        return self._known[key]

    def _measured(self, models: Mapping[str, ModelConfig]) -> dict[str, float]:
        from wd.decoding.shape_speed import shape_speeds

        self._run.open_tracking()  # a server that is away is told before this takes its time
        reference = self.teacher() if "student" in models else None
        found = shape_speeds(models, self._settings, device=self._device)
        teacher = found["teacher"]
        if reference is None:
            return {
                "sentences_per_second": teacher.sentences_per_second,
                "milliseconds": teacher.milliseconds,
                "speed_up": 1.0,
            }
        student = found["student"]
        speed_up = teacher.seconds / student.seconds
        self._run.say(f"timed {in_signs(models['student'])}: {speed_up:.2f} x the teacher's speed")
        return {
            "sentences_per_second": reference["sentences_per_second"] * speed_up,
            "milliseconds": reference["milliseconds"] * student.milliseconds / teacher.milliseconds,
            "speed_up": speed_up,
        }


def in_signs(model: ModelConfig) -> str:
    """Return a shape in a few signs: layers x width / feed-forward."""
    return " ".join(
        f"{name} {stack.layers}x{stack.d_model}/{stack.feed_forward}"
        for name, stack in (("enc", model.encoder), ("dec", model.decoder))
    )


def _settings(given: EvaluationConfig, device: str) -> EvaluationConfig:
    """Return how shapes are timed: what only a GPU can do is left where there is none."""
    if device == "cpu" and given.quantization in HALF_PRECISION:
        return given.model_copy(update={"quantization": "auto"})
    return given
