"""Requests over HTTP, answered by whatever serves the models."""

import asyncio
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from time import perf_counter
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from wd.files import parse_json
from wd.serving.messages import Answer, BusyError, Limits, Question, Served

_BYTES_A_CHARACTER = 12
"""Of JSON at most: two escapes, as in \\ud83d\\ude00."""
_HEALTHY_SECONDS = 5


class RefusalError(Exception):
    """An answer other than 200; its text is for whoever asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def respond(request: Request, models: Mapping[str, Served], limits: Limits) -> Response:
    """Answer `GET /`, `/health` and `/models` and `POST /translate`; an error as `{"error": ...}`.

    `models` has at least one; the first is asked where a question names none.
    """
    handlers = {
        ("GET", "/"): _page,
        ("GET", "/health"): _health,
        ("GET", "/models"): _models,
        ("POST", "/translate"): _translate,
    }
    handler = handlers.get((request.method, request.url.path))
    try:
        if handler is None:
            known = ", ".join(" ".join(each) for each in handlers)
            raise RefusalError(404, f"{request.method} {request.url.path}: there is {known}")
        return await handler(request, models, limits)
    except RefusalError as refusal:
        later = {"Retry-After": "1"} if refusal.status == 503 else {}
        return JSONResponse({"error": str(refusal)}, refusal.status, headers=later)


async def _page(request: Request, models: Mapping[str, Served], limits: Limits) -> Response:
    return HTMLResponse(_html())


@cache
def _html() -> str:
    return files("wd.serving").joinpath("page.html").read_text(encoding="utf-8")


async def _health(request: Request, models: Mapping[str, Served], limits: Limits) -> Response:
    """Tell whether every model answers; one that is busy does."""
    for name, model in models.items():
        try:
            await asyncio.wait_for(model.describe(), _HEALTHY_SECONDS)
        except BusyError:
            continue
        except Exception as error:  # whatever keeps a model from answering
            raise RefusalError(503, f"{name} does not answer: {type(error).__name__}") from None
    return JSONResponse({"status": "ok", "models": list(models)})


async def _models(request: Request, models: Mapping[str, Served], limits: Limits) -> Response:
    described = []
    for name, model in models.items():
        try:
            described.append((await model.describe()).model_dump())
        except BusyError:
            raise _busy(name, limits) from None
    return JSONResponse({"models": described, "most_characters": limits.characters})


async def _translate(request: Request, models: Mapping[str, Served], limits: Limits) -> Response:
    started = perf_counter()
    question = await _asked(request, limits)
    name = question.model or next(iter(models))
    if name not in models:
        raise RefusalError(404, f"no model {name}: there is {', '.join(models)}")
    try:
        translation, cut = await models[name].translate(question.text)
    except BusyError:
        raise _busy(name, limits) from None
    milliseconds = 1000 * (perf_counter() - started)
    answer = Answer(model=name, translation=translation, cut=cut, milliseconds=milliseconds)
    return JSONResponse(answer.model_dump())


def _busy(name: str, limits: Limits) -> RefusalError:
    waiting = f"{limits.queue} requests wait already"
    return RefusalError(503, f"{name}: {waiting}; ask again a little later")


async def _asked(request: Request, limits: Limits) -> Question:
    """Read a question; raises RefusalError for one that is too long or none."""
    most = limits.characters
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > most * _BYTES_A_CHARACTER + 1000:
            raise RefusalError(413, f"more than {most} characters: send them in several requests")
    try:
        question = Question.model_validate(_json(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        told = f"{where}: {first['msg']}"
        raise RefusalError(400, f'{told}; send JSON such as {{"text": "A sentence."}}') from None
    if len(question.text) > most:
        told = f"{len(question.text)} characters, at most {most}: send them in several requests"
        raise RefusalError(413, told)
    return question


def _json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:  # no JSON, not UTF-8, or nested too deeply
        return None
