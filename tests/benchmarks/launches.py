"""How many operations an optimiser step launches on a GPU, counted without one.

    python tests/benchmarks/launches.py wmt14-ende-base

Runs forward and backward passes at the recipe's numbers of layers, but a few channels wide, on the
CPU along a GPU's paths, and counts what torch dispatches: each operation that is no mere view is a
launch or more. The optimiser is left out: it takes the same few launches for any model. Prints
fine-tuning's and phase 1's counts and which operations are the most, then the bytes that the loss
moves; the last line is JSON.
"""

import json
from collections import Counter
from contextlib import nullcontext
from typing import Annotated, Any

import torch
import typer
from phase_one import make_trainee
from torch._inductor import config, metrics
from torch._logging import set_logs
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from wd.config import Recipe, overridden
from wd.data.batches import Batch
from wd.model.paths import gpu_paths
from wd.training.loss import cross_entropy
from wd.training.world import World

NARROW = ("d_model", 32), ("feed_forward", 64), ("heads", 4)
FREE = {"aten::detach", "aten::_unsafe_view", "aten::empty", "aten::empty_like"}
"""Views by another name, and memory that is only set apart."""
PLACES = {"aten::gather", "aten::scatter_add_"}
"""Operations that touch only the places that an index names."""
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::unique_dim"}
"""Operations whose result the host waits for."""


class Launches(TorchDispatchMode):
    """Counts the operations that are dispatched while it lasts, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count one and do it."""
        if not operation.is_view and operation._schema.name not in FREE:
            self.counts[operation._schema.name] += 1
        return operation(*args, **kwargs or {})


def count(
    recipe: RecipeArgument = "wmt14-ende-base",
    overrides: Overrides = None,
    batches: Annotated[int, typer.Option(help="Batches in one update.")] = 1,
    top: Annotated[int, typer.Option(help="So many operations are listed.")] = 12,
    compiled: Annotated[bool, typer.Option(help="Also count the compiled loss.")] = True,
) -> None:
    """Count the launches of fine-tuning and phase 1."""
    base = read_recipe(recipe, overrides or ())
    told = {}
    for student in sorted(base.students):
        settings = overridden(base, {"student": student})
        counts = {kind: launches(settings, kind, batches) for kind in ("fine_tuning", "generator")}
        sums = {kind: sum(each.values()) for kind, each in counts.items()}
        told[student] = sums | {"ratio": round(sums["generator"] / sums["fine_tuning"], 3)}
        told[student]["waits"] = sum(each[name] for each in counts.values() for name in WAITS)
        print(
            f"{student}: " + ", ".join(f"{name} {value}" for name, value in told[student].items())
        )
        more = counts["generator"] - counts["fine_tuning"]
        for name, extra in more.most_common(top):
            print(f"  {name:44}{counts['fine_tuning'][name]:6} + {extra}")
        for name, number in counts["fine_tuning"].most_common(top):
            print(f"  {name:44}{number:6}")
    traffic = loss_bytes(base, compiled=compiled)
    for way, bytes_ in traffic.items():
        print(f"loss, {way}: {bytes_ / 1e3:,.0f} KB per target piece")
    print(json.dumps({"recipe": base.name, "batches": batches, "loss_bytes": traffic} | told))


def launches(recipe: Recipe, kind: str, batches: int) -> Counter[str]:
    """Return how often each operation is launched in an update of `kind`, optimiser left out."""
    narrow = _narrow(recipe)
    torch.manual_seed(1)
    with gpu_paths():
        trainee = make_trainee(narrow, kind, World())
        trainee.module.train()
        text = [Batch(*torch.randint(4, 64, (3, 3, 9))) for _ in range(batches)]
        for _ in range(2):  # the first makes what later ones keep
            with Launches() as counted:
                trainee.backward(text, 1.0)
            trainee.step(1)
    return counted.counts


class Traffic(TorchDispatchMode):
    """Sums the bytes that operations read and write while it lasts, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do an operation, and count its tensors."""
        made, name = operation(*args, **kwargs or {}), operation._schema.name
        if name in PLACES:
            self.bytes += 3 * args[2].numel() * args[0].element_size()
        elif not operation.is_view and name not in FREE:
            read, written = (kwargs or {}) | {"out": None}, made
            for each in tree_leaves((args, read, written)):
                if isinstance(each, torch.Tensor):
                    self.bytes += each.numel() * each.element_size()
        return made


def loss_bytes(recipe: Recipe, pieces: int = 512, *, compiled: bool = True) -> dict[str, int]:
    """Return the bytes that the loss moves per target piece, forward and backward, by its ways.

    Compiled, as the compiler counts the kernels that it makes.
    """
    vocabulary = recipe.teacher_model.target_vocabulary
    target_BT = torch.randint(4, vocabulary, (1, pieces))
    found = {}
    ways = {"plain": nullcontext(), "lean": gpu_paths()}
    ways |= {"compiled": gpu_paths()} if compiled else {}
    for way, paths in ways.items():
        logits_BTV = torch.randn(1, pieces, vocabulary).bfloat16().requires_grad_()
        with paths:
            if way == "compiled":
                with config.patch(force_disable_caches=True):
                    metrics.reset()
                    set_logs(inductor_metrics=True)  # it counts for its log only
                    cross_entropy(logits_BTV, target_BT, 0.1, compiled=True).backward()
                found[way] = int(metrics.num_bytes_accessed) // pieces
                continue
            with Traffic() as traffic:
                cross_entropy(logits_BTV, target_BT, 0.1).backward()
        found[way] = traffic.bytes // pieces
    return found


def _narrow(recipe: Recipe) -> Recipe:
    """Return a recipe with its numbers of layers and its shapes' ratios, but few channels."""
    changes: dict[str, Any] = {"tokenizer.vocabulary_size": 320}
    for stack in ("encoder", "decoder"):
        teacher = getattr(recipe.teacher.shape, stack)
        for key, size in NARROW:
            changes[f"teacher.shape.{stack}.{key}"] = size
            for name, student in recipe.students.items():
                own = getattr(student, stack)
                if own is not None and getattr(own, key, None) is not None:
                    scaled = size * getattr(own, key) // getattr(teacher, key)
                    changes[f"students.{name}.{stack}.{key}"] = scaled
    phases = ("teacher.training", "generator.training", "fine_tuning")
    changes |= {f"{phase}.precision": "bfloat16" for phase in phases}
    return overridden(recipe, changes)


if __name__ == "__main__":
    typer.run(count)
