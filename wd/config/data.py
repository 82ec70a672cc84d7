"""The text: where it comes from, what of it is kept, and how it becomes batches of pieces."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from wd.config.decoding import MAX_POSITIONS
from wd.config.names import TestSets
from wd.config.shapes import Config, Fraction, PositiveInt, Vocabulary

SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>")
"""The special tokens' spelling, in the order of their ids."""
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""What SentencePiece calls the pieces that stand for one byte each."""
Column = Annotated[str, Field(coerce_numbers_to_str=True, strict=False)]


class FilterConfig(Config):
    """Which sentence pairs are dropped.

    Words are separated by white space; where the script has none (Chinese, Japanese, Thai), two
    characters count as a word.
    """

    min_words: PositiveInt = 1
    """A pair is dropped if both sides have fewer."""
    max_words: PositiveInt = 250
    """A pair is dropped if either side has more."""
    max_ratio: Annotated[float, Field(ge=1.0, le=1e6)] = 4.0
    """Longest allowed ratio between the sides' lengths in characters (short pairs are exempt).
    A character of a script without spaces counts as three."""
    drop_identical: bool = True
    """Drop pairs whose target is the source."""
    drop_duplicates: bool = True
    """Drop exact repetitions of a pair."""


class CorpusConfig(Config):
    """Where the parallel text comes from and how it is split.

    Each entry of `train`, `valid` and `test` is a file name below `dir`. A name that holds
    `{lang}` stands for two aligned plain text files, one per language; otherwise the ending
    tells the format: `.tsv`, `.parquet`, `.po`, `.mo`, or `.whl` (all message catalogs in a
    Python wheel). Text, TSV and catalogs may be compressed (`.gz`, `.zst`, `.xz` or `.bz2`, added
    to the name or found beside it). Text is UTF-8, split at line feeds and nowhere else; U+FEFF at
    the start of a line is dropped.
    """

    dir: str | None = None
    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    """Files to validate on; without them, `valid_fraction` of `train` is held out."""
    test: Annotated[
        Annotated[tuple[str, ...], Tag("(files)")] | Annotated[TestSets, Tag("(sets)")],
        Discriminator(lambda value: "(sets)" if isinstance(value, dict) else "(files)"),
    ] = ()
    """Files to test on; without them, `test_fraction` of `train` is held out. Or several test sets
    with a name each, `{news: [...], talks: [...]}`: an evaluation scores all of them, and what is
    asked of a student (the gate, the ladder, the sweep) is asked on the first."""
    valid_fraction: Fraction = 0.01
    test_fraction: Fraction = 0.01
    held_out_pairs: PositiveInt | None = 5000
    """At most about so many pairs are held out for each of the two, whatever fraction of a big
    corpus they are; null: as the fractions say."""
    packages: tuple[str, ...] = ()
    """Wheels to fetch from the package index: `NAME==VERSION --hash=sha256:DIGEST`."""
    source_column: Column = "source"
    """Column of Parquet or TSV by its name; of TSV also by its number, from 0."""
    target_column: Column = "target"
    skip_broken_rows: bool = False
    """Leave out rows that are not UTF-8, that hold a NUL character, or, in TSV, more or fewer
    columns than the header (without one: the first row). They are counted; else they are an error
    that tells all of them."""
    hint: str = ""
    """What to tell a user who has no data yet: what to get, where from, where to put it."""
    filters: FilterConfig = FilterConfig()
    part_pairs: PositiveInt = 100_000
    """Sentence pairs per part file: the unit of parallel work."""

    @property
    def tests(self) -> dict[str, tuple[str, ...]]:
        """The files of each test set, by the set's folder in the corpus; of the first: `test`."""
        if not isinstance(self.test, dict):
            return {"test": self.test} if self.test else {}
        folders = ["test", *(f"test-{name}" for name in list(self.test)[1:])]
        return dict(zip(folders, self.test.values(), strict=False))

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        held_out = {
            f"{split}_fraction": getattr(self, f"{split}_fraction")
            for split in ("valid", "test")
            if not getattr(self, split)
        }
        if sum(held_out.values()) >= 1:
            listed = " and ".join(f"{key} {value:g}" for key, value in held_out.items())
            raise ValueError(f"{listed} hold out everything: nothing is left to train on")
        return self


