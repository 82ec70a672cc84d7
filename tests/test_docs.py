"""Pages name only what exists: files, sections, scripts."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def anchors(page: Path) -> set[str]:
    """Return the names of a page's sections, as its links write them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_scripts_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link
    for script in re.findall(r"python ([\w/]+\.py)\b", text):
        assert (ROOT / script).is_file(), script


def drawn() -> dict[str, set[str]]:
    """Return folder at the top -> what the README's tree draws in it."""
    tree = (ROOT / "README.md").read_text("utf-8").partition("## The tree")[2].split("```")[1]
    folders: dict[str, set[str]] = {}
    for line in tree.splitlines()[1:]:
        name = line.split()[0]
        if line.startswith(" "):
            folders[next(reversed(folders))].add(name)
        else:
            folders[name] = set()
    return folders


def test_the_readme_draws_the_tree_that_there_is() -> None:
    for top, names in drawn().items():
        there = {
            path.name + "/" * path.is_dir()
            for path in (ROOT / top).iterdir()
            if path.name[0] not in "._" and path.name not in ("run.py", "py.typed")
        }
        assert not names or names == there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:wd|pipelines|tests|cluster|tune_spaces|docs)/[\w/.]*)`", page.read_text("utf-8")
    )
    assert [path for path in named if not (ROOT / path).exists()] == []
