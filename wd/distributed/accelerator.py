"""Whether the work is done on GPUs: the one place where `ray.gpu` is read."""

import logging
from functools import cache
from typing import Literal

from wd.config import HALF_PRECISION, RayConfig, Recipe
from wd.errors import ConfigError

_LOG = logging.getLogger(__name__)


def gpu_here(config: RayConfig) -> bool:
    """Tell whether this process is to compute on a GPU, for work that it does itself.

    Raises ConfigError if it must and torch sees none.
    """
    if config.gpu is False:
        return False
    import torch

    found = torch.cuda.is_available()
    if config.gpu is True and not found:
        raise ConfigError(
            f"ray.gpu: true, but torch {torch.__version__} sees no GPU in this process: install a "
            "torch with CUDA and a driver for it, or set ray.gpu: auto or false"
        )
    if config.gpu == "auto" and found:
        _say(f"this process has {torch.cuda.get_device_name()}")
    return found


def gpu_on_cluster(config: RayConfig) -> bool:
    """Tell whether the cluster's processes are to have GPUs; joins or starts it if need be.

    `auto` asks for what is up now. On a cluster that this process started torch must see a GPU,
    too: a machine may have one, and a torch without CUDA.
    """
    if config.gpu != "auto":
        return config.gpu
    from wd.distributed.runtime import ensure_ray, is_own

    ensure_ray(config)
    import ray

    number = ray.cluster_resources().get("GPU", 0)
    if is_own():
        import torch

        number = number if torch.cuda.is_available() else 0
    if number:
        _say(f"the cluster has {number:g} GPU{'s' if number > 1 else ''}")
    return number > 0


def uses_gpu(config: RayConfig) -> bool:
    """Tell whether GPUs are used by whoever does the work: this process or the cluster's."""
    return gpu_on_cluster(config) if config.workers else gpu_here(config)


def decoding_device(config: RayConfig) -> Literal["cpu", "cuda", "auto"]:
    """Return the device that those who translate are to ask for.

    A GPU that nobody insists on may be replaced by the CPU, if CTranslate2 cannot use it.
    """
    if not uses_gpu(config):
        return "cpu"
    return "cuda" if config.gpu is True else "auto"


def check_half_precision(recipe: Recipe) -> None:
    """Raise ConfigError if the recipe insists on half precision where there is no GPU.

    What can be told from the recipe alone is told when it is read.
    """
    sections = {"pseudo": recipe.pseudo, "evaluation": recipe.evaluation}
    asked = [key for key, one in sections.items() if one.quantization in HALF_PRECISION]
    if asked and not uses_gpu(recipe.ray):
        raise ConfigError(
            f"{asked[0]}.quantization: {sections[asked[0]].quantization} does not run on a CPU, "
            "and ray.gpu: auto finds no GPU; use auto, float32 or int8, or set ray.gpu: true to "
            "wait for a GPU"
        )


def gpu_share(config: RayConfig, gpu: bool, workers: int = 1) -> float:
    """Return the GPUs of one process, of so many that work on one training."""
    if not gpu:
        return 0.0
    return config.gpus_per_worker if workers == 1 else 1.0  # NCCL refuses two ranks on one GPU


@cache
def _say(found: str) -> None:
    _LOG.info("ray.gpu: auto: %s, and uses it; false keeps off it", found)
