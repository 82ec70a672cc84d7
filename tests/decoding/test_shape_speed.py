import pytest
import torch

from wd.config import DecodingConfig, ModelConfig, StackShape
from wd.decoding.shape_speed import shape_speeds


def model(layers: int, width: int) -> ModelConfig:
    stack = StackShape(layers=layers, d_model=width, heads=4, feed_forward=4 * width)
    return ModelConfig(
        encoder=stack, decoder=stack, source_vocabulary=400, target_vocabulary=400, norm="pre"
    )


def test_a_shape_several_times_as_large_is_slower() -> None:
    models = {"large": model(6, 256), "small": model(1, 32)}
    found = shape_speeds(models, DecodingConfig(beam_size=2))
    large, small = found["large"], found["small"]
    assert small.sentences_per_second > 2 * large.sentences_per_second
    assert small.milliseconds < large.milliseconds
    assert small.sentences_per_second == pytest.approx(64 / small.seconds)


def test_measuring_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    shape_speeds({"small": model(1, 32)}, DecodingConfig())
    assert torch.equal(torch.rand(2), expected)


def test_measuring_leaves_torch_its_threads(two_threads: None) -> None:
    shape_speeds({"small": model(1, 32)}, DecodingConfig())
    assert torch.get_num_threads() == 2
