"""Tracking: MLflow runs for a pipeline, its stages and its trials, or nothing at all."""

from wd.errors import TrackingError
from wd.tracking.beside import Beside, beside
from wd.tracking.delivery import explained, reached
from wd.tracking.moved import mend_moved_root
from wd.tracking.opening import (
    attach,
    check_reachable,
    is_tracked,
    open_tracker,
    tracking_address,
    tracking_place,
)
from wd.tracking.recorded import Recorded, recorded_recipe
from wd.tracking.runs import MLflowTracker, connect
from wd.tracking.tracker import NullTracker, Status, Tracker, TrackerHandle

__all__ = [
    "Beside",
    "MLflowTracker",
    "NullTracker",
    "Recorded",
    "Status",
    "Tracker",
    "TrackerHandle",
    "TrackingError",
    "attach",
    "beside",
    "check_reachable",
    "connect",
    "explained",
    "is_tracked",
    "mend_moved_root",
    "open_tracker",
    "reached",
    "recorded_recipe",
    "tracking_address",
    "tracking_place",
]
