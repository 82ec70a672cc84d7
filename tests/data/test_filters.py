import pytest

from wd.config import FilterConfig
from wd.data.filters import cleaned, why_removed
from wd.data.languages import count_words, variants

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
    assert variants("de") == ("de", "de_DE")
    assert variants("zh")[:2] == ("zh_Hans", "zh_CN")
    assert "zh_TW" not in variants("zh")
    assert variants("pt-BR")[0] == "pt_BR"
