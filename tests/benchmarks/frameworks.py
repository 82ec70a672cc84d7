"""How fast other frameworks train the teacher of a recipe, beside ours.

    python tests/benchmarks/frameworks.py wmt14-ende-base

The four stay in memory, some 16 GB at 2,048 tokens and more than 24 at 4,096.

Ours, Hugging Face MarianMT (in a plain loop with fused AdamW), eole and JoeyNMT (these two with
their own loss, optimiser and training step) train the same architecture on the same batches, all
with torch 2.13.0. Each is a process of its own in an environment of its own, made on first use.
They take turns, round by round, so that a noisy machine disturbs all alike; the first round does
not count. All compute in float32 on the CPU and bfloat16 autocast on CUDA, uncompiled, with label
smoothing 0.1, and attend on their fast path.

Where they differ: MarianMT has post-norm only and eole's decoder pre-norm only (its encoder is
left so too); ours and JoeyNMT follow the recipe. That is worth two norms of parameters. Dropout
is 0.1 wherever one of them cannot leave it out: ours and MarianMT drop after embeddings and
blocks, eole also inside the feed-forward, JoeyNMT there and in attention. Models whose numbers of
parameters differ by more than 2 % are refused.

Tokens are target pieces without padding. Peak memory is the process's (CPU, resident) or its
tensors' (CUDA). The loss is in nats per target piece. The last line is JSON.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from random_batches import write_batches
from wd.config import ModelConfig
from wd.errors import ConfigError, UserError

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "ours": (),
    "marian": ("torch==2.13.0", "transformers==5.23.0"),
    "eole": ("torch==2.13.0", "eole==0.6.4"),
    # JoeyNMT imports the last one without asking for it.
    "joeynmt": ("torch==2.13.0", "joeynmt==2.3.0", "importlib_metadata==9.1.0"),
}
"""What each environment holds; ours is the one that runs this file. The newest of November 2026."""
WORKERS = Path(__file__).parent / "frameworks"
TOLERANCE = 0.02
"""By how much of its parameters a model may differ from ours."""


def bench(
    recipe: RecipeArgument = "wmt14-ende-base",
    overrides: Overrides = None,
    tokens: Annotated[
        int, typer.Option(min=100, help="Tokens per step and side at most, padding included.")
    ] = 2048,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round, each with its batch.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all CPUs.")] = None,
    framework: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default: all four.")
    ] = None,
    environments: Annotated[
        Path, typer.Option(help="Where the frameworks' environments are, or will be.")
    ] = Path(".benchmark-environments"),
) -> None:
    """Time the frameworks' training in turn."""
    settings = read_recipe(recipe, overrides or ())
    model = settings.teacher_model
    names = _checked(framework or list(REQUIREMENTS), model, device)
    pythons = {name: _python(name, environments) for name in names}
    with ExitStack() as open_until_done:
        batches = Path(open_until_done.enter_context(TemporaryDirectory())) / "batches.npz"
        pieces = write_batches(batches, model, tokens, steps)
        job: dict[str, Any] = {
            "model": model.model_dump(),
            "batches": str(batches),
            "device": device,
        }
        job |= {"threads": threads or os.cpu_count() or 1}
        workers = {
            name: open_until_done.enter_context(Worker(name, python, job, environments))
            for name, python in pythons.items()
        }
        _check_sizes({name: worker.parameters for name, worker in workers.items()})
        figures = _measure(workers, steps, rounds, pieces)
    summary = {"recipe": settings.name, "norm": model.norm, "tokens": tokens, "steps": steps}
    summary |= {"rounds": rounds, "device": device, "threads": job["threads"]}
    _report(summary, figures)


def _checked(names: Sequence[str], model: ModelConfig, device: str) -> Sequence[str]:
    """Return the frameworks if they are known and can all train this model on this device."""
    for name in names:
        if name not in REQUIREMENTS:
            raise ConfigError(f"--framework {name}: there are {', '.join(REQUIREMENTS)}")
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: give cpu or cuda")
    widths = model.encoder.d_model, model.decoder.d_model
    if widths[0] != widths[1] or not model.biases:
        raise ConfigError(
            f"teacher.shape: encoder and decoder are {widths[0]} and {widths[1]} wide, biases: "
            f"{model.biases}; the other frameworks know only one width, and linear maps with biases"
        )
    return names


