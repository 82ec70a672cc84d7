"""What `gpu.py` measures; importing it lets the packages be found where they are not installed."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[3])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
