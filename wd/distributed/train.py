"""Ray Train: one training job on some workers, restarted where it stopped when one is lost."""

import json
import platform
import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wd import errors
from wd.config import RayConfig
from wd.distributed.accelerator import gpu_here, gpu_on_cluster, gpu_share
from wd.distributed.interruption import beside, noted
from wd.distributed.resources import Want, await_room
from wd.distributed.runtime import ensure_ray
from wd.logs import Voice
from wd.places import unseen
from wd.store.shelf import here
from wd.training.job import Trained, TrainingJob, result_of
from wd.training.loop import Interrupted, Wish, check_share
from wd.training.memory import give_freed_memory_back
from wd.training.reporter import OnValidation
from wd.training.run import run_job
from wd.training.world import World

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

    from wd.distributed.notes import Note

_LOOKS = 10
"""So many times per progress report the workers look whether they are to stop."""


def fit(job: TrainingJob, config: RayConfig, on_validation: OnValidation | None = None) -> Trained:
    """Carry out a job; with `config.workers` 0 in this process, else through Ray Train.

    A job whose folder holds checkpoints goes on from them; a finished one is not run again.
    `on_validation` is called in this process, with workers in a thread of it. Raises the workers'
    UserError, UserError when workers are lost more than `config.max_failures` times, and
    ClusterError if the cluster has no room for them and will have none. After
    Ctrl-C or SIGTERM it saves and raises Interrupted, a KeyboardInterrupt.
    """
    if (done := result_of(job)) is not None:
        return done
    check_share(job.config, max(config.workers, 1))
    if config.workers:
        _fit_on_workers(job, config, on_validation)
    else:
        _fit_here(job, config, on_validation or _ignore)
    done = result_of(job)
    assert done is not None
    return done


def _fit_here(job: TrainingJob, config: RayConfig, on_validation: OnValidation) -> None:
    device = torch.device("cuda" if gpu_here(config) else "cpu")
    try:
        with noted() as asked:
            run_job(
                job,
                World(device=device),
                on_validation,
                lambda: "stop" if asked.is_set() else "go on",
            )
    finally:
        give_freed_memory_back()  # this process goes on with other stages


def _fit_on_workers(
    job: TrainingJob, config: RayConfig, on_validation: OnValidation | None
) -> None:
    ensure_ray(config)
    from wd.distributed.hearing import heard
    from wd.distributed.notes import passed_on
    from wd.distributed.waiting import Waiting

    gpu = gpu_on_cluster(config)
    gpus = gpu_share(config, gpu, config.workers)
    least = config.min_workers or config.workers
    await_room(Want(config.cpus_per_worker, gpus, "ray.cpus_per_worker", least), job.name)
    want = Want(config.cpus_per_worker, gpus, "ray.cpus_per_worker", config.workers)
    # Our checkpoints say where to go on; Ray's own record of a run is never resumed.
    name = uuid.uuid4().hex[:8]
    stop, failure = _notes(name)
    try:
        with heard(on_validation) as callbacks, noted() as asked, passed_on(asked, stop):
            waiting = Waiting(want, job.name, config.max_failures, Voice.here())
            trainer = _trainer(job, name, config, want, [waiting, *callbacks])
            outcome = beside(trainer.fit).return_value or {}
            if outcome.get("kind") == Interrupted.__name__:
                raise Interrupted
    except Exception as error:
        if type(error).__name__ not in (
            "TrainingFailedError",
            "WorkerGroupError",
            "ControllerError",
        ):
            raise
        raise errors.UserError(f"training the {job.name} failed on its workers: {error}") from error
    finally:
        failure.remove()
    if "kind" in outcome:
        raise errors.from_data(outcome)


