"""What the pseudo-data's report tells: counts, and some of the faulty translations."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from wd.config import Config, PseudoConfig
from wd.decoding.faults import Fault

REPORT = "report.json"
EXAMPLES = 10
"""So many faulty translations are shown."""


class Example(Config):
    """A faulty translation."""

    id: str
    """The sentence pair's."""
    fault: Fault
    source: str
    hypothesis: str


class PseudoReport(Config):
    """The teacher's translations, all parts together."""

    sentences: int
    kept: int
    """Those that students are trained on."""
    blank: int
    """Those in which nothing can be seen, and those of such sources."""
    loop: int
    """Those that go round in circles."""
    long: int
    """Those that outgrow their source."""
    cut: int
    """Those that reached `pseudo.max_length` before their end."""
    nearer: int = 0
    """Those that are not the most probable of `pseudo.n_best`, but nearer to their reference."""
    mean_score: float
    sentences_per_second_per_device: float
    decoding: tuple[str, ...]
    """The devices that they were made on, and how, where the settings leave that open."""
    examples: tuple[Example, ...]

    @classmethod
    def of(cls, parts: Sequence[Mapping[str, Any]]) -> Self:
        """Sum up what `PartTranslator` counted in each part."""
        texts = ("examples", "decoding")
        keys = [key for key in parts[0] if key not in texts]
        total = {key: sum(part.get(key, 0) for part in parts) for key in keys}
        return cls(
            mean_score=total.pop("score") / total["sentences"],
            sentences_per_second_per_device=total["sentences"] / total.pop("seconds"),
            decoding=tuple(sorted({part["decoding"] for part in parts if "decoding" in part})),
            examples=first(row for part in parts for row in part["examples"]),
            **total,
        )


def first(examples: Iterable[Any]) -> tuple[Any, ...]:
    """Return as many examples as are shown."""
    return tuple(islice(examples, EXAMPLES))


def write_report(report: PseudoReport, folder: Path) -> None:
    """Write `report.json`."""
    (folder / REPORT).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")


def table(report: PseudoReport, config: PseudoConfig) -> Table:
    """Return the terminal's table of faulty translations."""
    fate = "are not trained on" if config.drop_loops else "are kept (pseudo.drop_loops: false)"
    # Narrow enough for 80 columns, which is also what a log gets.
    result = Table(
        title=f"of {report.sentences:,} translations, {report.loop:,} go round in circles and "
        f"{report.long:,} outgrow their source: they {fate}",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        expand=True,
    )
    result.add_column("fault", no_wrap=True, min_width=len("fault"))
    for column in ("source", "hypothesis"):
        result.add_column(column, ratio=1, no_wrap=True, overflow="ellipsis")
    for row in report.examples:
        result.add_row(row.fault, _line(row.source), _line(row.hypothesis))
    return result


def _line(text: str) -> str:
    return escape(" ".join(text.split()))
