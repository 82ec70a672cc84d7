"""Turn a model into what another program can run."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.tools.model_folder import model_folder
from wd.config import Quantization
from wd.errors import ArtifactError, ConfigError
from wd.identity import Identity
from wd.manifest import describe_files, filled_manifest, write_manifest

FORMATS = ("ctranslate2", "hf")
VERSION = 2
EXPORT = "export"
"""The stage that an export's manifest names."""


def export(
    model: str,
    out: Path,
    *,
    format: str = "ctranslate2",  # noqa: A002 - the option's name
    quantization: Quantization = "float32",
    shortlists: bool = False,
    root: str = "artifacts",
    check: bool = True,
) -> dict[str, Any]:
    """Write `model` to the new folder `out`, with a manifest; return the manifest's figures.

    With `shortlists` a CTranslate2 folder has those of the text that the model was trained on.
    Raises ConfigError for an unknown format and for what it cannot hold, ArtifactError for a model
    that does not exist, is damaged, or whose text is not there for its shortlists, where `out`
    exists already, and for an export that does not do what the model does.
    """
    _check_format(format, quantization, shortlists)
    from wd.interop.model_directory import ModelDirectory
    from wd.interop.new_folder import new_folder

    started, place = datetime.now(UTC), model_folder(model, root)
    pairs = _pairs(model, place, root) if shortlists else None
    fill, compare = _ways(format, quantization)
    with new_folder(out) as partial:
        fill(place, partial)
        if pairs:
            _write_shortlists(partial, pairs)
        metrics: dict[str, Any] = {"bytes": _bytes(partial)}
        metrics |= compare(model, place, partial, root) if check else {"probe": None}
        held = {"format": format, "quantization": quantization, "shortlists": shortlists}
        config = held | {"sha256": ModelDirectory(place).identity["sha256"]}
        identity = Identity(EXPORT, out.name, VERSION, config, {})
        files = describe_files(partial)
        write_manifest(
            partial, filled_manifest(identity, metrics=metrics, files=files, started=started)
        )
    return {"path": str(out), **held, **metrics}


def _check_format(
    format: str,  # noqa: A002
    quantization: Quantization,
    shortlists: bool,
) -> None:
    if format == "onnx":
        raise ConfigError(
            "format onnx: a graph of ONNX holds no beam search, so it is not written here; use "
            f"{' or '.join(FORMATS)}: exporters for ONNX read what hf writes"
        )
    if format not in FORMATS:
        raise ConfigError(f"format {format}: not known; use {' or '.join(FORMATS)}")
    if format == "hf" and quantization != "float32":
        raise ConfigError(f"quantization {quantization}: format hf holds float32; leave it out")
    if format == "hf" and shortlists:
        raise ConfigError("shortlists: format hf has none; leave them out")


def _pairs(model: str, place: Path, root: str) -> Iterator[tuple[str, str]]:
    from pipelines.tools.lineage import training_pairs

    if pairs := training_pairs(model, place, root):
        return pairs
    raise ArtifactError(
        f"{model}: the text that it was trained on is not there, and shortlists are counted on it; "
        "name an artifact whose corpus is still below its root, or leave them out"
    )


def _write_shortlists(folder: Path, pairs: Iterator[tuple[str, str]]) -> None:
    from wd.data.tokenizer import Tokenizer
    from wd.interop.shortlists import counted_shortlists, write_shortlists

    write_shortlists(folder, counted_shortlists(Tokenizer.load(folder), pairs))


def _ways(
    format: str,  # noqa: A002
    quantization: Quantization,
) -> tuple[Callable[[Path, Path], None], Callable[[str, Path, Path, str], dict[str, Any]]]:
    """Return how a folder of this format is filled, and how it is compared with its model."""
    if format == "hf":
        from wd.interop.marian_hf_check import check_marian_hf
        from wd.interop.marian_hf_export import fill_marian_hf

        return fill_marian_hf, lambda model, place, made, root: check_marian_hf(place, made)
    from pipelines.tools.lineage import probe_text
    from wd.interop.ctranslate2 import fill_ctranslate2
    from wd.interop.ctranslate2_check import check_ctranslate2

    def compare(model: str, place: Path, made: Path, root: str) -> dict[str, Any]:
        return check_ctranslate2(place, made, quantization, probe_text(model, place, root))

    return lambda place, made: fill_ctranslate2(place, made, quantization), compare


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def told(found: dict[str, Any]) -> str:
    """Return in a line what an export is and how it was checked."""
    words = [f"{found['bytes'] / 1e6:.1f} MB"]
    if found["probe"] is None:
        return f"{words[0]}, not checked"
    if "as_in_torch" in found:
        words.append(
            f"{found['as_in_torch']} of {found['sentences']} greedy translations as torch's"
        )
    elif found["difference"] is None:
        words.append("not compared: transformers is not installed (the extra interop)")
    else:
        words.append(f"logits within {found['difference']:.1g} of torch's")
    if "bleu" in found:
        words.append(f"BLEU {found['bleu']:.2f} (float32 {found['float32_bleu']:.2f})")
    if "milliseconds" in found:
        words.append(_speed(found))
    if with_lists := found.get("with_shortlists"):
        words.append(f"with shortlists BLEU {with_lists['bleu']:.2f}, {_speed(with_lists)}")
    return f"{', '.join(words)}; on {found['probe']}"


def _speed(found: dict[str, Any]) -> str:
    per_second, alone = found["sentences_per_second"], found["milliseconds"]
    return f"{per_second:.1f} sentences/s, {alone:.1f} ms for one alone"
