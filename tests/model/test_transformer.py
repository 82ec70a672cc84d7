"""What must hold for the model, whatever its shape."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wd.config import StackShape
from wd.data.schema import PAD
from wd.errors import ArtifactError
from wd.model.directory import WEIGHTS, load_model, load_transformer, load_weights, save_weights
from wd.model.paths import gpu_paths
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer, sinusoidal_positions

Make = Callable[..., Transformer]
NARROW = StackShape(layers=1, d_model=16, heads=2, feed_forward=24)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("decoder", [None, NARROW])
def test_the_future_and_padding_change_nothing(
    random_model: Make, norm: str, decoder: StackShape | None
) -> None:
    model = random_model(norm=norm, **({"decoder": decoder} if decoder else {}))
    source, target = torch.randint(4, 50, (2, 6)), torch.randint(4, 50, (2, 5))
    logits = model(source, target)
    padded = torch.cat([source, torch.full((2, 3), PAD)], 1)
    torch.testing.assert_close(model(padded, target), logits, rtol=1e-4, atol=1e-4)
    other = target.clone()
    other[:, 3:] = 7
    torch.testing.assert_close(model(source, other)[:, :3], logits[:, :3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("ties", "tables"), [("none", 3), ("decoder", 2), ("all", 1)])
def test_tied_tables_exist_once(random_model: Make, ties: str, tables: int) -> None:
    model = random_model(tied_embeddings=ties)
    names = [name for name in model.state_dict() if "layers" not in name and "norm" not in name]
    assert len(names) == tables
    assert tensor_shapes(model.config).keys() == model.state_dict().keys()


def test_positions_are_unit_circles() -> None:
    table = sinusoidal_positions(50, 16)
    torch.testing.assert_close(table[:, :8] ** 2 + table[:, 8:] ** 2, torch.ones(50, 8))
    assert sinusoidal_positions(3, 7).shape == (3, 7)


@pytest.mark.parametrize("width", [16, 7])
def test_the_paper_s_positions_are_its_formula(width: int) -> None:
    table, sines = sinusoidal_positions(50, width, "paper"), -(-width // 2)
    for position, channel in ((0, 0), (1, 1), (49, sines - 1), (17, 2)):
        angle = position / 10_000 ** (2 * channel / width)
        assert table[position, channel] == pytest.approx(math.sin(angle), abs=1e-6)
        if sines + channel < width:
            assert table[position, sines + channel] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("kind", ["tensor2tensor", "paper"])
def test_positions_may_be_counted_from_another_number(kind: str) -> None:
    later = sinusoidal_positions(7, 16, kind, first=2)
    assert torch.equal(later, sinusoidal_positions(9, 16, kind)[2:])


def test_a_word_s_bias_is_added_to_its_logits(random_model: Make) -> None:
    plain, ids = random_model(), torch.randint(4, 50, (2, 6))
    model = Transformer(plain.config.model_copy(update={"output_bias": True})).eval()
    bias = torch.randn(60)
    model.load_state_dict(plain.state_dict() | {"output_bias": bias})
    expected = plain(ids, ids) + bias
    torch.testing.assert_close(model(ids, ids), expected, rtol=1e-5, atol=1e-5)
    with gpu_paths():  # where the table is filled up to a multiple of eight rows
        torch.testing.assert_close(model(ids, ids), expected, rtol=1e-4, atol=1e-4)


def test_without_a_scale_embeddings_are_as_they_are(random_model: Make) -> None:
    plain, ids = random_model(), torch.randint(4, 50, (2, 6))
    model = Transformer(plain.config.model_copy(update={"scale_embeddings": False})).eval()
    scaled = {
        name: each * 32**0.5 if name.endswith("embedding.weight") else each
        for name, each in plain.state_dict().items()
    }
    model.load_state_dict(scaled)
    torch.testing.assert_close(model(ids, ids), plain(ids, ids), rtol=1e-5, atol=1e-5)


def test_a_model_directory_is_enough(model_folder: Path, random_model: Make) -> None:
    ids = torch.randint(4, 50, (2, 6))
    torch.testing.assert_close(load_transformer(model_folder)(ids, ids), random_model()(ids, ids))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: torch.full_like(weight, torch.nan), "2048 of 2048 values that"),
        (
            lambda weight: weight.masked_fill(weight == weight.max(), torch.inf),
            "1 of 2048 values that are not finite",
        ),
        (lambda weight: weight > 0, "bool values"),
        (lambda weight: weight.long(), "int64 values"),
    ],
)
def test_what_are_no_weights_is_told(
    model_folder: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    path, name = model_folder / WEIGHTS, "decoder.layers.1.feed_forward.inner.weight"
    state = load_weights(path)
    save_weights(path, state | {name: change(state[name])})
    with pytest.raises(ArtifactError, match=f"{WEIGHTS}: {name} has {message}"):
        load_model(model_folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(
    model_folder: Path, dtype: torch.dtype
) -> None:
    path = model_folder / WEIGHTS
    rounded = {name: each.to(dtype) for name, each in load_weights(path).items()}
    save_weights(path, rounded)
    _, state = load_model(model_folder)
    assert {each.dtype for each in state.values()} == {torch.float32}
    assert all(torch.equal(state[name], each.float()) for name, each in rounded.items())


def test_damage_is_told(model_folder: Path) -> None:
    weights = model_folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ArtifactError, match=r"model\.safetensors: not a whole safetensors file"):
        load_transformer(model_folder)
    (model_folder / "config.json").unlink()
    with pytest.raises(ArtifactError, match="not a model directory"):
        load_transformer(model_folder)
