"""Whether an exported CTranslate2 folder translates as its model does in torch, and how fast."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import ctranslate2
import torch

from wd.config import MAX_POSITIONS, DecodingConfig, Quantization
from wd.data.schema import BOS, EOS
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.errors import ArtifactError
from wd.evaluation.quality import score
from wd.interop.random_pieces import drawn, padded
from wd.interop.shortlists import FILE as SHORTLISTS
from wd.model.directory import load_transformer
from wd.model.transformer import Transformer

CLOSE, NEAR = 1e-3, 0.1
"""A piece that float32 says, and on average those that others say, are at most so much less
probable to torch than its own choice, in nats."""
MOST_BLEU, MOST_BLEU_OF_LISTS = 0.2, 0.5
"""What fewer bits may cost, and what shortlists may."""
_SENTENCES, _LENGTH = 32, 64
"""Of the probe: so many sentences, and pieces of a translation at most."""


@dataclass(frozen=True)
class ProbeText:
    """Text that a model was not trained on, and its translations."""

    origin: str
    sources: Sequence[str]
    references: Sequence[str]
    language: str
    """The target's code."""


def check_ctranslate2(
    model: Path, exported: Path, quantization: Quantization, text: ProbeText | None
) -> dict[str, Any]:
    """Compare a folder with the model directory that it was made from; return figures.

    Translations are greedy, on one thread. Without `text` the probe is random pieces. Raises
    ArtifactError where they are not the model's, see `CLOSE` and `NEAR`, and for a loss of BLEU.
    """
    engine = ctranslate2.Translator(str(exported), inter_threads=1, intra_threads=1)
    tokenizer = Tokenizer.load(exported)
    sources = _sources(tokenizer, text)
    said, seconds, alone = _translated(engine, tokenizer, sources)
    gaps = regrets(load_transformer(model), sources, said)
    found: dict[str, Any] = {
        "probe": text.origin if text else "random pieces",
        "sentences": len(sources),
        "as_in_torch": sum(max(row) <= 0 for row in gaps),
        "largest_gap": max(max(row) for row in gaps),
        "mean_gap": sum(map(sum, gaps)) / sum(map(len, gaps)),
        "computed_in": engine.compute_type,
    }
    found |= _speed(sources, seconds, alone)
    _check_gaps(found, exact=quantization == "float32")
    lists = (exported / SHORTLISTS).exists()
    if text and (lists or quantization != "float32"):
        ours = Translator.from_directory(model, quantization="float32", threads=1)
        whole = _bleu(ours, text)
        export = partial(Translator, ours.config, engine, tokenizer, threads=1)
        bleu = _bleu(export(), text)
        _check_loss(whole - bleu, MOST_BLEU, f"to {quantization}", "--quantization float32")
        found |= {"bleu": bleu, "float32_bleu": whole}
        if lists:
            listed = _bleu(export(shortlists=True), text)
            _check_loss(bleu - listed, MOST_BLEU_OF_LISTS, "to its shortlists", "--no-shortlists")
            _, seconds, alone = _translated(engine, tokenizer, sources, shortlists=True)
            found["with_shortlists"] = {"bleu": listed} | _speed(sources, seconds, alone)
    return found


def regrets(
    model: Transformer, sources: list[list[int]], said: list[list[int]]
) -> list[list[float]]:
    """Return how much more probable than each piece that was said the model's own choice is.

    0 all along a row: greedy decoding says the same, since each choice depends on those before.
    """
    goal = padded(said)
    with torch.inference_mode():
        logits = model(padded(sources), padded([[BOS, *row[:-1]] for row in said]))
        logits[:, 0, EOS] = -torch.inf  # a translation has at least one piece
        scores = logits.log_softmax(-1)
        gap = scores.max(-1).values - scores.gather(-1, goal[..., None])[..., 0]
    return [row[: len(pieces)].tolist() for row, pieces in zip(gap, said, strict=True)]


def _sources(tokenizer: Tokenizer, text: ProbeText | None) -> list[list[int]]:
    if text:
        lines = tokenizer.encode_source(text.sources[:_SENTENCES])
        return [[*ids[:-1][: MAX_POSITIONS - 1], EOS] for ids in lines]
    draw = random.Random(1)
    return [drawn(draw, tokenizer.source_vocabulary) for _ in range(_SENTENCES)]


def _translated(
    engine: ctranslate2.Translator,
    tokenizer: Tokenizer,
    sources: list[list[int]],
    *,
    shortlists: bool = False,
) -> tuple[list[list[int]], float, float]:
    """Return the translations, the seconds of all together, and of one alone."""
    listed = tokenizer.source_pieces
    ids = {piece: index for index, piece in enumerate(tokenizer.target_pieces)}

    def decode(rows: list[list[int]]) -> tuple[list[list[int]], float]:
        started = perf_counter()
        results = engine.translate_batch(
            [[listed[piece] for piece in row] for row in rows],
            beam_size=1,
            min_decoding_length=1,
            max_decoding_length=_LENGTH,
            return_end_token=True,
            use_vmap=shortlists,
        )
        seconds = perf_counter() - started
        return [[ids[piece] for piece in found.hypotheses[0]] for found in results], seconds

    alone = median(decode([row])[1] for row in sources[:8])
    said, seconds = decode(sources)
    return said, seconds, alone


def _check_gaps(found: dict[str, Any], *, exact: bool) -> None:
    gap, most, which = (
        (found["largest_gap"], CLOSE, "at most")
        if exact
        else (found["mean_gap"], NEAR, "on average")
    )
    if not gap <= most:
        raise ArtifactError(
            f"the export does not translate as the model does: what it says is {which} {gap:.3g} "
            f"nats less probable than what the model would, and {most:g} are allowed; nothing was "
            "written"
        )


def _speed(sources: list[list[int]], seconds: float, alone: float) -> dict[str, float]:
    return {"sentences_per_second": len(sources) / seconds, "milliseconds": 1000 * alone}


def _bleu(translator: Translator, text: ProbeText) -> float:
    said = translator.translate(text.sources, DecodingConfig(beam_size=1))
    return score([each.text for each in said], text.references, text.language).bleu


def _check_loss(loss: float, most: float, to_what: str, instead: str) -> None:
    if loss > most:
        raise ArtifactError(
            f"the export translates worse than the model: it loses {loss:.2f} BLEU {to_what}, and "
            f"{most:g} are allowed. Use {instead}, or --no-check to have it all the same"
        )
