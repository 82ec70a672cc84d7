"""What a stage recorded, once it is made."""

from collections.abc import Mapping
from typing import Any

from wd.tracking.tracker import Tracker


def log_final(tracker: Tracker, metrics: Mapping[str, Any]) -> None:
    """Track what a stage recorded, after a training at its last update.

    The figures of the published weights have a name of their own: those of the validations are a
    curve, and its last point is another one where an average or an earlier best is published.
    """
    history = metrics.get("history") or []
    if not history or "published" not in metrics:
        return tracker.log_metrics(metrics)
    rest = {key: value for key, value in metrics.items() if key != "validation"}
    figures = {**rest, "published": metrics["validation"]}
    tracker.log_metrics(figures, step=int(history[-1]["update"]))
    tracker.set_tags({"wd.published": str(metrics["published"])})
