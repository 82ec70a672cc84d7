"""The machine's load, disk and network, tracked beside a training."""

from collections.abc import Iterator
from contextlib import contextmanager

from wd.tracking.delivery import reached
from wd.tracking.tracker import Tracker, TrackerHandle


@contextmanager
def machine_load(tracker: Tracker, handle: TrackerHandle) -> Iterator[None]:
    """Track it, by MLflow's monitors, while the context lasts.

    MLflow's own loop ends at the first answer that does not come; this one goes by the tracker,
    which keeps what cannot be sent.
    """
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    class Monitor(SystemMetricsMonitor):
        def monitor(self) -> None:
            while not self._shutdown_event.is_set():
                for _ in range(self.samples_before_logging):
                    self.collect_metrics()
                    self._shutdown_event.wait(self.sampling_interval)
                found = self.aggregate_metrics()
                tracker.log_metrics({"system": found}, step=self._logging_step)
                self._logging_step += 1
                for each in self.monitors:
                    each.clear_metrics()

    with reached(MlflowClient(handle.uri)):
        monitor = Monitor(handle.run_id, resume_logging=True, tracking_uri=handle.uri)
        monitor.start()
    try:
        yield
    finally:
        monitor.finish()
