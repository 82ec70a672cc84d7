"""Whether a card computes what a CPU does: the torch core's tests with their device set to it."""

import os
import xml.etree.ElementTree as ET
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from card.records import Options, Records, called

FAST = ("tests/model", "tests/generator", "tests/training")
TOGETHER = ("tests/training/test_two_workers.py", "tests/test_device.py")
"""What starts processes, or is about devices alone."""
TOY = ("tests/model/test_dropout.py",)
_SHOWN = 20


def checks(records: Records, options: Options) -> None:
    """Run the tests; record how many passed and the names of those that did not."""
    if find_spec("pytest") is None:
        return records.add("tests", skipped="pytest is not installed")
    fast = TOY if options.toy else FAST
    records.measure("fast tests", 20, partial(_tests, "fast", (*fast, "-m", "not slow"), options))
    if not options.toy:
        records.measure(
            "two ranks, parity, resume", 20, partial(_tests, "together", TOGETHER, options)
        )
    return None


def _tests(name: str, what: tuple[str, ...], options: Options) -> dict[str, Any]:
    report = options.out / f"tests-{name}.xml"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    if name == "fast" and not options.toy and find_spec("xdist"):
        command += ["-n", str(min(8, os.cpu_count() or 1))]
    environment = {
        "WD_TEST_DEVICE": options.device,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS is not deterministic
        "OMP_NUM_THREADS": "1",
    }
    why = ""
    try:
        called([*command, f"--junitxml={report}", *what], 240, **environment)
    except RuntimeError as error:
        why = str(error)
    if not report.is_file():
        raise RuntimeError(f"no test ran: {why}")
    return outcome(report)


def outcome(report: Path) -> dict[str, Any]:
    """Return a JUnit report's counts, and what failed."""
    cases = list(ET.parse(report).iter("testcase"))
    failed = [one for one in cases if {each.tag for each in one} & {"failure", "error"}]
    skipped = [one for one in cases if one.find("skipped") is not None]
    names = [f"{one.get('classname')}.{one.get('name')}" for one in failed]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "not_passed": len(failed),
        "left_out": len(skipped),
        "names": names[:_SHOWN],
    }
