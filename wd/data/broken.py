"""What is done about the rows of a corpus that cannot be used."""

from collections import Counter
from collections.abc import Mapping

from wd.errors import DataError

_LISTED = 10
"""Line numbers that an error names."""


class BrokenRows:
    """The rows of a file, or of two aligned ones, that cannot be used.

    They are left out and counted in `removed`, or all told in one error.
    """

    def __init__(self, skip: bool, removed: Counter[str]) -> None:
        self._skip = skip
        self._removed = removed
        self._first = ""
        self._lines: list[int] = []
        self._count = 0

    @property
    def fatal(self) -> bool:
        """Whether `check` is going to raise."""
        return self._count > 0 and not self._skip

    def note(self, broken: Mapping[int, str]) -> None:
        """Take in the broken rows of a chunk: by number, where each is and why."""
        for number in sorted(broken)[: _LISTED - len(self._lines)]:
            self._first = self._first or broken[number]
            self._lines.append(number)
        self._count += len(broken)
        if broken and self._skip:
            self._removed["broken"] += len(broken)

    def check(self, rows: int) -> None:
        """Raise DataError with all that is broken among the `rows` read, unless it is left out."""
        if not self.fatal:
            return
        message = self._first
        if self._count > 1:
            numbers = ", ".join(map(str, self._lines)) + ", ..." * (self._count > len(self._lines))
            message += f"; in all {self._count} of {rows} are broken: {numbers}"
        raise DataError(f"{message}; mend this, or corpus.skip_broken_rows: true leaves it out")
