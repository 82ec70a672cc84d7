"""HTTP as a browser and a program see it, with the models in this process."""

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request

from tests.serving.browser import CHROMIUM, shown
from wd.config import DecodingConfig
from wd.serving.messages import BusyError, Description, Limits
from wd.serving.model import Model
from wd.serving.web import respond

DECODING = DecodingConfig(beam_size=1, max_length=12)
LIMITS = Limits(characters=200, queue=7)


class Here:
    """A model of this process."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def translate(self, text: str) -> tuple[str, int]:
        if text == "busy":
            raise BusyError
        return (await asyncio.to_thread(self._model.translate, [text]))[0]

    async def describe(self) -> Description:
        return self._model.describe()


class Gone(Here):
    async def describe(self) -> Description:
        raise RuntimeError("its process is lost")


class Busy(Here):
    async def describe(self) -> Description:
        raise BusyError


@contextmanager
def served(models: MutableMapping[str, Here]) -> Iterator[str]:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        response = await respond(Request(scope, receive), models, LIMITS)
        await response(scope, receive, send)

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def models(model_folder: Path) -> dict[str, Here]:
    one = Model("one", model_folder, DECODING, device="cpu", threads=1)
    split = Model("two words", model_folder, DECODING, device="cpu", threads=1, language="de")
    return {"one": Here(one), "two words": Here(split)}


def asked(address: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON of an answer; a body is posted."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data), timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_translations_are_the_engine_s(models: dict[str, Here], sentences: list[str]) -> None:
    text = f"{sentences[0]} {sentences[9]}\r\n\n \u200b\n{sentences[4]}"
    whole = models["one"]._model.translate([sentences[4], f"{sentences[0]} {sentences[9]}"])
    apart = models["one"]._model.translate([sentences[0], sentences[9]])
    with served(models) as address:
        status, answer = asked(f"{address}/translate", {"text": text})
        assert (status, answer["model"]) == (200, "one")
        assert answer["translation"].split("\n") == [whole[1][0], "", " \u200b", whole[0][0]]
        assert answer["cut"] == whole[0][1] + whole[1][1]
        assert answer["milliseconds"] > 0
        _, answer = asked(f"{address}/translate", {"text": text, "model": "two words"})
        assert answer["translation"].split("\n")[0] == f"{apart[0][0]} {apart[1][0]}"
        assert asked(f"{address}/health") == (200, {"status": "ok", "models": [*models]})
        _, told = asked(f"{address}/models")
        assert [(each["name"], each["beam_size"]) for each in told["models"]] == [
            ("one", 1),
            ("two words", 1),
        ]


def test_what_cannot_be_answered_is_told(models: dict[str, Here]) -> None:
    with served(models) as address:
        for body, status, message in (
            ({"text": "x" * 201}, 413, "201 characters, at most 200"),
            (b"[" * 100_000, 413, "more than 200 characters"),
            ({"text": "busy"}, 503, "one: 7 requests wait already"),
            ({"text": "a", "model": "three"}, 404, "no model three: there is one, two words"),
            ({"words": "a"}, 400, 'text: Field required; send JSON such as {"text"'),
            (b'{"text": "\\ud83d"}', 400, "half of a surrogate pair"),
            (b"\xff", 400, "the body: "),
            (b"[[[", 400, "the body: "),
            (b"[" * 3000, 400, "the body: "),
        ):
            told = asked(f"{address}/translate", body)
            assert told[0] == status, (body, told)
            assert message in told[1]["error"]
        assert asked(f"{address}/nothing")[0] == 404
        models["two words"].__class__ = Busy
        status, told = asked(f"{address}/models")
        assert (status, told["error"][:28]) == (503, "two words: 7 requests wait a")
        assert asked(f"{address}/health")[0] == 200
        models["two words"].__class__ = Gone
        status, told = asked(f"{address}/health")
        assert (status, told) == (503, {"error": "two words does not answer: RuntimeError"})


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_shows_the_models_side_by_side(
    models: dict[str, Here], sentences: list[str], tmp_path: Path
) -> None:
    expected = models["one"]._model.translate([sentences[3]])[0][0]
    with served(models) as address:
        page = shown(address, sentences[3], tmp_path)
    assert page["name"] == ["one", "two words"]
    assert page["translation"] == [expected, expected]
    assert all("ms" in time for time in page["note time"])


def test_a_model_that_is_asked_several_texts_at_once(
    write_parrot: Callable[..., Path], sentences: list[str]
) -> None:
    folder = write_parrot("endless", 20, endless=True)
    model = Model("parrot", folder, DECODING, device="cpu", threads=1)
    texts = [sentences[0], f"{sentences[1]}\n{sentences[2]}\n", ""]
    answers = model.translate(texts)
    assert [text.count("\n") for text, _ in answers] == [0, 2, 0]
    assert [cut for _, cut in answers] == [1, 2, 0]
