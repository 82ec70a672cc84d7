"""What to tell when a translation does not fit its GPU."""

from contextlib import AbstractContextManager
from functools import partial

from wd import errors
from wd.config import DecodingConfig


def memory_explained(
    device: str, settings: DecodingConfig | None = None
) -> AbstractContextManager[None]:
    """Turn the engine's lack of memory into a DeviceMemoryError that names the keys to lower.

    `settings` are those of the translation; without them a model is being loaded.
    """
    return errors.memory_explained(partial(_explanation, device=device, settings=settings))


def _explanation(lack: str, device: str, settings: DecodingConfig | None) -> str:
    told = "to load a model" if settings is None else "to translate"
    lines = [f"out of memory on {device}, {told}: {lack}"]
    if settings is not None:
        lines.append(
            f"lower batch_tokens ({settings.batch_tokens}) or beam_size ({settings.beam_size}): "
            "pseudo.batch_tokens, evaluation.batch_tokens, or wd translate --batch-tokens"
        )
    lines.append("quantization: float16 or int8 holds the model in fewer bytes")
    lines.append(
        "where a training has the same GPU, bleu_sentences: 0 validates without translating"
    )
    return "\n  ".join(lines)
