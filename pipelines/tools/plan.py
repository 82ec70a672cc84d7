"""What a recipe will cost, from its configuration alone: no data, no Ray, no torch."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from wd.config import ModelConfig, Quantization, Recipe, TrainingConfig
from wd.generator.choices import check_generable, generable_classes
from wd.generator.sizes import map_sizes, own_parameters
from wd.model.sizes import (
    count_parameters,
    decoder_flops,
    encoder_flops,
    training_flops,
    weight_bytes,
)

WIDTH = 100
"""Columns that the widest table needs."""
_QUANTIZATIONS: tuple[Quantization, ...] = ("float32", "float16", "int8")


def plan(recipe: Recipe, *, length: int = 25, tflops: float | None = None) -> dict[str, Any]:
    """Return sizes, compression, FLOPs and, given a speed, training hours.

    `length` is the sentence length (pieces, both sides) that FLOPs are counted for; `tflops` is
    what all training workers together sustain, in 10^12 FLOP per second. A batch's budget
    includes its padding, so tokens, FLOPs and hours are upper bounds. Phase 1 is counted as its
    student's training; generating the weights comes on top. Raises ConfigError for a student
    that cannot be generated.
    """
    teacher, student = recipe.teacher_model, recipe.student_model
    for hop in recipe.hops:
        check_generable(hop.taught_by, hop.student_model, recipe.generator.grouping)
    teacher_parameters, student_parameters = count_parameters(teacher), count_parameters(student)
    training: dict[str, tuple[ModelConfig, TrainingConfig, ModelConfig | None]] = {
        "teacher": (teacher, recipe.teacher.training, None),
        **{
            f"{phase} of {hop.student}": (hop.student_model, config, hop.guide)
            for hop in recipe.hops[:-1]
            for phase, config in _phases(recipe).items()
        },
        **{phase: (student, config, recipe.guide) for phase, config in _phases(recipe).items()},
        "kd_student": (student, recipe.student_training("kd"), recipe.guide),
    }
    if recipe.teacher.source:
        del training["teacher"]
    return {
        "recipe": recipe.name,
        "student": recipe.student,
        "teacher_parameters": teacher_parameters,
        "student_parameters": student_parameters,
        "compression": round(student_parameters / teacher_parameters, 4),
        "sentence_length": length,
        "models": {"teacher": _model(teacher, length), "student": _model(student, length)},
        "training": {
            name: _training(recipe, settings, training_flops(model, length, guide), tflops)
            for name, (model, settings, guide) in training.items()
        },
    }


def _phases(recipe: Recipe) -> dict[str, TrainingConfig]:
    return {"generator": recipe.generator.training, "student": recipe.student_training("wd")}


def generator_parts(recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Return every class and every map of the recipe's generator, with their parameters."""
    grouping = recipe.generator.grouping
    classes = generable_classes(recipe.taught_by, recipe.student_model, grouping)
    return {
        "classes": [
            {
                "name": each.name,
                "teacher": [len(each.teacher), *each.teacher_shape],
                "student": [len(each.student), *each.student_shape],
                "subsets": list(each.subsets),
                "parameters": own_parameters(each, grouping),
            }
            for each in classes
        ],
        "maps": [asdict(each) for each in map_sizes(classes, grouping)],
    }


def generator_tables(parts: dict[str, list[dict[str, Any]]]) -> list[Table]:
    """Return the generator's parts as tables for the terminal."""
    columns: dict[str, list[str]] = {
        "classes": ["name", "teacher", "student", "subsets", "parameters"],
        "maps": ["key", "shape", "users", "parameters"],
    }
    tables = []
    for kind, names in columns.items():
        total = sum(row["parameters"] for row in parts[kind])
        table = Table(title=f"generator, {kind}: {total:,} parameters")
        for name in names:
            table.add_column(name, no_wrap=True)
        for row in parts[kind]:
            table.add_row(*(_cell(name, row[name]) for name in names))
        tables.append(table)
    return tables


def _cell(name: str, value: Any) -> str:
    if name == "subsets":
        return str(value[0]) if len(set(value)) == 1 else ", ".join(map(str, value))
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _model(config: ModelConfig, length: int) -> dict[str, Any]:
    return {
        "bytes": {kind: weight_bytes(config, kind) for kind in _QUANTIZATIONS},
        "encoder_flops_per_token": encoder_flops(config, length),
        "decoder_flops_per_token": decoder_flops(config, length),
    }


def _training(
    recipe: Recipe, settings: TrainingConfig, flops_per_token: int, tflops: float | None
) -> dict[str, Any]:
    tokens = settings.updates * settings.batches_per_update * recipe.shards.batch_tokens
    flops = tokens * flops_per_token
    planned: dict[str, Any] = {"updates": settings.updates, "target_tokens": tokens, "flops": flops}
    if tflops is not None:
        planned["hours"] = round(flops / (tflops * 1e12) / 3600, 2)
    return planned


def tables(planned: dict[str, Any]) -> list[Table]:
    """Return a plan as tables for the terminal."""
    return [_models_table(planned), _training_table(planned)]


def _models_table(planned: dict[str, Any]) -> Table:
    """Return a column per model."""
    models = planned["models"].values()
    parameters = (planned[f"{name}_parameters"] for name in planned["models"])
    table = Table(
        *("", "teacher", f"{planned['student']} student"),
        title=f"{planned['recipe']}: compression {planned['compression']:.2f}",
    )
    table.add_row("parameters", *(f"{count:,}" for count in parameters))
    for kind in _QUANTIZATIONS:
        table.add_row(f"{kind} MB", *(f"{model['bytes'][kind] / 1e6:,.1f}" for model in models))
    for stack in ("encoder", "decoder"):
        flops = (model[f"{stack}_flops_per_token"] for model in models)
        table.add_row(f"{stack} MFLOPs/token", *(f"{count / 1e6:,.1f}" for count in flops))
    return table


def _training_table(planned: dict[str, Any]) -> Table:
    timed = "hours" in planned["training"]["generator"]
    table = Table(
        *("training", "updates", "target tokens", "FLOPs", *(["hours"] if timed else [])),
        title=f"at most, at {planned['sentence_length']} pieces per sentence",
    )
    for name, run in planned["training"].items():
        hours = [f"{run['hours']:,.2f}"] if timed else []
        table.add_row(
            name, f"{run['updates']:,}", f"{run['target_tokens']:,}", f"{run['flops']:.2e}", *hours
        )
    return table
