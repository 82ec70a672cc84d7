"""What is made below a root, and what is being made there: how far, and who does or did it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.fs as pafs
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipelines.context import STAGES
from wd.artifacts import Store
from wd.errors import ArtifactError
from wd.manifest import MANIFEST, MOST_BYTES, parse_manifest
from wd.places import filesystem_of
from wd.status import Unfinished, unfinished

WIDTH = 110
_STYLES = {"making": "green", "silent": "red", "failed": "red", "interrupted": "yellow"}


def status(root: str) -> dict[str, Any]:
    """Return what is `made` and what is `unfinished` below a root, as plain data.

    Raises ArtifactError if there is no such root.
    """
    root = Store(root).root
    filesystem, base = filesystem_of(root)
    if filesystem.get_file_info(base).type != pafs.FileType.Directory:
        raise ArtifactError(f"{root}: there is no such root; `wd run` makes it")
    now = datetime.now(UTC)
    return {
        "root": root,
        "time": now.isoformat(timespec="seconds"),
        "unfinished": [_unfinished(one, now) for one in unfinished(root)],
        "made": sorted(_made(filesystem, base), key=_order),
    }


def view(told: Mapping[str, Any]) -> Group:
    """Return what `status` told as tables: what is being made last, where a terminal ends."""
    parts = [_made_table(told)] if told["made"] else []
    parts += [_unfinished_table(one, told["time"]) for one in told["unfinished"]]
    if not parts:
        return Group(f"{told['root']}: nothing is made here yet")
    return Group(*parts)


def _made(filesystem: pafs.FileSystem, base: str) -> list[dict[str, Any]]:
    found = []
    for stage in _below(filesystem, base):
        for folder in _below(filesystem, stage.path):
            path = f"{folder.path}/{MANIFEST}"
            if filesystem.get_file_info(path).type == pafs.FileType.File:
                with filesystem.open_input_stream(path) as stream:
                    content = stream.read(MOST_BYTES)
                found.append(_described(content, f"{stage.base_name}/{folder.base_name}", path))
    return found


def _below(filesystem: pafs.FileSystem, path: str) -> list[pafs.FileInfo]:
    """Return the folders of stages or artifacts below a path; hidden ones are unfinished."""
    entries = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    folders = [one for one in entries if one.type == pafs.FileType.Directory]
    return [one for one in folders if not one.base_name.startswith(".")]


def _described(manifest: bytes, name: str, path: str) -> dict[str, Any]:
    described: dict[str, Any] = {"artifact": name, "stage": name.partition("/")[0]}
    try:
        tree = parse_manifest(manifest, path)
    except ArtifactError as error:
        return described | {"damage": str(error)}
    size = sum(file["bytes"] for file in tree["files"].values())
    return described | {
        "created": tree.get("created"),
        "seconds": tree.get("seconds"),
        "bytes": size,
    }


def _order(made: Mapping[str, Any]) -> tuple[int, str]:
    stage = made["stage"]
    return (STAGES.index(stage) if stage in STAGES else len(STAGES), str(made.get("created")))


def _unfinished(one: Unfinished, now: datetime) -> dict[str, Any]:
    told = one.model_dump(mode="json", exclude={"status"}, exclude_none=True)
    if one.status is None:
        return told | {"state": "left"}
    state = "silent" if one.status.is_silent(now) else one.status.state
    return told | one.status.model_dump(mode="json", exclude_none=True) | {"state": state}


def _made_table(told: Mapping[str, Any]) -> Table:
    table = Table(title=f"made below {told['root']}", title_justify="left")
    for column in ("stage", "artifact", "when", "took", "size"):
        table.add_column(column, justify="right" if column in ("took", "size") else "left")
    for one in told["made"]:
        name = one["artifact"].partition("/")[2]
        if "damage" in one:
            table.add_row(one["stage"], name, Text(one["damage"], "red"), "", "")
            continue
        when, took = one["created"], one["seconds"]
        size = f"{one['bytes'] / 1e6:,.1f} MB"
        table.add_row(one["stage"], name, when and _clock(when), _span(took or 0), size)
    return table


def _unfinished_table(one: Mapping[str, Any], now: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    state = one["state"]
    name = one.get("artifact", f"{one['stage']}/...-{one['hash']}")
    table.add_row(Text("unfinished" if state == "left" else state, _STYLES.get(state, "")), name)
    for label, text in _lines(one, datetime.fromisoformat(now)):
        table.add_row(f"  {label}", text)
    return table


def _lines(one: Mapping[str, Any], now: datetime) -> list[tuple[str, str]]:
    lines = []
    if one["state"] != "left":
        who = f"{one.get('user', '?')}@{one['host']}, process {one['process']}"
        lines.append(("by", f"{who}, since {_clock(one['since'])} ({_ago(one['since'], now)})"))
        lines.append(("command", one["command"]))
    if one["state"] == "silent":
        since = f"no sign of life since {_clock(one['beat'])} ({_ago(one['beat'], now)})"
        lines.append(("", f"{since}; the same command goes on"))
    if "error" in one:
        lines.append(("error", one["error"]))
    if progress := one.get("progress"):
        lines.append(("progress", f"{_progress(progress)} ({_ago(progress['at'], now)})"))
    if validation := one.get("validation"):
        lines.append(("validation", _validation(validation)))
    if "checkpoint" in one:
        lines.append(("checkpoint", f"update {one['checkpoint']}"))
    if "mlflow" in one:
        lines.append(("MLflow", one["mlflow"]))
    return lines


def _progress(progress: Mapping[str, Any]) -> str:
    parts = [f"{progress['done']:,} of {progress['of']:,} {progress['unit']}"]
    if "loss" in progress:
        parts.append(f"loss {progress['loss']:.3f}")
    if "tokens_per_second" in progress:
        parts.append(f"{progress['tokens_per_second']:,.0f} target pieces/s")
    if "seconds_left" in progress:
        parts.append(f"{_span(progress['seconds_left'])} left")
    return ", ".join(parts)


def _validation(figures: Mapping[str, Any]) -> str:
    numbers = {key: value for key, value in figures.items() if key not in ("update", "at")}
    shown = (f"{name} {value:.2f}" for name, value in numbers.items())
    return f"update {figures['update']}: {', '.join(shown)}"


def _clock(time: str) -> str:
    """Return a time as the reader's clock has it."""
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S}"


def _ago(time: str, now: datetime) -> str:
    return f"{_span(max(0.0, (now - datetime.fromisoformat(time)).total_seconds()))} ago"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
