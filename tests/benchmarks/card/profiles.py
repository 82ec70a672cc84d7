"""What three steps' time goes to: shares by kind, the top kernels, a trace to look at."""

from collections.abc import Mapping
from functools import partial
from itertools import cycle
from typing import Any

import torch
from phase_one import make_trainee
from step_profile import KINDS, shares_of
from torch.profiler import ProfilerActivity, profile

from card.records import Options, Records, synchronize
from card.speed import MODELS, SETTINGS, TOY_SETTINGS, random_updates, updater
from wd.training.world import World

STEPS, TOP = 3, 25
KERNELS = {
    "attention": ("flash", "fmha", "attention", "sdpa"),
    "matrix products": ("gemm", "nvjet", "cutlass", "xmma", "wgmma", "matmul", "cublas", "splitk"),
    "optimiser": ("adam", "multi_tensor", "lpnorm"),
    "layer norm": ("layer_norm", "layernorm", "gammabeta"),
    "softmax and loss": ("softmax", "nll", "logsumexp", "cross_entropy"),
    "dropout and random numbers": ("dropout", "philox", "distribution", "random"),
    "embedding": ("embedding", "index", "gather", "scatter", "sort", "unique"),
    "compiled": ("triton",),
    "copies": ("copy", "memcpy", "memset", "cat", "fill"),
    "reductions": ("reduce",),
    "elementwise": ("elementwise", "vectorized"),
}
"""Kind -> what the names of a card's kernels hold; the first one that fits counts."""
SUBJECTS = {"teacher": "base teacher", "generator": "base to tiny, phase 1"}


def profiles(records: Records, options: Options) -> None:
    """Profile the teacher's training and phase 1, eager."""
    for phase, what in SUBJECTS.items():
        records.measure(what, 15, partial(_profiled, phase, options))


def _profiled(phase: str, options: Options) -> dict[str, Any]:
    torch.manual_seed(1)
    recipe, device = options.recipe(MODELS["base"], student="tiny"), options.device
    update = updater(make_trainee(recipe, phase, World(device=torch.device(device))))
    tokens, number = (TOY_SETTINGS if options.toy else SETTINGS)[-1]
    updates = cycle(list(random_updates(recipe.student_model, tokens, number, STEPS, device)))
    for _ in range(STEPS):
        update(next(updates))
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    synchronize(device)
    with profile(activities=activities) as profiler:
        for _ in range(STEPS):
            update(next(updates))
        synchronize(device)
    name = f"profile-{phase}"
    profiler.export_chrome_trace(str(options.out / f"{name}.json.gz"))
    times = _times(profiler, device)
    kinds = KERNELS if device == "cuda" else KINDS
    shares = shares_of(times, kinds, exact=device != "cuda")
    _write(options, name, shares, times)
    return {
        "shares": {kind: round(share, 4) for kind, share in shares.items() if share},
        "launches": sum(count for count, _ in times.values()) // STEPS,
        "milliseconds": round(sum(time for _, time in times.values()) / STEPS / 1e3, 2),
        "files": [f"{name}.txt", f"{name}.json.gz"],
    }


def _times(profiler: profile, device: str) -> dict[str, tuple[int, float]]:
    """Return kernel (on the CPU: operation) -> how often it ran, microseconds in all."""
    on_card = torch.autograd.DeviceType.CUDA
    found = {}
    for event in profiler.key_averages():
        # A card's kernels come a second time, as the operations that launched them.
        if device == "cuda" and event.device_type == on_card:
            found[event.key] = (event.count, event.self_device_time_total)
        elif device != "cuda":
            found[event.key] = (event.count, event.self_cpu_time_total)
    return found


def _write(
    options: Options, name: str, shares: Mapping[str, float], times: Mapping[str, tuple[int, float]]
) -> None:
    total = sum(time for _, time in times.values()) or 1.0
    lines = [f"{kind:32}{share:7.1%}" for kind, share in shares.items()]
    lines += ["", f"{'ms a step':>10}{'share':>8}{'a step':>8}  kernel or operation"]
    top = sorted(times.items(), key=lambda each: -each[1][1])[:TOP]
    for kernel, (number, time) in top:
        ms, often = time / STEPS / 1e3, number / STEPS
        lines.append(f"{ms:10.3f}{time / total:8.1%}{often:8.0f}  {kernel[:120]}")
    (options.out / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
