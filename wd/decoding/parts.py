"""Part files in, part files out: a corpus part's sources, translated by the teacher."""

from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wd.config import PseudoConfig
from wd.data.schema import PSEUDO
from wd.decoding.engine import Translator
from wd.errors import ArtifactError


class PartTranslator:
    """A loaded teacher that translates corpus parts into pseudo parts."""

    def __init__(self, model: Path, config: PseudoConfig, device: str, threads: int) -> None:
        self._config = config
        self._translator = Translator.from_directory(
            model, quantization=config.quantization, device=device, threads=threads
        )

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Write id, hypothesis and score for each row; return counts and sums over the part."""
        rows = pq.read_table(part_in, columns=["id", "source"])
        started = perf_counter()
        hypotheses = self._translator.translate(
            rows["source"].to_pylist(),
            beam_size=self._config.beam_size,
            length_penalty=self._config.length_penalty,
            max_length=self._config.max_length,
            batch_tokens=self._config.batch_tokens,
        )
        seconds = perf_counter() - started
        columns = {
            "id": rows["id"],
            "hypothesis": [found.text for found in hypotheses],
            "score": [found.score for found in hypotheses],
        }
        pq.write_table(pa.table(columns, schema=PSEUDO), part_out)
        return {
            "sentences": len(hypotheses),
            "empty": sum(not found.text.strip() for found in hypotheses),
            "score": sum(found.score for found in hypotheses),
            "seconds": seconds,
        }


def check_rows(part: Path, made: Path) -> None:
    """Raise ArtifactError unless `made` has the rows of the corpus part, in its order."""
    expected, found = (pq.read_table(path, columns=["id"])["id"] for path in (part, made))
    if not expected.equals(found):
        raise ArtifactError(
            f"{made}: its {len(found)} rows are not the {len(expected)} rows of {part}; "
            "remove it and run the stage again"
        )
