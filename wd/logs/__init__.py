"""What the project says while it works, and the one place that decides how it looks.

Whoever has something to say logs it, at a logger of its own name. Standard output is for results.
"""

from wd.logs.facts import SAID, facts, facts_of, work_of, working_on
from wd.logs.setup import FORMS, configure, error_console, new_run, take_over
from wd.logs.wire import MARK, Voice, hear, hearing

__all__ = [
    "FORMS",
    "MARK",
    "SAID",
    "Voice",
    "configure",
    "error_console",
    "facts",
    "facts_of",
    "hear",
    "hearing",
    "new_run",
    "take_over",
    "work_of",
    "working_on",
]
