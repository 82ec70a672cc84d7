"""Which key of a recipe changes which artifacts: over every key that there is, by dry runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.stages.everything import everything
from pipelines.stages.hops import open_run
from pipelines.tools.keys import Key, keys
from wd.config import Recipe, load_recipe, overridden

STUDENTS = ("generator", "student-kd", "student-wd", "evaluation", "registry")
FROM_PSEUDO = ("pseudo", "pseudo-shards", *STUDENTS)
FROM_TEACHER = ("teacher", *FROM_PSEUDO)
FROM_SHARDS = ("shards", *FROM_TEACHER)
FROM_TOKENIZER = ("tokenizer", *FROM_SHARDS)
ALL = ("corpus", *FROM_TOKENIZER)
WD_ONLY = ("generator", "student-wd", "evaluation", "registry")
FINE_TUNED = ("student-kd", "student-wd", "evaluation", "registry")

CHANGES: dict[str, tuple[str, ...]] = {
    "name": ("registry",),  # where the registered model is not named
    "root": (),
    "source_language": ALL,
    "target_language": ALL,
    "corpus": ALL,
    "corpus.dir": (),
    "corpus.hint": (),
    "tokenizer": FROM_TOKENIZER,
    "shards": FROM_SHARDS,
    "teacher": FROM_TEACHER,
    "teacher.training.log_every": (),
    "teacher.training.max_skipped": (),
    "teacher.training.sharding": (),
    "teacher.training.deterministic": (),
    "pseudo": FROM_PSEUDO,
    **dict.fromkeys(("pseudo.top_k", "pseudo.top_k_precision"), ()),  # without `word_kd`
    # What is translated stays.
    **dict.fromkeys(("pseudo.trim", "pseudo.deduplicate"), ("pseudo-shards", *STUDENTS)),
    "students": STUDENTS,
    "student": STUDENTS,
    "via": FROM_PSEUDO,
    "objective": STUDENTS,
    "generator": WD_ONLY,
    "generator.training.log_every": (),
    "generator.training.max_skipped": (),
    "generator.training.sharding": (),
    "generator.training.deterministic": (),
    # The baselines get phase 1's updates, too, and start as it does.
    "generator.training.updates": STUDENTS,
    "generator.training.learning_rate": STUDENTS,
    "generator.training.initial_learning_rate": STUDENTS,
    "generator.training.warmup_updates": STUDENTS,
    "fine_tuning": FINE_TUNED,
    "fine_tuning.log_every": (),
    "fine_tuning.max_skipped": (),
    "fine_tuning.sharding": (),
    "fine_tuning.deterministic": (),
    "fine_tuning.learning_rate": ("student-wd", "evaluation", "registry"),
    "fine_tuning.initial_learning_rate": ("student-wd", "evaluation", "registry"),
    "fine_tuning.warmup_updates": ("student-wd", "evaluation", "registry"),
    "evaluation": ("evaluation", "registry"),
    "registry": ("registry",),
    "tracking": (),
    "tracking.uri": ("registry",),
    "search": (),
    "ray": (),
}
"""Key or section -> the artifacts that it changes; the longest that a key lies in counts."""

VALUES: dict[str, Any] = {
    "name": "another",
    "root": "elsewhere",
    "source_language": "fr",
    "target_language": "ro",
    "dir": "copy",
    "train": ["more.{lang}"],
    "valid": ["other.{lang}"],
    "test": ["more.{lang}"],
    "packages": ["six==1.17.0 --hash=sha256:" + 64 * "0"],
    "monolingual": ["more.{lang}"],
    "evaluation.tests": {"web": ["more.{lang}"]},
    "source_column": "en",
    "target_column": "de",
    "hint": "somewhere",
    "joint": True,
    "target_vocabulary_size": 1000,
    "user_symbols": ["<sep>"],
    "tokenizer.character_coverage": 0.99,
    "heads": 4,
    "d_model": 128,
    "feed_forward": 512,
    "layers": 2,
    "initialisation.layers": "mean",
    "student": "small",
    "via": ["small"],
    "NAME.tied_embeddings": "decoder",
    "encoder_subsets": [1, 1, 1, 1, 1, 1],
    "decoder_subsets": [6],
    "learned_maps": ["layer"],
    **dict.fromkeys(("norms", "grouping.biases", "embeddings"), "fresh"),
    "preset": "reference",
    "ema_decay": 0.9,
    "clip_norm": 1.0,
    "early_stopping": 3,
    "adam_betas": [0.8, 0.9],
    "uri": "sqlite:////tmp/other.db",
    "experiment": "other",
    "quantization": "int8",  # half precision needs a GPU
    "registry.name": "other",
    "alias": "other",
    **dict.fromkeys(
        ("min_chrf", "max_below_teacher", "max_megabytes", "max_milliseconds", "min_speed_up"), 10.0
    ),
    "address": "127.0.0.1:1",
    "min_workers": 1,
    "evaluation_cpus": 2,
    "batch_tokens": 100,
    "workers": 3,
    "objectives": ["chrf"],
    "search.rank_by": "megabytes",
    "time_budget": 5.0,
    "max_parameters": 10**9,
    **dict.fromkeys(("max_megabytes", "max_milliseconds"), 10**6),
    **dict.fromkeys(("min_sentences_per_second", "min_speed_up"), 0.5),
    **dict.fromkeys(("search.min_bleu", "min_chrf"), 10.0),
}
"""Another value, by a key's last names; numbers, switches and choices have one by themselves."""

