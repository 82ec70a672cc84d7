"""Artifacts: visible only when whole, found again, and known to be damaged when they are."""

import errno
import fcntl
import json
import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.store.s3_server import CREDENTIALS, root_on, s3_server
from tests.waiting import wait_until
from wd.artifacts import Identity, Metrics, Store, place_at
from wd.config import Config
from wd.errors import ArtifactError, ConfigError, DataError
from wd.manifest import MANIFEST, damaged_files, read_manifest
from wd.store import objects
from wd.store.pieces import digests_of
from wd.store.shelf import Shelf, describe, here, names, pull, push


def identity(**changes: object) -> Identity:
    told: dict[str, object] = {
        "stage": "shards",
        "label": "test",
        "version": 1,
        "config": {"batch_tokens": 10},
        "inputs": {"corpus": "corpus/test-0123456789ab"},
    }
    return Identity(**(told | changes))  # type: ignore[arg-type]


def build(out: Path) -> Metrics:
    (out / "train").mkdir()
    (out / "train" / "part.txt").write_text("some text")
    (out / "log.txt").write_text("")
    return {"pairs": 3}


@pytest.fixture(params=["folder", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A plain folder, and one in an object store."""
    if request.param == "folder":
        return str(tmp_path / "root")
    return str(request.getfixturevalue("store_root"))


def test_what_is_published_is_found_with_its_files(root: str) -> None:
    made = Store(root).publish(identity(), build)
    found = Store(root).find(identity())
    assert found == made
    assert found is not None
    assert found.metrics == {"pairs": 3}
    assert (found.path / "train" / "part.txt").read_text() == "some text"
    manifest = read_manifest(found.path)
    assert manifest["files"].keys() == {"train/part.txt", "log.txt"}
    assert manifest["inputs"] == {"corpus": "corpus/test-0123456789ab"}
    assert damaged_files(found.path, manifest) == []


def test_nothing_is_found_before(root: str) -> None:
    store = Store(root)
    assert store.find(identity()) is None
    with pytest.raises(ArtifactError):
        _ = store.planned(identity()).path


def test_a_failed_build_leaves_nothing_visible(root: str) -> None:
    def fail(out: Path) -> Metrics:
        build(out)
        raise ArtifactError("in the middle")

    store = Store(root)
    with pytest.raises(ArtifactError, match="in the middle"):
        store.publish(identity(), fail)
    assert store.find(identity()) is None
    store.publish(identity(), build)
    assert store.find(identity()) is not None


def test_the_work_folder_outlives_a_failure_but_not_success(root: str) -> None:
    store = Store(root)
    checkpoint = store.work_folder(identity()) / "checkpoint"
    here(checkpoint).write_text("half")
    push(checkpoint)

    def fail(out: Path) -> Metrics:
        raise ArtifactError("in the middle")

    with pytest.raises(ArtifactError):
        store.publish(identity(), fail)
    assert pull(checkpoint).read_text() == "half"
    store.publish(identity(), build)
    assert names(store.work_folder(identity())) == []
    assert not here(checkpoint).exists()


def test_a_rebuild_replaces(root: str) -> None:
    def other(out: Path) -> Metrics:
        (out / "other.txt").write_text("other")
        return {"pairs": 4}

    store = Store(root)
    store.publish(identity(), build)
    store.publish(identity(), other)
    found = store.find(identity())
    assert found is not None
    assert found.metrics == {"pairs": 4}
    assert found.manifest["files"].keys() == {"other.txt"}


def _publish_for_ever(root: str, started: Path) -> None:
    def never_ends(out: Path) -> Metrics:
        build(out)
        started.touch()
        time.sleep(600)
        return {}

    Store(root).publish(identity(), never_ends)


def test_a_killed_build_leaves_nothing_visible(tmp_path: Path) -> None:
    started, root = tmp_path / "started", str(tmp_path / "root")
    process = multiprocessing.get_context("spawn").Process(
        target=_publish_for_ever, args=(root, started)
    )
    process.start()
    wait_until(started.exists, alive=process.is_alive)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = Store(root)
    assert store.find(identity()) is None
    made = store.publish(identity(), build)
    assert [path.name for path in Path(root, "shards").iterdir()] == [made.path.name]


def _locked_append(root: str, log: Path) -> None:
    with Store(root).lock(identity()), log.open("a") as stream:
        stream.write("in\n")
        stream.flush()
        time.sleep(0.2)
        stream.write("out\n")


def test_the_lock_keeps_a_second_process_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_locked_append, args=(str(tmp_path), log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert log.read_text().split() == ["in", "out", "in", "out"]


def test_who_waits_for_a_lock_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, name = tmp_path / "log", f"{identity().stage}-{identity().hash}"
    other = threading.Thread(target=_locked_append, args=(str(tmp_path), log))
    with Store(str(tmp_path)).lock(identity()):
        other.start()
        wait_until(lambda: f"waiting for another process, which makes {name}" in caplog.messages)
        assert not log.exists()
    other.join()
    assert log.read_text().split() == ["in", "out"]


def test_where_files_cannot_be_locked_nothing_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    marker = tmp_path / ".locks" / f"{identity().stage}-{identity().hash}"
    marker.parent.mkdir()
    marker.write_text("1\nanother-host\n")  # what filelock leaves there when its maker is killed
    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(ArtifactError, match="locks no files"),
        Store(str(tmp_path)).lock(identity()),
    ):
        raise AssertionError


def test_what_another_one_made_while_the_lease_was_away_stays(
    store_root: str,
) -> None:
    store = Store(store_root)

    def slow(out: Path) -> Metrics:
        (lease,) = store._leases.values()
        lease._renewed = -math.inf
        Store(store_root).publish(identity(label="other"), build)
        return {"pairs": 4}

    with store.lock(identity()):
        assert store.publish(identity(), slow).metrics == {"pairs": 3}
        found = store.find(identity())
        assert found is not None
        assert found.metrics == {"pairs": 3}
        again = store.publish(identity(), lambda _: {"pairs": 5})  # nobody was there meanwhile
        assert again.metrics == {"pairs": 5}


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "pseudo_shards"},
        {"version": 2},
        {"config": {"batch_tokens": 11}},
        {"config": {"batch_tokens": 10, "max_length": 5}},
        {"inputs": {"corpus": "corpus/test-ba9876543210"}},
        {"inputs": {"pseudo": "corpus/test-0123456789ab"}},
        {"inputs": {}},
    ],
)
def test_the_hash_depends_on_everything_that_matters(change: dict[str, object]) -> None:
    assert identity(**change).hash != identity().hash


def test_the_hash_does_not_depend_on_labels_or_order(root: str) -> None:
    relabelled = identity(label="other", inputs={"corpus": "corpus/renamed-0123456789ab"})
    assert relabelled.hash == identity().hash
    pairs = {"a": 1, "b": 2}
    turned = dict(reversed(pairs.items()))
    assert identity(config=pairs).hash == identity(config=turned).hash
    made = Store(root).publish(identity(), build)
    assert Store(root).find(relabelled) == made


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.unlink(), "part.txt: missing"),
        (lambda path: path.write_text("some"), "part.txt: 4 bytes instead of 9"),
        (lambda path: path.write_text("Some text"), "part.txt: its bytes have changed"),
    ],
)
def test_damage_is_found(tmp_path: Path, harm: object, told: str) -> None:
    made = Store(str(tmp_path)).publish(identity(), build)
    folder = made.path
    harm(folder / "train" / "part.txt")  # type: ignore[operator]
    (damage,) = damaged_files(folder, read_manifest(folder))
    assert told in damage
    if "bytes have changed" in told:
        assert made.path == folder  # to find out, every byte would have to be read
    else:
        with pytest.raises(ArtifactError, match=told):
            _ = made.path


ENTRY = {"bytes": 1, "sha256": "0" * 64}
MISLEADING = (
    {"files": {"../outside": ENTRY}},
    {"files": {"a/../../outside": ENTRY}},
    {"files": {"/etc/hostname": ENTRY}},
    {"files": {"": ENTRY}},
    {"files": {".": ENTRY}},
    {"files": {"a\0b": ENTRY}},
    {"files": {"x" * 10_000: ENTRY}},
    {"files": {"x" * 256: ENTRY}},
    {"files": {"a/" * 5000: ENTRY}},
    {"files": {"a": [[[]]]}},
    {"files": [["a", ENTRY]]},
    {"files": {"a": None}},
    {"files": {"a": {"bytes": "1", "sha256": "0"}}},
    {"files": {"a": {"bytes": -1, "sha256": "0"}}},
    {"files": {"a": {"bytes": True, "sha256": "0"}}},
    {"files": {"a": {"sha256": "0"}}},
    {"files": {"a": {"bytes": 1}}},
    {"files": {}, "inputs": ["corpus/a-0"]},
    {"files": {}, "inputs": {"corpus": "../../other/root"}},
    {"files": {}, "inputs": {"corpus": 1}},
    {"files": {}, "metrics": []},
)


@pytest.mark.parametrize(
    "text",
    [*map(json.dumps, MISLEADING), "[" * 10_000, '{"files": ' * 900 + "1" + "}" * 900, "1" * 9999],
    ids=lambda text: text[:40],
)
def test_a_manifest_that_names_what_cannot_be_in_its_folder_is_damaged(
    tmp_path: Path, text: str
) -> None:
    folder = Store(str(tmp_path)).publish(identity(), build).path
    (folder / MANIFEST).write_text(text)
    for read in (lambda: Store(str(tmp_path)).find(identity()), lambda: read_manifest(folder)):
        with pytest.raises(ArtifactError, match=r"manifest.json: damaged: not a manifest \(.+\)"):
            read()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_manifest_that_is_a_device_is_no_manifest(tmp_path: Path, device: str) -> None:
    (tmp_path / MANIFEST).symlink_to(device)
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("root", ["~nobody-at-all/x", "a\0b", "x" * 300, "x/" * 3000])
def test_a_root_that_cannot_be_a_folder_is_told(root: str) -> None:
    with pytest.raises(ArtifactError, match=r"^root .{1,120}: no folder can be there: "):
        Store(root)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"files": {}'])
def test_a_damaged_manifest_is_told_where_it_is_looked_for(tmp_path: Path, text: str) -> None:
    store = Store(str(tmp_path))
    manifest = store.publish(identity(), build).path / MANIFEST
    manifest.write_text(text)
    with pytest.raises(ArtifactError, match=r"damaged: .*run its stage again"):
        store.find(identity())


@pytest.mark.parametrize(("error", "kept"), [(DataError, False), (ConfigError, True)])
def test_what_failed_leaves_only_what_can_go_on(
    tmp_path: Path, error: type[Exception], kept: bool
) -> None:
    store = Store(str(tmp_path))

    def failing(out: Path) -> Metrics:
        (out / "half").write_text("half")
        here(store.work_folder(identity()) / "checkpoint").write_text("half")
        raise error

    with pytest.raises(error):
        store.publish(identity(), failing)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == (["artifact.json", "checkpoint"] if kept else [])


def test_a_damaged_manifest_is_told(tmp_path: Path) -> None:
    made = Store(str(tmp_path)).publish(identity(), build)
    text = (made.path / MANIFEST).read_text()
    (made.path / MANIFEST).write_text(text[: len(text) // 2])
    with pytest.raises(ArtifactError, match="damaged"):
        read_manifest(made.path)
    with pytest.raises(ArtifactError, match="not an artifact"):
        read_manifest(tmp_path)


def test_a_remote_artifact_that_was_altered_is_refused(store_root: str) -> None:
    made = Store(store_root).publish(identity(), build)
    for text, told in (("SOME TEXT", "its bytes have changed"), (None, "not|No such")):
        if text is None:
            objects.erase(store_root, f"{made.name}/train/part.txt")
        else:
            objects.write(store_root, f"{made.name}/train/part.txt", text.encode())
        with pytest.raises(ArtifactError, match=told):
            _ = made.path


def test_a_broken_upload_is_not_visible(store_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, real, sent = Store(store_root), objects.upload, []

    def break_off(root: str, source: Path, path: str) -> None:
        if path.endswith("part.txt"):
            raise ArtifactError("broken")
        if not path.startswith(".work/"):
            sent.append(path)
        real(root, source, path)

    store.publish(identity(), build)
    with monkeypatch.context() as patch:
        patch.setattr(objects, "upload", break_off)
        with pytest.raises(ArtifactError, match="broken"):
            store.publish(identity(), build)
    assert sent == [f"{identity().name}/log.txt"]
    assert store.find(identity()) is None  # nor is what was there before, in parts
    store.publish(identity(), build)
    found = Store(store_root).find(identity())
    assert found is not None
    assert (found.path / "train" / "part.txt").read_text() == "some text"


def test_what_is_made_again_with_other_bytes_is_fetched_again(store_root: str) -> None:
    """Of the same size: weights that were trained anew."""

    def anew(out: Path) -> Metrics:
        metrics = build(out)
        (out / "train" / "part.txt").write_text("more text")
        return metrics

    before = Store(store_root).publish(identity(), build)
    assert (before.path / "train" / "part.txt").read_text() == "some text"
    after = Store(store_root).publish(identity(), anew)
    assert (after.path / "train" / "part.txt").read_text() == "more text"


def test_only_what_is_asked_for_is_fetched(
    store_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Store(store_root).publish(identity(), build)
    fetched, real = [], objects.download

    def download(root: str, path: str, target: Path) -> None:
        fetched.append(path)
        real(root, path, target)

    monkeypatch.setattr(objects, "download", download)
    (part,) = made.files("train")
    assert part.name == "part.txt"
    copied = pickle.loads(pickle.dumps(part))
    for _ in range(2):
        assert Path(copied).read_text() == "some text"
    assert fetched == [f"{made.name}/train/part.txt"]
    assert Path(made / "train").name == "train"
    assert (made.path / "log.txt").is_file()
    assert fetched == [f"{made.name}/train/part.txt", f"{made.name}/log.txt"]
    Path(part).write_text("some")  # a copy that is not whole
    assert Path(part).read_text() == "some text"


def test_digests_of_a_piece_are_known_without_fetching(
    store_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Store(str(tmp_path / "root")).publish(identity(), build)
    there = Store(store_root).publish(identity(), build)
    monkeypatch.setattr(objects, "download", pytest.fail)
    for name, pattern in (("train", "*.txt"), ("train/part.txt", "*"), (".", "l*")):
        told = digests_of(here / name, pattern)
        assert len(told) == 1
        assert digests_of(there / name, pattern) == told
    assert digests_of(there.place, "l*") == digests_of(here.path, "l*")


def test_parts_that_the_store_has_are_taken_as_they_are(
    store_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(store_root)
    part = store.work_folder(identity()) / "parts" / "part.txt"
    assert isinstance(part, Shelf)
    here(part).write_text("some text")
    push(part)
    describe(part)
    with monkeypatch.context() as patch:
        patch.setattr(objects, "download", pytest.fail)
        made = store.publish(identity(), lambda out: {}, {"train/part.txt": part})
    assert (made.path / "train" / "part.txt").read_text() == "some text"
    again = store.publish(identity(), build).manifest["files"]
    assert made.manifest["files"] == {"train/part.txt": again["train/part.txt"]}


def test_an_address_of_no_kind() -> None:
    with pytest.raises(ArtifactError, match="not a folder or a storage address"):
        Store("nowhere://bucket")


def test_an_option_at_its_default_does_not_change_the_hash() -> None:
    class Before(Config):
        size: int = 1

    class After(Config):
        size: int = 1
        added: bool = False

    def hashed(config: Config) -> str:
        return identity(config={"shards": config}).hash

    assert hashed(Before(size=2)) == hashed(After(size=2)) != hashed(After())
    assert hashed(After(added=True)) != hashed(After())
    assert identity(config={"shards": After()}).described["config"] == {
        "shards": {"size": 1, "added": False}
    }


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://b/p/student/a-0123456789ab", ("s3://b/p", "student/a-0123456789ab", ".")),
        ("s3://b/student/a-0123456789ab/", ("s3://b", "student/a-0123456789ab", ".")),
        (
            "s3://b/p/generator/a-b-0123456789ab/student?scheme=http&endpoint_override=x%3A1",
            (
                "s3://b/p?scheme=http&endpoint_override=x%3A1",
                "generator/a-b-0123456789ab",
                "student",
            ),
        ),
    ],
)
def test_an_address_leads_into_an_artifact(address: str, expected: tuple[str, str, str]) -> None:
    artifact, way = place_at(address)
    assert (artifact.root, artifact.name, way) == expected


@pytest.mark.parametrize("address", ["s3://b/p", "s3://b/student/a", "s3://a-0123456789ab"])
def test_an_address_of_no_artifact_is_told(address: str) -> None:
    with pytest.raises(ArtifactError, match=r"not the address of an artifact: give ROOT/STAGE"):
        place_at(address)


def test_a_bucket_that_is_not_there_is_told(store_server: str, store_root: str) -> None:
    with pytest.raises(ArtifactError, match=r"there is no nowhere: make the bucket"):
        Store(root_on(store_server, "nowhere/prefix"))


def test_credentials_that_do_not_let_us_in_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="2") as strict:  # the bucket is made
        root = root_on(strict, "bucket/prefix")
        with pytest.raises(ArtifactError, match=r"root s3://bucket/prefix.*check the credentials"):
            Store(root)


def test_secrets_of_an_address_are_not_told() -> None:
    root = "s3://key:secret@bucket/x?endpoint_override=http%3A%2F%2F127.0.0.1%3A1"
    with pytest.raises(ArtifactError, match="root s3://bucket/x") as told:
        Store(root)
    assert "secret" not in str(told.value)
