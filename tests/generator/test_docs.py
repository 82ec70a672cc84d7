"""What the documentation shows in Python works as it stands there."""

import re
from pathlib import Path
from typing import Any

import torch

PAGE = Path(__file__).parents[2] / "docs" / "generator.md"


def test_the_example_generates_a_student_and_runs_it() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    torch.manual_seed(1)
    exec(code, names)
    student, logits, pieces = names["student"], names["logits"], names["pieces"]
    assert logits.shape == (2, 7, 1000)
    assert logits.requires_grad
    torch.testing.assert_close(student(pieces, pieces), logits)
