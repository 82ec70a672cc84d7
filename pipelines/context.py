"""A pipeline run: its recipe, its store, its tracker, and the one way to make an artifact."""

import logging
import shutil
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self

from wd.artifacts import Artifact, Identity, Metrics, Store
from wd.config import Recipe
from wd.logs import facts
from wd.places import Place
from wd.status import shown
from wd.store.shelf import Shelf
from wd.tracking import Tracker, open_tracker
from wd.tracking.final import log_final

_LOG = logging.getLogger(__name__)
STAGES = (
    "corpus",
    "tokenizer",
    "shards",
    "teacher",
    "pseudo",
    "generator",
    "student",
    "evaluation",
    "registry",
)


Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Work:
    """What a stage's build function gets."""

    out: Path
    """Folder to fill; it becomes the artifact."""
    scratch: Place
    """Folder for checkpoints and the like, for all nodes; it outlives a killed run, not a finished
    one."""
    tracker: Tracker
    """The stage's own MLflow run."""
    taken: dict[str, Shelf] = field(default_factory=dict)
    """Files of the artifact that lie in the store already, by their names in it."""

    def take(self, made: Place, name: str) -> None:
        """Make a part that `map_parts` made a file of the artifact; it stays where it is, too."""
        if isinstance(made, Shelf):
            self.taken[name] = made
            return
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(made)
        except OSError:  # of a file system without links
            shutil.copyfile(made, target)


