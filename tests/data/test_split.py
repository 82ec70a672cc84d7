import pytest

from wd.config import CorpusConfig
from wd.data.split import Partition, choose_partition, pair_id, source_key


def test_key_is_blind_to_case_punctuation_and_width() -> None:
    assert (
        source_key("Hello, World!") == source_key("hello world") == source_key("ＨＥＬＬＯ world")
    )
    assert source_key("hello world") != source_key("hello worlds")
    assert source_key("?") != source_key("!")
    assert source_key("你好。") == source_key("你好")


def test_key_sees_vowel_signs() -> None:
    assert len({source_key(word) for word in ("दिन", "दान", "दीन", "दून")}) == 4
    assert source_key("আমি") != source_key("আমা")
    assert source_key("वह आया था।") == source_key("वह आया था")
    assert source_key("cafe\u0301") == source_key("CAFÉ")


def test_ids_depend_on_both_sides_and_on_nothing_else() -> None:
    assert pair_id("a", "b") == pair_id("a", "b")
    assert len({pair_id("a", "b"), pair_id("b", "a"), pair_id("a", "c"), pair_id("ab", "")}) == 4


def test_shares_and_parts_are_as_asked() -> None:
    partition = Partition(0.1, 0.2, {"train": 4, "valid": 1, "test": 2})
    places = [partition.place(source_key(f"sentence {number}")) for number in range(20_000)]
    splits = [split for split, _ in places]
    assert abs(splits.count("valid") / 20_000 - 0.1) < 0.01
    assert abs(splits.count("test") / 20_000 - 0.2) < 0.01
    sizes = [places.count(("train", index)) for index in range(4)]
    assert sum(sizes) == splits.count("train")
    assert max(sizes) < 1.1 * min(sizes)
    assert partition.names[0] == "train-00000"
    assert len(partition.names) == 7


@pytest.mark.parametrize(
    ("pairs", "settings", "share"),
    [
        (15_000, {}, 0.01),
        (100_000_000, {}, 0.00005),
        (100_000_000, {"held_out_pairs": 20_000}, 0.0002),
        (100_000_000, {"held_out_pairs": None}, 0.01),
        (0, {}, 0.01),
    ],
)
def test_of_a_big_corpus_no_more_is_held_out_than_is_worth_it(
    pairs: int, settings: dict[str, int | None], share: float
) -> None:
    partition = choose_partition(CorpusConfig.model_validate(settings), pairs)
    assert partition.valid_fraction == partition.test_fraction == share


def test_nothing_is_held_out_unless_asked() -> None:
    partition = Partition(0.0, 0.0, {"train": 1})
    assert {partition.place(key) for key in (0, 2**32 - 1, 2**64 - 1)} == {("train", 0)}
