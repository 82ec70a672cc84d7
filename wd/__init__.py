"""Weight Distillation: small fast translation models from the parameters of big ones."""

__version__ = "0.1.0"
