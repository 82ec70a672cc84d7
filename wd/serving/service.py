"""Models as deployments of Ray Serve, behind one that answers HTTP."""

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

from wd.config import DecodingConfig, RayConfig
from wd.distributed.runtime import ensure_ray, is_own
from wd.errors import ClusterError
from wd.serving.messages import BusyError, Description, Limits
from wd.serving.model import Model
from wd.serving.web import respond

_NAME = "weight-distillation"
_BATCHES = 2
"""So many batches of a model are with its replica: one is translated, one gathers."""
_CONNECTIONS = 10_000
"""Open at once; how many questions wait is for each model to say."""


@dataclass(frozen=True)
class Offer:
    """A model to serve."""

    name: str
    folder: Path
    decoding: DecodingConfig
    device: str = "auto"
    threads: int = 0
    language: str | None = None
    """Of texts whose sentences are translated one by one."""

    def load(self) -> Model:
        """Return the model, loaded."""
        return Model(
            self.name,
            self.folder,
            self.decoding,
            device=self.device,
            threads=self.threads,
            language=self.language,
        )


@contextmanager
def serving(offers: Sequence[Offer], limits: Limits, *, host: str, port: int) -> Iterator[str]:
    """Serve models, in processes of this machine, until the end of the block; yield the address.

    Raises what loading a model raises, and ClusterError for an address that is taken or a service
    that does not start.
    """
    for offer in offers:
        offer.load()  # what is wrong with a model is told here, not by a process that is restarted
    _check_free(host, port)
    ensure_ray(RayConfig())
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    try:
        serve.start(http_options=HTTPOptions(host=host, port=port), logging_config=quiet)
        serve.run(_application(offers, limits), name=_NAME, logging_config=quiet)
        yield f"http://{host}:{port}"
    except (RuntimeError, ray.exceptions.RayError) as error:
        raise ClusterError(f"the service did not start: {str(error).splitlines()[0]}") from error
    finally:
        if is_own():
            serve.shutdown()
            ray.shutdown()
        else:
            serve.delete(_NAME)


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ClusterError(
                f"{host}:{port} cannot be listened at ({error.strerror}); choose another with "
                "--port or --host"
            ) from None


def _application(offers: Sequence[Offer], limits: Limits) -> serve.Application:
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}  # where the models' files are
    replicas = [
        serve.deployment(
            name=f"model-{number}",
            max_ongoing_requests=_BATCHES * limits.batch,
            max_queued_requests=limits.queue,
            max_constructor_retry_count=1,
            ray_actor_options={"num_cpus": 0, "resources": here},
        )(_Replica).bind(offer, limits)
        for number, offer in enumerate(offers)
    ]
    web = serve.deployment(max_ongoing_requests=_CONNECTIONS, ray_actor_options={"num_cpus": 0})
    return web(_Web).bind(limits, [offer.name for offer in offers], *replicas)


class _Replica:
    """A model's process."""

    def __init__(self, offer: Offer, limits: Limits) -> None:
        self._model = offer.load()
        self._together.set_max_batch_size(limits.batch)
        self._together.set_batch_wait_timeout_s(limits.wait_milliseconds / 1000)

    async def translate(self, text: str) -> tuple[str, int]:
        translated: tuple[str, int] = await self._together(text)
        return translated

    @serve.batch
    async def _together(self, texts: list[str]) -> list[tuple[str, int]]:
        # In a thread, so that further requests are taken in meanwhile.
        return await asyncio.to_thread(self._model.translate, texts)

    async def describe(self) -> Description:
        return self._model.describe()


class _Remote:
    """A model in another process."""

    def __init__(self, replica: DeploymentHandle) -> None:
        self._replica = replica

    async def translate(self, text: str) -> tuple[str, int]:
        try:
            translated: tuple[str, int] = await self._replica.translate.remote(text)
        except BackPressureError:
            raise BusyError from None
        return translated

    async def describe(self) -> Description:
        try:
            description: Description = await self._replica.describe.remote()
        except BackPressureError:
            raise BusyError from None
        return description


class _Web:
    """The process that answers HTTP."""

    def __init__(self, limits: Limits, names: Sequence[str], *replicas: DeploymentHandle) -> None:
        self._limits = limits
        self._models: Mapping[str, _Remote] = dict(zip(names, map(_Remote, replicas), strict=True))

    async def __call__(self, request: Request) -> Response:
        return await respond(request, self._models, self._limits)
