"""Translate text line for line with any model of the project."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.tools.line_progress import Progress
from pipelines.tools.model_folder import model_folder
from wd.config import DecodingConfig, validated
from wd.errors import DataError
from wd.files import whole

CHUNK = 2048
"""Lines that are sorted and decoded together; on a terminal each line is answered at once."""


def translate(
    model: str,
    source: Path | None = None,
    target: Path | None = None,
    *,
    asked: Mapping[str, Any] | None = None,
    device: str = "auto",
    threads: int = 0,
    root: str = "artifacts",
) -> None:
    """Read UTF-8 lines from `source` (default: stdin), write one line each to `target` (stdout).

    `asked` replaces decoding settings; the others are those that a registered model came with,
    else the defaults. `target` appears when it is whole; a warning tells of translations that were
    cut. Raises ArtifactError for a model that does not exist or is damaged, DataError for a source
    that is missing or not UTF-8 and a target that cannot be.
    """
    from wd.decoding.engine import Translator
    from wd.decoding.faults import count_cut, warn_of_cuts

    _check_target(target)
    counts: Counter[str] = Counter()
    folder = model_folder(model, root)
    decoding = decoding_of(folder, asked or {})
    translator = Translator.from_directory(
        folder,
        quantization=decoding.quantization,
        device=device,
        threads=threads,
    )

    progress = Progress("translate", source, target)

    def translated(lines: list[str]) -> list[str]:
        found = translator.translate(lines, decoding)
        counts.update(lines=len(lines), cut=count_cut(found))
        progress.done(counts["lines"])
        return [hypothesis.text for hypothesis in found]

    with progress, _reader(source) as reader, _writer(target) as writer:
        try:
            _pump(reader, writer, translated, 1 if reader.isatty() else CHUNK)
        except BrokenPipeError:
            # The reader of our output, say `head`, has enough; keep Python's exit quiet too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    longest = decoding.max_length
    warn_of_cuts("translate", counts["cut"], counts["lines"], longest, "--max-length")


def decoding_of(folder: Path, asked: Mapping[str, Any]) -> DecodingConfig:
    """Return how a model decodes: as asked, else as it was registered, else by the defaults.

    Raises ConfigError for settings that cannot be.
    """
    from wd.registry import registered_settings

    return validated(DecodingConfig, registered_settings(folder) | dict(asked), "wd translate")


def _pump(
    reader: BinaryIO, writer: BinaryIO, translated: Callable[[list[str]], list[str]], chunk: int
) -> None:
    lines = _lines(reader)
    for first in lines:
        for text in translated([first, *islice(lines, chunk - 1)]):
            writer.write(text.encode() + b"\n")
        writer.flush()


def _lines(reader: BinaryIO) -> Iterator[str]:
    """Yield the lines without their ends; a lone carriage return ends none."""
    for number, line in enumerate(reader, 1):
        try:
            yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            name = getattr(reader, "name", "input")
            raise DataError(f"{name}: line {number} is not UTF-8 (byte {error.start})") from None


@contextmanager
def _reader(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdin.buffer
        return
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path}: no such file to translate") from None
    with stream:
        yield stream


def _check_target(path: Path | None) -> None:
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        why = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise DataError(f"{path}: cannot be written: {why}")


@contextmanager
def _writer(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    with whole(path) as partial, partial.open("wb") as stream:
        yield stream