LEFT_OUT = {
    # They are read where a file or a package asks for them, which is another key's doing.
    "corpus.packages",
    # A model that is there must come along: tests/pipelines/stages/test_imported.py
    "teacher.from",
    "teacher.into",
    "pseudo.teachers",
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("identities")
    for place in (folder, folder / "copy"):
        place.mkdir(exist_ok=True)
        for name in ("train", "more", "valid", "other"):
            for language in ("en", "de", "fr", "ro"):
                (place / f"{name}.{language}").write_text(f"{name}\n", encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(
        f"""
name: mine
source_language: en
target_language: de
root: {folder}/artifacts
corpus: {{dir: "{folder}", train: ["train.{{lang}}"], valid: ["valid.{{lang}}"]}}
tokenizer: {{joint: false}}
"""
    )
    return load_recipe(path)


def artifacts(recipe: Recipe) -> dict[str, str]:
    """Return artifact -> its hash, of all that a run makes."""
    with open_run(recipe, dry=True, quiet=True) as run:
        everything(run)
    found = {}
    for name in run.outlook:
        stage, label = name.split("/")
        words, digest = label.rsplit("-", 1)
        for further in ("monolingual", "tests"):
            if words.endswith(f"-{further}"):
                stage = further
        if stage == "shards" and words.endswith("-pseudo"):
            stage = "pseudo-shards"
        if stage == "student":
            stage = f"student-{words.rsplit('-', 1)[1]}"
        found[stage] = digest
    return found


def another(key: Key, folder: Path) -> Any:
    """Return a legal value of a key that is not its default."""
    path = key.path.split(".")
    for start in range(len(path)):
        if (end := ".".join(path[start:])) in VALUES:
            value = VALUES[end]
            return str(folder / value) if end == "dir" else value
    default = yaml.safe_load(key.default or "null")
    if isinstance(default, bool):
        return not default
    choices = [yaml.safe_load(one) for one in key.values.split(" | ")]
    if len(choices) > 1 and not any(str(one).startswith(("number", "integer")) for one in choices):
        return next(one for one in choices if one not in (default, None))
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default * 0.97 if default else 0.5
    raise AssertionError(f"the test knows no other value of {key.path} ({key.values})")


def expected(path: str) -> tuple[str, ...]:
    while path not in CHANGES:
        path = path.rpartition(".")[0]
    return CHANGES[path]


def test_every_key_changes_what_it_says_and_nothing_else(recipe: Recipe) -> None:
    before, wrong = artifacts(recipe), {}
    assert set(before) == set(ALL)
    folder = Path(str(recipe.corpus.dir))
    for key in keys():
        if not key.values or key.path in LEFT_OUT:
            continue
        path = key.path.replace("NAME", "tiny")
        after = artifacts(overridden(recipe, {path: another(key, folder)}))
        changed = {name for name in ALL if after[name] != before[name]}
        if changed != set(expected(key.path)):
            wrong[key.path] = sorted(changed ^ set(expected(key.path)))
    assert wrong == {}
