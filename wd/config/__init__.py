"""Strict, frozen configuration: YAML, then dotted overrides, then objects."""

from wd.config.data import (
    BYTE_PIECES,
    SPECIAL_PIECES,
    CorpusConfig,
    FilterConfig,
    ShardsConfig,
    TokenizerConfig,
)
from wd.config.decoding import (
    HALF_PRECISION,
    MAX_POSITIONS,
    PSEUDO_INPUTS,
    PSEUDO_SELECTION,
    PSEUDO_STORED,
    ChosenQuantization,
    DecodingConfig,
    EvaluationConfig,
    PseudoConfig,
    Quantization,
)
from wd.config.generation import GeneratorConfig, GroupingConfig, InitialisationConfig
from wd.config.load import Wanted, load_recipe, overridden, parsed_overrides, validated
from wd.config.recipe import Method, Recipe, TeacherConfig
from wd.config.running import (
    CHALLENGER,
    NOT_TRACKED,
    GateConfig,
    RayConfig,
    RegistryConfig,
    TrackingConfig,
)
from wd.config.search import (
    QUALITIES,
    SMALLER_IS_BETTER,
    Objective,
    SearchConfig,
    broken_limits,
)
from wd.config.shapes import (
    Config,
    ModelConfig,
    ModelShape,
    StackOverride,
    StackShape,
    StudentShape,
)
from wd.config.space import Domain, Range, read_space
from wd.config.training import ObjectiveConfig, TrainingConfig

__all__ = [
    "BYTE_PIECES",
    "CHALLENGER",
    "HALF_PRECISION",
    "MAX_POSITIONS",
    "NOT_TRACKED",
    "PSEUDO_INPUTS",
    "PSEUDO_SELECTION",
    "PSEUDO_STORED",
    "QUALITIES",
    "SMALLER_IS_BETTER",
    "SPECIAL_PIECES",
    "ChosenQuantization",
    "Config",
    "CorpusConfig",
    "DecodingConfig",
    "Domain",
    "EvaluationConfig",
    "FilterConfig",
    "GateConfig",
    "GeneratorConfig",
    "GroupingConfig",
    "InitialisationConfig",
    "Method",
    "ModelConfig",
    "ModelShape",
    "Objective",
    "ObjectiveConfig",
    "PseudoConfig",
    "Quantization",
    "Range",
    "RayConfig",
    "Recipe",
    "RegistryConfig",
    "SearchConfig",
    "ShardsConfig",
    "StackOverride",
    "StackShape",
    "StudentShape",
    "TeacherConfig",
    "TokenizerConfig",
    "TrackingConfig",
    "TrainingConfig",
    "Wanted",
    "broken_limits",
    "load_recipe",
    "overridden",
    "parsed_overrides",
    "read_space",
    "validated",
]
