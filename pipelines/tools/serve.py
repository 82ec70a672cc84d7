"""Serve models by HTTP until somebody has enough."""

import logging
import signal
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.tools.model_folder import model_folder
from pipelines.tools.translate import decoding_of
from wd.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from wd.serving.messages import Limits

_LOG = logging.getLogger(__name__)


def serve(
    models: Sequence[str],
    *,
    limits: "Limits",
    host: str = "127.0.0.1",
    port: int = 8000,
    asked: Mapping[str, Any] | None = None,
    split: str | None = None,
    device: str = "auto",
    threads: int = 0,
    root: str = "artifacts",
) -> None:
    """Translate what is asked at an address, by each model under the name that it is given here.

    `asked` replaces decoding settings, as in `translate`. Returns after Ctrl-C or SIGTERM. Raises
    ClusterError where Ray Serve is not installed, and what `translate` raises.
    """
    _check_installed()
    from wd.decoding.passages import language_of
    from wd.serving.service import Offer, serving

    if len({*models}) < len(models):
        raise ConfigError(f"{', '.join(models)}: one of them is there twice; name each once")
    language = language_of(split) if split else None
    folders = {model: model_folder(model, root) for model in models}
    offers = [
        Offer(name, folder, decoding_of(folder, asked or {}), device, threads, language)
        for name, folder in folders.items()
    ]
    try:
        with serving(offers, limits, host=host, port=port) as address:
            signal.signal(signal.SIGTERM, _end)  # Ray has put its own handler there
            print(address, flush=True)
            _LOG.info("serving %s at %s; Ctrl-C ends it", ", ".join(models), address)
            signal.pause()
    except KeyboardInterrupt:
        _LOG.info("ended")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def _check_installed() -> None:
    try:
        import wd.serving.service  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"wd serve needs Ray Serve ({error.name or 'ray'} is not installed): pip install -c "
            "constraints.txt 'ray[serve]' (the extra `serve` of weight-distillation)"
        ) from None
