"""Strict, frozen configuration: YAML, then dotted overrides, then objects."""

from wd.config.generation import GeneratorConfig, GroupingConfig, InitialisationConfig
from wd.config.load import load_recipe, overridden, validated
from wd.config.recipe import (
    HALF_PRECISION,
    MAX_POSITIONS,
    CorpusConfig,
    DecodingConfig,
    EvaluationConfig,
    FilterConfig,
    Method,
    PseudoConfig,
    Quantization,
    RayConfig,
    Recipe,
    RegistryConfig,
    ShardsConfig,
    TeacherConfig,
    TokenizerConfig,
    TrackingConfig,
)
from wd.config.shapes import (
    Config,
    ModelConfig,
    ModelShape,
    StackOverride,
    StackShape,
    StudentShape,
)
from wd.config.training import ObjectiveConfig, TrainingConfig

__all__ = [
    "HALF_PRECISION",
    "MAX_POSITIONS",
    "Config",
    "CorpusConfig",
    "DecodingConfig",
    "EvaluationConfig",
    "FilterConfig",
    "GeneratorConfig",
    "GroupingConfig",
    "InitialisationConfig",
    "Method",
    "ModelConfig",
    "ModelShape",
    "ObjectiveConfig",
    "PseudoConfig",
    "Quantization",
    "RayConfig",
    "Recipe",
    "RegistryConfig",
    "ShardsConfig",
    "StackOverride",
    "StackShape",
    "StudentShape",
    "TeacherConfig",
    "TokenizerConfig",
    "TrackingConfig",
    "TrainingConfig",
    "load_recipe",
    "overridden",
    "validated",
]
