"""What must hold for freed memory."""

import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from wd.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()

def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(10_000_000) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for _ in range(4):
    last = step()
print(last)
"""


def page_faults(choice: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", STEPS, choice], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is about glibc")
def test_the_next_step_gets_it_back() -> None:
    assert page_faults("keep") < page_faults("return") / 10
