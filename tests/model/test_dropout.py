"""What must hold for dropout."""

import pytest
import torch

from wd.model.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_a_share_is_dropped_and_the_mean_stays(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    kept = Dropout(p)(torch.ones(100_001, dtype=dtype)).float()
    assert set(kept.unique().tolist()) == {0.0, kept.max().item()}
    assert (kept == 0).float().mean() == pytest.approx(p, abs=0.01)
    assert kept.mean() == pytest.approx(1, abs=0.01)


def test_places_are_independent() -> None:
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(4, 100_000)) == 0).float()
    together = dropped @ dropped.T / dropped.shape[1]
    torch.testing.assert_close(together, 0.25 + 0.25 * torch.eye(4), atol=0.01, rtol=0)
    neighbours = (dropped[:, 1:] * dropped[:, :-1]).mean()
    assert neighbours == pytest.approx(0.25, abs=0.01)


def test_the_gradient_goes_where_the_value_went() -> None:
    x = torch.randn(7, 33, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(y, x * x.grad)


def test_a_seed_fixes_it_and_evaluation_is_without() -> None:
    dropout, x = Dropout(0.3), torch.randn(5, 9)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(dropout(x))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], dropout(x))
    assert dropout.eval()(x) is x