def _trainer(
    job: TrainingJob, name: str, config: RayConfig, want: Want, callbacks: list[Any]
) -> "TorchTrainer":
    """Return what trains a job on workers that are each as `want` says."""
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = want.gpus > 0
    return TorchTrainer(
        _work,
        train_loop_config={
            "job": job,
            "name": name,
            "threads": config.threads,
            "gpu": gpu,
            "voice": Voice.here(),
        },
        scaling_config=ScalingConfig(
            num_workers=(config.min_workers, config.workers)
            if config.min_workers
            else config.workers,
            use_gpu=gpu,
            resources_per_worker=want.bundle,
        ),
        torch_config=TorchConfig(timeout_s=600),
        run_config=RunConfig(
            name=name,
            storage_path=str(here(job.scratch) / "ray"),
            failure_config=FailureConfig(
                max_failures=config.max_failures, controller_failure_limit=-1
            ),
            callbacks=callbacks,
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )


def _work(settings: dict[str, Any]) -> dict[str, str]:
    """Run in each worker; a user's mistake comes back as data: it is not worth a restart."""
    import ray.train
    from ray.train.torch import get_device

    from wd.distributed.notes import awaited

    settings["voice"].adopt()
    torch.set_num_threads(settings["threads"])
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size(), get_device())
    report: Callable[[dict[str, Any]], None] = ray.train.report
    if settings["gpu"] and world.device.type == "cpu":
        return errors.to_data(errors.ConfigError(_no_cuda()))
    job, (stop, failure) = settings["job"], _notes(settings["name"])
    if unseen := _unseen(job, world):
        return errors.to_data(errors.UserError(unseen))
    if (failed := failure.read()) is not None:
        return dict(json.loads(failed))
    try:
        with awaited(stop) if world.rank == 0 else nullcontext() as asked:
            run_job(job, world, report, _Wishes(job, asked))
    except Interrupted:
        return {"kind": Interrupted.__name__}
    except errors.UserError as error:
        told = errors.to_data(error)
        if world.size == 1:
            return told
        # The others may be waiting for this one: let Ray start all again, to find this.
        failure.leave(json.dumps(told))
        raise
    return {}


def _no_cuda() -> str:
    return (
        f"ray.gpu: {platform.node()} has a GPU for this worker, but torch {torch.__version__} sees "
        "none there: install a torch with CUDA and a driver for it, or set ray.gpu: false"
    )


def _unseen(job: TrainingJob, world: World) -> str:
    """Return, on all workers alike, what is wrong if one of them does not see the job's data.

    What lies in a store is fetched for that.
    """
    absences = [_absence(job)]
    if world.size > 1:
        absences *= world.size
        torch.distributed.all_gather_object(absences, absences[0])
    return next(filter(None, absences), "")


def _absence(job: TrainingJob) -> str:
    try:
        absent = [one for one in (*job.train, job.held_out.shards) if not Path(one).is_dir()]
    except errors.ArtifactError as error:  # of a store
        return f"{platform.node()}: {error}"
    return unseen(absent[0]) if absent else ""


class _Wishes:
    """What a worker is to do: stop if the driver says so, save once if a node is to be taken.

    All workers are asked equally often, so they look at the same times.
    """

    def __init__(self, job: TrainingJob, asked: threading.Event | None) -> None:
        self._stop = asked
        self._every = max(1, job.config.log_every // _LOOKS)
        self._asked = 0
        self._warned = False

    def __call__(self) -> Wish:
        import ray.train
        import ray.train.collective

        self._asked += 1
        if self._asked % self._every:
            return "go on"
        # Both bring all workers the same answer.
        stop = self._stop is not None and self._stop.is_set()
        if ray.train.collective.broadcast_from_rank_zero(stop):
            return "stop"
        warned, self._warned = self._warned, ray.train.get_preemption_info() is not None
        return "save" if self._warned and not warned else "go on"


def _notes(name: str) -> "tuple[Note, Note]":
    """Return a training's notes: that it is to stop, and why it failed."""
    from wd.distributed.notes import Note

    return Note(f"wd-{name}-stop"), Note(f"wd-{name}-failure")


def _ignore(figures: dict[str, Any]) -> None:
    del figures
