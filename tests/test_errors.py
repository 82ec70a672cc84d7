"""Errors keep their class between processes, and suggest only what is near."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import cluster
import pipelines
import tune_spaces
import wd
from wd.errors import UserError, from_data, to_data, unknown


def kinds(kind: type[UserError]) -> Iterator[type[UserError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_error_of_the_users_crosses_processes_as_what_it_is() -> None:
    for package in (wd, pipelines, tune_spaces, cluster):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "registry.model")):  # these act when imported
                importlib.import_module(module.name)
    found = set(kinds(UserError))
    assert len(found) > len({"UserError"})
    for kind in found:
        error = from_data(to_data(kind("what, where and what to do")))
        expected = kind.__base__ if kind.__name__.startswith("_") else kind
        assert (type(error), str(error)) == (expected, "what, where and what to do")


def test_the_kind_of_another_version_is_still_an_error_of_the_users() -> None:
    error = from_data({"kind": "NoSuchError", "message": "told"})
    assert (type(error), str(error)) == (UserError, "told")


@pytest.mark.parametrize("name", ["smal", "Small", "SMALL ", "smallest"])
def test_what_is_near_is_suggested(name: str) -> None:
    told = f"unknown student {name}; did you mean small? It can be tiny, small"
    assert unknown("student", name, ["tiny", "small"]) == told


@pytest.mark.parametrize("name", ["", "x", "qwertz", "北京", "teacher.training.updates"])
def test_nonsense_is_not_suggested(name: str) -> None:
    assert unknown("student", name, ["tiny", "small"]) == (
        f"unknown student {name}: it can be tiny, small"
    )


def test_a_long_common_beginning_makes_nothing_near() -> None:
    below = "teacher.training."
    assert unknown("key", "qqq", ["seed"], below=below) == f"unknown key {below}qqq: it can be seed"


def test_many_names_are_not_listed() -> None:
    many = [f"name{number}" for number in range(100)]
    assert unknown("key", "qqq", many) == "unknown key qqq"
    assert unknown("key", "name1x", many) == "unknown key name1x; did you mean name1?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("root s3://key:secret@bucket/x: away", "root s3://bucket/x: away"),
        (
            "http://me@host and https://me:you@host:80/p?q=a@b",
            "http://host and https://host:80/p?q=a@b",
        ),
        ("mail me@host, s3://bucket/a@b", "mail me@host, s3://bucket/a@b"),
    ],
)
def test_messages_hold_no_credentials(text: str, shown: str) -> None:
    assert str(UserError(text)) == shown