@dataclass
class Run:
    """Use as a context manager; stage functions take it as their first argument."""

    recipe: Recipe
    dry: bool = False
    rebuild: frozenset[str] = frozenset()
    """Stages to do again even if their artifact exists."""
    on_validation: Callable[[dict[str, Any]], None] | None = None
    """Called in this process after each validation (training with `ray.workers: 0` only)."""
    parent: Tracker | None = None
    """The MLflow run to work under, if not the recipe's own: a sweep's trial has one."""
    taught: "Callable[[Run], Artifact] | None" = None
    """Makes the student that is the teacher in a run whose recipe goes `via` others."""
    quiet: bool = False
    """Whether what is made and what exists is not told, since somebody else does."""
    answers: dict[Hashable, Artifact] = field(default_factory=dict)
    """What stage functions have returned to this run, or to who started it: see `asked_once`."""

    def __post_init__(self) -> None:
        self.store = Store(self.recipe.root)
        self._made: dict[str, Artifact] = {}
        self.outlook: dict[str, str] = {}
        """Of a dry run: artifact -> `exists` or `to do`."""
        self._exits = ExitStack()
        self._tracker = self.parent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._exits.__exit__(*error)

    def stage(
        self,
        stage: str,
        *,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, Artifact],
        build: Callable[[Work], Metrics],
        label: str | None = None,
        place: str | None = None,
    ) -> Artifact:
        """Return the artifact of this identity, building it if it does not exist yet.

        `place` is the stage of `STAGES` together with which it is done again, by default its own.
        """
        identity = Identity(
            stage=stage,
            label=label or self.recipe.name,
            version=version,
            config=config,
            inputs={role: artifact.name for role, artifact in inputs.items()},
        )
        if identity.name in self._made:
            return self._made[identity.name]
        again = (place or stage) in self.rebuild
        self._made[identity.name] = artifact = self._find_or_build(identity, build, again)
        return artifact

    def _find_or_build(
        self, identity: Identity, build: Callable[[Work], Metrics], again: bool
    ) -> Artifact:
        found = None if again else self.store.find(identity)
        if self.dry:
            self.outlook[identity.name] = "exists" if found else "to do"
            self.say(f"{self.outlook[identity.name]:6}  {identity.name}")
            return found or self.store.planned(identity)
        if found:
            self.say(f"exists  {found.name}")
            return found
        with self.store.lock(identity):
            if not again and (found := self.store.find(identity)):
                return found
            return self._build(identity, build)

    def _build(self, identity: Identity, build: Callable[[Work], Metrics]) -> Artifact:
        name = f"{identity.stage} {identity.label}"
        with ExitStack() as tracked:
            tracker = tracked.enter_context(self.tracker.child(name, key=identity.name))
            tracker.log_params(identity.described["config"])
            inputs = {f"wd.input.{role}": one for role, one in identity.inputs.items()}
            tracker.set_tags({"wd.artifact": identity.name, **inputs})
            handle, place = tracker.handle(), f"{identity.stage}/{identity.hash}"
            page = handle.page if handle else None
            scratch, taken = self.store.work_folder(identity), dict[str, Shelf]()

            def build_and_track(out: Path) -> Metrics:
                metrics = build(Work(out, scratch, tracker, taken))
                log_final(tracker, metrics)
                # Before it is published: whoever finds an artifact need not ask for its run.
                tracked.close()
                return metrics

            with shown(self.store.root, identity.name, place, page):
                self.say(f"making  {identity.name}")
                artifact = self.store.publish(identity, build_and_track, taken)
                seconds = artifact.manifest["seconds"]
                self.say(f"made    {artifact.name} in {seconds:.0f} s", made={"seconds": seconds})
        return artifact

    def say(self, line: str, **figures: Mapping[str, Any]) -> None:
        """Log a line and what figures it tells, unless this run is quiet."""
        if not self.quiet:
            _LOG.info("%s", line, extra=facts(**figures))

    def lineage(self, artifact: Artifact) -> dict[str, str]:
        """Return role -> name of everything that an artifact of this run was made from.

        What has the role of something nearer, as the teacher's teacher, is told by the way to it:
        `teacher.teacher`.
        """
        made = {one.name: one for one in self._made.values()}
        inputs = artifact.manifest.get("inputs", {})
        found = dict(inputs)
        for role, name in inputs.items():
            for further, one in self.lineage(made[name]).items() if name in made else ():
                if found.setdefault(further, one) != one:
                    found[f"{role}.{further}"] = one
        return found

    def elsewhere(self) -> dict[str, Any]:
        """Return overrides for a run in a process of its own, in whatever folder it is started."""
        from wd.distributed.accelerator import gpu_on_cluster

        # Decided here: a process that has no GPU from Ray may see one all the same.
        gpu = gpu_on_cluster(self.recipe.ray)
        changes: dict[str, Any] = {"root": self.store.root, "ray.workers": 0, "ray.gpu": gpu}
        corpus = self.recipe.corpus
        if corpus.dir is not None or not corpus.packages:
            changes["corpus.dir"] = str(Path(corpus.dir or ".").expanduser().absolute())
        return changes | self.recipe.local_models()

    def sibling(self, recipe: Recipe) -> "Run":
        """Return a run of another recipe below the same MLflow run.

        What either makes the other knows, so that shared stages are not looked up again.
        """
        parent = None if self.dry else self.tracker
        run = Run(
            recipe, self.dry, self.rebuild, parent=parent, taught=self.taught, quiet=self.quiet
        )
        run._made, run.outlook = self._made, self.outlook
        return run

    def glance(self, recipe: Recipe) -> "Run":
        """Return a dry run of another recipe, to see what exists; it says and makes nothing."""
        run = Run(recipe, dry=True, taught=self.taught, quiet=True)
        run._made = dict(self._made)
        return run

    def open_tracking(self) -> None:
        """Open the MLflow run now, so that a server that is away is told before long work."""
        _ = self.tracker

    @property
    def tracker(self) -> Tracker:
        """The run's parent in MLflow, opened when first needed."""
        if self._tracker is None:
            self._tracker = self._exits.enter_context(open_tracker(self.recipe, self.store.folder))
        return self._tracker


def asked_once(
    stage: Callable[Concatenate[Run, Arguments], Artifact],
) -> Callable[Concatenate[Run, Arguments], Artifact]:
    """Let every run remember what a stage function returned for its arguments.

    Stages ask for the stages before them, each for all it needs, so that one is asked many times.
    """

    @wraps(stage)
    def ask(run: Run, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Artifact:
        question = (stage.__name__, args, tuple(sorted(kwargs.items())))
        if question not in run.answers:
            run.answers[question] = stage(run, *args, **kwargs)
        return run.answers[question]

    return ask
