"""What a job takes along: files, and variables that are no secrets."""

from pathlib import Path

import pytest

from cluster.runtime_env import SHIPPED_LIMIT, environment, pack, withheld
from pipelines.commands.recipe_arguments import shipped_recipes
from wd.errors import UserError

SECRETS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


def test_the_shipped_folder_is_small_and_whole(tmp_path: Path) -> None:
    shipment = pack(tmp_path)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert (shipment.files, shipment.bytes) == (len(sizes), sum(sizes))
    assert shipment.bytes < SHIPPED_LIMIT <= 2_000_000
    assert (tmp_path / "wd" / "artifacts.py").is_file()
    for recipe in shipped_recipes():
        assert (tmp_path / "pipelines" / "recipes" / f"{recipe}.yaml").is_file()
    assert not list(tmp_path.rglob("__pycache__"))


def test_too_much_is_refused_with_the_culprit(tmp_path: Path) -> None:
    culprit = tmp_path / "corpus.txt"
    culprit.write_bytes(bytes(SHIPPED_LIMIT + 1))
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"corpus\.txt"):
        pack(out, (culprit,))


def test_addresses_are_sent_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage.example.org")
    monkeypatch.setenv("MINE", "value")
    sent = environment(["MINE"])
    assert sent["MLFLOW_TRACKING_URI"] == "http://mlflow.example.org"
    assert sent["AWS_ENDPOINT_URL"] == "http://storage.example.org"
    assert sent["MINE"] == "value"
    assert "planted" not in sent.values()
    assert withheld() == sorted(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_not_sent_on_demand(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "planted")
    with pytest.raises(UserError, match=f"--env {name}: whoever may ask"):
        environment([name])


def test_an_address_with_a_password_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:planted@mlflow.example.org")
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI http://mlflow\.example\.org") as told:
        environment()
    assert "planted" not in str(told.value)


def test_a_variable_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINE", raising=False)
    with pytest.raises(UserError, match="--env MINE: it is not set here"):
        environment(["MINE"])
