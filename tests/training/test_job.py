"""What must hold for a training run, of a model and of a generator."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils.rnn import pad_sequence

from tests.device import World
from wd.config import ObjectiveConfig, StackOverride, StackShape, StudentShape
from wd.data.batches import ShardReader
from wd.data.schema import PAD
from wd.data.tokenizer import Tokenizer
from wd.decoding.greedy import greedy
from wd.errors import ArtifactError, UserError
from wd.evaluation.quality import score
from wd.generator.diagnostics import layer_shares
from wd.generator.directory import load_generator, save_generator
from wd.generator.plots import shares_svg
from wd.manifest import describe_files, write_manifest
from wd.model.directory import load_weights, save_model, save_weights
from wd.model.transformer import Transformer
from wd.training.averaging import mean_state
from wd.training.checkpoint import OPTIMIZER, STATE, WEIGHTS
from wd.training.generator_trainee import GeneratorTrainee
from wd.training.job import TrainingJob, result_of
from wd.training.loop import Interrupted, Wish
from wd.training.objective import Objective
from wd.training.run import make_trainee, run_job
from wd.training.trainee import Trainee
from wd.training.validation import HeldOut, validate

Job = Callable[..., TrainingJob]
PHASES = ["model", "generator"]
QUICK = {"updates": 60, "validate_every": 30, "learning_rate": 0.02, "warmup_updates": 30}
"""After so little training some words come out right."""


class KilledError(Exception):
    """Stands for whatever ends a process."""


def run(job: TrainingJob) -> Any:
    run_job(job, World(), lambda _: None)
    return result_of(job)


def killed_at(update: int, job: TrainingJob) -> None:
    """Train, and die after this optimiser step, before a checkpoint of it is written."""
    done = 0

    def validated(figures: dict[str, Any]) -> None:
        if figures["update"] == update:
            raise KilledError

    def asked() -> Wish:  # after each update
        nonlocal done
        done += 1
        if done == update:
            raise KilledError
        return "go on"

    with pytest.raises(KilledError):
        run_job(job, World(), validated, asked)


def twins(job: Job, phase: str = "model", **changes: Any) -> tuple[TrainingJob, TrainingJob]:
    """Return the same job in two folders."""
    # Phase 1 reads its teacher again, so both runs must see the same one.
    torch.manual_seed(3)
    one = job("one", phase, log_every=1, **changes)
    return one, replace(one, scratch=one.scratch.with_name("other"))


def saved(job: TrainingJob) -> list[Path]:
    return sorted((job.scratch / "checkpoints").glob("update-*"))


def learned(trainee: Trainee) -> list[Tensor]:
    return list(trainee.optimizer.param_groups[0]["params"])


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("phase", PHASES)
def test_learns(job: Job, phase: str) -> None:
    figures = run(job("one", phase, updates=60, validate_every=20)).figures
    losses = [entry["loss"] for entry in figures["history"]]
    assert losses[0] > losses[1] > losses[2]
    assert figures["validation"]["loss"] < losses[0]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("stop", [3, 8, 11])
def test_a_resumed_run_equals_an_unbroken_one(job: Job, phase: str, stop: int) -> None:
    broken, whole = twins(job, phase, ema_decay=0.9, average_best=1)
    killed_at(stop, broken)
    assert result_of(broken) is None
    spent = [json.loads((each / STATE).read_text())["seconds"] for each in saved(broken)[-1:]]
    resumed, unbroken = run(broken), run(whole)
    assert equal(resumed.module, unbroken.module)
    assert equal(resumed.weights, unbroken.weights)
    assert resumed.figures["training_seconds"] > sum(spent)
    for figure in ("published", "validation", "history"):
        assert resumed.figures[figure] == unbroken.figures[figure]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("update", [4, 8, 12])
def test_a_validation_that_fails_costs_no_training(
    job: Job, phase: str, update: int, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = twins(job, phase, ema_decay=0.9, bleu_sentences=5)
    killed_at(update, broken)  # by what it does with the validation's figures
    assert [folder.name for folder in saved(broken)][-1] == f"update-{update:08d}"
    validated: list[int] = []
    run_job(broken, World(), lambda figures: validated.append(figures["update"]))
    assert f"{phase}: going on from update {update}" in caplog.messages
    assert validated == list(range(update, 13, 4))
    resumed, unbroken = result_of(broken), run(whole)
    assert equal(resumed.module, unbroken.module)
    assert equal(resumed.weights, unbroken.weights)
    assert resumed.figures["history"] == unbroken.figures["history"]


@pytest.mark.parametrize("phase", PHASES)
def test_translating_disturbs_neither_the_threads_nor_the_weights(
    job: Job, phase: str, two_threads: None
) -> None:
    silent, translating = twins(job, phase)
    config = translating.config.model_copy(update={"bleu_sentences": 5})
    translating = replace(translating, config=config)
    threads: list[int] = []

    def asked() -> Wish:  # after each update
        threads.append(torch.get_num_threads())
        return "go on"

    run_job(translating, World(), lambda _: None, asked)
    assert threads == [2] * 12
    assert torch.get_num_threads() == 2
    assert equal(result_of(translating).module, run(silent).module)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_that_translates_equals_an_unbroken_one(
    job: Job, phase: str, precision: str, two_threads: None
) -> None:
    broken, whole = twins(job, phase, bleu_sentences=5, precision=precision)
    killed_at(11, broken)  # it goes on from 8
    torch.set_num_threads(2)  # as a new process has
    resumed = run(broken)
    torch.set_num_threads(2)
    unbroken = run(whole)
    assert equal(resumed.module, unbroken.module)
    assert equal(resumed.weights, unbroken.weights)
    assert resumed.figures["history"] == unbroken.figures["history"]


def test_a_run_that_is_asked_to_stop_saves_first(job: Job) -> None:
    broken, whole = twins(job)
    wishes = iter(["go on", "stop"])
    with pytest.raises(Interrupted):
        run_job(broken, World(), lambda _: None, lambda: next(wishes))
    assert [folder.name for folder in saved(broken)] == ["update-00000002"]
    assert equal(run(broken).weights, run(whole).weights)


def test_a_run_that_is_asked_to_save_goes_on(job: Job) -> None:
    one, other = twins(job, updates=4)
    wishes = iter(["go on", "save", "go on", "go on"])
    run_job(one, World(), lambda _: None, lambda: next(wishes))
    assert [folder.name for folder in saved(one)] == ["update-00000002", "update-00000004"]
    assert equal(result_of(one).weights, run(other).weights)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_newest_checkpoint_is_skipped(job: Job, damage: str) -> None:
    broken, whole = twins(job)
    killed_at(12, broken)
    weights = saved(broken)[-1] / WEIGHTS
    data = weights.read_bytes()
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(data[:100] if damage == "truncated" else data[:-1] + b"x")
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        resumed = run(broken)
    assert equal(resumed.weights, run(whole).weights)


def test_a_kept_checkpoint_is_no_place_to_go_on_from(job: Job) -> None:
    """If the two newest are damaged there is none, but the other ones are left as they are."""
    one, _ = twins(job, average_last=3)
    killed_at(12, one)
    run(one)
    shutil.rmtree(one.scratch / "result")
    oldest, *newest = saved(one)
    for each in newest:
        (each / WEIGHTS).unlink()
    with (
        pytest.warns(UserWarning, match=f"skipping a damaged checkpoint.*{newest[0].name}"),
        pytest.warns(UserWarning, match=f"skipping a damaged checkpoint.*{newest[1].name}"),
        pytest.warns(UserWarning, match="no whole checkpoint is left; starting anew"),
    ):
        killed_at(1, one)
    assert (oldest / WEIGHTS).is_file()


def test_another_runs_checkpoint_is_refused(job: Job) -> None:
    one, _ = twins(job)
    killed_at(12, one)
    changed = one.config.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(ArtifactError, match="a checkpoint of another run"):
        run(replace(one, config=changed))


@pytest.mark.parametrize("role", ["teacher", "start"])
def test_a_checkpoint_from_other_weights_is_refused(job: Job, tmp_path: Path, role: str) -> None:
    one, _ = twins(job, "generator" if role == "teacher" else "model")
    if role == "start":
        one = replace(one, start=tmp_path / "start.safetensors")
        save_weights(one.start, make_trainee(twins(job)[1], World()).weights())
    killed_at(12, one)
    path = one.start or one.teacher / "model.safetensors"
    save_weights(path, {name: 1.1 * each for name, each in load_weights(path).items()})
    with pytest.raises(ArtifactError, match="a checkpoint of another run"):
        run(one)


@pytest.mark.parametrize(
    "role", ["train", "held-out batches", "held-out text", "tokenizer", "language"]
)
@pytest.mark.parametrize("described", [False, True])
def test_only_a_checkpoint_from_the_same_data_is_gone_on_from(
    job: Job,
    held_out: HeldOut,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    role: str,
    described: bool,
) -> None:
    one = job("one", updates=8)
    same, other = (with_data(one, held_out, tmp_path / name) for name in ("same", "other"))
    other = changed(other, role)
    if described:
        for name in ("same", "other"):
            write_manifest(tmp_path / name, {"files": describe_files(tmp_path / name)})
    killed_at(8, one)
    with pytest.raises(ArtifactError, match="a checkpoint of another run"):
        run(other)
    run(same)
    assert "going on from update 8" in caplog.text


@pytest.mark.parametrize("role", ["train", "held-out text"])
def test_only_a_result_from_the_same_data_counts(
    job: Job, held_out: HeldOut, tmp_path: Path, role: str
) -> None:
    one = job("one", updates=4)
    found = run(one)
    same, other = (with_data(one, held_out, tmp_path / name) for name in ("same", "other"))
    assert result_of(same) == found
    with pytest.raises(ArtifactError, match="the result of another run"):
        result_of(changed(other, role))


def with_data(job: TrainingJob, held_out: HeldOut, folder: Path) -> TrainingJob:
    """Return the job with copies of its data below a folder."""
    shutil.copytree(held_out.shards.parent, folder / "shards")
    shutil.copytree(held_out.corpus, folder / "corpus")
    shutil.copytree(held_out.tokenizer, folder / "tokenizer")
    copied = replace(
        held_out,
        shards=folder / "shards" / "valid",
        corpus=folder / "corpus",
        tokenizer=folder / "tokenizer",
    )
    return replace(job, train=(folder / "shards" / "train",), held_out=copied)


def changed(job: TrainingJob, role: str) -> TrainingJob:
    """Return the job with one row less in a role's files, another tokenizer or language."""
    held_out = job.held_out
    if role == "language":
        return replace(job, held_out=replace(held_out, language="ro"))
    if role == "tokenizer":
        path = held_out.tokenizer / "target.model"
        path.write_bytes(path.read_bytes() + bytes(8))
        return job
    folders = {"train": job.train[0], "held-out batches": held_out.shards}
    part = folders.get(role, held_out.corpus) / "part-00000.parquet"
    pq.write_table(pq.read_table(part)[1:], part)
    return job


