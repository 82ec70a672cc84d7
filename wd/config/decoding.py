"""How text is translated: the teacher's, for the students to learn from, and the test set."""

from typing import Annotated, Literal

from pydantic import Field

from wd.config.shapes import Config

Quantization = Literal["float32", "float16", "bfloat16", "int8"]
HALF_PRECISION = ("float16", "bfloat16")
"""The quantizations that run on a GPU only."""
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
    batch_tokens: Annotated[int, Field(ge=1, le=500_000)] = 4096
    """Source pieces that are decoded at once."""
    quantization: Quantization = "float32"
    """How weights are held while decoding; float16 and bfloat16 need a GPU."""


class PseudoConfig(DecodingConfig):
    """Sequence-level knowledge distillation: the teacher translates the training sources."""

    drop_loops: bool = True
    """Do not train on translations that go round in circles or outgrow their source: of 20 pieces
    or more, with under three different ones in ten, or over three times as many as the source."""


class EvaluationConfig(DecodingConfig):
    """How the models are compared on the test set."""

    speed_repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    """Timed translations of the test set per model, taken in turn; the median counts."""
