"""Part files in, part files out: a corpus part's sources, translated by the teacher."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wd.config import PseudoConfig
from wd.data.parts import read_part
from wd.data.schema import PSEUDO
from wd.decoding.ensemble import Ensemble
from wd.decoding.faults import FAULTS, Fault, count_cut, fault
from wd.decoding.lines import Hypothesis
from wd.decoding.nearest import nearest
from wd.decoding.report import first
from wd.errors import ArtifactError
from wd.places import Place


class PartTranslator:
    """Loaded teachers, mostly one, that translate corpus parts into pseudo parts."""

    def __init__(
        self, models: Sequence[Place], config: PseudoConfig, device: str, threads: int
    ) -> None:
        self._config = config
        self._translator = Ensemble.from_directories(
            [Path(model) for model in models],
            quantization=config.quantization,
            device=device,
            threads=threads,
        )
        chosen = config.on(self._translator.device)
        how = (
            self._translator.device,
            chosen.quantization,
            f"{chosen.batch_tokens} pieces a batch",
        )
        self._decoding = ", ".join(how)

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Write each row's translation; return counts and sums over the part, and examples."""
        rows = read_part(part_in, ["id", "source", "target"])
        started = perf_counter()
        sources = rows["source"].to_pylist()
        found = self._translator.n_best(sources, self._config, self._config.n_best)
        seconds = perf_counter() - started
        picked = list(map(nearest, found, rows["target"].to_pylist()))
        hypotheses = [several[index] for several, index in zip(found, picked, strict=True)]
        faults = [fault(found) for found in hypotheses]
        kept = [self._keeps(found) for found in faults]
        columns = {
            "id": rows["id"],
            "hypothesis": [found.text for found in hypotheses],
            "score": [found.score for found in hypotheses],
            "fault": faults,
            "kept": kept,
        }
        pq.write_table(pa.table(columns, schema=PSEUDO), part_out)
        check_rows(part_in, part_out)
        return {
            "sentences": len(hypotheses),
            "kept": sum(kept),
            **{name: faults.count(name) for name in FAULTS},
            "cut": count_cut(hypotheses),
            "nearer": sum(index > 0 for index in picked),
            "score": sum(found.score for found in hypotheses),
            "seconds": seconds,
            "decoding": self._decoding,
            "examples": _examples(rows["id"].to_pylist(), sources, hypotheses, faults),
        }

    def _keeps(self, found: Fault | None) -> bool:
        return found is None or (found != "blank" and not self._config.drop_loops)


def _examples(
    ids: Sequence[str],
    sources: Sequence[str],
    hypotheses: Sequence[Hypothesis],
    faults: Sequence[Fault | None],
) -> tuple[dict[str, Any], ...]:
    """Return the first faulty rows."""
    rows = zip(ids, sources, hypotheses, faults, strict=True)
    return first(
        {"id": row, "fault": what, "source": source, "hypothesis": found.text}
        for row, source, found, what in rows
        if what
    )


def check_rows(part: Path, made: Path) -> None:
    """Raise ArtifactError unless `made` has the rows of the corpus part, in its order."""
    expected, found = (read_part(path, ["id"])["id"] for path in (part, made))
    if not expected.equals(found):
        raise ArtifactError(
            f"{made}: its {len(found)} rows are not the {len(expected)} rows of {part}; "
            "remove it and run the stage again"
        )
