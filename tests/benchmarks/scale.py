"""How the way from raw text to shards scales with the pairs and with the nodes.

    python -m tests.benchmarks.scale --pairs 100000 --pairs 1000000 --nodes 1 --nodes 2

Invents parallel text, and makes its corpus, tokenizer and shards on a cluster of nodes with one CPU
each, all on this machine: more nodes than it has cores tell what nodes cost, not what they gain.
With --store, the root is on an S3 server here, and the nodes fetch and send all that they need.
Prints for each stage the pairs per second, the CPU time of all processes and of the driver, what
they read and wrote, and the largest driver and worker. Before that, what each step takes alone, on
one core, and what opening one more file costs a part that is gathered. The last line is JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from rich.console import Console
from rich.table import Table

from cluster.local import LocalCluster, local_cluster
from tests.benchmarks.invented_text import LANGUAGES, write_text
from tests.benchmarks.process_tree import ProcessTree, Usage
from tests.store.s3_server import CREDENTIALS, root_on, s3_server
from wd.artifacts import Store
from wd.config import CorpusConfig, ShardsConfig, TokenizerConfig
from wd.data.partition import Gather, Scatter
from wd.data.raw import write_raw
from wd.data.shards import pack_original
from wd.data.sources import find_entries
from wd.data.split import choose_partition
from wd.data.tokenizer_training import train_tokenizer

STAGES = ("corpus", "tokenizer", "shards")
HELD_OUT = 1_000
ALONE_PAIRS = 50_000
OPENED = (10, 100, 1000)


def scale(
    pairs: Annotated[list[int], typer.Option(min=1000, help="Training pairs; repeatable.")] = [  # noqa: B006
        100_000
    ],
    nodes: Annotated[list[int], typer.Option(min=1, help="Nodes of one CPU; repeatable.")] = [1],  # noqa: B006
    part_pairs: Annotated[int, typer.Option(min=1, help="corpus.part_pairs")] = 100_000,
    vocabulary: Annotated[int, typer.Option(help="tokenizer.vocabulary_size")] = 8_000,
    store: Annotated[bool, typer.Option(help="Whether the root is on an S3 server.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where all of it is, if not /tmp.")] = None,
) -> None:
    """Measure the data stages."""
    with tempfile.TemporaryDirectory(prefix="wd-scale-", dir=folder) as name:
        base = Path(name)
        for seed, split in enumerate(("valid", "test"), 2):
            write_text(base, split, HELD_OUT, seed)
        alone = steps_alone(base, vocabulary)
        show_alone(alone)
        rows: list[dict[str, Any]] = []
        for many in pairs:
            text = write_text(base, "train", many) / 1e6
            for count in nodes:
                for row in measured(base, many, count, part_pairs, vocabulary, store=store):
                    rows.append({"pairs": many, "text MB": round(text), "nodes": count, **row})
        show(rows, "on S3" if store else "in a folder")
    print(json.dumps({"alone": alone, "stages": rows}))


def steps_alone(base: Path, vocabulary: int) -> dict[str, Any]:
    """Return the pairs that one core does a second, step by step, and seconds per opened file."""
    write_text(base, "train", ALONE_PAIRS)
    folder = base / "alone"
    folder.mkdir()
    config = CorpusConfig(
        dir=str(base), train=("train.{lang}",), valid=("valid.{lang}",), part_pairs=ALONE_PAIRS
    )
    speeds: dict[str, float] = {}

    def timed(step: str, work: Any) -> None:
        before = process_time()
        work()
        speeds[step] = round(ALONE_PAIRS / (process_time() - before))

    entries = find_entries(config, LANGUAGES, {})["train"]
    timed("read", lambda: list(write_raw(entries, config, folder / "raw", Counter())))
    np.save(folder / "held_out.npy", np.array([], np.uint64))
    partition = choose_partition(config, ALONE_PAIRS)
    scatter = Scatter(config.filters, partition, folder / "held_out.npy")
    (folder / "scattered").mkdir()
    part = folder / "scattered" / "part-00000.parquet"
    timed("scatter", lambda: scatter(folder / "raw" / part.name, part))
    gather = Gather(part.parent, [part.name], partition, config.filters)
    (label,) = [Path(name) for name in partition.names if name.startswith("train")]
    (folder / "corpus").mkdir()
    kept = folder / "corpus" / part.name
    timed("gather", lambda: gather(label, kept))
    settings = TokenizerConfig(vocabulary_size=vocabulary)
    train_tokenizer(folder / "corpus", folder, settings)
    timed("pack", lambda: pack_original(folder, ShardsConfig(), kept, folder / "shard.parquet"))
    return {"pairs_per_second": speeds, "open_seconds": opening(folder, config)}


def opening(folder: Path, config: CorpusConfig) -> dict[int, float]:
    """Return what each further file costs a part that is gathered from so many, in seconds.

    The files have as many batches as there are files, as those of a corpus have.
    """
    costs = {}
    for files in OPENED:
        partition = choose_partition(config, files * config.part_pairs)
        scatter = Scatter(config.filters, partition, folder / "held_out.npy")
        out = folder / f"from-{files}"
        out.mkdir()
        scatter(folder / "raw" / "part-00000.parquet", out / "0")
        for number in range(1, files):
            (out / str(number)).hardlink_to(out / "0")
        gather = Gather(out, [str(number) for number in range(files)], partition, config.filters)
        before = process_time()
        gather(Path("train-00000"), folder / "gathered.parquet")
        costs[files] = round((process_time() - before) / files, 5)
    return costs


def measured(
    base: Path, pairs: int, nodes: int, part_pairs: int, vocabulary: int, *, store: bool
) -> list[dict[str, Any]]:
    """Return a row for each stage, done on a cluster of its own."""
    recipe = base / "scale.yaml"
    with ExitStack() as exits:
        root = str(base / f"root-{pairs}-{nodes}")
        if store:
            os.environ |= CREDENTIALS
            os.environ["XDG_CACHE_HOME"] = str(base / f"cache-{pairs}-{nodes}")
            root = root_on(exits.enter_context(s3_server()), "bucket/root")
        recipe.write_text(yaml.safe_dump(recipe_of(base, root, part_pairs, vocabulary)))
        cluster = exits.enter_context(local_cluster(cpus=1, workers=nodes - 1))
        rows = []
        for stage in STAGES:
            with ProcessTree() as tree:
                command(stage, recipe, cluster)
            (made,) = [one for one in Store(root).artifacts() if one.name.startswith(f"{stage}/")]
            rows.append({"stage": stage, **figures(made.manifest["seconds"], pairs, tree.usage())})
            print(f"{pairs:,} pairs, {nodes} nodes: {json.dumps(rows[-1])}", flush=True)
    return rows


def recipe_of(base: Path, root: str, part_pairs: int, vocabulary: int) -> dict[str, Any]:
    """Return a recipe for the invented text, whose maps take whole nodes."""
    return {
        "name": "scale",
        **dict(zip(("source_language", "target_language"), LANGUAGES, strict=True)),
        "root": root,
        "corpus": {
            **{"dir": str(base), "train": ["train.{lang}"], "valid": ["valid.{lang}"]},
            **{"part_pairs": part_pairs, "test": ["test.{lang}"]},
        },
        "tokenizer": {"vocabulary_size": vocabulary},
        "tracking": {"uri": "none"},
        "ray": {"workers": 1, "map_cpus": 1},
    }


def command(stage: str, recipe: Path, cluster: LocalCluster) -> None:
    """Run a stage as a process of its own, and fail as it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", stage, str(recipe), f"ray.address={cluster.address}"],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def figures(seconds: float, pairs: int, usage: Usage) -> dict[str, float]:
    """Return a stage's row."""
    return {
        "s": round(seconds, 1),
        "pairs/s": round(pairs / seconds),
        "CPU s": round(usage.cpu_seconds, 1),
        "driver CPU s": round(usage.driver_cpu_seconds, 1),
        "MB read": round(usage.read / 1e6, 1),
        "MB written": round(usage.written / 1e6, 1),
        "driver MB": round(usage.driver_memory / 1e6),
        "worker MB": round(usage.worker_memory / 1e6),
    }


def show_alone(alone: dict[str, Any]) -> None:
    """Print what one core does."""
    for step, speed in alone["pairs_per_second"].items():
        print(f"{step:10}{speed:10,} pairs/s on one core")
    for files, seconds in alone["open_seconds"].items():
        print(f"gathered from {files:5} files: {1000 * seconds:.2f} ms a file", flush=True)


def show(rows: list[dict[str, Any]], place: str) -> None:
    """Print the stages."""
    table = Table(title=f"nodes of one CPU, root {place}", title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "stage" else "right")
    for row in rows:
        table.add_row(
            *(f"{each:,}" if isinstance(each, int | float) else each for each in row.values())
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(scale)
