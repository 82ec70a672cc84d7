"""Counts over parts, and ten examples."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from wd.config import PseudoConfig
from wd.decoding.report import PseudoReport, table, write_report


def _part(number: int, faulty: int) -> dict[str, Any]:
    example = {"fault": "loop", "source": "[b]Ein [/c] Satz", "hypothesis": "ja " * 60}
    return {
        **{"sentences": 100, "kept": 100 - faulty, "blank": 1, "loop": faulty - 1, "long": 0},
        **{"cut": 2, "score": -50.0 * number, "seconds": 2.0, "decoding": f"cuda {number % 2}"},
        "examples": [{"id": f"{number}-{row}", **example} for row in range(faulty)],
    }


def test_parts_are_summed_and_ten_examples_shown(tmp_path: Path) -> None:
    report = PseudoReport.of([_part(1, 7), _part(2, 7)])
    assert (report.sentences, report.kept, report.blank, report.loop) == (200, 186, 2, 12)
    assert report.cut == 4
    assert report.decoding == ("cuda 0", "cuda 1")
    assert report.mean_score == -0.75
    assert report.sentences_per_second_per_device == 50.0
    ids = [*(f"1-{row}" for row in range(7)), "2-0", "2-1", "2-2"]
    assert [example.id for example in report.examples] == ids
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report.model_dump(mode="json")


def test_the_table_has_a_line_for_each_example_in_80_columns() -> None:
    report = PseudoReport.of([_part(1, 7)])
    written = io.StringIO()
    for drop_loops, fate in ((True, "are not trained on"), (False, "are kept")):
        config = PseudoConfig(drop_loops=drop_loops)
        Console(file=written, width=80).print(table(report, config))
        assert fate in " ".join(written.getvalue().split())
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "[b]Ein [/c] Satz" in line]
    assert len(rows) == 2 * len(report.examples)
    assert {row[0] for row in rows} == {"loop"}
