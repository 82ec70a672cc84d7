"""A model in a process that serves it: texts of several lines, several texts at a time."""

from collections.abc import Sequence
from pathlib import Path

from wd.config import DecodingConfig
from wd.decoding.engine import Translator
from wd.decoding.passages import translate_passages
from wd.model.sizes import count_parameters
from wd.serving.messages import Description


class Model:
    """A loaded model directory."""

    def __init__(
        self,
        name: str,
        folder: Path,
        decoding: DecodingConfig,
        *,
        device: str = "auto",
        threads: int = 0,
        language: str | None = None,
    ) -> None:
        """Load it; `language` is that of texts whose sentences are to be translated one by one.

        Raises what `Translator.from_directory` raises.
        """
        self._name, self._language = name, language
        self._translator = Translator.from_directory(
            folder, quantization=decoding.quantization, device=device, threads=threads
        )
        self._decoding = decoding.on(self._translator.device)

    def translate(self, texts: Sequence[str]) -> list[tuple[str, int]]:
        """Return of each text as many translated lines, and how many of them were cut."""
        rows = [text.split("\n") for text in texts]
        lines = [line.removesuffix("\r") for row in rows for line in row]
        found = iter(translate_passages(self._translator, lines, self._decoding, self._language))
        answers = []
        for row in rows:
            passages = [next(found) for _ in row]
            text = "\n".join(passage.text for passage in passages)
            answers.append((text, sum(passage.is_cut for passage in passages)))
        return answers

    def describe(self) -> Description:
        """Return what it is."""
        return Description(
            name=self._name,
            parameters=count_parameters(self._translator.config),
            device=self._translator.device,
            quantization=self._decoding.quantization,
            beam_size=self._decoding.beam_size,
            threads=self._translator.threads,
        )