def _python(name: str, environments: Path) -> str:
    """Return the interpreter of a framework, whose environment is made on first use."""
    wanted = "\n".join(REQUIREMENTS[name])
    if not wanted:
        return sys.executable
    folder = environments / name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"making {folder} with {', '.join(REQUIREMENTS[name])}", flush=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]]
        for command in [sys.executable, "-m", "venv", "--clear", str(folder)], pip:
            if subprocess.run(command).returncode:
                raise UserError(f"{name}: {' '.join(command)} failed; the reason stands above")
        installed.write_text(wanted)
    return str(python)


class Worker:
    """A framework's process; it computes only while `train` waits for it."""

    def __init__(self, name: str, python: str, job: dict[str, Any], logs: Path) -> None:
        self._name = name
        logs.mkdir(parents=True, exist_ok=True)
        self._log = logs / f"{name}.log"
        threads = str(job["threads"])
        environment = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, str(WORKERS / f"{name}_worker.py"), json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | environment,
            )
        built = self._answer()
        self.parameters: int = built["parameters"]
        self.torch: str = built["torch"]

    def train(self, steps: int) -> dict[str, float]:
        """Train that many steps; see `protocol.serve` for what is returned."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps({"steps": steps}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            end = "\n".join(self._log.read_text().splitlines()[-12:])
            raise UserError(f"{self._name} stopped; {self._log} ends in:\n{end}")
        return json.loads(line)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its input, at which it ends


def _measure(
    workers: dict[str, Worker], steps: int, rounds: int, pieces: int
) -> dict[str, dict[str, Any]]:
    """Let the workers train in turn; return each one's figures. The first round is a warm-up."""
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for number in range(rounds + 1):
        for name, worker in workers.items():
            answers[name].append(worker.train(steps))
            print(f"round {number}  {name:8}{answers[name][-1]['seconds']:9.3f} s", flush=True)
    return {
        name: {
            "tokens_per_second": round(pieces / median(each["seconds"] for each in told[1:]), 1),
            "peak_megabytes": told[-1]["peak_megabytes"],
            "parameters": workers[name].parameters,
            "torch": workers[name].torch,
            "first_loss": round(told[0]["first"], 4),
            "last_loss": round(told[-1]["last"], 4),
        }
        for name, told in answers.items()
    }


def _check_sizes(parameters: dict[str, int]) -> None:
    reference = next(iter(parameters.values()))
    for name, count in parameters.items():
        if abs(count / reference - 1) > TOLERANCE:
            raise UserError(
                f"{name} has {count:,} parameters, {next(iter(parameters))} {reference:,}: more "
                f"than {TOLERANCE:.0%} apart, so this would compare different models"
            )


def _report(summary: dict[str, Any], figures: dict[str, dict[str, Any]]) -> None:
    first = next(iter(figures.values()))
    print("framework  tokens/s   peak MB  parameters  (difference)  first loss  last loss")
    for name, each in figures.items():
        difference = each["parameters"] - first["parameters"]
        print(
            f"{name:9}{each['tokens_per_second']:10.1f}{each['peak_megabytes']:10}"
            f"{each['parameters']:12,}{difference:14,}{each['first_loss']:12.3f}"
            f"{each['last_loss']:11.3f}"
        )
    speeds = {name: each["tokens_per_second"] for name, each in figures.items()}
    ours = speeds.pop("ours", None)
    if ours and speeds:
        fastest = max(speeds, key=lambda name: speeds[name])
        ratio = round(ours / speeds[fastest], 3)
        print(f"ours is {ratio} x as fast as the fastest other, {fastest}")
        summary |= {"fastest_other": fastest, "ratio": ratio}
    print(json.dumps(summary | {"frameworks": figures}))


def main() -> None:
    """Run the command; what the user can mend is one message and exit status 2."""
    try:
        typer.run(bench)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
