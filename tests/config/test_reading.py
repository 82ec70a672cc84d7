"""What YAML says is what is read; what misleads, or never ends, is refused with its place."""

import time
from typing import Any

import pytest

from wd.config.reading import parse_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 20)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 9)}], k{number}: 1}}\n"
    for number in range(1, 20)
)
CHAIN = "a0: &a0 [x]\n" + "".join(
    f"a{number}: &a{number} [*a{number - 1}]\n" for number in range(1, 900)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-2e+4", -2e4),
        (".5e1", 5.0),
        ("2.0e-3", 0.002),
        ("'1e-3'", "1e-3"),
        ("e3", "e3"),
        ("30_000", 30_000),
        ("0x10", 16),
        ("0", 0),
        ("-0.5", -0.5),
        ("a: &a {x: 1}\nb: {<<: *a, y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("{deep: {b: &b {<<: &a {x: 1}, x: 2}}, c: {<<: *b}}", None),
    ],
)
def test_what_is_read(text: str, value: Any) -> None:
    found = parse_yaml(text)
    assert found == value if value is not None else found["c"] == {"x": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 010", r"YAML reads 010 to the base 8: .* \(line 2, column 4\)"),
        ("-007", "to the base 8"),
        ("1:30", "to the base 60"),
        ("1:30.5", "to the base 60"),
        ("{a: 1, a: 2}", r"the key a is there twice \(line 1, column 8\)"),
        ("a: {b: {c: 1, c: 1}}", "the key c is there twice"),
        ("? {a: 1}\n: x", "a key is a word, but YAML reads this one as map"),
        ("? [a]\n: x", "as seq"),
        ("{1: x}", "as int; quote it"),
        ("{no: x}", "as bool; quote it"),
        ("{~: x}", "as null; quote it"),
        ("&a [*a]", "it holds itself"),
        ("&a {x: *a}", "it holds itself"),
        (r'"a\0b"', "NUL"),
        (r'{"a\0b": 1}', "NUL"),
        (r'"a\ud800b"', "half a character"),
        ("a\0b", r"special characters are not allowed \(character 2\)"),
        ("name=\udcff", "special characters are not allowed"),
        ("[" * 10_000, "nested more than 30 deep"),
        ("{a: " * 10_000, "nested more than 30 deep"),
        (CHAIN, "nested more than 30 deep"),
        (LAUGHS, "more than 10,000 values"),
        (MERGES, "more than 10,000 values"),
        ("2020-13-45", "2020-13-45 is no timestamp, as which YAML reads it; quote it"),
        ("!!int many", "many is no int"),
        ("!!bool perhaps", "perhaps is no bool"),
        ("!!timestamp soon", "soon is no timestamp"),
        ("1" * 5000, "is no int"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("a: b: c", "mapping values are not allowed"),
        ("[", r"line 1, column 2"),
        ("- a\n--- b", "expected a single document"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=message) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 5
