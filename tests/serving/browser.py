"""The page of a service, as a headless Chromium shows it."""

import shutil
import subprocess
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class _Texts(HTMLParser):
    """The texts of elements without children, by their class."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = dict(attrs).get("class")
        if self._open:
            self.found.setdefault(self._open, []).append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = None


def shown(address: str, text: str, profile: Path) -> dict[str, list[str]]:
    """Open a service's page, let it translate a text, and return what is shown, by class."""
    assert CHROMIUM
    flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}/chromium")
    page = f"{address}/?{urllib.parse.urlencode({'text': text})}"
    dumped = subprocess.run(
        [CHROMIUM, *flags, "--virtual-time-budget=30000", "--dump-dom", page],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    texts = _Texts()
    texts.feed(dumped.stdout)
    return texts.found
