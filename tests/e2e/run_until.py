"""`wd run` that kills itself: python -m tests.e2e.run_until PATTERN RECIPE

The process ends by SIGKILL 0.3 seconds after it has written a line that the pattern is found in, or
when the next stage begins if that is sooner: so every stage's line comes in some run, however fast
stages are made, and nothing depends on how soon another process sees the line.
"""

import os
import re
import signal
import sys
import threading

from pipelines.commands.cli import main

pattern = re.compile(sys.argv.pop(1))
write = sys.stderr.write
seen = False


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watched(text: str) -> int:
    global seen
    if seen and "making  " in text:
        killed()
    if not seen and pattern.search(text):
        seen = True
        threading.Timer(0.3, killed).start()
    return write(text)


if __name__ == "__main__":
    sys.stderr.write = watched  # type: ignore[method-assign]
    main("run")
