"""Parts that hold a text each, for tests of maps."""

from pathlib import Path


def write_parts(folder: Path, *texts: str) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"part-{index}" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def visible(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name[0] != "."}