class TokenizerConfig(Config):
    """SentencePiece."""

    vocabulary_size: Vocabulary = 32_700
    """Pieces of the joint model, or of each side's."""
    target_vocabulary_size: Vocabulary | None = None
    """Pieces of the target's model, if they are not as many as the source's (`joint: false`)."""
    joint: bool = True
    """One model over both languages, or one each."""
    model_type: Literal["bpe", "unigram"] = "bpe"
    normalization: Literal["identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"] = "identity"
    """What becomes of a text's characters before it is cut into pieces. `identity` keeps them: the
    pieces give the text back, white space apart, of which a run is one space. The others are
    SentencePiece's rules, Unicode's NFKC among them: they write `（１）` as `(1)`, `½ ™` as
    `1⁄2 TM`, drop joiners (`nmt_`) or fold capitals (`_cf`), in what the model reads and says."""
    byte_fallback: bool = True
    """A character that has no piece is spelt in bytes, for which 256 pieces are set apart: names
    and signs that the training text lacks are kept. Without it they are all one unknown piece."""
    user_symbols: tuple[str, ...] = ()
    """Texts that are one piece each wherever they occur, such as `<sep>`."""
    character_coverage: Annotated[float, Field(ge=0.98, le=1.0)] = 1.0
    """Share of the training text whose characters get pieces of their own; the rarest get none. At
    1.0 nothing in the training text is spelt in bytes, so a model does not learn to; a language of
    many characters, such as Chinese, fares well with 0.9995."""
    training_sentences: PositiveInt = 2_000_000
    """At most this many sentences (per side) are read to train it."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Pieces of the source and of the target."""
        return self.vocabulary_size, self.target_vocabulary_size or self.vocabulary_size

    @field_validator("user_symbols")
    @classmethod
    def _symbols_are_pieces(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if not symbol or "\u2581" in symbol or any(map(str.isspace, symbol)):
                raise ValueError(f"{symbol!r} cannot be one piece: write it without white space")
            if symbol in SPECIAL_PIECES + BYTE_PIECES:
                raise ValueError(f"{symbol} is a special piece already; leave it out")
            if symbols.count(symbol) > 1:
                raise ValueError(f"{symbol} is there twice")
        return symbols

    @model_validator(mode="after")
    def _one_model_has_one_size(self) -> Self:
        if self.joint and self.target_vocabulary_size is not None:
            raise ValueError(
                "target_vocabulary_size: a joint tokenizer has one vocabulary, of vocabulary_size "
                "pieces; leave it out, or set joint: false"
            )
        return self

    @model_validator(mode="after")
    def _set_apart_pieces_leave_room(self) -> Self:
        bytes_ = len(BYTE_PIECES) if self.byte_fallback else 0
        fixed = len(SPECIAL_PIECES) + bytes_ + len(self.user_symbols)
        for key in ("vocabulary_size", "target_vocabulary_size"):
            size = getattr(self, key)
            if size is not None and size <= fixed:
                least = f"{key}: of {size} pieces {fixed} are set apart"
                ways = ", or set byte_fallback: false, which frees 256" if bytes_ else ""
                raise ValueError(f"{least}, and none is left for text; raise it{ways}")
        return self


class ShardsConfig(Config):
    """Token-budget batches."""

    batch_tokens: PositiveInt = 4096
    """A batch holds at most this many tokens per side, padding included."""
    max_length: Annotated[int, Field(ge=1, le=MAX_POSITIONS)] = 250
    """Longer sentences (in pieces, end marker included) are left out of training."""
