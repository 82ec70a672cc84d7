"""The files that describe clusters: they are what their readers take, and agree with the pins."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.job_command import job_command
from cluster.runtime_env import SECRET

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
PINS = (ROOT / "constraints.txt").read_text("utf-8")


@pytest.fixture
def ray_job() -> dict[str, Any]:
    return dict(yaml.safe_load((CLUSTER / "ray-job.yaml").read_text("utf-8")))


@pytest.fixture
def pods(ray_job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = ray_job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [each["template"]["spec"] for each in groups]


def dockerfile() -> Iterator[tuple[str, str]]:
    """Yield the instructions, continued lines joined."""
    text = (CLUSTER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            yield instruction, rest


def copied() -> list[str]:
    return [name for what, rest in dockerfile() if what == "COPY" for name in rest.split()[:-1]]


def test_the_operators_job_has_the_pinned_ray_and_one_image(
    ray_job: dict[str, Any], pods: list[dict[str, Any]]
) -> None:
    version = ray_job["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version}\n" in PINS
    submitter = ray_job["spec"]["submitterPodTemplate"]["spec"]
    images = {pod["containers"][0]["image"] for pod in [*pods, submitter]}
    assert len(images) == 1


def test_the_operators_job_runs_a_command_that_wd_takes(ray_job: dict[str, Any]) -> None:
    entry = shlex.split(ray_job["spec"]["entrypoint"])
    assert entry[:3] == ["python", "-m", "pipelines"]
    assert list(job_command(entry[3:]).arguments) == entry[3:]


def test_the_operators_job_starts_from_nothing_and_leaves_nothing(ray_job: dict[str, Any]) -> None:
    spec = ray_job["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"]
    assert all(group["minReplicas"] == 0 for group in cluster["workerGroupSpecs"])
    assert spec["shutdownAfterJobFinishes"]
    assert cluster["authOptions"] == {"mode": "token"}


def test_no_secret_is_written_down(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        for container in pod["containers"]:
            assert not [each for each in container["env"] if SECRET.fullmatch(each["name"])]
    for file in CLUSTER.iterdir():
        if file.is_file():
            text = file.read_text("utf-8")
            assert not re.search(rf"(?:{SECRET.pattern}|RAY_AUTH_TOKEN)=[\w\"']", text), file


def test_rays_launcher_takes_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    machines = yaml.safe_load((CLUSTER / "machines.yaml").read_text("utf-8"))
    config = prepare_config(machines)
    validate_config(config)
    assert config["setup_commands"] == []
    start = config["head_start_ray_commands"][-1]
    assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in start
    with pytest.raises(Exception, match="idle_minutes"):
        validate_config(config | {"idle_minutes": 1})


def test_the_slurm_script_is_bash() -> None:
    script = CLUSTER / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def test_the_slurm_script_wants_a_command() -> None:
    ran = subprocess.run([CLUSTER / "slurm.sh"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr[:14]) == (2, "which command?")


def test_the_image_may_have_what_it_is_made_of() -> None:
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


@pytest.mark.slow
def test_the_image_has_a_whole_project(tmp_path: Path) -> None:
    """Its packages are installed from what is copied, and nothing else."""
    context, installed = tmp_path / "context", tmp_path / "installed"
    context.mkdir()
    for name in copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, context / name)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, *install, "--target", installed, context], check=True)
    for line in (["-m", "pipelines", "plan", "quickstart"], ["-m", "cluster.submit", "--help"]):
        ran = subprocess.run(
            [sys.executable, *line],
            env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
    assert (installed / "wd" / "evaluation" / "report.html").is_file()
