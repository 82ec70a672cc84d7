"""What a source piece becomes is what stands opposite it most exclusively."""

from collections import Counter
from itertools import product
from pathlib import Path

import ctranslate2
import pytest

from wd.data.tokenizer import Tokenizer
from wd.interop import shortlists
from wd.interop.ctranslate2 import export_ctranslate2
from wd.interop.shortlists import counted_shortlists, write_shortlists


@pytest.fixture
def pairs(sentences: list[str]) -> list[tuple[str, str]]:
    return list(zip(sentences[:-7], sentences[7:], strict=True))


def test_they_have_the_highest_dice_coefficients(
    tokenizer_folder: Path, pairs: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortlists, "_CHUNK", 64)
    tokenizer = Tokenizer.load(tokenizer_folder)
    found = counted_shortlists(tokenizer, pairs, best=5, common=20)
    together, left, right = Counter[tuple[int, int]](), Counter[int](), Counter[int]()
    for source, target in zip(
        tokenizer.encode_source([one for one, _ in pairs]),
        tokenizer.encode_target([one for _, one in pairs]),
        strict=True,
    ):
        together.update(product(set(source), set(target)))
        left.update(set(source))
        right.update(set(target))
    names, listed = tokenizer.target_pieces, tokenizer.source_pieces
    assert set(found) == {"", *(listed[piece] for piece in left)}
    places = {name: number for number, name in enumerate(names)}
    fewest = min(right[places[name]] for name in found[""])
    assert len(found[""]) == 20
    assert all(right[piece] <= fewest for piece in right if names[piece] not in found[""])
    for piece in left:
        dice = {
            names[other]: 2 * count / (left[piece] + right[other])
            for (one, other), count in together.items()
            if one == piece
        }
        best = sorted(dice.values(), reverse=True)[:5]
        assert [dice[name] for name in found[listed[piece]]] == pytest.approx(best)


def test_an_engine_that_is_told_to_use_them_says_nothing_else(
    model_folder: Path, pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    export_ctranslate2(model_folder, tmp_path / "out")
    tokenizer = Tokenizer.load(model_folder)
    lists = counted_shortlists(tokenizer, pairs, best=2, common=3)
    write_shortlists(tmp_path / "out", lists)
    engine = ctranslate2.Translator(str(tmp_path / "out"))
    pieces = tokenizer.source_pieces
    for line in tokenizer.encode_source([source for source, _ in pairs[:20]]):
        said = engine.translate_batch(
            [[pieces[piece] for piece in line]], use_vmap=True, max_decoding_length=20
        )
        allowed = {*lists[""], *(name for piece in line for name in lists[pieces[piece]])}
        assert set(said[0].hypotheses[0]) <= allowed | {"<unk>", "</s>", "<s>"}
