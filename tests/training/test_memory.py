"""What must hold for freed memory."""

import subprocess
import sys

import pytest
import torch

from wd.training.memory import give_freed_memory_back

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


BACK = """
import psutil, torch
from wd.training.memory import give_freed_memory_back, keep_freed_memory
keep_freed_memory()
before = psutil.Process().memory_info().rss
blocks = [torch.ones(1_000_000) for _ in range(100)]
last = torch.ones(1_000)  # above the others: what is freed below it is not the heap's end
del blocks
kept = psutil.Process().memory_info().rss
give_freed_memory_back()
print(kept - before, psutil.Process().memory_info().rss - before)
"""


def test_a_gpu_s_gets_back_to_who_else_computes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    give_freed_memory_back()
    assert not emptied  # torch has not touched a GPU here
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    give_freed_memory_back()
    assert emptied == [True]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is about glibc")
def test_the_next_step_gets_it_back() -> None:
    assert page_faults("keep") < page_faults("return") / 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is about glibc")
def test_the_kernel_gets_it_back_when_training_ends() -> None:
    done = subprocess.run([sys.executable, "-c", BACK], capture_output=True, text=True, check=True)
    kept, left = (int(number) for number in done.stdout.split())
    assert kept > 390_000_000
    assert left < 40_000_000
