import io
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import ctranslate2
import psutil
import pytest
import sentencepiece
import torch

from wd.config import DecodingConfig
from wd.data.schema import EOS
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.decoding.greedy import greedy
from wd.errors import ArtifactError, ConfigError, DeviceMemoryError
from wd.model.directory import load_transformer
from wd.model.transformer import Transformer

SETTINGS = DecodingConfig(beam_size=3, max_length=12, batch_tokens=256)


def _changed(**changes: int) -> DecodingConfig:
    return DecodingConfig(**SETTINGS.model_dump() | changes)


def test_greedy_text_is_torch_s(model_folder: Path, sentences: list[str]) -> None:
    translator = Translator.from_directory(model_folder)
    tokenizer, model = Tokenizer.load(model_folder), load_transformer(model_folder)
    for line in sentences[:5]:
        found = translator.translate([line], _changed(beam_size=1))[0]
        ids, scores = greedy(model, torch.tensor(tokenizer.encode_source([line])), 12)
        assert found.text == tokenizer.decode_target(ids)[0]
        assert found.pieces == tuple(ids[0])
        assert found.source == tuple(tokenizer.encode_source([line])[0])
        assert found.score == pytest.approx(float(scores[0]) / len(ids[0]), abs=1e-4)


def test_order_is_kept_and_empty_lines_stay_empty(model_folder: Path, sentences: list[str]) -> None:
    translator = Translator.from_directory(model_folder, threads=2)
    lines = [*sentences[:7], "", "  ", *sorted(sentences[7:20], key=len, reverse=True), "", "Baum"]
    together = translator.translate(lines, SETTINGS)
    alone = [translator.translate([line], SETTINGS)[0] for line in lines]
    assert [found.text for found in together] == [found.text for found in alone]
    for line, found in zip(lines, together, strict=True):
        assert bool(found.tokens) == bool(line.strip())
    assert together[7].text == ""
    assert together[7].score == 0.0
    assert translator.translate([], SETTINGS) == []
    assert [found.text for found in translator.translate(["", ""], SETTINGS)] == ["", ""]


def test_a_blank_line_is_its_own_translation(model_folder: Path, sentences: list[str]) -> None:
    translator = Translator.from_directory(model_folder)
    blank = ["", " \t", "\u200b", "\u00ad", " \ufeff\u200d ", "\u2028", "\x00", "\u3164", "\ufe0f"]
    seen = [sentences[0], f"{sentences[1]}\u00ad", "\u200b.", "!", "\U0001faea", "\ue000"]
    found = translator.translate([*blank, *seen], SETTINGS)
    assert [one.text for one in found[: len(blank)]] == blank
    assert not any(one.pieces or one.source or one.is_cut for one in found[: len(blank)])
    assert all(one.pieces for one in found[len(blank) :])


def test_what_reaches_max_length_is_cut(
    write_parrot: Callable[..., Path], sentences: list[str]
) -> None:
    endless, short = (
        Translator.from_directory(write_parrot(name, 20, endless=name == "endless"))
        for name in ("endless", "short")
    )
    for beam_size in (1, 3):
        settings = _changed(beam_size=beam_size)
        for found in endless.translate(sentences[:3], settings):
            assert found.is_cut
            assert found.pieces == (20,) * settings.max_length
        for found in short.translate(sentences[:3], _changed(beam_size=beam_size, max_length=2)):
            assert not found.is_cut
            assert found.pieces == (20, EOS)


