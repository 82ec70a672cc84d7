"""A registered model, loaded as its users load it, has to translate."""

from collections.abc import Sequence

from wd.registry.gate import Check
from wd.registry.packaging import default_uri

RULE = "smoke translation"


def smoke(address: str, uri: str, lines: Sequence[str], expected: Sequence[str]) -> Check:
    """Load `uri` from the registry at `address` by MLflow alone and translate some lines.

    The rule is met if every line that is not blank gets a translation; how many are the
    evaluation's own is told, since another quantization or machine may word a line otherwise.
    """
    import mlflow

    try:
        with default_uri(address):
            found = mlflow.pyfunc.load_model(uri).predict(list(lines))
    except Exception as error:  # whatever keeps a version from being used
        reason = str(error).partition("\n")[0]
        return Check(RULE, False, f"{uri} cannot be used: {type(error).__name__}: {reason}")
    empty = sum(
        bool(line.strip()) and not text.strip() for line, text in zip(lines, found, strict=False)
    )
    same = sum(text == other for text, other in zip(found, expected, strict=False))
    detail = f"{len(found)} lines by {uri if uri.startswith('models:/') else 'the packed model'}"
    if empty or len(found) != len(lines):
        return Check(RULE, False, f"{detail}, {empty} of them empty")
    return Check(RULE, True, f"{detail}, {same} as in the evaluation")
