"""Measures a card in nine minutes, on a machine that has torch and a folder of wheels.

Anywhere, before; on the card; a dry run:

    python tests/benchmarks/gpu.py --prepare --data DATA multi30k corpus.dir=DIR
    python tests/benchmarks/gpu.py --out RESULTS --data DATA
    python tests/benchmarks/gpu.py --out RESULTS --device cpu --toy

Needs no Ray, no MLflow and no network. Beside torch, numpy, pyarrow, sentencepiece, safetensors,
sacrebleu, matplotlib, typer and rich it imports pydantic, langcodes and PyYAML; transformers is
compared with if it is there, pytest (which also wants protobuf) runs the tests, ctranslate2 makes
the ladder. docs/gpu.md has the wheels to carry. RESULTS and DATA may also be WD_GPU_RESULTS and
WD_GPU_DATA in the environment.

Parts, in order: what is here and how fast (ceilings); base and big training beside Hugging Face's
(training); phase 1 over fine-tuning (phase_one); where three steps' time goes (profiles); the tests
on the card (checks), and beside them the ladder (ladder). Each is a process of its own. Each figure
is a line of RESULTS/results.jsonl as soon as it is known; a part that fails or finds no time leaves
a line that says so, and the others run. The table comes last, and is in RESULTS/table.md.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from card import checks, ladder, profiles, speed
from card.records import BEGUN, Options, Records, read
from card.table import table
from pipelines.commands.options import Overrides
from wd.errors import UserError
from wd.manifest import commit


@dataclass(frozen=True)
class Part:
    """What is measured in a process of its own."""

    measure: Callable[[Records, Options], None]
    least: float
    """Seconds below which it is not begun."""
    most: float
    """Seconds after which it is ended."""


PARTS: Mapping[str, Part] = {
    "ceilings": Part(speed.ceilings, 15, 30),
    "training": Part(speed.training, 30, 190),
    "phase_one": Part(speed.phase_one, 40, 90),
    "profiles": Part(profiles.profiles, 20, 45),
    "checks": Part(checks.checks, 30, 240),
    "ladder": Part(ladder.ladder, 60, 600),
}
BESIDE = ("checks",)
"""Parts that run beside the next one: neither of them is timed."""
_GRACE = 5.0
"""Seconds that are left for the table."""


def gpu(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="With --prepare.")] = "multi30k",
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(envvar="WD_GPU_RESULTS", help="Folder of the results.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="WD_GPU_DATA", help="Folder that was prepared.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Make DATA, from the recipe's text, and end.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="For all parts together.")] = 9.0,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    toy: Annotated[bool, typer.Option("--toy", help="Toy sizes: a dry run.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Also time compiled models.")
    ] = True,
    part: Annotated[
        list[str] | None, typer.Option(help="Only this one; repeatable. Default: all.")
    ] = None,
    until: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure a card."""
    if prepare:
        if data is None:
            raise UserError("--prepare: say where to, with --data or WD_GPU_DATA")
        return ladder.prepare(recipe, overrides or (), data)
    if out is None:
        raise UserError("say where the results go, with --out or WD_GPU_RESULTS")
    out.mkdir(parents=True, exist_ok=True)
    options = Options(out=out, data=data, device=device, toy=toy, compiled=compiled)
    names = list(PARTS) if not part else [_known(name) for name in part]
    if until is not None:  # a process that was started for one part
        (name,) = names
        return PARTS[name].measure(Records(out, name, until), options)
    _run(names, options, time.time() + minutes * 60 - _GRACE)
    text = table(read(out))
    (out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return None


def _known(name: str) -> str:
    if name not in PARTS:
        raise UserError(f"--part {name}: there are {', '.join(PARTS)}")
    return name


def _run(names: list[str], options: Options, deadline: float) -> None:
    """Run the parts, each in a process, within the time."""
    beside: list[tuple[str, subprocess.Popen[bytes], float]] = []
    for name in names:
        part, left = PARTS[name], deadline - time.time()
        Records(options.out, name, deadline).add(BEGUN, commit=commit(), at=time.time())
        if left < part.least and not options.toy:
            why = f"{left:.0f} s left, at least {part.least:.0f} needed"
            Records(options.out, name, deadline).add(name, skipped=why)
            continue
        until = deadline if options.toy else min(deadline, time.time() + part.most)
        started = (name, _start(name, options, until), until)
        beside.append(started)
        if name not in BESIDE:
            _finish(*started, options)
            beside.remove(started)
    for started in beside:
        _finish(*started, options)


def _start(name: str, options: Options, until: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--part", name, "--until", str(until)]
    command += ["--out", str(options.out), "--device", options.device]
    command += ["--compile" if options.compiled else "--no-compile"]
    command += ["--toy"] * options.toy + (["--data", str(options.data)] if options.data else [])
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    print(f"{name}: {until - time.time():.0f} s at most", flush=True)
    with (options.out / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )


def _finish(name: str, process: subprocess.Popen[bytes], until: float, options: Options) -> None:
    """Wait for a part; record it if it is lost or takes too long, which ends it."""
    records = Records(options.out, name, until)
    try:
        status = process.wait(max(1.0, until - time.time()) + _GRACE / 2)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with the processes that it started
        process.wait()
        return records.add(name, failed="ended: its time was over")
    if status:
        lines = (options.out / f"{name}.log").read_text("utf-8", "replace").strip().splitlines()
        records.add(name, failed=f"exit status {status}: {lines[-1] if lines else ''}")
    return None


def main() -> None:
    """Run the command; what the user can mend is one message and exit status 2."""
    try:
        typer.run(gpu)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
