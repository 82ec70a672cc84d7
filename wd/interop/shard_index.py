"""The index of weights that lie in several files, as Hugging Face writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from wd.errors import ArtifactError
from wd.files import parse_json, read_small

_MOST_BYTES = 100_000_000
_KINDS = (".safetensors", ".bin")


@dataclass(frozen=True)
class ShardIndex:
    """Which tensor lies in which file."""

    path: Path
    """The index's own."""
    places: Mapping[str, Path]
    """Tensor -> file."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `*.index.json`; raises ArtifactError if it is damaged or names files elsewhere."""
        try:
            names = parse_json(read_small(path, _MOST_BYTES))["weight_map"]
            places = {name: path.with_name(file) for name, file in names.items()}
            if any(place.suffix not in _KINDS for place in places.values()):
                raise ValueError("not a file of tensors")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ArtifactError(
                f"{path}: damaged: it has no `weight_map` from tensors to files of its folder"
            ) from None
        return cls(path, places)

    @property
    def files(self) -> list[Path]:
        """All files that it names, each once."""
        return sorted(set(self.places.values()))

    def joined(self, held: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the tensors of all files; `held` is what each has.

        Raises ArtifactError unless each file has what the index says, and no more.
        """
        for file, tensors in held.items():
            told = {name for name, place in self.places.items() if place == file}
            if told != tensors.keys():
                name = min(told ^ tensors.keys())
                what = "lacks" if name in told else "has"
                raise ArtifactError(
                    f"{file}: it {what} the tensor {name}, other than {self.path.name} says: they "
                    "are not of one model"
                )
        return {name: held[place][name] for name, place in self.places.items()}
