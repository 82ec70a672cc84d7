"""A version's description: what it is, how good, how fast, made from what, and how to load it."""

from collections.abc import Mapping

from wd.config import DecodingConfig
from wd.registry.evidence import Evidence

_LONGEST = 5000
"""Characters of a version's description in MLflow."""


def card(
    title: str,
    evidence: Evidence,
    decoding: DecodingConfig,
    lineage: Mapping[str, str],
    uri: str,
) -> str:
    """Return Markdown. `lineage` is role -> artifact, the commit among them."""
    settings = decoding.on("cpu")
    facts = {
        "languages": f"{evidence.source_language} to {evidence.target_language}",
        "parameters": f"{evidence.parameters:,} ({evidence.compression:.2f} of the teacher's)",
        "model file": f"{evidence.megabytes:.1f} MB, {settings.quantization} (CTranslate2)",
        "BLEU": f"{evidence.bleu:.2f} (teacher {evidence.teacher_bleu:.2f})",
        "chrF": f"{evidence.chrf:.2f} (teacher {evidence.teacher_chrf:.2f})",
        "test set": f"{evidence.sentences:,} sentences, `{evidence.test_set}`",
        "speed": f"{evidence.sentences_per_second:.1f} sentences/s, "
        f"{evidence.milliseconds:.2f} ms a sentence, {evidence.speed_up:.2f} x the teacher "
        f"({evidence.settings})",
        "decodes with": f"beam {settings.beam_size}, length penalty {settings.length_penalty:g}, "
        f"at most {settings.max_length} pieces",
    }
    origin = {**lineage, "evaluation": evidence.evaluation}
    text = "\n".join(
        [
            f"# {title}",
            "",
            *_table(facts),
            "",
            # Not in the table, which would grow as wide as they are.
            f"BLEU is `{evidence.bleu_signature}`",
            "",
            f"chrF is `{evidence.chrf_signature}`",
            "",
            "## Made from",
            "",
            *_table({role: f"`{name}`" for role, name in origin.items()}),
            "",
            _loading(uri),
        ]
    )
    return text[:_LONGEST]


def _table(rows: Mapping[str, str]) -> list[str]:
    cells = (f"| {key} | {value.replace('|', chr(92) + '|')} |" for key, value in rows.items())
    return ["| | |", "|---|---|", *cells]


def _loading(uri: str) -> str:
    return f"""## To load it

With `MLFLOW_TRACKING_URI` set to this server and the version's `requirements.txt` installed
(this project is not needed):

```python
import mlflow

model = mlflow.pyfunc.load_model("{uri}")
print(model.predict(["A sentence.", "Another one."]))
```

Or `mlflow models serve -m {uri}`, or with this project `wd translate {uri}`.
"""
