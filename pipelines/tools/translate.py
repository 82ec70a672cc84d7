"""Translate text line for line with any model of the project."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.tools.incoming import groups
from pipelines.tools.line_progress import Progress
from pipelines.tools.model_folder import model_folder
from wd.config import MAX_POSITIONS, DecodingConfig, validated
from wd.errors import DataError
from wd.files import whole

_LOG = logging.getLogger(__name__)


def translate(
    model: str,
    source: Path | None = None,
    target: Path | None = None,
    *,
    asked: Mapping[str, Any] | None = None,
    split: str | None = None,
    device: str = "auto",
    threads: int = 0,
    root: str = "artifacts",
) -> None:
    """Read UTF-8 lines from `source` (default: stdin), write one line each to `target` (stdout).

    Standard output has a line's translation soon after the line has come. `asked` replaces decoding
    settings; the others are those that a registered model came with, else the defaults. With
    `split`, the text's language, each sentence of a line is translated on its own. `target` appears
    when it is whole; warnings tell of translations that were cut and of lines that were too long to
    be translated at once. Raises ArtifactError for a model that does not exist or is damaged,
    DataError for a source that is missing or not UTF-8 and a target that cannot be, ConfigError for
    settings and a language that cannot be.
    """
    from wd.decoding.engine import Translator
    from wd.decoding.faults import warn_of_cuts
    from wd.decoding.passages import language_of, translate_passages

    _check_target(target)
    language = language_of(split) if split else None
    counts: Counter[str] = Counter()
    folder = model_folder(model, root)
    decoding = decoding_of(folder, asked or {})
    translator = Translator.from_directory(
        folder, quantization=decoding.quantization, device=device, threads=threads
    )
    progress = Progress("translate", source, target)

    def translated(lines: list[str]) -> bytes:
        found = translate_passages(translator, lines, decoding, language)
        counts["lines"] += len(found)
        counts["cut"] += sum(passage.is_cut for passage in found)
        counts["long"] += sum(passage.is_long for passage in found)
        return "".join(f"{passage.text}\n" for passage in found).encode()

    with progress, _reader(source) as reader, _writer(target) as writer:
        try:
            for lines in groups(reader):
                writer.write(translated(lines))
                writer.flush()
                progress.done(counts["lines"])
        except BrokenPipeError:
            # The reader of our output, say `head`, has enough; keep Python's exit quiet too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _tell_long(counts["long"], split)
    longest = decoding.max_length
    warn_of_cuts("translate", counts["cut"], counts["lines"], longest, "--max-length")


def _tell_long(lines: int, split: str | None) -> None:
    if lines:
        advice = "" if split else "; --split LANGUAGE translates sentence by sentence"
        _LOG.warning(
            "translate: %d lines had more than %d pieces and were translated in parts%s",
            lines,
            MAX_POSITIONS,
            advice,
        )


def decoding_of(folder: Path, asked: Mapping[str, Any]) -> DecodingConfig:
    """Return how a model decodes: as asked, else as it was registered, else by the defaults.

    Raises ConfigError for settings that cannot be.
    """
    from wd.registry import registered_settings

    return validated(DecodingConfig, registered_settings(folder) | dict(asked), "wd translate")


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
    if path.exists() and not path.is_file():  # a pipe or a device, which is not to be replaced
        with path.open("wb") as stream:
            yield stream
        return
    with whole(path) as partial, partial.open("wb") as stream:
        yield stream
