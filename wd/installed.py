"""Libraries that only some commands need; without one of them a message says what to do."""

from importlib.util import find_spec

from wd.errors import UserError

RAY, MLFLOW = "ray[default,data,train,tune]", "mlflow"
"""What to install."""


def need(requirement: str, instead: str, kind: type[UserError] = UserError) -> None:
    """Raise an error of a kind if a library is not installed; `instead` is the way without it."""
    name = requirement.partition("[")[0]
    try:
        found = find_spec(name) is not None
    except ImportError:
        found = False
    if not found:
        raise kind(
            f"{name} is not installed: pip install -c constraints.txt '{requirement}'; or {instead}"
        )
