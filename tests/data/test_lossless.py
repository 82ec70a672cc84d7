"""What the tokenizer covers is kept: decoding the encoding of a text gives the text back."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece

from wd.config import TokenizerConfig
from wd.data.filters import cleaned
from wd.data.schema import EOS, UNK, part_name
from wd.data.tokenizer import TARGET_MODEL, Tokenizer
from wd.data.tokenizer_training import train_tokenizer

TEXTS = [
    "Größe: 12\u00a0m², »ja« – 50\u202f% günstiger; die 1ª und der 2º, ½ Liter, Marke™ …",
    "Straße {0} wurde gelöscht. E-Mail-Adresse ungültig; „Über uns“ ﬁnden.",
    "Țara și județul: şi ţară cu sedilă, „ghilimele” – întâi.",
    "取消订单，确定吗？（共１２个）“用户名”：不能为空！　下一步…",
    "می‌خواهم این کتاب‌ها را بخوانم؛ ۱۲۳ نفر، آیا می‌شود؟",
    "¿Qué es esto? ¡Ojalá! El 1.º día, la 2.ª vez; mañana, pingüino.",
    "e\u0301 is not é, Ω is not Ω, Å is not Å; ﷺ ㎏ ① ｶﾞ ﬀ",
    "A sign \u2581 for a space,\u2581\u2581two of them \u2581",
    "soft\u00adhyphen, zero\u200bwidth, left\u200eright, word\u2060joiner, \ufeffmark",
    "plain text with <s>, </s>, <unk>, <pad> and/or <0x41> in it",
]
STRANGE = ["😀 Ж 漢字 नमस्ते", "Łódź ≠ Đà Nẵng", "👩‍👩‍👧 \U00020000", "\ufffd \u2585"]
"""Characters that the training text does not have."""
Train = Callable[..., Path]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    def run(**changes: object) -> Path:
        text, out = tmp_path / "text", tmp_path / "out"
        for folder in (text, out):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        lines = [cleaned(line) for line in TEXTS * 3]
        table = pa.table({"source": lines, "target": lines[::-1]})
        pq.write_table(table, text / part_name(0))
        config = TokenizerConfig.model_validate({"vocabulary_size": 600, **changes})
        train_tokenizer(text, out, config)
        return out

    return run


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
@pytest.mark.parametrize("coverage", [1.0, 0.98])
def test_decoding_the_encoding_gives_the_text_back(
    train: Train, model_type: str, coverage: float
) -> None:
    size = 560 if model_type == "bpe" else 440
    folder = train(model_type=model_type, character_coverage=coverage, vocabulary_size=size)
    tokenizer = Tokenizer.load(folder)
    lines = [*TEXTS, *STRANGE, "", "\u2581", "  two\u3000spaces,\ttab\u2028and\r\nlines \u00a0"]
    encoded = tokenizer.encode_target(lines)
    assert tokenizer.decode_target(encoded) == list(map(cleaned, lines))
    assert not any(UNK in ids for ids in encoded)


def test_the_model_file_alone_does_it(train: Train) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(train() / TARGET_MODEL))
    lines = [*TEXTS, *STRANGE]
    assert model.decode(model.encode(lines)) == list(map(cleaned, lines))


def test_no_folder_of_the_machine_is_in_the_model(train: Train) -> None:
    model = (train() / TARGET_MODEL).read_bytes()
    assert tempfile.gettempdir().encode() not in model
    assert b".tsv" not in model


def test_other_rules_rewrite_text(train: Train) -> None:
    tokenizer = Tokenizer.load(train(normalization="nmt_nfkc"))
    ids = tokenizer.encode_target(["（１ ½ ™）"])
    assert tokenizer.decode_target(ids) == ["(1 1⁄2 TM)"]


def test_user_symbols_are_one_piece_each(train: Train) -> None:
    symbols = ("<sep>", "a,b", '"q"', "取消")
    tokenizer = Tokenizer.load(train(user_symbols=symbols))
    text = 'so<sep>wie a,b und "q"取消订单 <sep>'
    (ids,) = tokenizer.encode_target([text])
    pieces = [tokenizer.target_pieces[piece] for piece in ids]
    assert [piece for piece in pieces if piece in symbols] == [
        *("<sep>", "a,b", '"q"', "取消", "<sep>")
    ]
    assert tokenizer.decode_target([ids]) == [text]


def test_without_bytes_the_unknown_is_one_piece(train: Train) -> None:
    tokenizer = Tokenizer.load(train(byte_fallback=False, vocabulary_size=300))
    assert "<0x41>" not in tokenizer.target_pieces
    (ids,) = tokenizer.encode_target(["Straße Ж {0}"])
    assert ids.count(UNK) == 1
    assert tokenizer.decode_target([ids]) == ["Straße {0}"]
    assert tokenizer.decode_target(tokenizer.encode_target(TEXTS)) == list(map(cleaned, TEXTS))


@pytest.mark.parametrize(
    ("spelt", "text"),
    [
        (b"\n", "a b"),
        (b"\r\n", "a b"),
        ("\u2028\u0085".encode(), "a b"),
        (b"\x00\x1b\x7f", "ab"),
        (b"\xff\xfe", "ab"),
        (b"\xe2\x82", "ab"),
        (b"\xe2\x82\xac\x82\xc3", "a€b"),
        (b"\xed\xa0\x80", "ab"),  # half of a surrogate pair
        (b"c \t d", "ac db"),
        ("\ufffd\u200c".encode(), "a\ufffd\u200cb"),
    ],
)
def test_whatever_bytes_a_model_says_a_line_stays_a_line(
    train: Train, spelt: bytes, text: str
) -> None:
    tokenizer = Tokenizer.load(train())
    ids = {piece: index for index, piece in enumerate(tokenizer.target_pieces)}
    said = [ids["▁a"], *(ids[f"<0x{byte:02X}>"] for byte in spelt), ids["b"], EOS]
    assert tokenizer.decode_target([said, [ids["▁a"], EOS]]) == [text, "a"]
