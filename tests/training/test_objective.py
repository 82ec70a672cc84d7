"""What must hold for the losses that a teacher adds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.device import World
from wd.config import GroupingConfig, ObjectiveConfig, StackShape
from wd.data.batches import Batch, ShardReader
from wd.data.schema import PAD
from wd.errors import ConfigError
from wd.model.directory import load_transformer
from wd.model.transformer import Transformer
from wd.training.hidden_states import recorded, state_distance
from wd.training.job import TrainingJob, result_of
from wd.training.objective import Guide, Objective
from wd.training.run import make_trainee, run_job
from wd.training.trainee import Trainee
from wd.training.validation import HeldOut

Job = Callable[..., TrainingJob]
Model = Callable[..., Transformer]
PHASES = ["model", "generator"]
BOTH = ObjectiveConfig(word_kd=0.7, temperature=2.0, hidden_states=0.3)
DEEP = StackShape(layers=3, d_model=32, heads=4, feed_forward=64)
NARROW = StackShape(layers=1, d_model=16, heads=2, feed_forward=32)
SHALLOW = StackShape(layers=1, d_model=32, heads=4, feed_forward=64)


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def batches(held_out: HeldOut) -> list[Batch]:
    """Two batches of sentences of various lengths."""
    reader = ShardReader([held_out.shards])
    return [reader[0], reader[len(reader) - 1]]


@pytest.fixture
def guided(job: Job) -> Job:
    """Return a function that makes a small job with both terms: a teacher and a narrow student."""

    def make(name: str, phase: str, **changes: Any) -> TrainingJob:
        whole = job(name, "generator", **changes)
        generator = whole.generator if phase == "generator" else None
        return replace(whole, name=phase, generator=generator, objective=BOTH)

    return make


def extra(student: Transformer, teacher: Transformer, batch: Batch, **weights: float) -> Tensor:
    """Return what the teacher adds to the loss."""
    guide = Guide(teacher, student.config, ObjectiveConfig(**weights), GroupingConfig())
    with torch.no_grad():
        losses = [Objective(0.1, one)(student, student, batch) for one in (guide, None)]
    return losses[0] - losses[1]


@pytest.mark.parametrize("hidden_states", [0.0, 0.3])
def test_layers_are_listened_to_only_where_they_are_compared(
    random_model: Model, batches: list[Batch], hidden_states: float
) -> None:
    """A compiled layer with a hook of its own would be a graph of its own."""
    teacher, student = random_model(0), random_model(1)
    config = ObjectiveConfig(word_kd=0.5, hidden_states=hidden_states)
    guide = Guide(teacher, student.config, config, GroupingConfig())
    heard = []
    for model in (teacher, student):
        layers = [*model.encoder.layers, *model.decoder.layers]
        model.register_forward_hook(
            lambda *_, layers=layers: heard.append(any(one._forward_hooks for one in layers))
        )
    Objective(0.1, guide)(student, student, batches[0])
    assert heard == [hidden_states > 0] * 2


def padded(batch: Batch, source: int, target: int) -> Batch:
    """Return the batch with so many more columns of padding."""
    return Batch(
        functional.pad(batch.source_BS, (0, source), value=PAD),
        functional.pad(batch.target_in_BT, (0, target), value=PAD),
        functional.pad(batch.target_BT, (0, target), value=PAD),
    )


def merged(one: Batch, other: Batch) -> Batch:
    """Return one batch of the sentences of two."""
    source = other.source_BS.shape[1] - one.source_BS.shape[1]
    target = other.target_BT.shape[1] - one.target_BT.shape[1]
    one = padded(one, max(source, 0), max(target, 0))
    other = padded(other, max(-source, 0), max(-target, 0))
    return Batch(
        torch.cat([one.source_BS, other.source_BS]),
        torch.cat([one.target_in_BT, other.target_in_BT]),
        torch.cat([one.target_BT, other.target_BT]),
    )


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("phase", PHASES)
def test_the_default_is_cross_entropy_without_a_teacher(
    job: Job, phase: str, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wd.training.run.load_transformer", None)
    trainee = make_trainee(job("one", phase, dropout=0.0), World())
    model = Transformer(job("one", phase).model)
    model.load_state_dict(trainee.weights())
    for batch in batches:
        expected = functional.cross_entropy(
            model(batch.source_BS, batch.target_in_BT).transpose(1, 2),
            batch.target_BT,
            ignore_index=PAD,
            reduction="sum",
            label_smoothing=0.1,
        )
        torch.testing.assert_close(trainee.backward([batch], 1.0), expected.detach())


@pytest.mark.parametrize("weights", [{"word_kd": 1.0}, {"hidden_states": 1.0}])
def test_a_students_own_copy_adds_nothing(
    random_model: Model, batches: list[Batch], weights: dict[str, float]
) -> None:
    added = extra(random_model(), random_model(), batches[0], **weights)
    assert abs(added.item()) < 1e-3


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_word_kd_is_the_naive_divergence(
    random_model: Model, batches: list[Batch], temperature: float
) -> None:
    student, teacher, batch = random_model(1, decoder=NARROW), random_model(2), batches[0]
    expected = 0.0
    for row in range(len(batch.target_BT)):
        one = (batch.source_BS[row : row + 1], batch.target_in_BT[row : row + 1])
        q_TV = (student(*one)[0] / temperature).softmax(-1)
        p_TV = (teacher(*one)[0] / temperature).softmax(-1)
        for piece, p, q in zip(batch.target_BT[row], p_TV, q_TV, strict=True):
            if piece != PAD:
                expected += temperature**2 * (p * (p / q).log()).sum().item()
    added = extra(student, teacher, batch, word_kd=0.5, temperature=temperature)
    assert added.item() == pytest.approx(0.5 * expected, rel=1e-3)


@pytest.mark.parametrize("decoder", [SHALLOW, NARROW])
def test_hidden_states_is_the_sentences_distance_for_each_piece(
    random_model: Model, batches: list[Batch], decoder: StackShape
) -> None:
    student, teacher, batch = random_model(1, decoder=decoder), random_model(2), batches[0]
    with recorded(student) as ours, recorded(teacher) as theirs, torch.no_grad():
        for model in (student, teacher):
            model(batch.source_BS, batch.target_in_BT)
    source, target = batch.source_BS != PAD, batch.target_BT != PAD
    encoder_B = state_distance(ours["encoder"], theirs["encoder"], source)
    decoder_B = state_distance(ours["decoder"], theirs["decoder"][1:], target)
    expected = sum(n * d for n, d in zip(target.sum(1), encoder_B + decoder_B, strict=True))
    added = extra(student, teacher, batch, hidden_states=0.5)
    assert added > 1
    assert added.item() == pytest.approx(0.5 * expected.item(), rel=1e-3)


def test_subsets_that_do_not_fit_are_refused(random_model: Model) -> None:
    teacher, student = random_model(encoder=DEEP), random_model().config
    grouping = GroupingConfig(encoder_subsets=(1, 1))
    with pytest.raises(ConfigError, match="encoder_subsets"):
        Guide(teacher, student, ObjectiveConfig(hidden_states=1.0), grouping)
    Guide(teacher, student, ObjectiveConfig(word_kd=1.0), grouping)  # it compares no layers


@pytest.mark.parametrize("decoder", [SHALLOW, NARROW])
def test_padding_changes_no_term(
    random_model: Model, batches: list[Batch], decoder: StackShape
) -> None:
    student, teacher = random_model(1, decoder=decoder), random_model(2)
    for weights in ({"word_kd": 1.0}, {"hidden_states": 1.0}):
        one, other = (
            extra(student, teacher, batch, **weights)
            for batch in (batches[0], padded(batches[0], 3, 5))
        )
        assert one > 0.01
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("phase", PHASES)
def test_two_batches_weigh_like_one_of_both(guided: Job, phase: str, batches: list[Batch]) -> None:
    trainee = make_trainee(guided("one", phase, dropout=0.0), World())
    separate = gradients(trainee, batches)
    for one, other in zip(separate, gradients(trainee, [merged(*batches)]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def gradients(trainee: Trainee, batches: list[Batch]) -> list[Tensor]:
    trainee.module.zero_grad()
    trainee.backward(batches, 1 / 100)
    found = [parameter.grad for parameter in trainee.module.parameters()]
    return [gradient.clone() for gradient in found if gradient is not None]


@pytest.mark.parametrize("phase", PHASES)
def test_the_teacher_pulls_and_stays_as_it_is(
    guided: Job, phase: str, held_out: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training lowers its terms; it is neither changed nor part of what is trained."""
    teachers: list[Transformer] = []

    def load(folder: Path) -> Transformer:
        teachers.append(load_transformer(folder))
        return teachers[-1]

    monkeypatch.setattr("wd.training.run.load_transformer", load)
    job = guided("one", phase, updates=40, validate_every=20)
    run_job(job, World(), lambda _: None)
    (teacher,) = teachers
    before = load_transformer(job.teacher)
    assert equal(teacher.state_dict(), before.state_dict())
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())

    untrained, trained = (Transformer(job.model) for _ in range(2))
    trained.load_state_dict(result_of(job).weights)
    assert result_of(job).module.keys() == make_trainee(job, World()).module.state_dict().keys()
    batch = ShardReader([held_out.shards])[0]
    for weights in ({"word_kd": 1.0}, {"hidden_states": 1.0}):
        added = [extra(model.eval(), teacher, batch, **weights) for model in (trained, untrained)]
        assert added[0] < added[1]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("stop", [4, 8])
def test_a_resumed_run_equals_an_unbroken_one(guided: Job, phase: str, stop: int) -> None:
    def kill(figures: dict[str, Any]) -> None:
        # The checkpoint of this update is not written any more.
        if figures["update"] == stop + 4:
            raise KilledError

    broken = guided("broken", phase)
    whole = replace(broken, scratch=broken.scratch.with_name("whole"))
    with pytest.raises(KilledError):
        run_job(broken, World(), kill)
    for job in (broken, whole):
        run_job(job, World(), lambda _: None)
    assert equal(result_of(broken).module, result_of(whole).module)
    assert equal(result_of(broken).weights, result_of(whole).weights)
