"""How fast other frameworks train the teacher of a recipe, beside ours.

    python tests/benchmarks/frameworks.py wmt14-ende-base --tokens 4096

Ours, Hugging Face MarianMT (in a plain loop with fused AdamW), eole and JoeyNMT (the latter two
with their own loss, optimiser and training step) train the same architecture on the same batches.
Each is a process of its own in an environment of its own, made on first use; they take turns,
round by round, so that a noisy machine disturbs all alike, and the first round does not count.
All take float32 on the CPU and bfloat16 autocast on CUDA, dropout 0.1, label smoothing 0.1 and no
compilation; attention is each one's fast path.

MarianMT has post-norm only and eole's decoder pre-norm only: they norm where they can, and the
rest follow the recipe. That costs two norms of parameters and no time worth naming. Models that
differ by more than 2 % of their parameters are refused. Peak memory is of the whole process
(resident, CPU) or of its tensors (CUDA); the loss is in nats per target piece. The last line is
JSON.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from pipelines.options import Overrides, RecipeArgument
from pipelines.recipe_arguments import read_recipe
from wd.config import ModelConfig
from wd.data.schema import BOS, EOS, PAD, SPECIAL_PIECES
from wd.data.shards import pack
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
FILES = {
    "ours": "ours.py",
    "marian": "marian.py",
    "eole": "eole_worker.py",
    "joeynmt": "joeynmt_worker.py",
}
TOLERANCE = 0.02
"""By how much of its parameters a model may differ from ours."""


def bench(
    recipe: RecipeArgument = "wmt14-ende-base",
    overrides: Overrides = None,
    tokens: Annotated[
        int, typer.Option(help="Target tokens per optimiser step at most, padding included.")
    ] = 4096,
    steps: Annotated[int, typer.Option(help="Steps per round, each with a batch of its own.")] = 10,
    rounds: Annotated[int, typer.Option(help="Timed rounds.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all CPUs.")] = None,
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
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
        for number in range(rounds + 1):
            for name, worker in workers.items():
                answers[name].append(worker.train(steps))
                took = answers[name][-1]["seconds"]
                print(f"round {number}  {name:8}{took:9.3f} s", flush=True)
    figures = {
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
    summary: dict[str, Any] = {"recipe": settings.name, "device": device, "tokens": tokens}
    summary |= {"steps": steps, "rounds": rounds, "threads": job["threads"]}
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


def write_batches(path: Path, model: ModelConfig, tokens: int, count: int) -> int:
    """Write batches of random pieces, packed as the shards stage does; return the target's pieces.

    Lengths are log-normal, as in news text: 25 source pieces on average, 100 at most.
    """
    random = np.random.default_rng(1)
    pairs = count * tokens // 2  # about ten times as many as are taken
    source = np.exp(random.normal(3.05, 0.6, pairs))
    target = source * np.exp(random.normal(0.0, 0.15, pairs))
    lengths = np.stack([source, target]).round().astype(int).clip(2, min(100, tokens))
    longest = lengths.max(0)
    order = np.lexsort((*lengths, longest))
    ranges = pack(longest[order], tokens)[:-1]
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    total = 0
    for index, place in enumerate(random.choice(len(ranges), count, replace=False)):
        rows = order[slice(*ranges[place])]
        source_BS = _sentences(random, lengths[0, rows], model.source_vocabulary)
        target_BT = _sentences(random, lengths[1, rows], model.target_vocabulary)
        begin = np.full((len(rows), 1), BOS)
        arrays[f"source_{index}"] = source_BS
        arrays[f"target_in_{index}"] = np.concatenate([begin, target_BT[:, :-1]], 1)
        arrays[f"target_{index}"] = target_BT
        total += int(lengths[1, rows].sum())
    np.savez(path, allow_pickle=False, **arrays)
    return total


def _sentences(
    random: np.random.Generator, lengths: np.ndarray[Any, Any], vocabulary: int
) -> np.ndarray[Any, Any]:
    """Return int64 [B, longest]: pieces, then EOS, then PAD."""
    places = np.arange(lengths.max())
    ids = random.integers(len(SPECIAL_PIECES), vocabulary, (len(lengths), lengths.max()))
    ids[places == lengths[:, None] - 1] = EOS
    ids[places >= lengths[:, None]] = PAD
    return ids


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
                [python, str(WORKERS / FILES[name]), json.dumps(job)],
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
