"""The gate: rules that a recipe states, and whether a version meets them, one line for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wd.config import GateConfig, RegistryConfig
from wd.evaluation.significance import p_value, shown_p_value
from wd.registry.evidence import Evidence


@dataclass(frozen=True)
class Check:
    """One rule, and how a version stands to it."""

    rule: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.rule}: {self.detail}"


@dataclass(frozen=True)
class Verdict:
    """All rules that were asked."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = field(default=())
    """What is to be known besides."""

    @property
    def passed(self) -> bool:
        """Whether all rules are met."""
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """The rules that are not met."""
        failed = (f"{check.rule}: {check.detail}" for check in self.checks if not check.passed)
        return "; ".join(failed)

    @property
    def lines(self) -> list[str]:
        """What to print."""
        return [*(f"note  {note}" for note in self.notes), *map(str, self.checks)]


@dataclass(frozen=True)
class InUse:
    """The version that has the alias."""

    label: str
    """For people: `champion, version 3`."""
    evidence: Evidence | None


def floors(evidence: Evidence, config: RegistryConfig) -> Iterator[Check]:
    """Yield the rules that need no other version."""
    gate = config.gate
    yield _least("BLEU", evidence.bleu, config.min_bleu)
    if gate.min_chrf is not None:
        yield _least("chrF", evidence.chrf, gate.min_chrf)
    yield from _against_teacher(evidence, gate)
    if gate.min_speed_up is not None:
        yield _least("speed-up", evidence.speed_up, gate.min_speed_up)
    if gate.max_milliseconds is not None:
        yield _most("ms per sentence", evidence.milliseconds, gate.max_milliseconds)
    if gate.max_megabytes is not None:
        yield _most("MB", evidence.megabytes, gate.max_megabytes)


def _against_teacher(evidence: Evidence, gate: GateConfig) -> Iterator[Check]:
    bleu, teacher = evidence.bleu, evidence.teacher_bleu
    if (share := gate.min_teacher_share) is not None:
        least = share * teacher
        detail = f"{bleu:.2f} BLEU, at least {least:.2f} ({share:g} x the teacher's {teacher:.2f})"
        yield Check("share of the teacher", bleu >= least, detail)
    if (most := gate.max_below_teacher) is not None:
        detail = f"{bleu:.2f} BLEU, at most {most:g} below the teacher's {teacher:.2f}"
        yield Check("below the teacher", bleu >= teacher - most, detail)


def _least(what: str, value: float, least: float) -> Check:
    return Check(f"least {what}", value >= least, f"{value:.2f}, at least {least:.2f}")


def _most(what: str, value: float, most: float) -> Check:
    return Check(f"most {what}", value <= most, f"{value:.2f}, at most {most:.2f}")


def comparison(
    evidence: Evidence, in_use: InUse, references: Sequence[str], config: GateConfig
) -> Iterator[Check]:
    """Yield whether a version is no worse than the one in use, in BLEU and in chrF.

    Where they were not measured alike, one rule that is not met says why and what to do.
    """
    other = in_use.evidence
    if other is None or (why := _difference(evidence, other)):
        why = "it was registered without its translations" if other is None else why
        yield Check(
            "comparable",
            False,
            f"with the {in_use.label} there is no comparison: {why}. To have this test set "
            "translated by it too, add --evaluate-champion",
        )
        return
    language = evidence.target_language
    for metric, own, others in (
        ("BLEU", evidence.bleu, other.bleu),
        ("chrF", evidence.chrf, other.chrf),
    ):
        p = p_value(
            evidence.hypotheses,
            other.hypotheses,
            references,
            language,
            metric="BLEU" if metric == "BLEU" else "chrF",
        )
        passed = own >= others or p >= config.significance
        yield Check(
            f"no worse in {metric}",
            passed,
            f"{own:.2f}, the {in_use.label} has {others:.2f} (p {shown_p_value(p)}; refused where "
            f"lower and p below {config.significance:g})",
        )


def _difference(one: Evidence, other: Evidence) -> str:
    """Return in what two evaluations differ that makes their scores incomparable."""
    if one.languages != other.languages:
        return f"it translates {other.languages}, this one {one.languages}"
    if one.test_set != other.test_set:
        return (
            f"it was evaluated on another test set ({other.sentences:,} lines, {other.test_set}; "
            f"this one on {one.sentences:,}, {one.test_set})"
        )
    for metric in ("bleu_signature", "chrf_signature"):
        ours, theirs = getattr(one, metric), getattr(other, metric)
        if ours != theirs:
            return f"its scores have the signature {theirs}, this one's {ours}"
    return ""
