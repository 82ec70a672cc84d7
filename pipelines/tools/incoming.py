"""The lines of a stream in groups: full ones of a file, of a pipe those that are there by then."""

import os
import select
import stat
import time
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from wd.errors import DataError

LINES, BYTES = 2048, 1 << 20
"""A group has no more lines, and ends after so many bytes."""
LONGEST = 1 << 24
"""A line of more bytes is refused, so that no input can claim all memory."""
_SECONDS = 0.05
"""So long a pipe's line waits for others."""
_READ = 1 << 16


def groups(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of UTF-8 text without their ends, as many at a time as there are by then.

    A line ends at a line feed, and a carriage return before it; a lone carriage return ends none.
    Nothing may have been read from the stream. Raises DataError for what is not UTF-8, and for a
    line of more than `LONGEST` bytes.
    """
    incoming = _Incoming(stream)
    number = 0
    while taken := incoming.take():
        yield [_text(line, stream, number) for number, line in enumerate(taken, number + 1)]
        number += len(taken)


def _text(line: bytes, stream: BinaryIO, number: int) -> str:
    try:
        return line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        name = getattr(stream, "name", "input")
        raise DataError(f"{name}: line {number} is not UTF-8 (byte {error.start})") from None


class _Incoming:
    """What has been read of a stream and not been taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._file = stream.fileno()
        self._arrives = not stat.S_ISREG(os.fstat(self._file).st_mode)
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []
        """The pieces of a line whose end has not been read."""
        self._read = 0
        """Bytes of it."""
        self._ended = False

    def take(self) -> list[bytes]:
        """Wait for a line, and a little for others; return none at the end."""
        taken: list[bytes] = []
        size, deadline = 0, None
        while len(taken) < LINES and size < BYTES and self._has_line(deadline):
            taken.append(self._lines.popleft())
            size += len(taken[-1])
            if self._arrives and deadline is None:
                deadline = time.monotonic() + _SECONDS
        return taken

    def _has_line(self, deadline: float | None) -> bool:
        """Read until there is a line; give up at the end of the stream or the deadline."""
        while not self._lines and not self._ended:
            if deadline is not None:
                left = max(0.0, deadline - time.monotonic())
                if not select.select([self._file], [], [], left)[0]:
                    return False
            self._take_in(os.read(self._file, _READ))
        return bool(self._lines)

    def _take_in(self, block: bytes) -> None:
        first, *others = block.split(b"\n")
        self._begun.append(first)
        self._read += len(first)
        self._ended = not block
        if self._read > LONGEST:
            name = getattr(self._stream, "name", "input")
            raise DataError(
                f"{name}: {LONGEST >> 20} MiB without a line feed: a text has one sentence, or one "
                "paragraph with --split, on each line"
            )
        if others or (self._ended and self._read):
            self._lines += [b"".join(self._begun), *others[:-1]]
            self._begun, self._read = others[-1:], sum(map(len, others[-1:]))
