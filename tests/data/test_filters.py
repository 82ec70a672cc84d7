import pytest

from wd.config import FilterConfig
from wd.data.filters import cleaned, why_removed
from wd.data.languages import catalog_language, count_words, variants
from wd.errors import DataError

CONFIG = FilterConfig(min_words=2, max_words=6, max_ratio=2.0)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("", "zwei Worte", "empty"),
        ("two words", "", "empty"),
        ("the same", "the same", "identical"),
        ("one", "eins", "short"),
        ("order status", "Bestellstatus", None),
        ("a b c d e f g", "a b", "long"),
        ("a b", "a b c d e f g", "long"),
        ("go on", "weiter und weiter", None),  # short texts have no ratio
        ("go on then", "weiter und immer weiter", "ratio"),
        ("weiter und immer weiter", "go on then", "ratio"),
        # 14 characters for 42: a Chinese character says as much as three letters.
        ("This table lists what the registry holds", "下表显示了当前由注册表管理的", "long"),
    ],
)
def test_reasons(source: str, target: str, reason: str | None) -> None:
    assert why_removed(source, target, CONFIG) == reason
    if reason == "long":
        assert why_removed(source, target, FilterConfig(max_ratio=4.0)) is None


def test_text_becomes_one_line() -> None:
    assert cleaned(" a\u2028b\tc\r\n\u3000d\x85 ") == "a b c d"


@pytest.mark.parametrize(
    ("text", "words"),
    [("a b", 2), ("für uns", 2), ("取消订单", 2), ("新用户", 2), ("使用 URL 打开", 3), ("", 0)],
)
def test_words(text: str, words: int) -> None:
    assert count_words(text) == words


def test_locale_variants() -> None:
    for code in ("de", "deu", "ger"):
        assert {"de", "de_DE"} < set(variants(code))
        assert not {"de_AT", "de_Informal"} & set(variants(code))
    assert variants("zh") == ("zh_Hans", "zh_CN", "zh_Hans_CN", "zh")
    for code in ("zho_Hans", "cmn", "zh_CN", "zh-Hans"):
        assert set(variants("zh")) <= set(variants(code))
    assert {"zh_Hant", "zh_TW"} <= set(variants("zho_Hant"))
    assert not set(variants("zh")) & set(variants("zh_TW"))
    assert variants("pt-BR")[0] == "pt_BR"
    assert not set(variants("pt")) & set(variants("pt_BR"))
    assert "no" in variants("nob")
    assert variants("de_Informal") == ("de_Informal",)
    assert variants("private") == ("private",)


@pytest.mark.parametrize("english", ["en", "eng", "en_GB", "eng_Latn"])
def test_catalogs_translate_from_english_however_it_is_spelt(english: str) -> None:
    assert catalog_language((english, "zho_Hans")) == "zho_Hans"
    assert catalog_language(("de", english)) == "de"
    with pytest.raises(DataError, match="translate from English"):
        catalog_language(("de", "fr"))
