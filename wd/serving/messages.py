"""What is asked and answered over HTTP, and how much may be asked."""

from typing import Annotated, Protocol

from pydantic import Field, field_validator

from wd.config import Config
from wd.config.shapes import PositiveInt


class Limits(Config):
    """How much a service takes on."""

    batch: PositiveInt = 32
    """Requests that a model translates together."""
    wait_milliseconds: Annotated[float, Field(ge=0, le=10_000)] = 5.0
    """A request waits so long for others, to be translated with them."""
    queue: PositiveInt = 128
    """Requests that wait for a model; further ones are answered with 503."""
    characters: PositiveInt = 10_000
    """Of a request's text; longer ones are answered with 413."""


class Question(Config):
    """What `POST /translate` takes."""

    text: str
    """Lines are translated one by one."""
    model: str | None = None
    """One of the served models' names; the first by default."""

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: str) -> str:
        if not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text):
            raise ValueError("half of a surrogate pair is no character")
        return text


class Answer(Config):
    """What `POST /translate` returns."""

    model: str
    translation: str
    """As many lines as the text has."""
    cut: int
    """Lines whose translation reached the longest length before its end."""
    milliseconds: float
    """From the request's arrival to the answer, waiting included."""


class Description(Config):
    """What `GET /models` returns of each."""

    name: str
    parameters: int
    device: str
    quantization: str
    beam_size: int
    threads: int


class Served(Protocol):
    """A model that answers."""

    async def translate(self, text: str) -> tuple[str, int]:
        """Return the translation, and how many of its lines were cut; raises BusyError."""
        ...

    async def describe(self) -> Description:
        """Return what the model is."""
        ...


class BusyError(Exception):
    """As many requests as may wait for a model wait for it."""
