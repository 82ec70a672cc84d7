"""A plan for a GPU as tables for the terminal."""

from typing import Any

from rich.table import Table

from pipelines.tools.plan_gpu import CARDS


def gpu_tables(planned: dict[str, Any]) -> list[Table]:
    """Return memory, hours and settings as tables."""
    found = [_memory(planned), _hours(planned)]
    return [*found, _settings(planned)] if planned["settings"] else found


def notes(planned: dict[str, Any]) -> list[str]:
    """Return what the figures rest on, a line each."""
    card = planned["card"]
    facts = (
        f"{card['name']}: {card['memory']:g} GB, {card['tflops']:g} TFLOP/s in bfloat16, "
        f"{card['bandwidth']:g} GB/s ({card['source']})"
    )
    terms = "state: weights, gradients, Adam's moments; shared by N: with sharding: full"
    return [facts, terms, *planned["assumptions"]]


def _memory(planned: dict[str, Any]) -> Table:
    table = Table(
        *("training", "KB/piece", "state", "batch", "in all", "fits", "largest batch_tokens"),
        title=f"GB per card at batches of {planned['batch_tokens']:,} pieces; "
        f"{planned['usable_gb']:g} can be used",
    )
    for name, stage in planned["stages"].items():
        kilobytes = (stage["activation_bytes_per_piece"] + stage["loss_bytes_per_piece"]) / 1e3
        for way in ("ddp", "sharded"):
            held = stage[way]
            if way == "sharded" and held["gb"] == stage["ddp"]["gb"]:
                continue
            label = name if way == "ddp" else f"  shared by {held['cards']}"
            batch = held["gb"]["batch"]
            table.add_row(
                label,
                f"{kilobytes:,.0f}" if way == "ddp" else "",
                f"{held['total_gb'] - batch:,.2f}",
                f"{batch:,.2f}",
                f"{held['total_gb']:,.2f}",
                "yes" if held["fits"] else "no",
                f"{held['largest_batch_tokens']:,}",
            )
    return table


def _hours(planned: dict[str, Any]) -> Table:
    table = Table(
        *("training", "pieces per update", *(f"{cards}" for cards in CARDS)),
        title=f"hours by number of cards, at an MFU of {planned['mfu']:g} (assumed)",
    )
    for name, stage in planned["stages"].items():
        hours = (f"{stage['hours'][str(cards)]:,.2f}" for cards in CARDS)
        table.add_row(name, f"{stage['pieces_per_update']:,}", *hours)
    return table


def _settings(planned: dict[str, Any]) -> Table:
    keys = ("ray.workers", "shards.batch_tokens", "batches_per_update")
    table = Table(*keys, title="the largest batches that fit, for the same update")
    for each in planned["settings"]:
        table.add_row(*(f"{each[key]:,}" for key in keys))
    return table
