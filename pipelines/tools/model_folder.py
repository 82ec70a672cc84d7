"""From what is typed to a model directory: a folder, an artifact or a registered model."""

from pathlib import Path

from wd.artifacts import Artifact, Store, place_at
from wd.errors import ArtifactError


def model_folder(model: str, root: str = "artifacts", registry: str | None = None) -> Path:
    """Return the model directory that `model` names.

    A folder counts before an artifact of the same name below `root`; `models:/NAME@ALIAS` is
    looked up in `registry`, by default the environment's or the root's, and what an address of a
    store leads to is fetched. Raises a UserError if there is no such model.
    """
    if model.startswith("models:/"):
        from wd.registry import resolve

        return resolve(model, root, registry)
    if "://" in model:
        artifact, way = place_at(model)
        return Path(artifact / way)
    if Path(model).is_dir():
        return Path(model)
    place = Store(root).root
    try:
        return Artifact(place, model).path
    except ArtifactError:
        if Path(place, model).is_dir():
            raise  # it is damaged
        raise ArtifactError(
            f"{model}: neither a folder nor an artifact below {root}; give a model directory, an "
            "artifact's name such as student/NAME-HASH, or models:/NAME@ALIAS"
        ) from None
