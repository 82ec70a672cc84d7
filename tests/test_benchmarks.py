"""Benchmarks run, at toy sizes: what they measure here means nothing, that they measure does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wd.errors import UserError

FOLDER = Path(__file__).parent / "benchmarks"
ROOT = FOLDER.parents[1]
COMMANDS = sorted(
    path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


def benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / name), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_benchmark_tells_its_options(name: str) -> None:
    done = benchmark(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_a_card_is_measured(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    """Every part, the ladder of a prepared folder too; Hugging Face's only where it is there."""
    recipe, data, out = write_recipe(tmp_path), tmp_path / "data", tmp_path / "out"
    done = benchmark("gpu.py", "--prepare", "--data", str(data), str(recipe))
    assert done.returncode == 0, done.stderr
    for name in ("text.de", "text.en"):
        (tmp_path / name).unlink()  # what is carried is enough

    options = ("--out", str(out), "--data", str(data), "--device", "cpu", "--toy", "--no-compile")
    done = benchmark("gpu.py", *options)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row for row in rows if "failed" in row] == []
    parts = ("ceilings", "training", "phase_one", "profiles", "checks", "ladder")
    assert tuple(dict.fromkeys(row["part"] for row in rows if row["what"] == "begun")) == parts
    check_figures({(row["part"], row["what"]): row for row in rows})
    assert done.stdout.endswith((out / "table.md").read_text() + "\n")
    assert (out / "profile-teacher.json.gz").stat().st_size > 1000


def check_figures(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert rows["ceilings", "product"]["teraflops"] > 0
    for model in ("base", "big"):
        assert rows["training", f"{model}, ours, 128 x 2"]["pieces_per_second"] > 0
        skipped = rows["training", f"{model}, ours compiled, 128 x 2"]["skipped"]
        assert skipped == "asked for no compilation"
    for pair in ("base to tiny", "base to small", "big to tiny"):
        phases = [rows["phase_one", f"{pair}, {kind}"] for kind in ("fine_tuning", "generator")]
        ratio = phases[1]["seconds"] / phases[0]["seconds"]
        assert rows["phase_one", pair]["ratio"] == pytest.approx(ratio, abs=1e-3)
    assert sum(rows["profiles", "base teacher"]["shares"].values()) == pytest.approx(1, abs=1e-2)
    assert rows["checks", "fast tests"]["passed"] > 0
    assert set(rows["ladder", "ladder"]["students"]["tiny"]) == {"kd", "copy", "wd"}


@pytest.mark.long
@pytest.mark.parametrize("place", [[], ["--store"]], ids=["folder", "store"])
def test_the_way_to_batches_is_measured(place: list[str]) -> None:
    options = ("--pairs", "2000", "--nodes", "2", "--part-pairs", "500", "--vocabulary", "500")
    done = benchmark("scale.py", *options, *place)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [row["stage"] for row in found["stages"]] == ["corpus", "tokenizer", "shards"]
    corpus, tokenizer, shards = found["stages"]
    assert tokenizer["CPU s"] > 0  # which sees little of so small a text
    assert all(row["CPU s"] > 1 and row["MB read"] > 1 for row in (corpus, shards))
    assert min(found["alone"]["pairs_per_second"].values()) > 100


def test_no_time_is_told_and_the_table_comes_all_the_same(tmp_path: Path) -> None:
    done = benchmark("gpu.py", "--out", str(tmp_path), "--device", "cpu", "--minutes", "0.1")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    told = {row["part"]: row["skipped"] for row in rows if "skipped" in row}
    assert len(told) == 6
    assert "s left, at least 30 needed" in told["training"]
    assert "not measured" in done.stdout


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benchmarks' own modules be imported, as they are by each other."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.usefixtures("parts")
def test_kernels_have_kinds() -> None:
    from card.profiles import KERNELS
    from step_profile import shares_of

    names = {
        "nvjet_tst_256x128_64x4_2x1_v_bz_coopA_TNT": "matrix products",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n": "matrix products",
        "pytorch_flash::flash_fwd_kernel<...>": "attention",
        "at::native::vectorized_layer_norm_kernel<float>": "layer norm",
        "triton_poi_fused_add_native_dropout_3": "dropout and random numbers",
        "triton_poi_fused_add_7": "compiled",
        "at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>": "optimiser",
        "at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add>": "elementwise",
        "at::native::reduce_kernel<512, 1, MeanOps>": "reductions",
        "something new": "other",
    }
    for name, kind in names.items():
        shares = shares_of({name: (1, 2.0)}, KERNELS, exact=False)
        assert next(iter(shares.items())) == (kind, 1.0), name


@pytest.mark.usefixtures("parts")
def test_a_figure_that_fails_leaves_a_line_and_the_next_is_measured(tmp_path: Path) -> None:
    import time

    from card.records import BEGUN, Records, read

    records = Records(tmp_path, "some", time.time() + 30)
    assert records.measure("bad", 1, lambda: {}["absent"]) == {}
    assert records.measure("long", 60, dict) == {}
    assert records.measure("good", 1, lambda: {"figure": 2}) == {"figure": 2}
    bad, long, good = read(tmp_path)
    assert bad["failed"] == "KeyError: 'absent'"
    assert long["skipped"].startswith("takes about 60 s")
    assert good["figure"] == 2

    records.add(BEGUN)
    records.add("good", figure=3)
    assert [row["figure"] for row in read(tmp_path)] == [3]


@pytest.mark.usefixtures("parts")
def test_cards_have_peaks() -> None:
    from card.table import peak

    assert peak("NVIDIA H100 80GB HBM3") == peak("NVIDIA H200") == 989.4
    assert peak("NVIDIA H100 PCIe") == 756.0
    assert peak("a card of next year") is None


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prepare": True}, "--prepare: say where to"),
        ({}, "say where the results go"),
        ({"out": True, "part": ["speed"]}, "--part speed: there are ceilings, training"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    from gpu import gpu

    with pytest.raises(UserError, match=message):
        gpu(**arguments | ({"out": tmp_path} if "out" in arguments else {}))


def test_phase_one_launches_little_more_than_fine_tuning() -> None:
    done = benchmark("launches.py", "wmt14-ende-base", "--no-compiled")
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    for student in ("tiny", "small"):
        assert 100 < counted[student]["fine_tuning"] < 650
        assert counted[student]["ratio"] <= 1.15
        assert counted[student]["waits"] == 0
    assert counted["loss_bytes"]["lean"] < 0.8 * counted["loss_bytes"]["plain"]
