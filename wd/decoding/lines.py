"""What a line of text is to decoding, and what comes out for it."""

import unicodedata
from dataclasses import dataclass

from wd.data.schema import EOS

_NO_INK = {"Cc", "Cf", "Zl", "Zp", "Zs"}
# Letters, marks and a symbol without a picture: fillers, joiners, the empty braille cell.
_BLANKS = {*"\u034f\u115f\u1160\u2800\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}


@dataclass(frozen=True)
class Hypothesis:
    """One line's translation."""

    text: str
    score: float
    """Log-probability over length to the power of the length penalty; 0 for a blank line."""
    pieces: tuple[int, ...]
    """Its ids, the end marker last unless it was cut; none for a blank line."""
    source: tuple[int, ...]
    """The line's own ids, the end marker last; none for a blank line."""

    @property
    def tokens(self) -> int:
        """Pieces in it, the end marker included; 0 for a blank line."""
        return len(self.pieces)

    @property
    def is_cut(self) -> bool:
        """Whether it would have gone on beyond `max_length`."""
        return bool(self.pieces) and self.pieces[-1] != EOS


def is_blank(line: str) -> bool:
    """Whether nothing in a line can be seen: white space, controls, joiners, soft hyphens."""
    return all(
        unicodedata.category(character) in _NO_INK or character in _BLANKS for character in line
    )
