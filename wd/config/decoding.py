"""How text is translated: the teacher's, for the students to learn from, and the test set."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wd.config.names import TestSets
from wd.config.shapes import Config, Fraction

Quantization = Literal["float32", "float16", "bfloat16", "int8", "int8_float16"]
ChosenQuantization = Literal["auto", Quantization]
HALF_PRECISION = ("float16", "bfloat16", "int8_float16")
"""The quantizations that run on a GPU only."""
_FAST: dict[str, tuple[Quantization, int]] = {"cpu": ("float32", 4096), "cuda": ("float16", 16_384)}
"""Device -> the quantization and the batch tokens that `auto` stands for."""
MAX_POSITIONS = 1024
"""Pieces in the longest sentence, source or target, that a converted model can handle."""


class DecodingConfig(Config):
    """How text is translated."""

    beam_size: Annotated[int, Field(ge=1, le=64)] = 6
    """Hypotheses that go on at each step; 1 is greedy."""
    length_penalty: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0
    """Hypotheses are ranked by log-probability over length to this power; 0 favours short ones."""
    max_length: Annotated[int, Field(ge=1, le=MAX_POSITIONS)] = 256
    """Pieces in the longest translation, end marker included; a longer one is cut, and counted."""
    batch_tokens: Annotated[int, Field(ge=1, le=500_000)] | Literal["auto"] = "auto"
    """Source pieces that are decoded at once; `auto`: 4,096 on a CPU, 16,384 on a GPU."""
    quantization: ChosenQuantization = "auto"
    """How weights are held while decoding; float16, bfloat16 and int8_float16 (weights in int8,
    the rest in float16) need a GPU. `auto`: float32 on a CPU, float16 on a GPU."""

    def on(self, device: str) -> Self:
        """Return the settings with what `auto` stands for on a device, cpu or cuda.

        As with a training's precision, `auto` is one choice, whatever a machine makes of it: an
        artifact's identity has that and not this.
        """
        quantization, batch_tokens = _FAST[device]
        changes: dict[str, object] = {}
        if self.quantization == "auto":
            changes["quantization"] = quantization
        if self.batch_tokens == "auto":
            changes["batch_tokens"] = batch_tokens
        return self.model_copy(update=changes)


class PseudoConfig(DecodingConfig):
    """Sequence-level knowledge distillation: the teacher translates the training sources."""

    drop_loops: bool = True
    """Do not train on translations that go round in circles or outgrow their source: of 20 pieces
    or more, with under three different ones in ten, or over three times as many as the source."""
    teachers: tuple[str, ...] = ()
    """Further teachers of the same languages, which translate together with the recipe's: what each
    of them finds, all of them score, and the best on average is taken. Each is what `teacher.from`
    may be; they need not share a vocabulary. The student's parameters come from the recipe's."""
    n_best: Annotated[int, Field(ge=1, le=64)] = 1
    """Of so many translations of a sentence, by the same beam, take the one that is nearest to the
    reference by sentence chrF. 1: the most probable one, whatever the reference says."""
    monolingual: tuple[str, ...] = ()
    """Files of further source text, a sentence a line, which the teacher translates too: students
    are trained on these pairs beside those of `corpus.train`. Plain text below `corpus.dir`, also
    compressed; {lang} stands for the source language. What `corpus.filters` says of one side counts
    for it, and no source of the corpus' train, validation or test pairs is taken."""
    trim: Fraction = 0.0
    """Do not train on this share of the sound translations: those with the lowest log-probability
    over length to the power of `length_penalty`."""
    deduplicate: bool = False
    """Train on pairs of a source and a translation once, however often they are there: say where a
    source has several references. Translations that are trimmed do not count."""

    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """For `objective.word_kd`: store so many of the teacher's most probable words for each target
    piece that students train on, of original and pseudo pairs, once, so that no teacher runs beside
    a student. Their probabilities are made to sum to one. 0: the teacher runs, and its whole
    distributions are compared."""
    top_k_precision: Literal["float16", "float32"] = "float16"
    """Of the stored log-probabilities; float16 has three digits. A word's number takes two bytes
    more, four where the vocabulary has over 65,536."""

    @model_validator(mode="after")
    def _trimmed_by_length(self) -> Self:
        if self.trim and not self.length_penalty:
            raise ValueError(
                f"trim: {self.trim:g} would leave out the longest, since with length_penalty: 0 "
                "scores are not divided by length; raise length_penalty, best to 1"
            )
        return self

    @model_validator(mode="after")
    def _beam_has_room(self) -> Self:
        if self.n_best > self.beam_size:
            raise ValueError(
                f"n_best: {self.n_best} translations need a beam of as many: raise beam_size, "
                f"which is {self.beam_size}"
            )
        return self


PSEUDO_INPUTS = ("monolingual", "teachers")
"""These keys of `pseudo` name what its translations are made of, which counts by its bytes."""


PSEUDO_SELECTION = ("trim", "deduplicate")
"""These keys of `pseudo` choose among its translations, and change none of them."""


PSEUDO_STORED = ("top_k", "top_k_precision")
"""These are about word distributions beside them."""


class EvaluationConfig(DecodingConfig):
    """How the models are compared on the test set."""

    speed_repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    """Timed translations of the test set per model, taken in turn; the median counts."""
    use_sentences: Annotated[int, Field(ge=0, le=100_000)] = 200
    """So many lines of the test set tell how a model is in use: the time of one line alone (median
    and 95th percentile) and lines per second by 32, with one thread and with all, in float32 and in
    int8 (on a GPU float16 and int8_float16), with size and BLEU of each; 0: none of that."""
    tests: TestSets = Field(default={})
    """Further test sets, `{talks: ["talks.{lang}"]}`, below `corpus.dir` like those of
    `corpus.test`. Nothing is trained anew for them: what of them stands in the training text stays
    there, and is counted."""
