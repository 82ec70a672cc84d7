"""Weight distillation's parameter generator (Lin et al. 2021, section 3)."""

from wd.generator.directory import load_generator, save_generator
from wd.generator.generator import ParameterGenerator

__all__ = ["ParameterGenerator", "load_generator", "save_generator"]
