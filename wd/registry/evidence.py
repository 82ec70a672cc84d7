"""What is known of a version's quality and speed: it goes with the version, and a gate reads it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from wd.config import Config
from wd.errors import ArtifactError
from wd.evaluation.report import Report

EVIDENCE, HYPOTHESES = "evidence.json", "hypotheses.txt"


class Evidence(Config):
    """One system's evaluation, as far as another version can be compared with it."""

    source_language: str
    target_language: str
    test_set: str
    """Of its sources and references: see `digest_of_test_set`."""
    sentences: int
    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str
    teacher_bleu: float
    teacher_chrf: float
    parameters: int
    compression: float
    """Parameters over the teacher's."""
    sentences_per_second: float
    tokens_per_second: float
    milliseconds: float
    """Per sentence, over the whole test set."""
    speed_up: float
    """Over the teacher."""
    megabytes: float = 0.0
    """The model file that is loaded to translate, in 10^6 bytes; known when it is packed."""
    settings: str
    """How it was decoded, and on what."""
    evaluation: str
    """The artifact."""
    hypotheses: tuple[str, ...]
    """The translations, in the test set's order."""

    @property
    def languages(self) -> str:
        """The pair, source first."""
        return f"{self.source_language}-{self.target_language}"


def evidence_of(
    report: Report,
    system: str,
    hypotheses: Sequence[str],
    *,
    test_set: str,
    evaluation: str,
) -> Evidence:
    """Return what a report says of one of its systems.

    Raises ArtifactError if it has no such system.
    """
    rows = {row.name: row for row in report.rows}
    if system not in rows:
        raise ArtifactError(f"{evaluation}: it has no system {system}, only {', '.join(rows)}")
    row, teacher = rows[system], rows[report.reference]
    return Evidence(
        source_language=report.source_language,
        target_language=report.target_language,
        test_set=test_set,
        sentences=report.sentences,
        teacher_bleu=teacher.quality.bleu,
        teacher_chrf=teacher.quality.chrf,
        parameters=row.parameters,
        compression=row.compression,
        sentences_per_second=row.speed.sentences_per_second,
        tokens_per_second=row.speed.tokens_per_second,
        milliseconds=1000 * row.speed.seconds / report.sentences,
        speed_up=row.speed_up,
        settings=report.settings,
        evaluation=evaluation,
        hypotheses=tuple(hypotheses),
        **row.quality.model_dump(),
    )


def digest_of_test_set(sources: Sequence[str], references: Sequence[str]) -> str:
    """Return 16 hex digits that two test sets share only if all their lines are the same."""
    digest = hashlib.sha256()
    for side in (sources, references):
        digest.update("".join(f"{line}\n" for line in side).encode() + b"\0")
    return digest.hexdigest()[:16]


def write_evidence(evidence: Evidence, folder: Path) -> None:
    """Write `evidence.json` and `hypotheses.txt` into a new folder."""
    folder.mkdir()
    figures = evidence.model_dump_json(indent=2, exclude={"hypotheses"})
    (folder / EVIDENCE).write_text(figures + "\n", encoding="utf-8")
    lines = "".join(f"{line}\n" for line in evidence.hypotheses)
    (folder / HYPOTHESES).write_text(lines, encoding="utf-8", newline="")


def read_evidence(folder: Path) -> Evidence | None:
    """Read both; None where there is none, as in versions of before the gate."""
    try:
        figures = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))
        text = (folder / HYPOTHESES).read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Evidence.model_validate(figures | {"hypotheses": text.split("\n")[:-1]})
