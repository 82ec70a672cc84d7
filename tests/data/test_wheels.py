import hashlib
from pathlib import Path

import pytest

from wd.data.wheels import Package, cached_wheel, fetch, wheels_of
from wd.errors import ConfigError, DataError

WHEEL = "Some_Package-1.2-py3-none-any.whl"


def package(content: bytes) -> Package:
    digest = hashlib.sha256(content).hexdigest()
    return Package.parse(f"some.package==1.2 --hash=sha256:{digest}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no package index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    return cached_wheel("")


def test_wheel_in_the_cache_is_not_fetched(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / WHEEL).write_bytes(b"the wheel")
    fetch(wheels_of([package(b"the wheel")], [WHEEL]))


@pytest.mark.parametrize("cached", [None, b"other bytes"])
def test_without_cache_and_index_one_line_says_what_to_do(
    cache: Path, cached: bytes | None
) -> None:
    if cached:
        cache.mkdir(parents=True)
        (cache / WHEEL).write_bytes(cached)
    with pytest.raises(DataError) as caught:
        fetch({WHEEL: package(b"the wheel")})
    told = str(caught.value)
    assert told.startswith(f"{WHEEL}: not in {cache}")
    assert "put these files there" in told
    assert "\n" not in told
    assert {path.name for path in cache.iterdir()} == ({WHEEL} if cached else set())


def test_package_without_an_entry() -> None:
    with pytest.raises(ConfigError, match=r"is the wheel of some\.package==1\.2"):
        wheels_of([package(b"")], ["other-1.2-py3-none-any.whl", "Some_Package-1.3-py3.whl"])


@pytest.mark.parametrize("text", ["django", "django==5", "django==5 --hash=sha256:12", "-r x"])
def test_package_must_be_pinned(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME==VERSION --hash=sha256:DIGEST"):
        Package.parse(text)
