"""Bring a model of another project here, as a model directory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from pipelines.tools.brought import brought
from wd.artifacts import Identity
from wd.config import ModelConfig, StackShape, Wanted
from wd.interop.importing import CLOSE, import_model
from wd.interop.new_folder import new_folder
from wd.interop.source import VERSION
from wd.manifest import describe_files, filled_manifest, write_manifest


def import_to(
    model: str, out: Path, root: str = "artifacts", into: str | None = None
) -> dict[str, Any]:
    """Write the model directory `out`, with its manifest; return what was found, as plain data.

    `into` is the target language of a model that has several. Raises a UserError for a model that
    cannot be imported, and where `out` exists already.
    """
    started = datetime.now(UTC)
    with new_folder(out) as partial:
        source = brought(Wanted(model, into, root))
        identity = Identity("teacher", out.name, VERSION, source.identity, {})
        metrics = import_model(source, partial)
        files = describe_files(partial)
        manifest = filled_manifest(identity, metrics=metrics, files=files, started=started)
        write_manifest(partial, manifest)
    shape = source.config.model_dump(mode="json")
    return {"path": str(out), "model": shape, "into": into, **metrics}


def table(found: dict[str, Any]) -> Table:
    """Return what was imported as a table for the terminal."""
    config = ModelConfig.model_validate(found["model"])
    rows = Table(show_header=False, title=f"{found['path']}: from a {found['kind']} model")
    for stack in ("encoder", "decoder"):
        rows.add_row(stack, _told(getattr(config, stack)))
    rows.add_row("layers", f"{config.norm}-norm, {config.activation}")
    ours, theirs = config.source_vocabulary, config.target_vocabulary
    rows.add_row("pieces", f"{ours:,} source, {theirs:,} target")
    if found["into"] is not None:
        rows.add_row("into", f"{found['into']}, whose tag stands before every source")
    rows.add_row("tied embeddings", config.tied_embeddings)
    rows.add_row("parameters", f"{found['parameters']:,}")
    rows.add_row("tensors", f"{found['tensors']:,} read, none left over")
    rows.add_row("logits", _compared(found["difference"]))
    return rows


def _told(shape: StackShape) -> str:
    return (
        f"{shape.layers} layers of width {shape.d_model}, {shape.heads} heads, "
        f"feed-forward {shape.feed_forward}"
    )


def _compared(difference: float | None) -> str:
    if difference is None:
        return "not compared with the source's: what runs it is not installed (the extra interop)"
    return f"within {difference:.1g} of the source's (at most {CLOSE:g})"
