"""Figures and pictures of a generator are those of its weights."""

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
import torch

from wd.generator.diagnostics import SATURATED, class_figures, layer_mixes, layer_shares
from wd.generator.generator import ParameterGenerator
from wd.generator.plots import mixes_svg, shares_svg

Build = Callable[..., ParameterGenerator]
VALUE = "decoder.self_attention.value.weight"


def adam(generator: ParameterGenerator) -> torch.optim.Optimizer:
    return torch.optim.AdamW(generator.parameters(), lr=1e-3)


def test_an_exact_start_has_the_teachers_norm_and_no_gradient_yet(build: Build) -> None:
    generator = build("same", maps="identity")
    for figures in class_figures(generator, adam(generator)).values():
        assert figures["norm"] == pytest.approx(1, abs=1e-4)
        assert figures["gradient_norm"] == 0


def test_saturation_is_the_share_beyond_the_threshold(build: Build) -> None:
    generator = build("tiny", maps="xavier")
    optimizer = adam(generator)
    assert class_figures(generator, optimizer)[VALUE]["saturated"] < 0.01
    with torch.no_grad():
        generator.maps.width_maps[generator.maps.keys[VALUE].input] *= 1e4
    squashed = generator.formula_parts()[VALUE].squashed(generator.maps.by_key())
    share = float((squashed.abs() > SATURATED).float().mean())
    assert class_figures(generator, optimizer)[VALUE]["saturated"] == share > 0.9


def test_the_gradient_norm_is_that_of_the_step(build: Build) -> None:
    generator = build("tiny")
    optimizer = adam(generator)
    sum(weight.square().sum() for weight in generator.materialize().values()).backward()
    part = generator.formula_parts()[VALUE]
    expected = (
        sum(float(one.grad.square().sum()) for one in part.parameters() if one.grad is not None)
        ** 0.5
    )
    optimizer.step()
    found = class_figures(generator, optimizer)[VALUE]["gradient_norm"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_there_is_no_gradient_where_all_updates_were_skipped(build: Build) -> None:
    generator = build("tiny")
    optimizer = adam(generator)
    for parameter in generator.parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    assert class_figures(generator, optimizer)[VALUE]["gradient_norm"] == 0


def test_mixes_and_shares(build: Build) -> None:
    generator = build("small", layers="first")
    mixes = layer_mixes(generator)
    assert set(mixes) == {
        each.name
        for each in generator.classes
        if each.name.startswith("decoder.") and "layers" in each.student[0]
    }
    one_hot = torch.eye(6)[[0, 3]]
    assert all(torch.equal(mix, one_hot) for mix in mixes.values())
    shares = layer_shares(generator)
    torch.testing.assert_close(shares["decoder"], one_hot)
    torch.testing.assert_close(shares["encoder"], torch.eye(6))


def test_pictures_name_every_row(build: Build) -> None:
    generator = build("both")
    mixes = layer_mixes(generator)
    drawn = ElementTree.fromstring(mixes_svg(mixes))
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {f"{name} {row}" for name, mix in mixes.items() for row in range(len(mix))} <= texts
    origins = ElementTree.fromstring(shares_svg(layer_shares(generator)))
    texts = {element.text for element in origins.iter("{http://www.w3.org/2000/svg}text")}
    assert {"encoder", "decoder", "teacher", "student", "5"} <= texts
