"""The lines of UTF-8 text, and which of them cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from wd.data.packed import foreign, readable, unpacked
from wd.errors import DataError

LONGEST = 1 << 24
"""A line of this many bytes is refused, so that no file can claim all memory."""


class Lines:
    """The lines of a file, plain or compressed, decoded in chunks.

    Text is split at line feeds and nowhere else. U+FEFF at a line's start, which files put
    together leave behind, is dropped.
    """

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = self._read(stream)
        self.count = 0
        """Lines read so far."""
        self._offset = 0
        self.broken: dict[int, str] = {}
        """By their numbers, those of the last chunk that are not UTF-8 or hold NUL; where and why.

        What was returned for them is not to be used.
        """

    def take(self, limit: int) -> list[str]:
        """Return up to `limit` further lines without their ends.

        Raises DataError if the file is damaged or not text at all.
        """
        taken = list(islice(self._stream, limit))
        block = b"".join(taken)
        if self.count == 0:
            self._check_start(block)
        try:
            text = block.decode("utf-8")
            self.broken = self._find_broken(taken) if "\0" in text else {}
        except UnicodeDecodeError:
            text = block.decode("utf-8", "replace")
            self.broken = self._find_broken(taken)
        lines = text.split("\n")[: len(taken)]
        if "\ufeff" in text:
            lines = [line.lstrip("\ufeff") for line in lines]
        self.count += len(taken)
        self._offset += len(block)
        return lines

    def skip_rest(self) -> int:
        """Read to the end; return the number of lines of the whole file."""
        self.count += sum(1 for _ in self._stream)
        return self.count

    def _read(self, stream: IO[bytes]) -> Iterator[bytes]:
        with readable(self._path):
            for index, line in enumerate(iter(partial(stream.readline, LONGEST), b"")):
                if len(line) == LONGEST:
                    if index == 0:
                        self._check_start(line)
                    raise DataError(
                        f"{self._path}, line {index + 1}: {LONGEST >> 20} MiB or more without a "
                        "line feed: a text has one sentence on each line"
                    )
                yield line

    def _check_start(self, block: bytes) -> None:
        if kind := foreign(block):
            raise DataError(f"{self._path}: not plain text but {kind}")
        if b"\n" not in block and b"\r" in block.rstrip(b"\r"):
            raise DataError(
                f"{self._path}: its lines end in carriage returns alone, so all of it is one line: "
                "turn them into line feeds"
            )

    def _find_broken(self, taken: list[bytes]) -> dict[int, str]:
        found = {}
        offset = self._offset
        for number, line in enumerate(taken, self.count + 1):
            where = f"{self._path}, line {number}"
            try:
                line.decode("utf-8")
                if b"\0" in line:
                    found[number] = f"{where}: a NUL character (UTF-16 is not read)"
            except UnicodeDecodeError as error:
                found[number] = (
                    f"{where}: not UTF-8: byte 0x{line[error.start]:02x} at offset "
                    f"{offset + error.start} of the (unpacked) file"
                )
            offset += len(line)
        return found


@contextmanager
def lines_of(path: Path) -> Iterator[Lines]:
    """Open a text file, plain or compressed; raises DataError if it cannot be opened."""
    with unpacked(path) as stream:
        yield Lines(path, stream)
