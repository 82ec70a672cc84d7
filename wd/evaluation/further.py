"""Further test sets of a comparison: quality alone, of the same systems."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wd.config import Config, EvaluationConfig
from wd.decoding.engine import Translator
from wd.evaluation.quality import Quality, check_aligned, score
from wd.evaluation.significance import p_values, shown_p_value
from wd.evaluation.speed import translated
from wd.evaluation.test_set import TestSet


class FurtherRow(Config):
    """One system on one test set."""

    name: str
    """The system's."""
    quality: Quality
    p_value: float | None
    """Of the BLEU difference to the baseline; None for the baseline itself."""


class FurtherTest(Config):
    """What the systems of a report are on another test set."""

    name: str
    sentences: int
    in_training: int = 0
    """So many of its sources stand in the training text, but for case and punctuation."""
    rows: tuple[FurtherRow, ...]


COLUMNS = ("test set", "sentences", "in training", "system", "BLEU", "chrF", "p")


def scored(
    translators: Mapping[str, Translator],
    tests: Mapping[str, TestSet],
    config: EvaluationConfig,
    baseline: str,
) -> tuple[tuple[FurtherTest, ...], dict[str, list[str]]]:
    """Return every system's scores on each set, and its translations, named `SYSTEM.SET`."""
    found, texts = [], dict[str, list[str]]()
    for name, test in tests.items():
        check_aligned(test.sources, test.references)
        said = {
            system: [
                line.text
                for line in translated(f"{system} on {name}", translator, test.sources, config)
            ]
            for system, translator in translators.items()
        }
        chances = p_values(said, baseline, test.references, test.target_language)
        rows = tuple(
            FurtherRow(
                name=system,
                quality=score(lines, test.references, test.target_language),
                p_value=chances[system],
            )
            for system, lines in said.items()
        )
        found.append(
            FurtherTest(
                name=name,
                sentences=len(test.sources),
                in_training=test.in_training,
                rows=rows,
            )
        )
        texts |= {f"{system}.{name}": lines for system, lines in said.items()}
    return tuple(found), texts


def cells(tests: Sequence[FurtherTest]) -> list[tuple[str, ...]]:
    """Return a row's text for each set and system, in the order of `COLUMNS`."""
    return [
        (
            test.name,
            f"{test.sentences:,}",
            f"{test.in_training:,}",
            row.name,
            f"{row.quality.bleu:.2f}",
            f"{row.quality.chrf:.2f}",
            shown_p_value(row.p_value),
        )
        for test in tests
        for row in test.rows
    ]


def table(tests: Sequence[FurtherTest]) -> Table | None:
    """Return the terminal's table; None where there are none."""
    if not tests:
        return None
    result = Table(title="further test sets", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        result.add_column(column, justify="left" if column in ("test set", "system") else "right")
    for row in cells(tests):
        result.add_row(*row)
    return result
