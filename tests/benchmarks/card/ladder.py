"""The ladder on Multi30k with a wider teacher: text, tokenizer and batches are made beforehand.

The folder that `prepare` fills holds all that a card's machine needs: it can be carried.
"""

import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from card.records import Options, Records, called
from pipelines.commands.recipe_arguments import read_recipe, recipe_path
from pipelines.context import Run
from pipelines.stages.shards import shards
from wd.config import overridden
from wd.data.sources import find_entries

RECIPE, OVERRIDES, TEXT, ROOT = "recipe.yaml", "overrides.json", "text", "root"
WIDER = (
    "teacher.shape.encoder={layers: 6, d_model: 256, heads: 4, feed_forward: 1024}",
    "teacher.shape.decoder={layers: 6, d_model: 256, heads: 4, feed_forward: 1024}",
    "students.tiny.decoder={layers: 1, d_model: 128, heads: 4, feed_forward: 512}",
    # One batch for two: as many pieces an update, half as many launches.
    "shards.batch_tokens=3200",
    *(
        f"{phase}.batches_per_update=1"
        for phase in ("teacher.training", "generator.training", "fine_tuning")
    ),
    "teacher.training.validate_every=1000",
    *(
        f"{phase}.{key}"
        for phase in ("generator.training", "fine_tuning")
        for key in ("validate_every=300", "bleu_sentences=200")
    ),
)
"""What the multi30k recipe is changed by for the ladder on a card."""
ALONE = ("ray.workers=0", "tracking.uri=none")
METHODS = ("kd", "copy", "wd")


def prepare(recipe: str, overrides: Sequence[str], data: Path) -> None:
    """Make a recipe's corpus, tokenizer and shards in a folder, with the text that they are of."""
    data.mkdir(parents=True, exist_ok=True)
    changes = [one for one in overrides if not one.startswith("corpus.dir=")]
    if recipe == "multi30k":
        changes = [*WIDER, *changes]
    given = read_recipe(recipe, overrides)
    languages = (given.source_language, given.target_language)
    text = data / TEXT
    text.mkdir(exist_ok=True)
    for entries in find_entries(given.corpus, languages, {}).values():
        for path in (path for entry in entries for path in entry.paths):
            shutil.copyfile(path, text / path.name)
    shutil.copyfile(recipe_path(recipe), data / RECIPE)
    (data / OVERRIDES).write_text(json.dumps(changes), encoding="utf-8")
    settings = read_recipe(str(data / RECIPE), [*changes, *ALONE])
    with Run(overridden(settings, places(data, data / ROOT))) as run:
        shards(run)


def places(data: Path, root: Path) -> dict[str, str]:
    """Return the overrides that say where the text is, and where the artifacts are."""
    return {"corpus.dir": str((data / TEXT).absolute()), "root": str(root.absolute())}


def ladder(records: Records, options: Options) -> None:
    """Train the teacher and the students of the prepared recipe, and compare them."""
    if options.data is None:
        return records.add("ladder", skipped="no --data: see --prepare")
    if find_spec("ctranslate2") is None:
        return records.add("ladder", skipped="ctranslate2 is not installed")
    root = options.out / ROOT
    shutil.copytree(options.data / ROOT, root, dirs_exist_ok=True)
    where = [f"{key}={value}" for key, value in places(options.data, root).items()]
    changes = json.loads((options.data / OVERRIDES).read_text("utf-8"))
    common = [str(options.data / RECIPE), *changes, *ALONE, *where]
    # A card is there; where CTranslate2 cannot use it, it decodes on the CPU.
    on, off = "ray.gpu=auto" if options.device == "cuda" else "ray.gpu=false", "ray.gpu=false"
    methods = [word for method in METHODS for word in ("--method", method)]
    steps = (
        ("teacher", 40, ["teacher", *common, on]),
        ("pseudo-data, on the CPUs", 30, ["pseudo", *common, off]),
        ("ladder", 100, ["ladder", *common, on, *methods, "--json"]),
    )
    for what, seconds, command in steps:
        about = seconds if options.device == "cuda" and not options.toy else 0
        if not records.measure(what, about, partial(_step, command, records)):
            return None
    return None


def _step(command: Sequence[str], records: Records) -> dict[str, Any]:
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    told = called(["-m", "pipelines", *command], max(10.0, records.left()), OMP_NUM_THREADS=threads)
    last = told.strip().splitlines()[-1]
    if not last.startswith("{"):
        return {"artifact": Path(last).name}
    made = json.loads(last)
    return {"artifact": made["artifact"], **made["metrics"]}
