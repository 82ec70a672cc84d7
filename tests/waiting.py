"""To wait for what other processes and threads do."""

import time
import urllib.request
from collections.abc import Callable


def wait_until(
    fact: Callable[[], object], *, alive: Callable[[], bool] = lambda: True, seconds: float = 60
) -> None:
    """Return as soon as a fact holds.

    Raises AssertionError after so many seconds, and when who was to bring it about is not alive.
    """
    deadline = time.monotonic() + seconds
    while not fact():
        assert alive(), "who was waited for is gone"
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether a server answers there, and not with an error."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True
