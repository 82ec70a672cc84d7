"""Translate text line for line with any model of the project."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pipelines.tools.model_folder import model_folder
from wd.errors import DataError
from wd.files import whole
from wd.model.sizes import Quantization

CHUNK = 2048
"""Lines that are sorted and decoded together; on a terminal each line is answered at once."""


def translate(
    model: str,
    source: Path | None = None,
    target: Path | None = None,
    *,
    beam_size: int = 6,
    max_length: int = 256,
    length_penalty: float = 1.0,
    batch_tokens: int = 4096,
    quantization: Quantization = "float32",
    device: str = "auto",
    threads: int = 0,
    root: str = "artifacts",
) -> None:
    """Read UTF-8 lines from `source` (default: stdin), write one line each to `target` (stdout).

    `target` appears when it is whole. Raises ArtifactError for a model that does not exist or is
    damaged, DataError for a source that is missing or not UTF-8 and a target that cannot be.
    """
    from wd.decoding.engine import Translator

    _check_target(target)
    translator = Translator.from_directory(
        model_folder(model, root), quantization=quantization, device=device, threads=threads
    )

    def translated(lines: list[str]) -> list[str]:
        found = translator.translate(
            lines,
            beam_size=beam_size,
            length_penalty=length_penalty,
            max_length=max_length,
            batch_tokens=batch_tokens,
        )
        return [hypothesis.text for hypothesis in found]

    with _reader(source) as reader, _writer(target) as writer:
        try:
            _pump(reader, writer, translated, 1 if reader.isatty() else CHUNK)
        except BrokenPipeError:
            # The reader of our output, say `head`, has enough; keep Python's exit quiet too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
