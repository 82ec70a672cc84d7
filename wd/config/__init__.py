"""Strict, frozen configuration: YAML, then dotted overrides, then objects."""

from wd.config.generation import GeneratorConfig, GroupingConfig, InitialisationConfig
from wd.config.load import load_recipe, overridden, validated
from wd.config.recipe import (
    BYTE_PIECES,
    MAX_POSITIONS,
    SPECIAL_PIECES,
    CorpusConfig,
    EvaluationConfig,
    FilterConfig,
    Method,
    PseudoConfig,
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
    "BYTE_PIECES",
    "MAX_POSITIONS",
    "SPECIAL_PIECES",
    "Config",
    "CorpusConfig",
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
