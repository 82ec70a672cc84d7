"""Translating for a comparison: in one process of the cluster, with what that takes."""

import warnings
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from wd import errors
from wd.config import RayConfig
from wd.distributed.accelerator import decoding_device, gpu_on_cluster, gpu_share
from wd.distributed.resources import TELL_SECONDS, Want, await_room, most_cpus, say_waiting
from wd.distributed.runtime import ensure_ray, lost
from wd.logs import Voice

Result = TypeVar("Result", covariant=True)


class Translating(Protocol[Result]):
    """Work that loads models and translates; `threads` 0 means all CPUs."""

    def __call__(self, *, device: str, threads: int) -> Result:
        """Do it."""


def translate_apart(work: Translating[Result], config: RayConfig, who: str) -> Result:
    """Return what `work` returns, called in a process of the cluster's, or here without workers.

    The driver may be on a machine that has no card, few CPUs, and other users. On the CPU the
    process gets `evaluation_cpus`, so by default a node to itself, and as many threads; on a GPU
    `map_cpus` and its share of the GPU. Raises the work's UserError, UserError if the process is
    lost more than `max_failures` times, and ClusterError if the cluster has no room for it and will
    have none. Warnings of the work are given here.
    """
    device = decoding_device(config)
    if not config.workers:
        return work(device=device, threads=int(config.evaluation_cpus or 0))
    ensure_ray(config)
    gpus = gpu_share(config, gpu_on_cluster(config))
    if not (gpus or config.evaluation_cpus or most_cpus()):  # scaled to nothing: let a node come
        some = Want(config.map_cpus, 0.0, "ray.map_cpus")
        await_room(some, who)
        _in_actor(_nothing, device, 1, some, who, config.max_failures)
    cpus = config.evaluation_cpus or (None if gpus else most_cpus()) or config.map_cpus
    want = Want(cpus, gpus, "ray.map_cpus" if gpus else "ray.evaluation_cpus")
    await_room(want, who)
    told = _in_actor(work, device, max(1, int(cpus)), want, who, config.max_failures)
    for message in told["warnings"]:
        warnings.warn(message, stacklevel=2)
    if "error" in told:
        raise errors.from_data(told["error"])
    result: Result = told["result"]
    return result


def _nothing(*, device: str, threads: int) -> None:
    """Do nothing, on a node that is there for it."""


def _in_actor(
    work: Callable[..., Any], device: str, threads: int, want: Want, who: str, most_failures: int
) -> dict[str, Any]:
    import ray

    actor = ray.remote(num_cpus=want.cpus, num_gpus=want.gpus)(_Apart)
    for failures in range(most_failures + 1):
        made = actor.remote()
        try:
            while not ray.wait([made.is_there.remote()], timeout=TELL_SECONDS)[0]:
                say_waiting(want, who)
            call = made.do.remote(work, device, threads, Voice.here())
            told: dict[str, Any] = ray.get(call)
            return told
        except ray.exceptions.RayActorError as error:
            if failures == most_failures:
                raise lost(who, most_failures, error) from error
        finally:
            ray.kill(made)
    raise AssertionError


class _Apart:
    """The process; a user's mistake comes back as data, not as a remote traceback."""

    def is_there(self) -> bool:
        return True

    def do(
        self, work: Callable[..., Any], device: str, threads: int, voice: Voice
    ) -> dict[str, Any]:
        voice.adopt()
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always", UserWarning)
            try:
                told = {"result": work(device=device, threads=threads)}
            except errors.UserError as error:
                told = {"error": errors.to_data(error)}
        ours = [str(one.message) for one in given if one.category is UserWarning]
        return {**told, "warnings": ours}