def test_a_translation_is_one_line(
    write_parrot: Callable[..., Path], tmp_path: Path, sentences: list[str]
) -> None:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=written,
        vocab_size=60,
        model_type="bpe",
        hard_vocab_limit=False,
        user_defined_symbols=["\n", "\r"],
        **{"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
    )
    folder = tmp_path / "lines"
    folder.mkdir()
    for name in ("source.model", "target.model"):
        (folder / name).write_bytes(written.getvalue())
    pieces = Tokenizer.load(folder).target_pieces
    for number, end in enumerate("\n\r"):
        model = write_parrot(str(number), pieces.index(end), endless=False, tokenizer=folder)
        found = Translator.from_directory(model).translate(sentences[:2], SETTINGS)
        assert [one.pieces for one in found] == [(pieces.index(end), EOS)] * 2
        assert [one.text.strip(" ") for one in found] == ["", ""]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_translator_has_the_threads_asked_for_and_leaves_torch_its_own(
    model_folder: Path, sentences: list[str], two_threads: None, threads: int
) -> None:
    translator = Translator.from_directory(model_folder, threads=threads)
    translator.translate(sentences, SETTINGS)
    assert torch.get_num_threads() == 2
    together = psutil.Process().num_threads()
    del translator
    assert together - psutil.Process().num_threads() == threads


def test_batch_size_changes_nothing(model_folder: Path, sentences: list[str]) -> None:
    translator = Translator.from_directory(model_folder)
    texts = [
        [
            found.text
            for found in translator.translate(sentences[:30], _changed(batch_tokens=budget))
        ]
        for budget in (16, 4096)
    ]
    assert texts[0] == texts[1]


def test_live_weights_are_copied_and_leave_no_files(
    random_model: Callable[..., Transformer],
    tokenizer_folder: Path,
    sentences: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, tokenizer = random_model(), Tokenizer.load(tokenizer_folder)
    translator = Translator.from_weights(model.config, model.state_dict(), tokenizer)
    assert list(tmp_path.iterdir()) == []
    before = translator.translate(sentences[:5], SETTINGS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert translator.translate(sentences[:5], SETTINGS) == before


def test_a_line_beyond_the_positions_is_cut_with_a_warning(
    model_folder: Path, sentences: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    translator = Translator.from_directory(model_folder)
    found = translator.translate([" ".join(sentences[:100])], SETTINGS)
    assert found[0].tokens > 0
    assert "1 lines cut to 1024 pieces" in caplog.text


def test_unknown_characters_are_told_once(
    model_folder: Path, sentences: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    translator = Translator.from_directory(model_folder)
    translator.translate(sentences[:3], SETTINGS)
    assert "does not know" not in caplog.text
    for _ in range(2):
        translator.translate([*sentences[:3], "Ж", "Der Hund 漢"], SETTINGS)
    assert caplog.text.count("2 lines hold characters that the model does not know") == 1


def test_a_lack_of_memory_names_the_keys(
    model_folder: Path, sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = Translator.from_directory(model_folder, threads=1)
    engine = Mock(translate_batch=Mock(side_effect=RuntimeError("CUDA failed: out of memory")))
    monkeypatch.setattr(translator, "_engine", engine)
    with pytest.raises(DeviceMemoryError) as caught:
        translator.translate(sentences[:2], DecodingConfig(beam_size=7))
    for part in ("pseudo.batch_tokens", "batch_tokens (4096)", "beam_size (7)", "out of memory"):
        assert part in str(caught.value)
    engine.translate_batch.side_effect = RuntimeError("no such kernel")
    with pytest.raises(RuntimeError, match="no such kernel"):
        translator.translate(sentences[:2], DecodingConfig())


def test_what_the_device_cannot_do_is_refused(model_folder: Path) -> None:
    if "float16" not in ctranslate2.get_supported_compute_types("cpu"):
        with pytest.raises(ConfigError, match=r"float16 does not run on cpu; use .*float32"):
            Translator.from_directory(model_folder, quantization="float16")
    if not ctranslate2.get_cuda_device_count():
        with pytest.raises(ConfigError, match="no GPU"):
            Translator.from_directory(model_folder, device="cuda")
    with pytest.raises(ConfigError, match="device tpu"):
        Translator.from_directory(model_folder, device="tpu")


def test_truncated_weights_are_refused(model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        Translator.from_directory(model_folder)


def test_a_missing_tokenizer_is_refused(model_folder: Path) -> None:
    (model_folder / "target.model").unlink()
    with pytest.raises(ArtifactError, match=r"target\.model"):
        Translator.from_directory(model_folder)
