"""Where a training step's time goes, beside what its arithmetic alone would take.

    python tests/benchmarks/step_profile.py multi30k --phase teacher --tokens 1600

Trains on random batches shaped like real ones, first timed, then under torch's profiler. The floor
is the step's multiplications (forward and backward) over the machine's own rate, measured on
products of the model's commonest shape and, for comparison, on big square ones, in the precision
that the step takes. Prints the share of each kind of operation; the last line is JSON.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from torch.profiler import ProfilerActivity, profile

from phase_one import make_trainee
from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from random_batches import read_batches, write_batches
from wd.config import ModelConfig
from wd.data.batches import Batch
from wd.model.sizes import training_flops
from wd.training.world import World

BATCHES = 8
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "attention softmax": ("aten::_softmax", "aten::_softmax_backward_data", "scaled_dot_product"),
    "loss": ("aten::_log_softmax", "aten::exp", "aten::gather", "aten::scatter_add_"),
    "dropout": (
        "aten::native_dropout",
        "aten::native_dropout_backward",
        "aten::random_",
        "aten::ge",
    ),
    "layer norm": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "optimiser": ("aten::_fused_adamw_", "aten::_foreach_norm", "aten::linalg_vector_norm"),
    "embedding": ("aten::embedding", "aten::embedding_dense_backward", "aten::index_select"),
    "activation": ("aten::relu", "aten::clamp_min", "aten::threshold_backward", "aten::gelu"),
    "copies": ("aten::copy_", "aten::clone", "aten::cat", "aten::fill_", "aten::zero_"),
    "additions and products": ("aten::add", "aten::add_", "aten::mul", "aten::mul_", "aten::sum"),
}


def profile_steps(
    recipe: RecipeArgument = "multi30k",
    overrides: Overrides = None,
    phase: Annotated[str, typer.Option(help="teacher, generator or fine_tuning.")] = "teacher",
    tokens: Annotated[int, typer.Option(help="Tokens per step and side at most.")] = 1600,
    steps: Annotated[int, typer.Option(help="Timed steps, and as many profiled ones.")] = 16,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Profile training steps."""
    settings = read_recipe(recipe, overrides or ())
    model = settings.teacher_model if phase == "teacher" else settings.student_model
    trainee = make_trainee(settings, phase, World(device=torch.device(device)))
    trainee.module.train()
    batches = _batches(model, tokens)
    done = 0

    def step() -> None:
        nonlocal done
        batch = batches[done % len(batches)]
        done += 1
        trainee.backward([batch], 1 / int((batch.target_BT != 0).sum()))
        trainee.step(done)

    for _ in range(len(batches)):
        step()
    seconds = median(_timed(step, device) for _ in range(steps))
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
    shares = shares_of(_times(profiler, device), KINDS, exact=True)
    pieces = median(int((batch.target_BT != 0).sum()) for batch in batches)
    length = round(median(batch.target_BT.shape[1] for batch in batches))
    flops = training_flops(model, length) * pieces
    with trainee.autocast():
        precision = torch.bfloat16 if torch.is_autocast_enabled(device) else torch.float32
    shape = (tokens, model.encoder.d_model, model.encoder.feed_forward)
    rates = {"of the model's shapes": _rate(*shape, device, precision)}
    rates["big"] = _rate(*[2048 if device == "cpu" else 8192] * 3, device, precision)
    rate = rates["big" if device == "cuda" else "of the model's shapes"]
    floor = flops / rate
    for kind, share in shares.items():
        print(f"{kind:26}{share:7.1%}{share * seconds * 1e3:10.1f} ms")
    print(f"{'step':26}{seconds * 1e3:17.1f} ms, {pieces / seconds:,.0f} target pieces/s")
    print(f"{'floor':26}{floor * 1e3:17.1f} ms, {floor / seconds:.0%} of the step")
    told = {"recipe": settings.name, "phase": phase, "device": device, "pieces": pieces}
    told |= {"precision": str(precision).removeprefix("torch.")}
    told |= {"seconds": round(seconds, 5), "floor_seconds": round(floor, 5)}
    told |= {"gigaflops_per_second": {name: round(each / 1e9, 1) for name, each in rates.items()}}
    print(json.dumps(told | {"shares": {kind: round(each, 4) for kind, each in shares.items()}}))


def _batches(model: ModelConfig, tokens: int) -> list[Batch]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "batches.npz"
        write_batches(path, model, tokens, BATCHES)
        return read_batches(path)


def _timed(step: Callable[[], None], device: str) -> float:
    began = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def shares_of(
    times: Mapping[str, tuple[int, float]], kinds: Mapping[str, Sequence[str]], *, exact: bool
) -> dict[str, float]:
    """Return each kind's share of the time, the largest first.

    `times`: name -> how often, how long. A kind is names, or without `exact` what names hold.
    """

    def kind_of(name: str) -> str:
        for kind, keys in kinds.items():
            if name in keys if exact else any(key in name.lower() for key in keys):
                return kind
        return "other"

    sums = dict.fromkeys([*kinds, "other"], 0.0)
    for name, (_, taken) in times.items():
        sums[kind_of(name)] += taken
    total = sum(sums.values()) or 1.0
    return {kind: value / total for kind, value in sorted(sums.items(), key=lambda each: -each[1])}


def _times(profiler: profile, device: str) -> dict[str, tuple[int, float]]:
    """Return operation -> how often it ran, the time that it took itself; kernels are in theirs."""
    on_card = torch.autograd.DeviceType.CUDA
    events = [each for each in profiler.key_averages() if each.device_type != on_card]
    return {
        each.key: (
            each.count,
            each.self_device_time_total if device == "cuda" else each.self_cpu_time_total,
        )
        for each in events
    }


def _rate(rows: int, inner: int, columns: int, device: str, kind: torch.dtype) -> float:
    """Return FLOP per second of a product [rows, inner] x [inner, columns]."""
    one, other = (
        torch.randn(*shape, device=device, dtype=kind)
        for shape in ((rows, inner), (inner, columns))
    )
    times = [_timed(lambda: torch.mm(one, other), device) for _ in range(20)]
    return 2 * rows * inner * columns / median(times[5:])


if __name__ == "__main__":
    typer.run(profile_steps)