def test_what_has_no_effect_is_not_in_the_fingerprint(job: Job) -> None:
    one = job("one", "generator")
    assert one.generator is not None
    quiet = one.config.model_copy(update={"log_every": 7, "max_skipped": 50})
    told = one.generator.model_copy(update={"training": quiet})
    assert replace(one, config=quiet, generator=told).fingerprint() == one.fingerprint()
    faster = one.config.model_copy(update={"learning_rate": 0.5})
    assert replace(one, config=faster).fingerprint() != one.fingerprint()
    student = job("two")
    stacked = student.grouping.model_copy(update={"sharing": "stack"})
    assert replace(student, grouping=stacked).fingerprint() == student.fingerprint()
    seen = replace(student, objective=ObjectiveConfig(hidden_states=1.0))
    assert replace(seen, grouping=stacked).fingerprint() != seen.fingerprint()


def test_what_a_manifest_tells_is_not_read(job: Job, held_out: HeldOut, tmp_path: Path) -> None:
    one = with_data(job("one"), held_out, tmp_path / "data")
    read = one.fingerprint()
    write_manifest(tmp_path / "data", {"files": describe_files(tmp_path / "data")})
    for path in (tmp_path / "data").rglob("*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    assert one.fingerprint() == read
    (tmp_path / "data" / "manifest.json").unlink()
    assert one.fingerprint() != read


def test_the_pictures_are_of_the_published_generator(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While learning goes well the last weights are the best: choose the worst.
    monkeypatch.setattr("wd.training.publication.merit", lambda figures, config: figures["loss"])
    one = job("one", "generator", updates=12, validate_every=4)
    trained = run(one)
    assert trained.figures["published"] != "last"
    generator = make_trainee(one, World()).module
    generator.load_state_dict(trained.module)
    drawn = (one.scratch / "diagnostics" / "origins.svg").read_text("utf-8")
    assert drawn == shares_svg(layer_shares(generator))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("rate", [1e-3, 5e-2])
def test_the_result_is_the_best_of_mean_and_single_ones(job: Job, phase: str, rate: float) -> None:
    done = job("one", phase, learning_rate=rate)
    result = run(done)
    history = result.figures["history"]
    best = min(history, key=lambda figures: figures["loss"])["update"]
    states = {int(each.name[7:]): load_weights(each / WEIGHTS) for each in saved(done)}
    assert states.keys() == {best, 8, 12}
    candidates = {"average": mean_state([states[8], states[12]]), "last": states[12]}
    candidates["best"] = states[best]
    assert equal(result.module, candidates[result.figures["published"]])
    assert result.figures["validation"]["loss"] <= min(each["loss"] for each in history)


@pytest.mark.parametrize(
    "settings", [{"precision": "float32"}, {"precision": "bfloat16", "ema_decay": 0.9}], ids=str
)
def test_a_published_generator_makes_its_student_again(
    job: Job, tmp_path: Path, settings: dict[str, Any], two_threads: None
) -> None:
    """Byte for byte, on any number of threads: a long sum's last bits depend on how many."""
    task = job("one", "generator", updates=4, **settings)
    wide = StackShape(layers=2, d_model=512, heads=4, feed_forward=512)
    teacher = task.model.model_copy(update={"decoder": wide})
    narrow = StackOverride(layers=1, d_model=256, feed_forward=256)
    task = replace(task, model=StudentShape(decoder=narrow).of(teacher))
    tokenizer = task.held_out.tokenizer
    save_model(task.teacher, teacher, Transformer(teacher).state_dict(), tokenizer)
    trained = run(task)
    # As the generator's stage publishes:
    save_model(tmp_path / "student", task.model, trained.weights, tokenizer)
    save_generator(tmp_path, trained.module, task.model, task.generator, task.teacher.name)
    again = tmp_path / "again.safetensors"
    for threads in (2, 1):
        torch.set_num_threads(threads)
        save_weights(again, load_generator(tmp_path, task.teacher).published())
        assert again.read_bytes() == (tmp_path / "student" / "model.safetensors").read_bytes()


def test_no_progress_stops_the_run_and_the_best_is_published(job: Job) -> None:
    # So high a rate soon makes it worse.
    task = job("one", updates=400, learning_rate=0.1, early_stopping=2, average_last=1)
    figures = run(task).figures
    losses = [entry["loss"] for entry in figures["history"]]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 100
    assert figures["published"] == "best"
    assert figures["validation"]["loss"] == losses[best]


def test_the_best_checkpoint_is_kept_and_published_where_nothing_is_better(job: Job) -> None:
    # The rate rises to where everything is undone.
    task = job("one", updates=40, learning_rate=2.0, warmup_updates=40, average_last=1)
    result = run(task)
    losses = {entry["update"]: entry["loss"] for entry in result.figures["history"]}
    best = min(losses, key=lambda update: losses[update])
    assert best < 40
    assert result.figures["published"] == "best"
    assert result.figures["validation"]["loss"] == losses[best]
    kept = load_weights(task.scratch / f"checkpoints/update-{best:08}" / WEIGHTS)
    assert equal(result.module, kept)


def test_a_result_that_is_left_already_stays(job: Job) -> None:
    task = job("one")
    found = run(task)
    run_job(task, World(), lambda _: None)
    assert equal(run(task).module, found.module)


@pytest.mark.parametrize("phase", PHASES)
def test_two_batches_weigh_like_one_of_both(job: Job, phase: str) -> None:
    """Gradients are those of the mean loss over all target pieces, however they are batched."""
    task = job("one", phase, dropout=0.0)
    trainee, reader = make_trainee(task, World()), ShardReader(task.train)
    gradients = []
    for batches in ([[0, 1]], [[0], [1]]):
        trainee.module.zero_grad()
        for indices in batches:
            trainee.backward([reader[index] for index in indices], 1 / 100)
        gradients.append([p.grad.clone() for p in learned(trainee)])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tied", ["none", "decoder", "all"])
def test_generating_only_what_is_looked_up_changes_nothing(job: Job, tied: str) -> None:
    task = job("one", "generator", dropout=0.0)
    changes = {"tied_embeddings": tied} | ({"decoder": task.model.encoder} if tied == "all" else {})
    trainee = make_trainee(replace(task, model=task.model.model_copy(update=changes)), World())
    assert isinstance(trainee, GeneratorTrainee)
    reader = ShardReader(task.train)
    batches = [reader[0], reader[1]]
    assert len(trainee.lookups(batches)) == {"none": 2, "decoder": 1, "all": 0}[tied]
    trainee.backward(batches, 1 / 100)
    gradients = [parameter.grad.clone() for parameter in learned(trainee)]

    trainee.module.zero_grad()
    student, objective = Transformer(trainee.module.student), Objective(task.config.label_smoothing)
    weights = trainee.module({})
    losses = [objective(student, partial(call, student, weights), batch) for batch in batches]
    (sum(losses) / 100).backward()
    for one, other in zip(gradients, learned(trainee), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=1e-4, atol=1e-6)


def call(model: Transformer, weights: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    return functional_call(model, weights, inputs)


@pytest.mark.parametrize("phase", PHASES)
def test_bfloat16_rounds_products_only(job: Job, phase: str) -> None:
    """Gradients point where float32's do, and what is trained keeps float32."""
    task = job("one", phase, dropout=0.0)
    gradients = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(4)
        config = task.config.model_copy(update={"precision": precision})
        trainee, reader = (
            make_trainee(replace(task, config=config), World()),
            ShardReader(task.train),
        )
        trainee.backward([reader[0], reader[1]], 1 / 100)
        parameters = learned(trainee)
        assert {each.grad.dtype for each in parameters} == {torch.float32}
        gradients.append(torch.cat([each.grad.flatten() for each in parameters]))
    exact, rounded = gradients
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.99


@pytest.mark.parametrize("phase", PHASES)
def test_an_update_without_a_finite_gradient_changes_nothing(job: Job, phase: str) -> None:
    task = job("one", phase, clip_norm=1.0)
    trainee, reader = make_trainee(task, World()), ShardReader(task.train)
    for update in range(1, 4):
        trainee.backward([reader[update]], 1 / 100)
        before = {n: each.clone() for n, each in trainee.module.state_dict().items()}
        broken = update == 2
        if broken:
            next(trainee.module.parameters()).grad[0] = torch.inf
        norm, skipped = trainee.step(update)
        assert bool(norm.isfinite()) is not broken
        assert skipped.item() == broken
        assert equal(before, trainee.module.state_dict()) is broken


def test_the_moving_average_is_the_naive_one(job: Job) -> None:
    task = job("one", ema_decay=0.3)
    trainee, reader = make_trainee(task, World()), ShardReader(task.train)
    naive = {n: each.detach().clone() for n, each in trainee.module.named_parameters()}
    for update in range(1, 7):
        trainee.backward([reader[update]], 1 / 100)
        trainee.step(update)
        decay = min(0.3, (1 + update) / (10 + update))
        for name, each in trainee.module.named_parameters():
            naive[name] = decay * naive[name] + (1 - decay) * each.detach()
    for name, each in trainee.moving_average.weights.items():
        torch.testing.assert_close(each, naive[name])


@pytest.mark.parametrize("phase", PHASES)
def test_a_moving_average_is_validated_and_published_and_disturbs_nothing(
    job: Job, phase: str
) -> None:
    one, other = twins(job, phase, average_last=1)
    averaged = replace(other, config=other.config.model_copy(update={"ema_decay": 0.9}))
    plain, result = run(one), run(averaged)
    last = saved(averaged)[-1]
    for name in (WEIGHTS, OPTIMIZER):
        assert (last / name).read_bytes() == (saved(one)[-1] / name).read_bytes()
    assert result.figures["history"] != plain.figures["history"]

    states = [load_weights(last / f"{name}.safetensors") for name in ("weights", "moving-average")]
    trainee = make_trainee(averaged, World())
    trainee.module.load_state_dict(states[0] | states[1])
    figures = validate(averaged.model, trainee.weights(), averaged.held_out, 0, World())
    assert figures.items() <= result.figures["history"][-1].items()
    assert result.figures["published"] == "last"
    assert equal(result.weights, trainee.weights())


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("word_kd", [0.0, 1.0])
def test_a_compiled_run_learns_the_same(
    job: Job, phase: str, word_kd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Graphs are captured as ever, but not turned into machine code, which takes a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, other = twins(job, phase, updates=4, dropout=0.0)
    teacher = job("teacher", "generator").teacher
    plain = replace(plain, objective=ObjectiveConfig(word_kd=word_kd), teacher=teacher)
    config = plain.config.model_copy(update={"compile": True})
    compiled = replace(plain, config=config, scratch=other.scratch)
    one, two = run(plain), run(compiled)
    for name, weight in one.weights.items():
        if name.endswith("key.bias"):
            continue  # the softmax cancels it: its gradient is rounding noise, which Adam scales up
        torch.testing.assert_close(two.weights[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("limit", "sign"),
    [(2, "2 updates in a row had no finite gradient"), (99, "the validation loss is not finite")],
)
def test_divergence_is_told(job: Job, limit: int, sign: str) -> None:
    # Beyond what a recipe may say, so that it is certain to diverge.
    bad = {"learning_rate": 1e30, "initial_learning_rate": 1e30}
    task = job("one", max_skipped=limit, log_every=3)
    task = replace(task, config=task.config.model_copy(update=bad))
    with pytest.raises(UserError, match=rf"diverged before update \d+: {sign}; .*learning_rate"):
        run(task)


@pytest.mark.parametrize("phase", PHASES)
def test_bleu_and_chrf_are_of_the_live_weights(
    job: Job, phase: str, sentences: list[str], held_out: HeldOut
) -> None:
    """Each validation's are those of its own checkpoint's greedy translations in plain torch."""
    task = job("one", phase, **QUICK, bleu_sentences=10)
    history = run(task).figures["history"]
    trainee, model = make_trainee(task, World()), Transformer(task.model)
    tokenizer = Tokenizer.load(held_out.tokenizer)
    source_BS = pad_sequence(
        [torch.tensor(ids) for ids in tokenizer.encode_source(sentences[:10])],
        batch_first=True,
        padding_value=PAD,
    )
    for entry, checkpoint in zip(history, saved(task), strict=True):
        trainee.module.load_state_dict(load_weights(checkpoint / WEIGHTS))
        model.load_state_dict(trainee.weights())
        texts = tokenizer.decode_target(greedy(model, source_BS, 256)[0])
        quality = score(texts, [line.upper() for line in sentences[:10]], "de")
        assert entry["bleu"] == pytest.approx(quality.bleu)
        assert entry["chrf"] == pytest.approx(quality.chrf)
    first, second = history
    assert 1 < second["bleu"] != first["bleu"]
    assert second["chrf"] != first["chrf"]
